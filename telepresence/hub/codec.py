"""Signalling messages: dataclasses <-> JSON text, both ways.

Sans-I/O. The parsers are total: whatever the text, they return a message or raise `SignallingError`.
Unknown fields are ignored, so that a later version may add some.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final, cast

from telepresence.errors import SignallingError
from telepresence.hub.ice import is_stun, is_turn
from telepresence.hub.messages import (
    MAX_ICE_SERVERS,
    MAX_ID_CHARACTERS,
    MAX_MESSAGE_BYTES,
    MAX_NAME_CHARACTERS,
    MAX_NESTING,
    MAX_PARTICIPANTS,
    MAX_ROOM_CHARACTERS,
    MAX_SCHEMA,
    MAX_SCHEMAS,
    MAX_SDP_BYTES,
    MAX_SESSION,
    MAX_TEXT_CHARACTERS,
    MAX_TOKEN_CHARACTERS,
    PROTOCOL,
    Arrived,
    FromClient,
    FromHub,
    IceServer,
    Join,
    Joined,
    Leave,
    Left,
    Participant,
    Payload,
    Refused,
    Relay,
    Relayed,
)

KINDS: Final = ("offer", "answer", "bye")
MEDIA: Final = ("motion", "sound")

_BRACKETS: Final = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)  # closing quote optional: linear on any text
_ROOM: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_ID: Final = re.compile(r"[A-Za-z0-9_-]+")
_TOKEN: Final = re.compile(r"[A-Za-z0-9._-]+")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")  # all but tab, line feed, carriage return
_LINE_BREAK: Final = re.compile(r"\r(?!\n)|[\x85\u2028\u2029]")  # all that splitlines() knows, but for CRLF and LF
_JOINERS: Final = "\u200c\u200d"  # not printable for Python, but names in Persian or Sinhala need them


def encode(message: FromClient | FromHub) -> str:
    """Message -> JSON text that the other side's parser accepts.

    Raises:
        SignallingError: it would be longer than MAX_MESSAGE_BYTES.
    """
    # not ensure_ascii: a relayed message must not grow by escaping
    text = json.dumps(_ENCODERS[type(message)](message), ensure_ascii=False, separators=(",", ":"))
    _check_size(text)
    return text


def parse_from_client(text: str) -> FromClient:
    """What a client sent -> message.

    Raises:
        SignallingError: malformed or over a limit; the text of the error quotes nothing of the message.
    """
    fields = _load(text)
    kind = fields.get("type")
    if kind == "join":
        return _parse_join(fields)
    if kind == "relay":
        return Relay(parse_id(fields.get("to"), "to"), _parse_payload(fields.get("payload")))
    if kind == "leave":
        return Leave()
    raise SignallingError("type is none of: join, relay, leave")


def parse_from_hub(text: str) -> FromHub:
    """What a hub sent -> message.

    Raises:
        SignallingError: malformed or over a limit; count it and go on.
    """
    fields = _load(text)
    kind = fields.get("type")
    if kind == "joined":
        return _parse_joined(fields)
    if kind == "arrived":
        return Arrived(_parse_participant(fields))
    if kind == "left":
        return Left(parse_id(fields.get("id"), "id"))
    if kind == "relay":
        return Relayed(parse_id(fields.get("from"), "from"), _parse_payload(fields.get("payload")))
    if kind == "error":
        to = fields.get("to")
        text = _string(fields.get("message"), "message", MAX_TEXT_CHARACTERS)
        explanation = "".join(c if c.isprintable() else " " for c in text)  # it ends up in a terminal
        code = _string(fields.get("code"), "code", MAX_ID_CHARACTERS)
        return Refused(code, explanation, None if to is None else parse_id(to, "to"))
    raise SignallingError("type is none of: joined, arrived, left, relay, error")


def parse_room(value: object) -> str:
    """Check a room name. Raises SignallingError."""
    return _matched(value, "room", MAX_ROOM_CHARACTERS, _ROOM)


def parse_token(value: object, field: str = "token") -> str:
    """Check the form of a token; only the hub can tell whether it is good. Raises SignallingError."""
    return _matched(value, field, MAX_TOKEN_CHARACTERS, _TOKEN)


def parse_id(value: object, field: str = "id") -> str:
    """Check a participant's id. Raises SignallingError."""
    return _matched(value, field, MAX_ID_CHARACTERS, _ID)


