"""Sending less motion while this machine cannot keep up with a large room. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CROWD: Final = 4  # other participants; with fewer, motion is not what keeps a machine busy
LATE_S: Final = (0.03, 0.1)  # how late the event loop is on average: send every second motion, every third
SMOOTHING: Final = 0.3  # weight of the newest measurement


@dataclass(slots=True)
class Shedding:
    """Which motions go out. Every edge of a machine that is overloaded does this, so that all of them find time again.

    Without it packets are handled seconds late, heartbeats among them, and connections are given up and made anew.
    """

    late_s: float = 0.0
    """How late the event loop is, smoothed."""
    _count: int = 0

    def measured(self, late_s: float) -> None:
        """The event loop was so late just now, seconds."""
        self.late_s += SMOOTHING * (max(0.0, late_s) - self.late_s)

    def passes(self, others: int) -> bool:
        """Whether the next motion goes out to `others` participants."""
        every = 1 + sum(self.late_s > limit for limit in LATE_S) if others >= CROWD else 1
        self._count = (self._count + 1) % every
        return self._count == 0
