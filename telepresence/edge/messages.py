"""What an edge and its own page say to each other on the WebSocket `/api/room`. Sans-I/O; docs/edge.md has every field.

The parser is total: whatever the text, it returns a message, None for a type of a later version, or raises.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from telepresence.errors import ProtocolError, SignallingError
from telepresence.hub.codec import encode, parse_from_client, parse_id, parse_name
from telepresence.hub.messages import MAX_MESSAGE_BYTES, MAX_PARTICIPANTS, Payload, Relay, Relayed

MAX_TOKEN_CHARACTERS: Final = 256
MAX_SIDE: Final = 8192  # device pixels of a tile
MAX_DELAY_MS: Final = 200.0
MAX_AGE_MS: Final = 5000.0
MAX_SAID_CHARACTERS: Final = 500
MAX_PICTURES: Final = 16 * MAX_PARTICIPANTS  # in one message

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Enter:
    """First message of a page."""

    token: str
    """The page token, which only the edge's own page is told."""


@dataclass(frozen=True, slots=True)
class Take:
    """A page that was superseded wants to be the one with the sound."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Leave the room; the process goes on."""


@dataclass(frozen=True, slots=True)
class Return:
    """Join the room again (`join` on the wire)."""


@dataclass(frozen=True, slots=True)
class About:
    """What the page's user has chosen (`state` on the wire)."""

    name: str
    """Empty: the one given to `join`."""
    muted: bool
    camera: bool
    """Whether the camera is meant to be on."""
    page_ms: float | None = None
    """From capture to the picture's decoding at the edge, as the page measures it; None: not known."""


@dataclass(frozen=True, slots=True)
class View:
    """What of the call can be seen."""

    speaker: str | None
    """Who is shown large; None in a grid."""
    tiles: Mapping[str, int] = field(default_factory=dict)
    """Participant -> side of its picture on the screen, device pixels, 1 and more."""
    hidden: frozenset[str] = frozenset()
    """Whose pictures cannot be seen at all."""


@dataclass(frozen=True, slots=True)
class Voice:
    """The shape of the mouth by the sound of the voice."""

    mouth: tuple[float, float, float]
    """Open, wide, round; each 0..1."""
    level: float
    """Loudness, 0..1."""
    at_us: int | None = None
    """When it was heard, on the page's clock."""


@dataclass(frozen=True, slots=True)
class Delay:
    """Hold pictures back, so that the sound is with them."""

    place: int | None
    """None: every place."""
    ms: float
    """All alike, 0..MAX_DELAY_MS."""
    age_ms: float | None = None
    """Instead: each until its capture is so long ago, 0..MAX_AGE_MS, but by no more than MAX_DELAY_MS."""


@dataclass(frozen=True, slots=True)
class Microphone:
    """Of a headset's page, which has the sound: whether it is off."""

    muted: bool


FromPage = Enter | Take | Leave | Return | About | View | Voice | Delay | Microphone | Relay


def parse(text: str) -> FromPage | None:
    """What a page sent; None for a type of a later version.

    Raises:
        ProtocolError: malformed or over a limit.
    """
    if len(text) > MAX_MESSAGE_BYTES:
        raise ProtocolError(f"longer than {MAX_MESSAGE_BYTES} bytes")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("not JSON") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
        raise ProtocolError("not an object with a type")
    try:
        if fields["type"] == "relay":
            return _relay(text)
        parser = _PARSERS.get(fields["type"])
        return parser(fields) if parser else None
    except SignallingError as error:  # of the hub's own rules, which a payload has to keep
        raise ProtocolError(str(error)) from error


def is_sound(payload: Payload) -> bool:
    """Whether a payload is for the page, and not for the edge."""
    return payload.media == "sound"


def relayed(sender: str, payload: Payload) -> str:
    """A payload of another participant's page."""
    return encode(Relayed(sender, payload))


def room(fields: Mapping[str, Any]) -> str:
    """A snapshot of the room; `snapshot` makes the fields."""
    return _text({"type": "room", **fields})


def superseded(by: Literal["page", "headset"] = "page") -> str:
    """Another page is the one with the sound now. If it is a headset's, this one keeps all but the sound."""
    return _text({"type": "superseded", "by": by})


def returned() -> str:
    """The headset's page has gone: this one has the sound again."""
    return _text({"type": "returned"})


