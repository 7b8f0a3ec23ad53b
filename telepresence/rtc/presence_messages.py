"""Control messages about whose an avatar is: challenge, proof, and an owner's wish that copies go. Sans-I/O.

`docs/ownership.md` has every field; `rtc.presence_exchange` says when they are sent.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final

from telepresence.avatar.presence import CHALLENGE_BYTES, DIGEST_BYTES
from telepresence.errors import ProtocolError

SIGNATURE_BYTES: Final = 64


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


@dataclass(frozen=True, slots=True)
class Forget:
    """Please delete your copy of this avatar: its owner has deleted it."""

    sha256: str
    signature: bytes
    """The owner's, over `avatar.deletion.message`. Whoever has it may hand it on."""

    def fields(self) -> dict[str, Any]:
        """As on the control channel."""
        return {"type": "forget", "sha256": self.sha256, "signature": _text(self.signature)}


def parse_challenge(fields: dict[str, Any]) -> Challenge:
    """Raises ProtocolError."""
    return Challenge(_bytes(fields, "nonce", CHALLENGE_BYTES), _digest(fields))


def parse_proof(fields: dict[str, Any]) -> Proof:
    """Raises ProtocolError."""
    return Proof(_bytes(fields, "signature", SIGNATURE_BYTES), _digest(fields))


def parse_forget(fields: dict[str, Any]) -> Forget:
    """Raises ProtocolError."""
    return Forget(_digest(fields), _bytes(fields, "signature", SIGNATURE_BYTES))


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
