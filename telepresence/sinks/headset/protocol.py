"""The headset stream's messages, to the bit: docs/headset.md. Sans-I/O.

A WebSocket carries binary messages only. Each is one or more frames: u32 length, u8 type, body; big-endian. So the
same bytes can be written to a file or a TCP connection.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import ProtocolError
from telepresence.face.blendshapes import NAMES
from telepresence.face.topology import N_LANDMARKS

Floats = NDArray[np.float32]

VERSION: Final = 1
HELLO: Final = 1  # client to server, JSON
WELCOME: Final = 2  # server to client, JSON
ROOM: Final = 3  # server to client, JSON
ERROR: Final = 4  # server to client, JSON; the connection ends
PICTURE: Final = 5  # server to client
MOTION: Final = 6  # server to client
POSE: Final = 7  # client to server
SEATS: Final = 8  # client to server, JSON
RELIEF: Final = 9  # server to client

MAX_CLIENT_BYTES: Final = 16 * 1024  # of a client's message
MAX_FRAMES: Final = 16  # of a client's message
MAX_SEATS: Final = 16
MAX_AWAY_M: Final = 100.0  # of anything from the room's origin: further is no place in a room
MAX_PLACE: Final = 255
MAX_TOKEN: Final = 200  # characters

_HEAD: Final = struct.Struct(">IB")
_POSE: Final = struct.Struct(">Q3f4ff")  # at_us, position, quaternion x y z w, ipd
_PICTURE: Final = struct.Struct(">BBHqQQ4f")  # place, flags, side, capture_us, rendered_us, pose_us, drawn and beyond
_MOTION: Final = struct.Struct(">BBqQ4f3f")  # place, flags, capture_us, sent_us, head quaternion, head position
FLAG_CAPTURE: Final = 1  # capture_us is known
FLAG_FACE: Final = 2  # MOTION: the sender's camera sees a face
MOTION_BYTES: Final = _HEAD.size + _MOTION.size + 4 * (len(NAMES) + 3 * N_LANDMARKS)

Mode = Literal["pictures", "motion"]


@dataclass(frozen=True, slots=True)
class Hello:
    """A client's first message."""

    token: str
    mode: Mode
    version: int


@dataclass(frozen=True, slots=True)
class HeadPose:
    """Where a client's head is, in the room: metres, x right, y up, z backwards (WebXR's `local-floor`)."""

    at_us: int
    """The client's own clock; comes back with the pictures that were drawn for it."""
    position: NDArray[np.float64]
    """(3,) metres, between the eyes."""
    right: NDArray[np.float64]
    """(3,) unit vector from the left eye to the right one."""
    forward: NDArray[np.float64]
    """(3,) unit vector, where the head faces."""
    ipd: float
    """Metres."""


@dataclass(frozen=True, slots=True)
class Seat:
    """Where an avatar's head is, and which way it faces."""

    position: tuple[float, float, float]
    """Metres in the client's room."""
    yaw: float
    """Radians about y; 0 faces +z, positive turns towards +x."""


@dataclass(frozen=True, slots=True)
class Seats:
    """Where a client wants avatars to be."""

    seats: dict[int, Seat] = field(default_factory=dict)
    raised_m: float = 0.0
    """How much higher all others sit than we put them."""


FromClient = Hello | HeadPose | Seats


def frame(kind: int, body: bytes) -> bytes:
    """One frame."""
    return _HEAD.pack(len(body) + 1, kind) + body


def json_frame(kind: int, **fields: Any) -> bytes:
    """One frame with a JSON body."""
    return frame(kind, json.dumps(fields, separators=(",", ":")).encode())


def picture(
    place: int, side: int, capture_us: int | None, rendered_us: int, pose_us: int,
    drawn: tuple[float, float], beyond: tuple[float, float], jpeg: bytes,
) -> bytes:  # fmt: skip
    """A stereo picture of an avatar; see docs/headset.md."""
    flags = FLAG_CAPTURE if capture_us is not None else 0
    times = capture_us or 0, rendered_us, pose_us
    return frame(PICTURE, _PICTURE.pack(place, flags, side, *times, *drawn, *beyond) + jpeg)


def relief(place: int, side: int, depth: bytes) -> bytes:
    """How near the picture before it is; see docs/headset.md."""
    return frame(RELIEF, bytes((place, side)) + depth)


