"""When each packet of sound is played, and what is played in place of one that is missing. Sans-I/O.

aiortc's own buffer counts packets: each one lost adds to the delay for ever. This one plays by time. A packet's RTP
time and the quickest arrivals of late say when it would be here at the earliest; it is played `delay_us` after that,
whether the one before it came or not. The delay follows the arrivals' spread, between 20 and 120 ms. What the two
machines' crystals differ by shows in the arrivals as well, and is made up for with the same small corrections.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

RATE: Final = 48_000  # samples a second, of Opus in RTP (RFC 7587)
FRAME: Final = 960  # samples of a packet: 20 ms, as browsers send
FRAME_US: Final = 20_000
DELAY_US: Final = (20_000, 120_000)
LATE_SHARE: Final = 0.97  # of the packets that come within the delay
WINDOW: Final = 250  # arrivals that are remembered: 5 s
RISE: Final = 1.0  # how much of a spread that has grown is followed at once
FALL: Final = 0.01  # and of one that has shrunk, each packet: a time constant of two seconds
STEP_US: Final = 10_000  # of a correction: half a frame left out, or played twice
CORRECT_EVERY: Final = 5  # frames; so 10 ms in 100 ms at the most
MAX_AHEAD: Final = 50  # frames held: a second; what is further ahead begins a new stream
MAX_GAP: Final = 100  # frames concealed in a row, before it counts as a pause
WRAP: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Play:
    """The next 20 ms."""

    data: bytes | None
    """A packet for the decoder; None: conceal what is missing."""
    media: int
    """Its place in the stream: samples since the first packet."""
    due_us: int
    """When it is to be heard, on our clock."""
    correct: int = 0
    """-1: leave half of it out, 1: play half of it twice; either where it is heard least."""


class SoundPlayout:
    """One sender's sound. `put` packets as they arrive, `take` what is due."""

    def __init__(self) -> None:
        self._packets: dict[int, bytes] = {}  # by frame number
        self._arrivals: deque[int] = deque(maxlen=WINDOW)  # arrival less media time, microseconds
        self._origin: int | None = None
        self._highest = 0
        self._next: int | None = None  # frame number to be played next
        self._shift_us = 0  # media time + this = when it is played
        self._spread_us = float(DELAY_US[0])
        self._since_correction = 0
        self._missing = 0
        self.received = 0
        self.late = 0
        """Packets that came after their time, and were of no use."""
        self.concealed = 0
        """Frames for which nothing was there in time."""

    @property
    def delay_us(self) -> int:
        """How long the quickest packets wait: what this buffer adds to the sound's age."""
        return self._shift_us - min(self._arrivals) if self._arrivals and self._next is not None else 0

    @property
    def target_us(self) -> int:
        """Where the delay is going."""
        return round(max(DELAY_US[0], min(DELAY_US[1], self._spread_us)))

    def put(self, rtp: int, data: bytes, now_us: int) -> None:
        """A packet has arrived; `rtp` is its 32-bit RTP time, in any order, maybe twice."""
        media = self._unwrapped(rtp)
        frame = round(media / FRAME)
        if self._next is not None and not -MAX_AHEAD <= frame - self._next <= MAX_AHEAD:
            self._restart()
            media = self._unwrapped(rtp)
            frame = round(media / FRAME)
        self.received += 1
        self._arrivals.append(now_us - media * 1_000_000 // RATE)
        self._follow_spread()
        if self._next is None:
            self._next = frame
            self._shift_us = self._arrivals[-1] + self.target_us
        if frame < self._next:
            self.late += 1
            return
        self._packets[frame] = data

    def take(self, now_us: int) -> Iterator[Play]:
        """Everything that is due by now, in order."""
        while self._next is not None:
            due_us = self._next * FRAME_US + self._shift_us
            if due_us > now_us:
                return
            data = self._packets.pop(self._next, None)
            if data is None:
                self._missing += 1
                if self._missing > MAX_GAP:
                    self._restart()
                    return
                if self._packets or self._missing <= 5:  # else most likely a pause
                    self.concealed += 1
            else:
                self._missing = 0
            frame, self._next = self._next, self._next + 1
            yield Play(data, frame * FRAME, due_us, self._correction())

    def _correction(self) -> int:
        """Half a frame less or more, if what is wanted and what is differ by that."""
        self._since_correction += 1
        if self._since_correction < CORRECT_EVERY or not self._arrivals:
            return 0
        off_us = self.delay_us - self.target_us
        if abs(off_us) < STEP_US:
            return 0
        self._since_correction = 0
        self._shift_us -= STEP_US if off_us > 0 else -STEP_US
        return -1 if off_us > 0 else 1

    def _follow_spread(self) -> None:
        """How far the slow arrivals are behind the quickest: at once when it grows, slowly when it shrinks."""
        ordered = sorted(self._arrivals)
        spread = ordered[min(len(ordered) - 1, int(LATE_SHARE * len(ordered)))] - ordered[0] + FRAME_US / 4
        self._spread_us += (RISE if spread > self._spread_us else FALL) * (spread - self._spread_us)

    def _unwrapped(self, rtp: int) -> int:
        if self._origin is None:
            self._origin, self._highest = rtp, 0
        media = self._highest + ((rtp - self._origin - self._highest + WRAP // 2) % WRAP - WRAP // 2)
        self._highest = max(self._highest, media)
        return media

    def _restart(self) -> None:
        """The stream has jumped, or fallen silent: nothing known of it holds any more, but for how it is spread."""
        self._packets.clear()
        self._arrivals.clear()
        self._origin, self._next, self._missing = None, None, 0