def parse_name(value: object) -> str:
    """Check a participant's name; empty is allowed. Raises SignallingError."""
    name = _string(value, "name", MAX_NAME_CHARACTERS)
    if not all(c.isprintable() or c in _JOINERS for c in name):
        raise SignallingError("name contains characters that cannot be shown")
    return name.strip()


def parse_schemas(value: object) -> tuple[int, ...]:
    """Check a list of motion schemas: 1 to MAX_SCHEMAS integers; the result is ascending. Raises SignallingError."""
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MAX_SCHEMAS:
        raise SignallingError(f"schemas is not a list of 1 to {MAX_SCHEMAS} integers")
    return tuple(sorted({_integer(v, "schemas", 0, MAX_SCHEMA) for v in value}))


def _load(text: str) -> dict[str, Any]:
    _check_size(text)
    depth = deepest = 0
    for match in _BRACKETS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match[0], 0)
        deepest = max(deepest, depth)
    if deepest > MAX_NESTING:
        raise SignallingError(f"nested deeper than {MAX_NESTING}")
    try:
        fields = json.loads(text, parse_constant=_no_constant)
    except ValueError as error:  # also integers of thousands of digits
        raise SignallingError("not JSON") from error
    if not isinstance(fields, dict):
        raise SignallingError("not a JSON object")
    return fields


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check_size(text: str) -> None:
    if len(text) > MAX_MESSAGE_BYTES or len(text.encode("utf-8", "replace")) > MAX_MESSAGE_BYTES:
        raise SignallingError(f"longer than {MAX_MESSAGE_BYTES} bytes")


def _parse_join(fields: dict[str, Any]) -> Join:
    if fields.get("protocol") != PROTOCOL:
        raise SignallingError(f"this hub speaks protocol {PROTOCOL}; update the older of client and hub")
    resume = fields.get("resume")
    return Join(
        parse_token(fields.get("token")),
        parse_room(fields.get("room")),
        parse_name(fields.get("name", "")),
        parse_schemas(fields.get("schemas")),
        None if resume is None else parse_token(resume, "resume"),
    )


def _parse_joined(fields: dict[str, Any]) -> Joined:
    others = _list(fields.get("participants"), "participants", MAX_PARTICIPANTS)
    servers = _list(fields.get("ice_servers", []), "ice_servers", MAX_ICE_SERVERS)
    known = [_parse_ice_server(_object(server, "ice_servers")) for server in servers]
    return Joined(
        parse_id(fields.get("id")),
        parse_token(fields.get("resume"), "resume"),
        tuple(_parse_participant(_object(other, "participants")) for other in others),
        tuple(server for server in known if server.urls),
        fields.get("resumed") is True,
        fields.get("relay_only") is True,
        parse_name(fields.get("name", "")),
    )


def _parse_participant(fields: dict[str, Any]) -> Participant:
    return Participant(
        parse_id(fields.get("id")),
        parse_name(fields.get("name", "")),
        parse_schemas(fields.get("schemas")),
        fields.get("vouched") is True,
    )


def _parse_ice_server(fields: dict[str, Any]) -> IceServer:
    urls = [_string(url, "urls", MAX_TEXT_CHARACTERS) for url in _list(fields.get("urls"), "urls", MAX_ICE_SERVERS)]
    username, credential = fields.get("username"), fields.get("credential")
    return IceServer(
        tuple(url for url in urls if is_stun(url) or is_turn(url)),  # others would fail every connection
        None if username is None else _string(username, "username", MAX_TEXT_CHARACTERS),
        None if credential is None else _string(credential, "credential", MAX_TEXT_CHARACTERS),
    )