def said(text: str, level: Level) -> str:
    """Something for the user."""
    return _text({"type": "said", "text": text[:MAX_SAID_CHARACTERS], "level": level})


def pictures(at: Sequence[tuple[int, int, float | None, float, float]], now_ms: float) -> str:
    """When the pictures were captured that have gone to the page since the last time.

    Args:
        at: of each: place, RTP timestamp (unsigned, 32 bits), age of the capture at `now_ms` (None: at rest), its age
            as it went to the page, and for how long it had been held back on request; milliseconds.
        now_ms: the edge's monotonic clock as the message is sent; the page learns from it what its own is off by.
    """
    return _text({"type": "pictures", "now_ms": round(now_ms, 1), "at": [list(one) for one in at[-MAX_PICTURES:]]})


def _relay(text: str) -> Relay:
    relay = parse_from_client(text)
    if not isinstance(relay, Relay) or not is_sound(relay.payload):
        raise ProtocolError("a page relays sound only: payload.media is not 'sound'")
    return relay


def _enter(fields: dict[str, Any]) -> Enter:
    token = fields.get("token")
    if not isinstance(token, str) or not 1 <= len(token) <= MAX_TOKEN_CHARACTERS:
        raise ProtocolError("page.token is not a token")
    return Enter(token)


def _about(fields: dict[str, Any]) -> About:
    page_ms = fields.get("page_ms")
    return About(
        parse_name(fields.get("name", "")),
        _boolean(fields, "muted"),
        _boolean(fields, "camera"),
        None if page_ms is None else _number(page_ms, "page_ms", 60_000.0),
    )


def _view(fields: dict[str, Any]) -> View:
    speaker, tiles, hidden = fields.get("speaker"), fields.get("tiles", {}), fields.get("hidden", [])
    if not isinstance(tiles, dict) or len(tiles) > MAX_PARTICIPANTS:
        raise ProtocolError(f"view.tiles is not an object of at most {MAX_PARTICIPANTS}")
    if not isinstance(hidden, list) or len(hidden) > MAX_PARTICIPANTS:
        raise ProtocolError(f"view.hidden is not a list of at most {MAX_PARTICIPANTS}")
    sides = {parse_id(name, "tiles"): round(_number(side, "tiles", MAX_SIDE)) for name, side in tiles.items()}
    return View(
        None if speaker is None else parse_id(speaker, "speaker"),
        {name: max(1, side) for name, side in sides.items()},
        frozenset(parse_id(name, "hidden") for name in hidden),
    )


def _voice(fields: dict[str, Any]) -> Voice:
    mouth, at_us = fields.get("mouth"), fields.get("at_us")
    if not isinstance(mouth, list) or len(mouth) != 3:
        raise ProtocolError("voice.mouth is not a list of three numbers")
    opened, wide, rounded = (_number(value, "mouth", 1.0) for value in mouth)
    level = _number(fields.get("level"), "level", 1.0)
    at = None if at_us is None else round(_number(at_us, "at_us", 2.0**53))
    return Voice((opened, wide, rounded), level, at)


def _delay(fields: dict[str, Any]) -> Delay:
    place = fields.get("place")
    if place != "all" and (type(place) is not int or not 0 <= place < MAX_PARTICIPANTS):
        raise ProtocolError("delay.place is neither a place nor 'all'")
    age_ms = fields.get("age_ms")
    return Delay(
        None if place == "all" else place,
        _number(fields.get("ms"), "ms", MAX_DELAY_MS),
        None if age_ms is None else _number(age_ms, "age_ms", MAX_AGE_MS),
    )


_PARSERS: Final[dict[str, Callable[[dict[str, Any]], FromPage]]] = {
    "page": _enter,
    "take": lambda _: Take(),
    "leave": lambda _: Leave(),
    "join": lambda _: Return(),
    "state": _about,
    "view": _view,
    "voice": _voice,
    "delay": _delay,
    "microphone": lambda fields: Microphone(_boolean(fields, "muted")),
}


def _boolean(fields: dict[str, Any], name: str) -> bool:
    value = fields.get(name)
    if not isinstance(value, bool):
        raise ProtocolError(f"{name} is neither true nor false")
    return value


def _number(value: object, name: str, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ProtocolError(f"{name} is not a number")
    if not 0 <= value <= most:
        raise ProtocolError(f"{name} is not from 0 to {most:g}")
    return float(value)


def _text(fields: dict[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
