"""Packets on the motion channel: the plain, quantised one for motion, and the two of the clock.

Every packet stands alone: any that arrives is usable at once. `docs/packets.md` specifies them to the bit.
All integers are big-endian. A parser here raises `PacketError` and nothing else, whatever the bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import PacketError
from telepresence.face.basis import default_basis
from telepresence.face.motion import MAX_ROTATION, MAX_TRANSLATION, SCALE_RANGE, Motion, Pose, clamp

VERSION: Final = 1
SCHEMAS: Final = (1,)  # motion schemas this build can decode, ascending
MAX_PACKET_BYTES: Final = 1160  # one SCTP data chunk in aiortc: a longer message would be fragmented
MAX_EXPRESSION: Final = 128  # coefficients

KIND_MOTION: Final = 1
KIND_PING: Final = 2
KIND_PONG: Final = 3

_HEAD: Final = struct.Struct("!BB")  # version << 4 | kind, motion schema (0 for ping and pong)
# sequence, capture_us, epoch, flags, rotation, translation, scale, gaze, count
_MOTION: Final = struct.Struct("!IQBB3h2hH4hB")
_PING: Final = struct.Struct("!IQ")  # sequence, sent_us
_PONG: Final = struct.Struct("!IQQ")  # sequence, sent_us of the ping, answered_us

_INT16: Final = 32767
_EXPRESSION_STEP: Final = 8.0 / _INT16 * 4  # standard deviations a unit; +-32 covers every basis
_GAZE_STEP: Final = 0.25 / _INT16  # canonical units

FLAG_REST: Final = 1  # the sender sees no face: let the avatar come to rest


@dataclass(frozen=True, slots=True)
class MotionPacket:
    """One picture's motion with its capture time."""

    sequence: int
    """Counts up by one a packet, modulo 2**32."""
    capture_us: int
    """When the camera picture was taken: the sender's monotonic clock, microseconds."""
    motion: Motion
    epoch: int = 0
    """Which avatar the motion is for; the sender counts up when it changes its avatar. 0-255."""
    rest: bool = False
    """The sender sees no face; `motion` is the last one seen."""


@dataclass(frozen=True, slots=True)
class Ping:
    """A question for the other clock, and a sign of life."""

    sequence: int
    sent_us: int


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer: the ping's own numbers and the time it was answered, on the answerer's monotonic clock."""

    sequence: int
    sent_us: int
    answered_us: int


Packet = MotionPacket | Ping | Pong


def encode(packet: Packet) -> bytes:
    """Packet -> at most MAX_PACKET_BYTES bytes."""
    if isinstance(packet, Ping):
        return _HEAD.pack(VERSION << 4 | KIND_PING, 0) + _PING.pack(packet.sequence, packet.sent_us)
    if isinstance(packet, Pong):
        body = _PONG.pack(packet.sequence, packet.sent_us, packet.answered_us)
        return _HEAD.pack(VERSION << 4 | KIND_PONG, 0) + body
    motion = clamp(packet.motion)
    pose = motion.pose
    count = len(motion.expression)
    if count > MAX_EXPRESSION:
        raise ValueError(f"{count} expression coefficients; a packet holds {MAX_EXPRESSION}")
    body = _MOTION.pack(
        packet.sequence & 0xFFFFFFFF,
        packet.capture_us,
        packet.epoch & 0xFF,
        FLAG_REST if packet.rest else 0,
        *_quantise(pose.rotation, MAX_ROTATION / _INT16),
        *_quantise(pose.translation, MAX_TRANSLATION / _INT16),
        round(pose.scale / SCALE_RANGE[1] * 65535),
        *_quantise(motion.gaze.reshape(-1), _GAZE_STEP),
        count,
    )
    head = _HEAD.pack(VERSION << 4 | KIND_MOTION, motion.schema)
    return head + body + np.array(_quantise(motion.expression, _EXPRESSION_STEP), ">i2").tobytes()


def decode(data: bytes) -> Packet:
    """Bytes -> packet. Values are bounded to what a face can do.

    Raises:
        PacketError: not a packet of a known version and schema; count it and go on.
    """
    if len(data) > MAX_PACKET_BYTES:
        raise PacketError(f"{len(data)} bytes; a packet has at most {MAX_PACKET_BYTES}")
    if len(data) < _HEAD.size:
        raise PacketError("shorter than a packet's head")
    first, schema = _HEAD.unpack_from(data)
    if first >> 4 != VERSION:
        raise PacketError(f"packet version {first >> 4}; this build knows {VERSION}")
    kind, body = first & 15, data[_HEAD.size :]
    if kind == KIND_MOTION:
        return _decode_motion(schema, body)
    if kind == KIND_PING and len(body) == _PING.size:
        return Ping(*_PING.unpack(body))
    if kind == KIND_PONG and len(body) == _PONG.size:
        return Pong(*_PONG.unpack(body))
    raise PacketError(f"packet kind {kind} with {len(body)} bytes")


def _decode_motion(schema: int, body: bytes) -> MotionPacket:
    if schema not in SCHEMAS:
        raise PacketError(f"motion schema {schema}; this build knows {SCHEMAS}")
    if len(body) < _MOTION.size:
        raise PacketError("shorter than a motion packet")
    sequence, capture_us, epoch, flags, *numbers, count = _MOTION.unpack_from(body)
    known = default_basis().size
    if count > known or len(body) != _MOTION.size + 2 * count:
        raise PacketError(f"{count} coefficients in {len(body)} bytes; schema {schema} has {known}")
    values = np.array(numbers, np.float32)
    pose = Pose(
        values[0:3] * np.float32(MAX_ROTATION / _INT16),
        values[3:5] * np.float32(MAX_TRANSLATION / _INT16),
        float(values[5]) * SCALE_RANGE[1] / 65535,
    )
    gaze = (values[6:10] * np.float32(_GAZE_STEP)).reshape(2, 2)
    expression = np.zeros(known, np.float32)  # a sender may leave out the last ones
    expression[:count] = np.frombuffer(body, ">i2", count, _MOTION.size).astype(np.float32) * _EXPRESSION_STEP
    motion = clamp(Motion(pose, expression, gaze, schema))
    return MotionPacket(sequence, capture_us, motion, epoch, bool(flags & FLAG_REST))


def _quantise(values: NDArray[np.float32], step: float) -> list[int]:
    """Nearest multiple of step, ties to even, within int16."""
    return [int(v) for v in np.clip(np.rint(np.asarray(values, np.float64) / step), -_INT16, _INT16)]
