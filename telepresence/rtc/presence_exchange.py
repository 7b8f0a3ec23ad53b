"""Who may be shown: holds a participant's avatar back until they have proved that it is theirs. Sans-I/O.

On every connection, and whenever another avatar is offered, the receiver sends a challenge and the sender a proof
(`avatar.presence`). `docs/ownership.md` has the messages. One of these for each other participant.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telepresence.avatar.owner import SIGNATURE_BYTES, Ownership, public_bytes, verify
from telepresence.avatar.presence import CHALLENGE_BYTES, DIGEST_BYTES, Moment, binding, new_challenge, prove, proves
from telepresence.errors import AvatarError, ProtocolError

PROOF_S: Final = 10.0  # for a proof to come after the challenge
UNPROVED: Final = "it did not prove that the avatar is its own, so it is not shown"
NO_PROOF: Final = f"{UNPROVED}; the telepresence there may be an older one: update it"


@dataclass(frozen=True, slots=True)
class Challenge:
    """Prove that the avatar you offer is yours."""

    nonce: bytes
    sha256: str
    """The avatar offered; a challenge about another one is ignored, since offers may cross with it."""

    def fields(self) -> dict[str, Any]:
        """As on the control channel."""
        return {"type": "challenge", "nonce": _text(self.nonce), "sha256": self.sha256}


@dataclass(frozen=True, slots=True)
class Proof:
    """The answer."""

    signature: bytes
    sha256: str

    def fields(self) -> dict[str, Any]:
        """As on the control channel."""
        return {"type": "proof", "signature": _text(self.signature), "sha256": self.sha256}


def parse_challenge(fields: dict[str, Any]) -> Challenge:
    """Raises ProtocolError."""
    return Challenge(_bytes(fields, "nonce", CHALLENGE_BYTES), _digest(fields))


def parse_proof(fields: dict[str, Any]) -> Proof:
    """Raises ProtocolError."""
    return Proof(_bytes(fields, "signature", SIGNATURE_BYTES), _digest(fields))


def certificate_of(sdp: str) -> bytes:
    """The SHA-256 fingerprint of a description's certificate, 32 bytes (RFC 8122, section 5).

    Raises:
        ProtocolError: it has none, or more than one certificate's.
    """
    lines = [line.strip() for line in sdp.splitlines() if line.lower().startswith("a=fingerprint:sha-256 ")]
    found = {line.split(" ", 1)[1].replace(":", "").lower() for line in lines}
    try:
        (one,) = found
        fingerprint = bytes.fromhex(one)
    except ValueError as error:
        raise ProtocolError("a description without exactly one SHA-256 fingerprint") from error
    if len(fingerprint) != DIGEST_BYTES:
        raise ProtocolError("a description's SHA-256 fingerprint does not have 32 bytes")
    return fingerprint


class PresenceExchange:
    """Both halves: what we prove to a participant, and what it proves to us.

    Args:
        us, them: ids in the room.
        key: ours; None if we have none, and then can be shown only as what is free for all.
        deliver: gets what came of their avatar, and whether it is whole, once it may be shown.
        refuse: told, in words for people, why it is not shown.
    """

    def __init__(
        self,
        us: str,
        them: str,
        key: Ed25519PrivateKey | None,
        deliver: Callable[[bytes, bool], None],
        refuse: Callable[[str], None],
    ) -> None:
        self.ownership: Ownership | None = None
        """Of what is shown; None before."""
        self._us, self._them, self._key = us, them, key
        self._deliver, self._refuse = deliver, refuse
        self._session = 0
        self._certificates = (b"", b"")  # ours, theirs
        self._challenge: Challenge | None = None  # the one that waits for its proof
        self._due_s = float("inf")
        self._proof: tuple[Moment, bytes] | None = None
        self._held: tuple[bytes, bool] | None = None

    def begin(self, session: int, ours: bytes, theirs: bytes) -> None:
        """A new connection: whatever was proved before counts no more. Certificates as of `certificate_of`."""
        self._session, self._certificates = session, (ours, theirs)
        self._forget()

    def on_offer(self, sha256: str | None, now_s: float) -> Challenge | None:
        """They offer an avatar: what to send them."""
        self._forget()
        if sha256 is None:
            return None
        self._challenge, self._due_s = Challenge(new_challenge(), sha256), now_s + PROOF_S
        return self._challenge

    def on_challenge(self, challenge: Challenge, avatar: bytes | None, sha256: str | None) -> Proof | None:
        """They want ours: what to send them; None for an avatar that is free for all, or that we do not offer.

        Args:
            challenge: theirs.
            avatar: our file, `sha256` its hash.
            sha256: what our hello offered on this connection.
        """
        if avatar is None or challenge.sha256 != sha256 or self._key is None:
            return None
        try:
            ownership = verify(avatar)
        except AvatarError:  # an old file of ours: the receiver says so, in the words of its own check
            return None
        if ownership is None or ownership.owner != public_bytes(self._key):
            return None
        ours, theirs = self._certificates
        moment = self._moment(challenge, self._us, self._them, binding(ours, theirs))
        return Proof(prove(moment, self._key), challenge.sha256)

    def on_proof(self, proof: Proof) -> None:
        """What they send for our challenge. One is enough: a second is ignored, as is one that nobody asked for."""
        challenge = self._challenge
        if challenge is None or proof.sha256 != challenge.sha256 or self._proof is not None:
            return
        ours, theirs = self._certificates
        self._proof = self._moment(challenge, self._them, self._us, binding(theirs, ours)), proof.signature
        self._decide()

    def on_avatar(self, data: bytes, whole: bool) -> None:
        """Their avatar, or the beginning of it. An empty one takes back what is shown."""
        if not data:
            self._held = None
            self._deliver(data, whole)
            return
        self._held = data, whole
        self._decide()

    def tick(self, now_s: float) -> None:
        """Time passes: call now and then, about once a second."""
        if now_s >= self._due_s and self._held is not None and self.ownership is None:
            self._due_s, self._held = float("inf"), None
            self._refuse(NO_PROOF)

    def _moment(self, challenge: Challenge, sender: str, receiver: str, bound: bytes) -> Moment:
        return Moment(challenge.nonce, bytes.fromhex(challenge.sha256), sender, receiver, self._session, bound)

    def _decide(self) -> None:
        """Show what is held, refuse it, or wait for the rest."""
        if self._held is None:
            return
        data, whole = self._held
        try:
            ownership = verify(data)
        except AvatarError as error:
            self._drop(str(error))
            return
        if ownership is None:
            if whole:
                self._drop("the avatar is cut short")
            return
        if ownership.owner is not None and not ownership.free_for_all:
            if self._proof is None:
                return
            if not proves(self._proof[0], ownership.owner, self._proof[1]):
                self._drop(UNPROVED)
                return
        self.ownership, self._held = ownership, None
        self._deliver(data, whole)

    def _drop(self, reason: str) -> None:
        self._held, self.ownership = None, None
        self._refuse(reason)

    def _forget(self) -> None:
        self._challenge, self._proof, self._held, self.ownership = None, None, None, None
        self._due_s = float("inf")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(fields: dict[str, Any], field: str, size: int) -> bytes:
    value = fields.get(field)
    try:
        data = base64.b64decode(value, validate=True) if isinstance(value, str) and len(value) <= 2 * size else b""
    except (binascii.Error, ValueError) as error:
        raise ProtocolError(f"{field} is not base64") from error
    if len(data) != size:
        raise ProtocolError(f"{field} does not have {size} bytes")
    return data


def _digest(fields: dict[str, Any]) -> str:
    value = fields.get("sha256")
    if not isinstance(value, str) or len(value) != 2 * DIGEST_BYTES or not set(value) <= set("0123456789abcdef"):
        raise ProtocolError("sha256 is not 64 small hexadecimal digits")
    return value
