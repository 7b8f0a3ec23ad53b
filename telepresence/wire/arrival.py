"""Which packets count, and how long they take. Sans-I/O: time comes in as an argument."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from telepresence.wire.packets import MotionPacket

_HALF: Final = 1 << 31
RESTART_GAP: Final = 1 << 16  # packets; a sequence further off is a sender that started anew, not a late packet

WINDOW_PACKETS: Final = 64  # whose delays are remembered: two seconds at 30 a second
USUAL_SHARE: Final = 0.2  # of the packets are there when their moment comes; the others are predicted until they are
STALE_US: Final = 250_000  # later than the fastest: left over from an outage
FUTURE_US: Final = 1_000_000  # earlier than the fastest: no link becomes faster by that much
RESYNC_PACKETS: Final = 5  # that agree with each other, and not with what came before
RESYNC_US: Final = 100_000  # over which they must have come: a burst after an outage comes at once


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


@dataclass(slots=True)
class Counts:
    """What became of packets that were not shown, and of the stream's order."""

    dropped: int = 0
    """All that came too late, out of all reason, or never."""
    repeated: int = 0
    """Not of these: what had already come, because the network or the codec sent it twice."""
    stale: int = 0
    """Of these: so late that they are left over from an outage."""
    future: int = 0
    """Of these: captured after they arrived."""
    epochs: int = 0
    """Changes of avatar."""
    restarts: int = 0
    """Times that the stream went on with other numbers or another clock: a sender that started anew."""


class Arrivals:
    """Judges packets by their sequence and their delay, and measures the delays.

    Delays are arrival less capture, on two clocks that need not agree: what counts is by how much they differ. A stream
    whose numbers or clock leap is followed once several packets agree with each other (as RFC 3550 appendix A.1 does),
    so neither one packet of nonsense nor a sender that started anew can silence a stream for good.

    Args:
        counts: of the stream before, to go on counting.
    """

    def __init__(self, counts: Counts | None = None) -> None:
        self.counts = counts or Counts()
        self.restarted = False
        """Whether the packet accepted last began the stream, or began it anew."""
        self._newest = Newest()
        self._delays: deque[int] = deque(maxlen=WINDOW_PACKETS)
        self._recent: deque[tuple[int, int]] = deque(maxlen=WINDOW_PACKETS)
        self._odd: list[tuple[MotionPacket, int]] = []  # refused, but in agreement with each other; newest last

    @property
    def fastest_us(self) -> int:
        """Shortest delay in the window; 0 before the first packet."""
        return min(self._delays, default=0)

    @property
    def usual_us(self) -> int:
        """The delay within which USUAL_SHARE of the packets come; 0 before the first one."""
        if not self._delays:
            return 0
        return sorted(self._delays)[int(USUAL_SHARE * (len(self._delays) - 1))]

    def accept(self, packet: MotionPacket, now_us: int) -> bool:
        """Whether a packet counts."""
        delay_us = now_us - packet.capture_us
        if not self._delays:
            self._newest.accept(packet)
            return self._take(packet, delay_us, restarted=True)
        if (packet.sequence, packet.capture_us) in self._recent:
            self.counts.repeated += 1
            return False
        if self._echoes(packet):
            self.counts.repeated += 1
            return False
        excess_us = delay_us - self.fastest_us
        before = self._newest.dropped
        if excess_us > STALE_US:
            self.counts.stale += 1
            self.counts.dropped += 1
        elif excess_us < -FUTURE_US:
            self.counts.future += 1
            self.counts.dropped += 1
        elif self._newest.accept(packet):
            self.counts.dropped += self._newest.dropped - before
            return self._take(packet, delay_us, restarted=False)
        else:
            self.counts.dropped += 1
        return self._resync(packet, now_us)

    def _take(self, packet: MotionPacket, delay_us: int, *, restarted: bool) -> bool:
        self._odd = []
        self._recent.append((packet.sequence, packet.capture_us))
        self.restarted = restarted
        self._delays.append(delay_us)
        return True

    def _echoes(self, packet: MotionPacket) -> bool:
        """Whether it was refused before: senders that see losses send every motion twice."""
        return any((odd.sequence, odd.capture_us) == (packet.sequence, packet.capture_us) for odd, _ in self._odd)

    def _resync(self, packet: MotionPacket, now_us: int) -> bool:
        """Follow packets that were refused but agree with each other."""
        if self._odd and _trails(*self._odd[-1], packet, now_us):
            return False  # overtaken on its way: it neither agrees nor disagrees
        if self._odd and not _follows(*self._odd[-1], packet, now_us):
            self._odd = []
        self._odd = [*self._odd[: RESYNC_PACKETS - 1], (packet, now_us)]
        if len(self._odd) < RESYNC_PACKETS or now_us - self._odd[0][1] < RESYNC_US:
            return False
        self._newest = Newest()
        self._newest.accept(packet)
        self._delays.clear()
        self._recent.clear()
        self._recent.extend((odd.sequence, odd.capture_us) for odd, _ in self._odd)
        self.counts.restarts += 1
        return self._take(packet, now_us - packet.capture_us, restarted=True)


def _follows(before: MotionPacket, before_us: int, packet: MotionPacket, now_us: int) -> bool:
    """Whether a packet goes on where one before it left off, in number and time."""
    ahead = (packet.sequence - before.sequence) & 0xFFFFFFFF
    after = 0 < ahead <= RESYNC_PACKETS and packet.capture_us > before.capture_us
    return after and _agree(before, before_us, packet, now_us)


def _trails(newer: MotionPacket, newer_us: int, packet: MotionPacket, now_us: int) -> bool:
    """Whether a packet is of the same stream as one that overtook it."""
    behind = (newer.sequence - packet.sequence) & 0xFFFFFFFF
    before = behind <= RESYNC_PACKETS and packet.capture_us <= newer.capture_us
    return before and _agree(newer, newer_us, packet, now_us)


def _agree(one: MotionPacket, one_us: int, other: MotionPacket, other_us: int) -> bool:
    """Whether two packets took about as long."""
    return abs((other_us - other.capture_us) - (one_us - one.capture_us)) <= STALE_US
