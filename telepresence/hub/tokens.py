"""Short-lived signed tokens: who holds one may enter one room until it expires.

A token is base64url(body) `.` base64url(HMAC-SHA256(secret, label + body)) (RFC 2104, RFC 4648 section 5, no padding).
The body is binary and not secret: whoever holds a token can read room and name in it. Pure: `now` is an argument,
in seconds since 1970, since expiry must outlive a restart of the hub.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import Final, Literal

from telepresence.errors import TokenError
from telepresence.hub.codec import parse_id, parse_name, parse_room
from telepresence.hub.messages import MAX_TOKEN_CHARACTERS

MIN_SECRET_BYTES: Final = 16
TOKEN_TTL_S: Final = 3600  # an invitation
RESUME_TTL_S: Final = 12 * 3600  # a call may be long; renewed at every join
MAX_TTL_S: Final = 7 * 24 * 3600
CLOCK_SLACK_S: Final = 60  # a token may have been issued on a machine whose clock is ahead by this

Kind = Literal["join", "resume"]

_VERSION: Final = 1
_KINDS: Final[dict[Kind, int]] = {"join": 1, "resume": 2}
_LABEL: Final = b"telepresence hub token 1\0"  # the same secret may sign other things elsewhere
_HEAD: Final = struct.Struct("!BBQIBBH")  # version, kind, issued, ttl, lengths in bytes of room, participant and name
_INVALID: Final = "the token is not valid here; ask for a fresh join URL from whoever runs the hub"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says."""

    room: str
    """The one room that it opens."""
    expires: int
    """Seconds since 1970."""
    name: str
    """The name that its holder must bear; empty: the holder may choose."""
    participant: str
    """For a resume token, the id that its holder had; otherwise empty."""


def issue(
    secret: bytes,
    room: str,
    *,
    ttl_s: int = TOKEN_TTL_S,
    now: float,
    name: str = "",
    participant: str = "",
    kind: Kind = "join",
) -> str:
    """Make a token for `room` that is valid from `now` for `ttl_s` seconds.

    Raises:
        SignallingError: room, name or participant cannot be used.
        ValueError: the secret is too short or `ttl_s` is not within 1..MAX_TTL_S.
    """
    _check_secret(secret)
    if not 1 <= ttl_s <= MAX_TTL_S:
        raise ValueError(f"a token lives 1 to {MAX_TTL_S} s, not {ttl_s}")
    holder = parse_id(participant) if participant else ""
    parts = [text.encode() for text in (parse_room(room), holder, parse_name(name))]
    body = _HEAD.pack(_VERSION, _KINDS[kind], int(now), ttl_s, *map(len, parts)) + b"".join(parts)
    return f"{_to_text(body)}.{_to_text(_sign(secret, body))}"


def verify(secret: bytes, token: str, room: str, *, now: float, kind: Kind = "join") -> Claims:
    """Check signature, kind, time and room; return what the token says.

    Raises:
        TokenError: it does not open this room now; the message says whether a fresh one would help.
    """
    _check_secret(secret)
    body = _signed_body(secret, token)
    try:
        version, number, issued, ttl_s, *lengths = _HEAD.unpack_from(body)
    except struct.error as error:
        raise TokenError(_INVALID) from error
    if version != _VERSION or number != _KINDS[kind] or len(body) != _HEAD.size + sum(lengths):
        raise TokenError(_INVALID)
    if now < issued - CLOCK_SLACK_S:
        raise TokenError("the token is from the future; set the clocks of the machines involved right")
    if now >= issued + ttl_s:
        raise TokenError("the token has expired; ask for a fresh join URL from whoever runs the hub")
    texts = []
    offset = _HEAD.size
    for length in lengths:
        texts.append(body[offset : offset + length].decode())  # signed by us, so it is what issue() wrote
        offset += length
    if texts[0] != room:
        raise TokenError("the token is for another room; use the join URL as it was given")
    return Claims(texts[0], issued + ttl_s, name=texts[2], participant=texts[1])


def _signed_body(secret: bytes, token: str) -> bytes:
    if len(token) > MAX_TOKEN_CHARACTERS or not token.isascii():
        raise TokenError(_INVALID)
    text, _, signature = token.partition(".")
    try:
        body, given = _from_text(text), _from_text(signature)
    except (binascii.Error, ValueError) as error:
        raise TokenError(_INVALID) from error
    if not hmac.compare_digest(given, _sign(secret, body)):
        raise TokenError(_INVALID)
    return body


def _sign(secret: bytes, body: bytes) -> bytes:
    return hmac.new(secret, _LABEL + body, hashlib.sha256).digest()


def _check_secret(secret: bytes) -> None:
    if len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"the hub's secret must have at least {MIN_SECRET_BYTES} bytes")


def _to_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _from_text(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
