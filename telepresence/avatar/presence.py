"""Proof, on every connection, that a participant owns the avatar it is to be shown as. Pure; `docs/ownership.md`.

The receiver sends random bytes; the sender signs them with the key in the avatar's file, together with everything that
makes this moment this moment. A proof taken from another call, another connection, or meant for another participant
does not verify.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

CHALLENGE_BYTES: Final = 32
DIGEST_BYTES: Final = 32
MAX_ID_BYTES: Final = 255
_DOMAIN: Final = b"telepresence presence 1\0"


@dataclass(frozen=True, slots=True)
class Moment:
    """What a proof is valid for, and nothing else is."""

    challenge: bytes
    """32 random bytes of the receiver's, used once."""
    digest: bytes
    """SHA-256 of the whole avatar file, 32 bytes."""
    sender: str
    """The id, in the room, of who is shown."""
    receiver: str
    """The id of who looks."""
    session: int
    """The connection's number."""
    binding: bytes
    """The connection itself, `binding`; 32 bytes."""

    def message(self) -> bytes:
        """What is signed: every field at a length that is known or told, so that no two moments give the same bytes."""
        if (len(self.challenge), len(self.digest), len(self.binding)) != (CHALLENGE_BYTES, DIGEST_BYTES, DIGEST_BYTES):
            raise ValueError("a challenge, a digest and a binding have 32 bytes each")
        ids = [one.encode() for one in (self.sender, self.receiver)]
        if any(len(one) > MAX_ID_BYTES for one in ids):
            raise ValueError(f"a participant's id has at most {MAX_ID_BYTES} bytes")
        told = b"".join(bytes([len(one)]) + one for one in ids)
        return _DOMAIN + self.challenge + self.digest + told + self.session.to_bytes(8, "big") + self.binding


def new_challenge() -> bytes:
    """32 bytes that nobody can guess."""
    return secrets.token_bytes(CHALLENGE_BYTES)


def binding(sender_certificate: bytes, receiver_certificate: bytes) -> bytes:
    """A connection's binding, from the SHA-256 fingerprints of both ends' DTLS certificates, 32 bytes each.

    A hub, or whoever else relays descriptions, could put itself in between with certificates of its own: then the two
    ends know different ones, and no proof verifies.
    """
    if len(sender_certificate) != DIGEST_BYTES or len(receiver_certificate) != DIGEST_BYTES:
        raise ValueError("SHA-256 fingerprints have 32 bytes each")
    return hashlib.sha256(b"telepresence binding 1\0" + sender_certificate + receiver_certificate).digest()


def prove(moment: Moment, key: Ed25519PrivateKey) -> bytes:
    """The sender's proof, 64 bytes."""
    return key.sign(moment.message())


def proves(moment: Moment, owner: bytes, proof: bytes) -> bool:
    """Whether `owner`, the public key in the avatar's file, has signed this moment. Never raises."""
    try:
        Ed25519PublicKey.from_public_bytes(owner).verify(proof, moment.message())
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
