"""The control channel's messages: who speaks what, and which avatar. Sans-I/O; `docs/edge.md` specifies every field."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from telepresence.errors import ProtocolError, SignallingError
from telepresence.hub.codec import parse_name
from telepresence.rtc.presence_messages import (
    Challenge,
    Forget,
    Proof,
    parse_challenge,
    parse_forget,
    parse_proof,
)
from telepresence.rtc.transfer import MAX_AVATAR_BYTES, Offer, parse_offer

PROTOCOL: Final = 1
MAX_CONTROL_BYTES: Final = 16 * 1024
MAX_SCHEMAS: Final = 16
MAX_TEXT: Final = 300  # characters of a refusal's explanation
MAX_PAGE_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Hello:
    """First message of both sides; a later one replaces it."""

    schemas: tuple[int, ...]
    """Motion schemas that the sender can decode."""
    avatar: Offer | None
    """How it is to be drawn; None if it shows nothing."""
    protocol: int = PROTOCOL
    """Of the channels between edges."""


@dataclass(frozen=True, slots=True)
class Want:
    """Please send your avatar."""

    sha256: str
    """The one offered; anything else is ignored, since offers may cross with it."""
    start: int
    """Offset to go on at, after a rebuilt connection."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """We cannot talk; the sender closes the connection."""

    code: str
    """`protocol` or `schema`."""
    message: str
    """For people."""


@dataclass(frozen=True, slots=True)
class Presence:
    """How the sender wants to be shown (`state` on the wire). After hello, and at every change."""

    name: str = ""
    """Empty: the one that the hub gave."""
    muted: bool = False
    camera: bool = True
    """Whether its camera is on, as far as its page knows."""
    sound: bool = False
    """Whether it has a page that can be called."""
    page_ms: float | None = None
    """From the capture time of its packets to the edge's having the picture, a median; None: not known."""


Control = Hello | Want | Refuse | Presence | Challenge | Proof | Forget


def encode(message: Control) -> bytes:
    """Message -> UTF-8 JSON, sent as binary: aiortc drops the connection on text that is not UTF-8."""
    fields: dict[str, Any]
    if isinstance(message, Hello):
        avatar = message.avatar.fields() if message.avatar else None
        fields = {"type": "hello", "protocol": message.protocol, "schemas": list(message.schemas), "avatar": avatar}
    elif isinstance(message, Presence):
        fields = {"type": "state", **{name: getattr(message, name) for name in message.__slots__}}
        if message.page_ms is None:
            del fields["page_ms"]
    elif isinstance(message, Challenge | Proof | Forget):
        fields = message.fields()
    elif isinstance(message, Want):
        fields = {"type": "want", "sha256": message.sha256, "start": message.start}
    else:
        fields = {"type": "refuse", "code": message.code, "message": message.message}
    return json.dumps(fields, separators=(",", ":")).encode()


def parse(data: bytes | str) -> Control | None:
    """A message of the control channel; None for a type of a later version.

    Raises:
        ProtocolError: malformed or over a limit; count it and go on.
    """
    if len(data) > MAX_CONTROL_BYTES:
        raise ProtocolError(f"control message of {len(data)} bytes; {MAX_CONTROL_BYTES} are allowed")
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("control message is not JSON") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
        raise ProtocolError("control message is not an object with a type")
    parser = _PARSERS.get(fields["type"])
    return parser(fields) if parser else None


def common_schema(ours: Sequence[int], theirs: Sequence[int]) -> int | None:
    """The highest motion schema that both know."""
    return max(set(ours) & set(theirs), default=None)


def agreed(schemas: Sequence[int], hello: Hello) -> int | Refuse:
    """The motion schema to use with who said `hello`, of `schemas`, which are ours; or why there is none."""
    if hello.protocol != PROTOCOL:
        text = f"no common protocol: {hello.protocol} here, {PROTOCOL} there; update the older telepresence"
        return Refuse("protocol", text)
    schema = common_schema(schemas, hello.schemas)
    if schema is not None:
        return schema
    ours, theirs = list(schemas), sorted(set(hello.schemas))
    return Refuse("schema", f"no common motion schema: {ours} and {theirs}; update the older telepresence")


def _hello(fields: dict[str, Any]) -> Hello:
    schemas, avatar = fields.get("schemas"), fields.get("avatar")
    if not isinstance(schemas, list) or not 1 <= len(schemas) <= MAX_SCHEMAS:
        raise ProtocolError(f"hello.schemas is not a list of 1 to {MAX_SCHEMAS}")
    return Hello(
        tuple(_integer(schema, "schemas", 255) for schema in schemas),
        None if avatar is None else parse_offer(avatar),
        _integer(fields.get("protocol"), "protocol", 2**31),
    )


def _want(fields: dict[str, Any]) -> Want:
    sha256 = fields.get("sha256")
    if not isinstance(sha256, str) or len(sha256) != 64:
        raise ProtocolError("want.sha256 is not 64 hexadecimal digits")
    return Want(sha256, _integer(fields.get("start"), "start", MAX_AVATAR_BYTES))


def _refuse(fields: dict[str, Any]) -> Refuse:
    code, message = fields.get("code"), fields.get("message")
    if not isinstance(code, str) or not isinstance(message, str) or len(code) > 32:
        raise ProtocolError("refuse lacks its code or message")
    return Refuse(code, "".join(c for c in message[:MAX_TEXT] if c.isprintable()))


def _presence(fields: dict[str, Any]) -> Presence:
    try:
        name = parse_name(fields.get("name", ""))
    except SignallingError as error:
        raise ProtocolError(str(error)) from error
    switches = {field: fields.get(field, default) for field, default in _SWITCHES.items()}
    if not all(isinstance(value, bool) for value in switches.values()):
        raise ProtocolError("state: muted, camera and sound are true or false")
    page_ms = fields.get("page_ms")
    if page_ms is not None and (type(page_ms) not in (int, float) or not 0 <= page_ms <= MAX_PAGE_MS):
        raise ProtocolError(f"state.page_ms is not a number from 0 to {MAX_PAGE_MS}")
    return Presence(name, **switches, page_ms=page_ms)


_SWITCHES: Final = {"muted": False, "camera": True, "sound": False}
_PARSERS: Final[dict[str, Callable[[dict[str, Any]], Control]]] = {
    "hello": _hello,
    "want": _want,
    "refuse": _refuse,
    "state": _presence,
    "challenge": parse_challenge,
    "proof": parse_proof,
    "forget": parse_forget,
}


def _integer(value: object, field: str, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ProtocolError(f"{field}: not an integer from 0 to {most}")
    return value
