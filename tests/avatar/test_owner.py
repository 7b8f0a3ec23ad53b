from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telepresence.avatar.file import load, pack, save
from telepresence.avatar.owner import export_key, key_path, load_key, own_key, public_bytes, sign, sign_file, verify
from telepresence.avatar.presence import Moment, binding, prove, proves
from telepresence.avatar.samples import sample_avatar, sample_avatar_bytes
from telepresence.avatar.sections import read_sections, write_sections
from telepresence.errors import AvatarError, InputError
from telepresence.rtc.presence_exchange import UNPROVED, PresenceExchange, certificate_of, parse_challenge, parse_proof

KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
UNSIGNED = pack(dataclasses.replace(sample_avatar(), free_for_all=False))
SIGNED = sign(UNSIGNED, KEY, "live")
BINDING = "dc569cc3a562d629b367d276c39c6ebababf4cd1aceebc4b9887a14f80f223e3"
PROOF = (
    "9b2c436fa394c3b80670dfe8bc610fee46b5eaba008c39f6c52f5e2e5ade05a5"
    "bd925e760d61e8ab77313752e3213585101d403c2578694b18a3335a75a98e07"
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_a_key_is_made_once_and_for_its_owner_only() -> None:
    assert load_key() is None
    first = own_key()
    assert public_bytes(own_key()) == public_bytes(first)
    assert key_path().stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damaged", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n", b"\xff" * 5000])
def test_a_damaged_key_is_refused_and_stays(damaged: bytes) -> None:
    own_key()
    key_path().write_bytes(damaged)
    with pytest.raises(InputError, match="damaged"):
        own_key()
    assert key_path().read_bytes() == damaged


def test_export_overwrites_nothing(tmp_path: Path) -> None:
    own_key()
    export_key(tmp_path / "copy.key")
    assert load_key(tmp_path / "copy.key") is not None
    with pytest.raises(InputError, match="is there already"):
        export_key(tmp_path / "copy.key")


def test_signed_files_tell_their_owner() -> None:
    found = verify(SIGNED)
    assert found is not None
    assert (found.owner, found.made, found.label) == (public_bytes(KEY), "live", "avatar")
    photos = verify(sign(UNSIGNED, KEY, "photos"))
    assert photos is not None
    assert photos.label == "photo avatar"
    sample = verify(sample_avatar_bytes())
    assert sample is not None
    assert (sample.owner, sample.label) == (None, "sample avatar")
    assert verify(SIGNED[:100]) is None


@pytest.mark.parametrize("section", ["meta", "neutral", "reference/0", "background", "owner", "signature"])
def test_a_changed_section_is_refused(section: str) -> None:
    sections = read_sections(SIGNED)
    swapped = {"meta": b'{"free_for_all":true,"name":"x","engine":null}', "owner": public_bytes(OTHER)}
    sections[section] = swapped.get(section, sections[section][:-1] + bytes([sections[section][-1] ^ 1]))
    with pytest.raises(AvatarError, match="signature is wrong"):
        verify(write_sections(sections))


def test_unsigned_is_refused_with_words_and_can_be_signed(tmp_path: Path) -> None:
    with pytest.raises(AvatarError, match="telepresence avatar sign"):
        verify(UNSIGNED)
    path = tmp_path / "old.avatar"
    save(dataclasses.replace(sample_avatar(), free_for_all=False), path)
    sign_file(path)
    assert load(path).made == "photos"
    found = verify(path.read_bytes())
    assert found is not None
    assert found.label == "photo avatar"
    with pytest.raises(AvatarError, match="another key"):
        sign_file(path, OTHER)


