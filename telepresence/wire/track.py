"""A recorded motion track: packets with their capture times in one small file, `docs/motion-format.md`. Sans-I/O.

`NAME.motion` holds no picture and no identity: it can drive any avatar.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from telepresence.errors import MediaError, PacketError
from telepresence.wire.packets import MAX_PACKET_BYTES, MotionPacket
from telepresence.wire.plain import decode, encode

MAGIC: Final = b"\x89MOTION\n"
VERSION: Final = 1
MAX_PACKETS: Final = 108_000  # an hour at 30 a second
MAX_TRACK_BYTES: Final = 32 * 1024 * 1024

_HEAD: Final = struct.Struct("!8sHHIQ")  # magic, version, zero, packets, period in microseconds
_LENGTH: Final = struct.Struct("!H")  # bytes of the packet that follows


@dataclass(frozen=True, slots=True)
class MotionTrack:
    """Motion over time, played once or in a loop."""

    packets: tuple[MotionPacket, ...]
    """In order of capture; `capture_us` counts from the track's beginning."""
    period_us: int
    """When the first packet is due again if the track is looped; later than the last packet."""


def pack_track(track: MotionTrack) -> bytes:
    """Track -> file."""
    parts = [_HEAD.pack(MAGIC, VERSION, 0, len(track.packets), track.period_us)]
    for packet in track.packets:
        data = encode(packet)
        parts += [_LENGTH.pack(len(data)), data]
    return b"".join(parts)


def unpack_track(data: bytes) -> MotionTrack:
    """File -> track.

    Raises:
        MediaError: not a motion track, damaged, or of another version.
    """
    if len(data) > MAX_TRACK_BYTES or len(data) < _HEAD.size or not data.startswith(MAGIC):
        raise MediaError("not a motion track; record one, or drive with a clip")
    _, version, _, count, period_us = _HEAD.unpack_from(data)
    if version != VERSION:
        raise MediaError(f"motion track version {version}; this build reads {VERSION}: update telepresence")
    if not 1 <= count <= MAX_PACKETS:
        raise MediaError(f"a motion track has 1 to {MAX_PACKETS} packets, this one says {count}; record it anew")
    packets = _packets(data, count)
    times = [packet.capture_us for packet in packets]
    if any(b <= a for a, b in zip(times, [*times[1:], period_us], strict=True)):
        raise MediaError("the motion track's times do not ascend; record it anew")
    return MotionTrack(tuple(packets), period_us)


def _packets(data: bytes, count: int) -> Sequence[MotionPacket]:
    packets, at = [], _HEAD.size
    for _ in range(count):
        length = int.from_bytes(data[at : at + _LENGTH.size], "big")
        at += _LENGTH.size
        if length > MAX_PACKET_BYTES or at + length > len(data):
            raise MediaError("the motion track is cut short; copy it again")
        try:
            packet = decode(data[at : at + length])
        except PacketError as error:
            raise MediaError(f"the motion track is damaged ({error}); copy it again") from error
        if not isinstance(packet, MotionPacket):
            raise MediaError("the motion track holds something else than motion; record it anew")
        packets.append(packet)
        at += length
    if at != len(data):
        raise MediaError("something follows the motion track's end; copy it again")
    return packets
