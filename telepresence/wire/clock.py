"""How far another machine's monotonic clock is from ours, from pings. Sans-I/O: times come in as arguments.

A ping tells the offset to within half its round trip, wherever in it the delay was. The one with the shortest round
trip decides (NTP's clock filter, RFC 5905 section 10), older ones trusted less, since crystals differ; over minutes the
best pings also tell by how much, and that is taken into account.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from telepresence.wire.packets import Ping, Pong

WINDOW: Final = 16  # answers remembered; at one a second the estimate forgets a route change in 16 s
MAX_RTT_US: Final = 30_000_000  # a later answer tells nothing that is of use

MAX_DRIFT: Final = 500e-6  # two bad crystals; a clock that runs further off than this is not a clock that runs
UNKNOWN_DRIFT: Final = 100e-6  # what two usual ones may differ by, while nothing better is known
LEFT_DRIFT: Final = 10e-6  # what remains once the drift was estimated
BLOCKS: Final = 20  # the best ping of each block counts for the drift: five minutes
BLOCKS_LEAST: Final = 4  # over a minute, so that queues do not pass for drift
AGREE_US: Final = 1_000  # slack in the question whether two answers can both be true
STEPPED: Final = 3  # answers in a row that cannot be true: then the clock has been set, or is another one


@dataclass(frozen=True, slots=True)
class _Sample:
    rtt_us: int
    offset_us: int
    at_us: int
    """On our clock."""


class ClockOffset:
    """Offset of a peer's clock, and how fast it changes. One per peer connection."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque(maxlen=WINDOW)
        self._blocks: deque[_Sample] = deque(maxlen=BLOCKS)
        self._in_block = 0
        self._sequence = 0
        self._waiting: dict[int, int] = {}
        self._outliers: list[_Sample] = []
        self.drift = 0.0
        """Seconds that the peer's clock gains in one of ours; 0 until a minute of pings has told it."""

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
        if not 0 <= rtt <= MAX_RTT_US:
            return False
        self._take(_Sample(rtt, pong.answered_us - (pong.sent_us + now_us) // 2, now_us))
        return True

    @property
    def known(self) -> bool:
        """Whether any answer has come."""
        return bool(self._samples)

    @property
    def offset_us(self) -> int:
        """Peer's clock minus ours at the newest answer, microseconds; 0 until the first one."""
        return self._offset_at(self._samples[-1].at_us) if self._samples else 0

    @property
    def rtt_us(self) -> int:
        """Shortest round trip in the window, microseconds; 0 until the first answer."""
        return min((s.rtt_us for s in self._samples), default=0)

    @property
    def error_us(self) -> int:
        """Bound of the offset's error at the newest answer, however uneven the delay: microseconds; 0 if not known."""
        if not self._samples:
            return 0
        return round(self._doubt_us(self._best(), self._samples[-1].at_us))

    def to_local_us(self, peer_us: int) -> int:
        """A time on the peer's clock, on ours."""
        if not self._samples:
            return peer_us
        return peer_us - self._offset_at(peer_us - self.offset_us)

    def _take(self, sample: _Sample) -> None:
        if self._samples and not self._agrees(sample):
            self._outliers.append(sample)
            if len(self._outliers) < STEPPED:
                return
            outliers = self._outliers
            self._samples.clear()
            self._blocks.clear()
            self.drift, self._in_block = 0.0, 0
            self._samples.extend(outliers)
        else:
            self._samples.append(sample)
        self._outliers = []
        self._in_block += 1
        if self._in_block >= WINDOW:
            self._in_block = 0
            self._blocks.append(min(self._samples, key=lambda s: s.rtt_us))
            self.drift = _slope(list(self._blocks))

    def _agrees(self, sample: _Sample) -> bool:
        """Whether an answer can be true if the best one is."""
        best = self._best()
        apart_us = abs(sample.offset_us - best.offset_us)
        return apart_us <= (sample.rtt_us + best.rtt_us) / 2 + abs(sample.at_us - best.at_us) * MAX_DRIFT + AGREE_US

    def _best(self) -> _Sample:
        now_us = self._samples[-1].at_us
        return min(self._samples, key=lambda s: self._doubt_us(s, now_us))

    def _doubt_us(self, sample: _Sample, now_us: int) -> float:
        """How far off a sample may be by now: half its round trip, and more the older it is."""
        rate = LEFT_DRIFT if self.drift else UNKNOWN_DRIFT
        return sample.rtt_us / 2 + abs(now_us - sample.at_us) * rate

    def _offset_at(self, local_us: int) -> int:
        best = self._best()
        ahead_us = max(-MAX_RTT_US, min(MAX_RTT_US, local_us - best.at_us))
        return best.offset_us + round(self.drift * ahead_us)


def _slope(samples: list[_Sample]) -> float:
    """Weighted least squares of offset over time, within what clocks do; 0 if there are too few."""
    if len(samples) < BLOCKS_LEAST:
        return 0.0
    shortest = min(s.rtt_us for s in samples)
    weights = [1 / (s.rtt_us - shortest + AGREE_US) ** 2 for s in samples]
    total = sum(weights)
    at = sum(w * s.at_us for w, s in zip(weights, samples, strict=True)) / total
    offset = sum(w * (s.offset_us - samples[0].offset_us) for w, s in zip(weights, samples, strict=True)) / total
    spread = sum(w * (s.at_us - at) ** 2 for w, s in zip(weights, samples, strict=True))
    if spread <= 0:
        return 0.0
    moved = sum(
        w * (s.at_us - at) * (s.offset_us - samples[0].offset_us - offset)
        for w, s in zip(weights, samples, strict=True)
    )
    return max(-MAX_DRIFT, min(MAX_DRIFT, moved / spread))
