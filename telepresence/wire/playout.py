"""Which motion is shown. Sans-I/O: time comes in as an argument."""

from __future__ import annotations

from typing import Final

from telepresence.wire.codec import MotionPacket

_HALF: Final = 1 << 31
RESTART_GAP: Final = 1 << 16  # packets; a sequence further off is a sender that started anew, not a late packet


class Newest:
    """Newest wins: lets a packet through if it is newer than all before it, and counts what it keeps back.

    Sequence numbers are compared in serial arithmetic (RFC 1982), so that they may wrap.
    """

    def __init__(self) -> None:
        self._sequence: int | None = None
        self._capture_us = 0
        self.dropped = 0
        """Packets that came too late, twice, or never did (gaps in the sequence)."""

    def accept(self, packet: MotionPacket) -> bool:
        """Whether to show this packet's motion."""
        if self._sequence is None:
            self._sequence, self._capture_us = packet.sequence, packet.capture_us
            return True
        ahead = (packet.sequence - self._sequence) & 0xFFFFFFFF
        if ahead == 0 or ahead >= _HALF:
            self.dropped += 1
            return False
        if ahead > RESTART_GAP or packet.capture_us < self._capture_us:
            self.dropped += 1  # far-future or time-travelling: nonsense within one session
            return False
        self.dropped += ahead - 1
        self._sequence, self._capture_us = packet.sequence, packet.capture_us
        return True
