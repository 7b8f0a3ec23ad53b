"""How far another machine's monotonic clock is from ours, from pings. Sans-I/O: times come in as arguments."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from telepresence.wire.codec import Ping, Pong

WINDOW: Final = 16  # answers remembered; at one a second the estimate forgets a route change in 16 s


@dataclass(frozen=True, slots=True)
class _Sample:
    rtt_us: int
    offset_us: int


class ClockOffset:
    """Offset of a peer's clock, taken from the ping with the shortest round trip in the window (NTP's clock filter)."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque(maxlen=WINDOW)
        self._sequence = 0
        self._waiting: dict[int, int] = {}

    def ping(self, now_us: int) -> Ping:
        """Make the next ping; send it at once, since `now_us` travels in it."""
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        self._waiting = dict(list(self._waiting.items())[1 - WINDOW :])
        self._waiting[self._sequence] = now_us
        return Ping(self._sequence, now_us)

    def pong(self, pong: Pong, now_us: int) -> bool:
        """Take an answer in; False if nobody asked (replayed or forged), which changes nothing."""
        if self._waiting.get(pong.sequence) != pong.sent_us:
            return False
        del self._waiting[pong.sequence]
        rtt = now_us - pong.sent_us
        self._samples.append(_Sample(rtt, pong.answered_us - (pong.sent_us + now_us) // 2))
        return True

    @property
    def known(self) -> bool:
        """Whether any answer has come."""
        return bool(self._samples)

    @property
    def offset_us(self) -> int:
        """Peer's clock minus ours, microseconds; 0 until the first answer."""
        return min(self._samples, key=lambda s: s.rtt_us).offset_us if self._samples else 0

    @property
    def rtt_us(self) -> int:
        """Shortest round trip in the window, microseconds; 0 until the first answer."""
        return min((s.rtt_us for s in self._samples), default=0)

    def to_local_us(self, peer_us: int) -> int:
        """A time on the peer's clock, on ours."""
        return peer_us - self.offset_us