def test_presence_vector() -> None:
    moment = Moment(b"c" * 32, b"d" * 32, "alice", "bob", 7, binding(b"a" * 32, b"b" * 32))
    assert binding(b"a" * 32, b"b" * 32).hex() == BINDING
    assert prove(moment, KEY).hex() == PROOF
    assert proves(moment, public_bytes(KEY), prove(moment, KEY))
    for change in (
        {"challenge": b"x" * 32}, {"digest": b"x" * 32}, {"sender": "bob"}, {"receiver": "carol"}, {"session": 8},
        {"sender": "aliceb", "receiver": "ob"}, {"binding": binding(b"b" * 32, b"a" * 32)},
    ):  # fmt: skip
        assert not proves(dataclasses.replace(moment, **change), public_bytes(KEY), prove(moment, KEY))
    assert not proves(moment, b"short", b"")


class Ends:
    """A sender's half and a receiver's, on one connection."""

    def __init__(self, key: Ed25519PrivateKey | None, man_in_the_middle: bool = False) -> None:
        self.shown: list[bytes] = []
        self.refused: list[str] = []
        self.sender = PresenceExchange("alice", "bob", key, lambda *_: None, lambda _: None)
        self.receiver = PresenceExchange("bob", "alice", None, lambda d, _: self.shown.append(d), self.refused.append)
        self.sender.begin(5, b"a" * 32, b"b" * 32)
        self.receiver.begin(5, b"b" * 32, b"m" * 32 if man_in_the_middle else b"a" * 32)

    def meet(self, data: bytes, claimed: bytes | None = None) -> None:
        from telepresence.avatar.sections import digest

        challenge = self.receiver.on_offer(digest(data), 0.0)
        assert challenge is not None
        proof = self.sender.on_challenge(parse_challenge(challenge.fields()), claimed or data, digest(data))
        self.receiver.on_avatar(data, True)
        if proof is not None:
            self.receiver.on_proof(parse_proof(proof.fields()))


def test_who_owns_an_avatar_is_shown_and_nobody_else() -> None:
    owner = Ends(KEY)
    owner.meet(SIGNED)
    assert (owner.shown, owner.refused) == ([SIGNED], [])
    for impostor in (Ends(OTHER), Ends(None)):
        impostor.meet(SIGNED)
        impostor.receiver.tick(11.0)
        assert not impostor.shown
        assert UNPROVED in impostor.refused[0]
    claims = Ends(OTHER)  # it signs, but with a key that is not the avatar's
    claims.meet(SIGNED, claimed=sign(UNSIGNED, OTHER))
    assert (claims.shown, claims.refused) == ([], [UNPROVED])


def test_replay_and_a_hub_in_between_are_refused() -> None:
    between = Ends(KEY, man_in_the_middle=True)
    between.meet(SIGNED)
    assert (between.shown, between.refused) == ([], [UNPROVED])
    again = Ends(KEY)
    again.meet(SIGNED)
    old = again.receiver._proof
    assert old is not None
    again.receiver.begin(6, b"b" * 32, b"a" * 32)  # reconnected: the old proof counts no more
    challenge = again.receiver.on_offer(parse_challenge(_challenge()).sha256, 0.0)
    assert challenge is not None
    again.receiver.on_avatar(SIGNED, True)
    again.receiver.on_proof(parse_proof(_proof(old[1], challenge.sha256)))
    assert (len(again.shown), again.refused) == (1, [UNPROVED])


def test_samples_and_old_files() -> None:
    sample = Ends(None)
    sample.meet(sample_avatar_bytes())
    assert sample.shown == [sample_avatar_bytes()]
    old = Ends(KEY)
    old.meet(UNSIGNED)
    assert not old.shown
    assert "sign it" in old.refused[0]


def test_certificates() -> None:
    line = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32)
    assert certificate_of(f"v=0\r\n{line}\r\n{line}\r\n") == b"\xab" * 32


def _challenge() -> dict[str, str]:
    import base64
    import hashlib

    return {"nonce": base64.b64encode(bytes(32)).decode(), "sha256": hashlib.sha256(SIGNED).hexdigest()}


def _proof(signature: bytes, sha256: str) -> dict[str, str]:
    import base64

    return {"signature": base64.b64encode(signature).decode(), "sha256": sha256}
