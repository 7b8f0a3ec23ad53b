"""The plain packet: one motion, 16 bits a value, no prediction, no memory. For track files and for comparison.

`docs/packets.md`, section "Plain motion". A parser here raises `PacketError` and nothing else, whatever the bytes.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import PacketError
from telepresence.face.basis import default_basis
from telepresence.face.motion import MAX_ROTATION, MAX_TRANSLATION, SCALE_RANGE, Motion, Pose, clamp
from telepresence.wire.packets import (
    KIND_PLAIN,
    SCHEMAS,
    MotionPacket,
    Ping,
    Pong,
    decode_ping,
    encode_ping,
    first_byte,
    kind_of,
)

MAX_EXPRESSION: Final = 48  # coefficients; a receiver refuses more than its basis has

_HEAD: Final = struct.Struct("!BB")  # version << 4 | kind, motion schema
# sequence, capture_us, epoch, flags, rotation, translation, scale, gaze, count
_MOTION: Final = struct.Struct("!IQBB3h2hH4hB")

_INT16: Final = 32767
_EXPRESSION_STEP: Final = 8.0 / _INT16 * 4  # standard deviations a unit; +-32 covers every basis
_GAZE_STEP: Final = 0.25 / _INT16  # canonical units

FLAG_REST: Final = 1  # the sender sees no face: let the avatar come to rest
FLAG_STILL: Final = 2  # nothing moves: the next packet may be late

Packet = MotionPacket | Ping | Pong


def encode(packet: Packet) -> bytes:
    """Packet -> at most MAX_PACKET_BYTES bytes."""
    if not isinstance(packet, MotionPacket):
        return encode_ping(packet)
    motion = clamp(packet.motion)
    pose = motion.pose
    count = len(motion.expression)
    if count > MAX_EXPRESSION:
        raise ValueError(f"{count} expression coefficients; a packet holds {MAX_EXPRESSION}")
    body = _MOTION.pack(
        packet.sequence & 0xFFFFFFFF,
        packet.capture_us,
        packet.epoch & 0xFF,
        packet.rest * FLAG_REST | packet.still * FLAG_STILL,
        *_quantise(pose.rotation, MAX_ROTATION / _INT16),
        *_quantise(pose.translation, MAX_TRANSLATION / _INT16),
        round(pose.scale / SCALE_RANGE[1] * 65535),
        *_quantise(motion.gaze.reshape(-1), _GAZE_STEP),
        count,
    )
    head = _HEAD.pack(first_byte(KIND_PLAIN), motion.schema)
    return head + body + np.array(_quantise(motion.expression, _EXPRESSION_STEP), ">i2").tobytes()


def decode(data: bytes) -> Packet:
    """Bytes -> packet. Values are bounded to what a face can do.

    Raises:
        PacketError: not a plain packet, ping or pong of a known version and schema; count it and go on.
    """
    if kind_of(data) != KIND_PLAIN:
        return decode_ping(data)
    if len(data) < _HEAD.size + _MOTION.size:
        raise PacketError("shorter than a motion packet")
    return _decode_motion(data[1], data[_HEAD.size :])


def _decode_motion(schema: int, body: bytes) -> MotionPacket:
    if schema not in SCHEMAS:
        raise PacketError(f"motion schema {schema}; this build knows {SCHEMAS}")
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
    return MotionPacket(sequence, capture_us, motion, epoch, bool(flags & FLAG_REST), bool(flags & FLAG_STILL))


def _quantise(values: NDArray[np.float32], step: float) -> list[int]:
    """Nearest multiple of step, ties to even, within int16."""
    return [int(v) for v in np.clip(np.rint(np.asarray(values, np.float64) / step), -_INT16, _INT16)]
