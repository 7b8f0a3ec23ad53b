"""What a page says on the WebSocket `/api/enrol`. Sans-I/O; docs/enrolment.md has every message.

The parser is total: whatever the text, it returns a message, None for a type of a later version, or raises.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from telepresence.avatar.model import MAX_NAME
from telepresence.enrolment.looking import MAX_JPEG_BYTES
from telepresence.enrolment.steps import Step
from telepresence.errors import ProtocolError

MAX_TEXT_BYTES: Final = 4096
MAX_TOKEN_CHARACTERS: Final = 256
NUMBER_BYTES: Final = 4  # before a picture: its number, so that the page knows what an answer is to
MAX_BINARY_BYTES: Final = NUMBER_BYTES + MAX_JPEG_BYTES


@dataclass(frozen=True, slots=True)
class Enter:
    """First message (`page` on the wire)."""

    token: str


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin the guide, from its beginning."""


@dataclass(frozen=True, slots=True)
class Retake:
    """Take one step again."""

    step: Step


@dataclass(frozen=True, slots=True)
class Skip:
    """Leave the step at hand out."""


@dataclass(frozen=True, slots=True)
class FromPhotos:
    """Make an avatar of the photos that were uploaded (`photos` on the wire)."""


@dataclass(frozen=True, slots=True)
class Accept:
    """Be shown as what was made from now on."""

    name: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Forget what was made and not accepted, and all pictures."""


@dataclass(frozen=True, slots=True)
class Tune:
    """Learn on from the pictures that are there, beside the call."""


@dataclass(frozen=True, slots=True)
class StopTuning:
    """No more of that; the avatar stays as it is (`stop` on the wire)."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete one's own avatar."""


FromPage = Enter | Begin | Retake | Skip | FromPhotos | Accept | Leave | Tune | StopTuning | Delete


def parse(text: str) -> FromPage | None:
    """What a page sent; None for a type of a later version.

    Raises:
        ProtocolError: malformed or over a limit.
    """
    if len(text) > MAX_TEXT_BYTES:
        raise ProtocolError(f"longer than {MAX_TEXT_BYTES} bytes")
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("not JSON") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
        raise ProtocolError("not an object with a type")
    parser = _PARSERS.get(fields["type"])
    return parser(fields) if parser else None


def parse_picture(data: bytes) -> tuple[int, bytes]:
    """A camera's picture: its number and its JPEG.

    Raises:
        ProtocolError: too short or too long.
    """
    if not NUMBER_BYTES < len(data) <= MAX_BINARY_BYTES:
        raise ProtocolError(f"a picture has at most {MAX_JPEG_BYTES} bytes")
    return int.from_bytes(data[:NUMBER_BYTES], "big"), data[NUMBER_BYTES:]


def _enter(fields: dict[str, Any]) -> Enter:
    token = fields.get("token")
    if not isinstance(token, str) or not 1 <= len(token) <= MAX_TOKEN_CHARACTERS:
        raise ProtocolError("page.token is not a token")
    return Enter(token)


def _retake(fields: dict[str, Any]) -> Retake:
    step = fields.get("step")
    if not isinstance(step, str) or step not in set(Step):
        raise ProtocolError("retake.step is not a step")
    return Retake(Step(step))


def _accept(fields: dict[str, Any]) -> Accept:
    name = fields.get("name", "")
    if not isinstance(name, str):
        raise ProtocolError("accept.name is not a name")
    return Accept("".join(c for c in name if c.isprintable()).strip()[:MAX_NAME])


_PARSERS: Final[dict[str, Callable[[dict[str, Any]], FromPage]]] = {
    "page": _enter,
    "begin": lambda _: Begin(),
    "retake": _retake,
    "skip": lambda _: Skip(),
    "photos": lambda _: FromPhotos(),
    "accept": _accept,
    "leave": lambda _: Leave(),
    "tune": lambda _: Tune(),
    "stop": lambda _: StopTuning(),
    "delete": lambda _: Delete(),
}
