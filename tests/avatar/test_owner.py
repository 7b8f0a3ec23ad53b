from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telepresence.avatar.file import load, pack, save
from telepresence.avatar.owner import (
    SAMPLES,
    export_key,
    key_path,
    load_key,
    own_key,
    public_bytes,
    save_enrolled,
    sign,
    sign_file,
    verify,
)
from telepresence.avatar.presence import Moment, binding, prove, proves
from telepresence.avatar.samples import sample_avatar, sample_avatar_bytes
from telepresence.avatar.sections import MAX_FILE_BYTES, SIGNING_BYTES, digest, read_sections, write_sections
from telepresence.errors import AvatarError, InputError

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


def test_free_for_all_is_what_is_shipped_or_what_its_owner_has_signed() -> None:
    """Anybody can write `free_for_all` into a copy of somebody else's avatar."""
    sections = read_sections(SIGNED)
    del sections["owner"], sections["signature"]
    sections["meta"] = b'{"engine":null,"free_for_all":true,"name":"x"}'
    stolen = write_sections(sections)
    with pytest.raises(AvatarError, match="nobody signed that"):
        verify(stolen)
    given = verify(sign(stolen, KEY))
    assert given is not None
    assert (given.owner, given.label) == (public_bytes(KEY), "sample avatar")
    sample = sample_avatar_bytes()
    assert verify(sample[:60_000]) is not None
    changed = read_sections(sample)
    changed["background"] = read_sections(SIGNED)["background"][:-1]
    with pytest.raises(AvatarError, match="nobody signed that"):
        verify(write_sections(changed))
    assert len(SAMPLES) >= 2  # those that were shipped before stay good


@pytest.mark.parametrize(
    ("enrolled", "label"), [("live", "avatar"), ("photos", "photo avatar"), ("video", "photo avatar")]
)
def test_what_is_enrolled_is_signed_as_what_it_is(tmp_path: Path, enrolled: str, label: str) -> None:
    path = tmp_path / "me.avatar"
    written = save_enrolled(dataclasses.replace(sample_avatar(), free_for_all=False), path, enrolled)  # type: ignore[arg-type]
    found = verify(path.read_bytes())
    assert found is not None
    assert (found.made, found.label, written.label) == (enrolled, label, label)
    assert written.size == path.stat().st_size
    assert written.sha256 == digest(path.read_bytes())
    assert load(path).made == enrolled


def test_signing_takes_no_more_room_than_is_left_for_it() -> None:
    sections = read_sections(UNSIGNED)
    row = 37 + len("personal/x")
    room = MAX_FILE_BYTES - SIGNING_BYTES - len(UNSIGNED) - row
    full = write_sections(sections | {"personal/x": bytes(room)})
    assert len(full) == MAX_FILE_BYTES - SIGNING_BYTES
    assert verify(sign(full, KEY, "photos")) is not None


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
