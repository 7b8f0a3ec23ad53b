"""Who may be shown: the gate by itself."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telepresence.avatar.samples import sample_avatar_bytes
from telepresence.avatar.sections import digest, read_sections, write_sections
from telepresence.errors import ProtocolError, SignallingError
from telepresence.rtc import hello
from telepresence.rtc.presence_exchange import NO_PROOF, UNPROVED, PresenceExchange
from telepresence.rtc.presence_messages import Challenge, Forget, Proof, certificate_of
from telepresence.rtc.session import checked
from tests.rtc.pair import KEY, avatar_file

OTHER = Ed25519PrivateKey.from_private_bytes(bytes([2]) * 32)
OURS, THEIRS = b"b" * 32, b"a" * 32  # certificates, as the receiver names them
MINE, SECOND = avatar_file(2_000), avatar_file(3_000)
NOTHING = b""


class Ends:
    """A sender's half and a receiver's."""

    def __init__(self, key: Ed25519PrivateKey | None = KEY) -> None:
        self.key = key
        self.shown: list[tuple[bytes, bool]] = []
        self.refused: list[str] = []
        self.forgotten = 0
        self.sender = PresenceExchange("alice", "bob", lambda *_: None, lambda _: None)
        self.receiver = PresenceExchange(
            "bob", "alice", lambda *given: self.shown.append(given), self.refused.append, self._forget
        )
        self.connect(5)

    def _forget(self) -> None:
        self.forgotten += 1

    def connect(self, session: int, as_the_receiver_sees_it: bytes = THEIRS) -> None:
        self.sender.begin(session, THEIRS, OURS)
        self.receiver.begin(session, OURS, as_the_receiver_sees_it)

    def offer(self, data: bytes, now_s: float = 0.0, claimed: bytes | None = None) -> Proof | None:
        """A hello, the challenge, and the sender's answer, which is not handed on yet."""
        challenge = self.receiver.on_offer(digest(data), now_s)
        if challenge is None:
            return None
        asked = hello.parse(hello.encode(challenge))
        assert isinstance(asked, Challenge)
        assert asked == challenge
        return self.sender.on_challenge(asked, claimed or data, digest(data), self.key)

    def send(self, data: bytes, whole: bool = True) -> None:
        self.receiver.on_avatar(digest(data), data, whole)

    def prove(self, proof: Proof | None) -> None:
        if proof is not None:
            given = hello.parse(hello.encode(proof))
            assert isinstance(given, Proof)
            self.receiver.on_proof(given)

    def meet(self, data: bytes, claimed: bytes | None = None) -> None:
        proof = self.offer(data, claimed=claimed)
        self.send(data)
        self.prove(proof)


@pytest.mark.parametrize("proof_first", [True, False])
def test_who_owns_an_avatar_is_shown(proof_first: bool) -> None:
    ends = Ends()
    proof = ends.offer(MINE)
    for step in (lambda: ends.prove(proof), lambda: ends.send(MINE))[:: 1 if proof_first else -1]:
        assert ends.shown == []
        assert not ends.receiver.admits
        step()
    assert (ends.shown, ends.refused) == ([(MINE, True)], [])
    assert ends.receiver.admits
    assert ends.receiver.ownership is not None
    assert ends.receiver.ownership.label == "photo avatar"


def test_a_copy_of_somebody_elses_avatar_is_not_shown() -> None:
    for key, claimed in ((OTHER, None), (None, None), (OTHER, avatar_file(2_000, OTHER))):
        ends = Ends(key)
        ends.meet(MINE, claimed)
        ends.receiver.tick(9.9)
        assert claimed is not None or ends.refused == []
        ends.receiver.tick(10.1)
        assert ends.shown == []
        assert ends.refused == [UNPROVED if claimed is not None else NO_PROOF]
        assert not ends.receiver.admits


def test_nothing_is_drawn_of_the_beginning_of_a_file_before_the_proof() -> None:
    ends = Ends()
    large = avatar_file(60_000)
    proof = ends.offer(large)
    ends.send(large, whole=False)  # no proof yet
    assert ends.shown == []
    ends.receiver.on_avatar(digest(large), large[:10_000], False)
    ends.prove(proof)
    assert ends.shown == [(large[:10_000], False)]
    swapped = read_sections(large)
    swapped["reference/0"] = b"another"
    ends.receiver.on_avatar(digest(large), write_sections(swapped), True)  # whatever its hash
    assert ends.shown[1:] == [(NOTHING, True)]
    assert "signature is wrong" in ends.refused[0]


def test_too_little_of_a_file_to_know_whose_it_is_waits() -> None:
    ends = Ends()
    proof = ends.offer(MINE)
    ends.prove(proof)
    ends.receiver.on_avatar(digest(MINE), MINE[:100], False)
    ends.receiver.tick(60)
    assert (ends.shown, ends.refused) == ([], [])
    ends.receiver.on_avatar(digest(MINE), MINE[:100], True)
    assert ends.refused == ["the avatar is cut short"]


