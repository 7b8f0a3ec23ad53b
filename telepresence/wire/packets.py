"""What messages on the motion channel mean: motion, acknowledgements and the clock's pings. `docs/packets.md`.

Every message begins with one byte, version and kind. All integers are big-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from telepresence.errors import PacketError
from telepresence.face.motion import Motion

VERSION: Final = 1
SCHEMAS: Final = (1,)  # motion schemas this build can decode, ascending
MAX_PACKET_BYTES: Final = 1160  # one SCTP data chunk in aiortc: a longer message would be fragmented

KIND_PLAIN: Final = 1
KIND_PING: Final = 2
KIND_PONG: Final = 3
KIND_WHOLE: Final = 4
KIND_DELTA: Final = 5
KIND_ACK: Final = 6

MAX_TIME_US: Final = (1 << 53) - 1
ACK_WINDOW: Final = 32  # motions before the newest one that an acknowledgement speaks of

_PING: Final = struct.Struct("!BBIQ")  # first byte, 0, sequence, sent_us
_PONG: Final = struct.Struct("!BBIQQ")  # first byte, 0, sequence, sent_us of the ping, answered_us
_ACK: Final = struct.Struct("!BHI")  # first byte, newest sequence modulo 2**16, mask


@dataclass(frozen=True, slots=True)
class MotionPacket:
    """One picture's motion with its capture time."""

    sequence: int
    """Counts up by one a motion, modulo 2**32."""
    capture_us: int
    """When the camera picture was taken: the sender's monotonic clock, microseconds."""
    motion: Motion
    epoch: int = 0
    """Which avatar the motion is for; the sender counts up when it changes its avatar. 0-255."""
    rest: bool = False
    """The sender sees no face; `motion` is the last one seen."""
    still: bool = False
    """Nothing moves: the next packet may be as late as `thrift.KEEPALIVE_US`, and that is not a loss."""


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


@dataclass(frozen=True, slots=True)
class Ack:
    """Which motions a receiver holds, so that the sender may refer to them."""

    newest: int | None
    """Sequence of the newest one, modulo 2**16; None: it holds nothing."""
    mask: int = 0
    """Bit i: it also holds `newest - 1 - i`."""


def first_byte(kind: int) -> int:
    """Version and kind of a message."""
    return VERSION << 4 | kind


def kind_of(data: bytes) -> int:
    """Return the kind of a message.

    Raises:
        PacketError: empty, too long, or of another version.
    """
    if len(data) > MAX_PACKET_BYTES:
        raise PacketError(f"{len(data)} bytes; a packet has at most {MAX_PACKET_BYTES}")
    if not data:
        raise PacketError("an empty packet")
    if data[0] >> 4 != VERSION:
        raise PacketError(f"packet version {data[0] >> 4}; this build knows {VERSION}")
    return data[0] & 15


def check_time(time_us: int) -> int:
    """Return a time that was received.

    Raises:
        PacketError: beyond 285 years: no clock says this, and a page could not hold it exactly.
    """
    if time_us > MAX_TIME_US:
        raise PacketError("a time beyond 2**53 microseconds")
    return time_us


def encode_ping(packet: Ping | Pong) -> bytes:
    """Ping or pong -> 14 or 22 bytes."""
    if isinstance(packet, Ping):
        return _PING.pack(first_byte(KIND_PING), 0, packet.sequence, packet.sent_us)
    return _PONG.pack(first_byte(KIND_PONG), 0, packet.sequence, packet.sent_us, packet.answered_us)


def decode_ping(data: bytes) -> Ping | Pong:
    """Bytes -> ping or pong.

    Raises:
        PacketError: it is neither.
    """
    kind = kind_of(data)
    if kind == KIND_PING and len(data) == _PING.size:
        _, _, sequence, sent_us = _PING.unpack(data)
        return Ping(sequence, check_time(sent_us))
    if kind == KIND_PONG and len(data) == _PONG.size:
        _, _, sequence, sent_us, answered_us = _PONG.unpack(data)
        return Pong(sequence, check_time(sent_us), check_time(answered_us))
    raise PacketError(f"packet kind {kind} with {len(data)} bytes")


def encode_ack(ack: Ack) -> bytes:
    """Acknowledgement -> 7 bytes, or 1 if it holds nothing."""
    if ack.newest is None:
        return bytes([first_byte(KIND_ACK)])
    return _ACK.pack(first_byte(KIND_ACK), ack.newest & 0xFFFF, ack.mask & 0xFFFFFFFF)


def decode_ack(data: bytes) -> Ack:
    """Bytes -> acknowledgement.

    Raises:
        PacketError: it is none.
    """
    if kind_of(data) != KIND_ACK or len(data) not in (1, _ACK.size):
        raise PacketError(f"not an acknowledgement: {len(data)} bytes")
    return Ack(None) if len(data) == 1 else Ack(*_ACK.unpack(data)[1:])