def _parse_payload(value: object) -> Payload:
    fields = _object(value, "payload")
    kind = fields.get("kind")
    if kind not in KINDS:
        raise SignallingError(f"kind is none of: {', '.join(KINDS)}")
    media = fields.get("media", "motion")
    if media not in MEDIA:
        raise SignallingError(f"media is none of: {', '.join(MEDIA)}")
    sdp = _string(fields.get("sdp", ""), "sdp", MAX_SDP_BYTES)
    if len(sdp.encode()) > MAX_SDP_BYTES:
        raise SignallingError(f"sdp is longer than {MAX_SDP_BYTES} bytes")
    if _CONTROL.search(sdp):
        raise SignallingError("sdp contains control characters")
    if _LINE_BREAK.search(sdp):
        raise SignallingError("sdp contains line breaks other than CRLF or LF")
    if (kind == "bye") != (not sdp):
        raise SignallingError("an offer or answer needs an sdp, a bye has none")
    session = _integer(fields.get("session"), "session", 0, MAX_SESSION)
    return Payload(cast("Any", kind), session, sdp, cast("Any", media))


def _object(value: object, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SignallingError(f"{field} is not an object")
    return value


def _list(value: object, field: str, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise SignallingError(f"{field} is not a list of at most {most}")
    return value


def _integer(value: object, field: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:  # a bool is an int for isinstance
        raise SignallingError(f"{field}: not an integer from {least} to {most}")
    return value


def _string(value: object, field: str, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise SignallingError(f"{field} is not a string of at most {most} characters")
    if _SURROGATE.search(value):
        raise SignallingError(f"{field} contains half a surrogate pair")
    return value


def _matched(value: object, field: str, most: int, pattern: re.Pattern[str]) -> str:
    text = _string(value, field, most)
    if not pattern.fullmatch(text):
        raise SignallingError(f"{field} is empty or contains characters other than letters, digits and a few signs")
    return text


def _participant(p: Participant) -> dict[str, Any]:
    vouched = {"vouched": True} if p.vouched else {}
    return {"id": p.id, "name": p.name, "schemas": list(p.schemas)} | vouched


def _ice_server(server: IceServer) -> dict[str, Any]:
    fields = {"urls": list(server.urls), "username": server.username, "credential": server.credential}
    return {name: value for name, value in fields.items() if value is not None}


def _payload(p: Payload) -> dict[str, Any]:
    fields: dict[str, Any] = {"kind": p.kind, "session": p.session}
    if p.media != "motion":  # which is what its absence means
        fields["media"] = p.media
    return fields | ({"sdp": p.sdp} if p.sdp else {})


_ENCODERS: Final[dict[type, Callable[[Any], dict[str, Any]]]] = {
    Join: lambda m: {
        "type": "join",
        "protocol": PROTOCOL,
        "token": m.token,
        "room": m.room,
        "name": m.name,
        "schemas": list(m.schemas),
        "resume": m.resume,
    },
    Relay: lambda m: {"type": "relay", "to": m.to, "payload": _payload(m.payload)},
    Leave: lambda m: {"type": "leave"},
    Joined: lambda m: {
        "type": "joined",
        "id": m.id,
        "resume": m.resume,
        "participants": [_participant(p) for p in m.participants],
        "ice_servers": [_ice_server(s) for s in m.ice_servers],
        "resumed": m.resumed,
        "relay_only": m.relay_only,
        **({"name": m.name} if m.name else {}),
    },
    Arrived: lambda m: {"type": "arrived"} | _participant(m.participant),
    Left: lambda m: {"type": "left", "id": m.id},
    Relayed: lambda m: {"type": "relay", "from": m.sender, "payload": _payload(m.payload)},
    Refused: lambda m: {"type": "error", "code": m.code, "message": m.message} | ({"to": m.to} if m.to else {}),
}