REPLAYS: dict[str, dict[str, Any]] = {
    "later, on the same connection": {},
    "on another connection between the same two": {"session": 6},
    "through somebody in between, who ends DTLS": {"as_the_receiver_sees_it": b"m" * 32},
}


@pytest.mark.parametrize("replay", REPLAYS)
def test_a_proof_counts_for_its_own_moment_only(replay: str) -> None:
    ends = Ends()
    proof = ends.offer(MINE)
    assert proof is not None
    ends.receiver.begin(REPLAYS[replay].get("session", 5), OURS, REPLAYS[replay].get("as_the_receiver_sees_it", THEIRS))
    assert ends.receiver.on_offer(digest(MINE), 0.0) is not None  # with a nonce of its own
    ends.send(MINE)
    ends.prove(proof)
    assert (ends.shown, ends.refused) == ([], [UNPROVED])


def test_a_proof_made_for_somebody_else_or_another_room_does_not_count() -> None:
    for us, them in (("carol", "alice"), ("bob", "mallory")):
        ends = Ends()
        ends.receiver = PresenceExchange(us, them, lambda *_: pytest.fail("shown"), ends.refused.append)
        ends.connect(5)
        ends.meet(MINE)
        assert ends.refused == [UNPROVED]


def test_our_own_proof_does_not_come_back_as_theirs() -> None:
    """Two ends that show the same file, one of which only reflects what it gets."""
    shown: list[tuple[bytes, bool]] = []
    refused: list[str] = []
    gate = PresenceExchange("bob", "alice", lambda *given: shown.append(given), refused.append)
    gate.begin(5, OURS, THEIRS)
    challenge = gate.on_offer(digest(MINE), 0.0)
    assert challenge is not None
    reflected = gate.on_challenge(challenge, MINE, digest(MINE), KEY)
    assert reflected is not None
    gate.on_avatar(digest(MINE), MINE, True)
    gate.on_proof(reflected)
    assert (shown, refused) == ([], [UNPROVED])


def test_who_has_proved_one_avatar_is_not_shown_as_another_that_is_not_its_own() -> None:
    ends = Ends()
    ends.meet(MINE)
    theirs = avatar_file(2_000, OTHER)
    proof = ends.offer(theirs)  # it answers, but not with the key
    assert proof is None
    ends.send(theirs)
    assert ends.receiver.admits  # the first one goes on meanwhile: it was proved
    ends.receiver.tick(11)
    assert ends.shown == [(MINE, True), (NOTHING, True)]
    assert ends.refused == [NO_PROOF]
    assert not ends.receiver.admits


def test_another_avatar_of_ones_own_takes_the_place_of_the_first() -> None:
    ends = Ends()
    ends.meet(MINE)
    ends.meet(SECOND)
    assert (ends.shown, ends.refused) == ([(MINE, True), (SECOND, True)], [])
    ends.send(MINE)  # of an offer that was replaced
    assert ends.shown[2:] == []


def test_after_a_reconnect_the_picture_rests_until_it_is_proved_again() -> None:
    ends = Ends()
    ends.meet(MINE)
    ends.connect(6)
    assert not ends.receiver.admits
    ends.prove(ends.offer(MINE))
    assert ends.receiver.admits
    assert (ends.shown, ends.refused) == ([(MINE, True)], [])  # it was not sent again
    ends.connect(7)
    assert ends.offer(MINE) is not None  # and no proof comes
    ends.receiver.tick(10.1)
    assert ends.shown[1:] == [(NOTHING, True)]
    assert ends.refused == [NO_PROOF]


def test_a_proof_that_is_late_counts_all_the_same() -> None:
    ends = Ends()
    ends.meet(MINE)
    ends.connect(6)
    proof = ends.offer(MINE)
    ends.receiver.tick(10.1)
    ends.prove(proof)
    assert ends.shown == [(MINE, True), (NOTHING, True), (MINE, True)]
    assert ends.receiver.admits


@pytest.mark.parametrize("offered", [None, SECOND])
def test_a_reconnect_with_another_avatar_takes_the_first_away_at_once(offered: bytes | None) -> None:
    ends = Ends()
    ends.meet(MINE)
    ends.connect(6)
    ends.receiver.on_offer(None if offered is None else digest(offered), 0.0)
    assert ends.shown == [(MINE, True), (NOTHING, True)]
    assert ends.receiver.admits is (offered is None)
    assert ends.refused == []