def motion(
    place: int, face: bool, capture_us: int | None, sent_us: int,
    quaternion: Floats, position: Floats, weights: Floats, keypoints: Floats,
) -> bytes:  # fmt: skip
    """An avatar's motion for a client that draws by itself."""
    flags = (FLAG_CAPTURE if capture_us is not None else 0) | (FLAG_FACE if face else 0)
    head = _MOTION.pack(place, flags, capture_us or 0, sent_us, *quaternion.tolist(), *position.tolist())
    return frame(MOTION, head + weights.astype(">f4").tobytes() + keypoints.astype(">f4").tobytes())


def parse(data: bytes) -> list[FromClient]:
    """A client's message: the frames in it; kinds that are unknown are left out.

    Raises:
        ProtocolError: too long, of too many frames, cut off, or with values that nobody's head and no seat has.
    """
    if len(data) > MAX_CLIENT_BYTES:
        raise ProtocolError(f"a message of a client has at most {MAX_CLIENT_BYTES} bytes")
    found: list[FromClient] = []
    at = frames = 0
    while at < len(data):
        frames += 1
        if frames > MAX_FRAMES:
            raise ProtocolError(f"a message of a client has at most {MAX_FRAMES} frames")
        if len(data) - at < _HEAD.size:
            raise ProtocolError("a frame is cut off")
        length, kind = _HEAD.unpack_from(data, at)
        end = at + 4 + length
        if length < 1 or end > len(data):
            raise ProtocolError("a frame's length is wrong")
        message = _parse_one(kind, data[at + _HEAD.size : end])
        if message is not None:
            found.append(message)
        at = end
    return found


def _parse_one(kind: int, body: bytes) -> FromClient | None:
    if kind == POSE:
        return _pose(body)
    if kind == HELLO:
        return _hello(_object(body))
    if kind == SEATS:
        return _seats(_object(body))
    return None


def _pose(body: bytes) -> HeadPose:
    if len(body) != _POSE.size:
        raise ProtocolError(f"a head pose has {_POSE.size} bytes")
    at_us, *values = _POSE.unpack(body)
    if not all(map(math.isfinite, values)):
        raise ProtocolError("a head pose holds numbers that are none")
    x, y, z, w = values[3:7]
    length = math.sqrt(x * x + y * y + z * z + w * w)
    if max(map(abs, values[:3])) > MAX_AWAY_M or not 0.5 < length < 2 or not 0 <= values[7] <= 0.2:
        raise ProtocolError("a head pose is nobody's: too far away, no rotation, or eyes too far apart")
    x, y, z, w = x / length, y / length, z / length, w / length
    right = np.array([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)])
    forward = np.array([-2 * (x * z + w * y), -2 * (y * z - w * x), 2 * (x * x + y * y) - 1])
    return HeadPose(at_us, np.array(values[:3]), right, forward, values[7])


def _hello(fields: dict[str, Any]) -> Hello:
    token, mode, version = fields.get("token"), fields.get("mode"), fields.get("version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise ProtocolError("hello has no version")
    if version != VERSION:
        return Hello("", "pictures", version)  # its other fields may mean something else
    if not isinstance(token, str) or len(token) > MAX_TOKEN or mode not in ("pictures", "motion"):
        raise ProtocolError('hello has no token, or a mode other than "pictures" and "motion"')
    return Hello(token, mode, version)


def _seats(fields: dict[str, Any]) -> Seats:
    listed, raised = fields.get("seats", []), fields.get("raised", 0.0)
    if not isinstance(listed, list) or len(listed) > MAX_SEATS:
        raise ProtocolError(f"seats is no list of at most {MAX_SEATS}")
    if not isinstance(raised, int | float) or isinstance(raised, bool) or not abs(raised) <= MAX_AWAY_M:
        raise ProtocolError("raised is no height")
    found: dict[int, Seat] = {}
    for one in listed:
        place = one.get("place") if isinstance(one, dict) else None
        if not isinstance(place, int) or isinstance(place, bool) or not 0 <= place <= MAX_PLACE:
            raise ProtocolError("a seat has no place")
        values = one.get("position")
        numbers = [*values, one.get("yaw")] if isinstance(values, list) and len(values) == 3 else []
        if not numbers or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in numbers):
            raise ProtocolError("a seat has no position and yaw")
        if not all(abs(v) <= MAX_AWAY_M for v in numbers):  # NaN is not, either
            raise ProtocolError("a seat is nowhere in a room")
        found[place] = Seat((float(numbers[0]), float(numbers[1]), float(numbers[2])), float(numbers[3]))
    return Seats(found, float(raised))


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("a body is not JSON") from error
    if not isinstance(value, dict):
        raise ProtocolError("a body is no JSON object")
    return value