def test_what_came_and_was_never_shown_is_fetched_again_on_the_next_connection() -> None:
    ends = Ends()
    ends.offer(MINE)
    ends.send(MINE)
    ends.connect(6)
    assert ends.forgotten == 1
    proof = ends.offer(MINE)
    ends.send(MINE)
    ends.prove(proof)
    assert ends.shown == [(MINE, True)]


def test_a_repeated_hello_changes_nothing_and_second_proofs_neither() -> None:
    ends = Ends()
    ends.meet(MINE)
    assert ends.receiver.on_offer(digest(MINE), 1.0) is None
    ends.receiver.on_proof(Proof(bytes(64), digest(MINE)))
    assert ends.receiver.admits
    assert ends.refused == []


def test_samples_need_no_proof_and_old_files_are_told_how_to_be_signed() -> None:
    sample = Ends(None)
    sample.meet(sample_avatar_bytes())
    assert sample.shown == [(sample_avatar_bytes(), True)]
    sample.connect(6)
    sample.offer(sample_avatar_bytes())
    assert sample.receiver.admits
    old = Ends()
    old.meet(avatar_file(2_000, None))
    assert not old.shown
    assert "telepresence avatar sign" in old.refused[0]
    stolen = read_sections(MINE) | {"meta": b'{"engine":null,"free_for_all":true,"name":"x"}'}
    del stolen["owner"], stolen["signature"]
    free = Ends(None)
    free.meet(write_sections(stolen))
    assert not free.shown


def test_we_prove_nothing_that_we_do_not_offer() -> None:
    ends = Ends()
    challenge = Challenge(bytes(32), digest(MINE))
    assert ends.sender.on_challenge(challenge, MINE, digest(SECOND), KEY) is None
    assert ends.sender.on_challenge(challenge, None, digest(MINE), KEY) is None
    assert ends.sender.on_challenge(challenge, MINE, digest(MINE), None) is None
    assert ends.sender.on_challenge(challenge, MINE, digest(MINE), OTHER) is None
    assert ends.sender.on_challenge(challenge, avatar_file(10, None), digest(MINE), KEY) is None
    before = PresenceExchange("alice", "bob", lambda *_: None, lambda _: None)  # its channels are not open
    assert before.on_challenge(challenge, MINE, digest(MINE), KEY) is None


# messages and descriptions


@pytest.mark.parametrize(
    "message",
    [
        b'{"type":"challenge","nonce":"AAAA","sha256":"%s"}' % (b"0" * 64),
        b'{"type":"challenge","nonce":"%s","sha256":"0"}' % base64.b64encode(bytes(32)),
        b'{"type":"challenge","nonce":7,"sha256":"%s"}' % (b"0" * 64),
        b'{"type":"proof","signature":"%s","sha256":"%s"}' % (base64.b64encode(bytes(63)), b"0" * 64),
        b'{"type":"proof","signature":"%s","sha256":"%s"}' % (base64.b64encode(bytes(64)), b"A" * 64),
        b'{"type":"proof","signature":"*","sha256":null}',
        b'{"type":"forget","sha256":"%s"}' % (b"0" * 64),
    ],
)
def test_malformed_messages_are_refused(message: bytes) -> None:
    with pytest.raises(ProtocolError):
        hello.parse(message)


def test_forget_survives_the_wire() -> None:
    wish = Forget("0" * 64, bytes(64))
    assert hello.parse(hello.encode(wish)) == wish


SHA256 = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32)
SHA512 = "a=fingerprint:sha-512 " + ":".join(["CD"] * 64)
SDP = (
    "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n{}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
    "c=IN IP4 0.0.0.0\r\na=mid:0\r\na=sctp-port:5000\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n"
    "a=setup:actpass\r\n{}"
)


def test_certificates() -> None:
    assert certificate_of(f"v=0\r\n{SHA256}\r\n{SHA256.lower()}\r\n") == b"\xab" * 32
    for wrong in ("v=0\r\n", f"{SHA256}\r\n{SHA256.replace('AB', 'AC')}", "a=fingerprint:sha-256 AB:CD"):
        with pytest.raises(ProtocolError):
            certificate_of(wrong)


def test_dtls_is_held_to_the_certificate_that_proofs_are_bound_to() -> None:
    """Else a fingerprint of another kind would let somebody in between end DTLS, and the binding would not show it."""
    for session, media in ((SHA512, SHA256), ("", f"{SHA512}\r\n{SHA256}"), ("", SHA256.replace("sha", "SHA"))):
        text = checked(SDP.format(session and f"{session}\r\n", f"{media}\r\n"))
        assert "sha-512" not in text
        assert certificate_of(text) == b"\xab" * 32
    for media in (SHA512, f"{SHA256}\r\n{SHA256.replace('AB', 'AC')}", ""):
        with pytest.raises(SignallingError):
            checked(SDP.format("", f"{media}\r\n" if media else ""))
