"""What an edge measures of itself, over the last five seconds. Pure: times come in as arguments.

The names and units that `GET /api/stats` shows are specified in `docs/edge.md`.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

WINDOW_US: Final = 5_000_000
MAX_SAMPLES: Final = 5_000  # a window holds a thousand a second; more are forgotten early


class Window:
    """Samples of the last `WINDOW_US`: how many, how much, and how they are distributed."""

    def __init__(self, window_us: int = WINDOW_US) -> None:
        self._window_us = window_us
        self._samples: deque[tuple[int, float]] = deque(maxlen=MAX_SAMPLES)
        self._started_us: int | None = None

    def add(self, now_us: int, value: float = 1.0) -> None:
        """Take a sample in. Times must not go backwards."""
        if self._started_us is None:
            self._started_us = now_us
        self._samples.append((now_us, value))
        self._forget(now_us)

    def rate(self, now_us: int) -> float | None:
        """Sum of the samples a second; None until anything was measured. Counts from the first sample while young."""
        return self._per_s(now_us, [value for time_us, value in self._young(now_us)])

    def count_rate(self, now_us: int) -> float | None:
        """Number of samples a second, likewise."""
        return self._per_s(now_us, [1.0 for _ in self._young(now_us)])

    def percentile(self, now_us: int, q: float) -> float | None:
        """The q-th percentile (0..100, nearest rank); None without samples in the window."""
        self._forget(now_us)
        values = sorted(value for _, value in self._samples)
        if not values:
            return None
        return values[max(0, math.ceil(q / 100 * len(values)) - 1)]

    def _young(self, now_us: int) -> list[tuple[int, float]]:
        self._forget(now_us)
        first_us = self._started_us or 0
        return [sample for sample in self._samples if sample[0] > max(first_us, now_us - self._window_us)]

    def _per_s(self, now_us: int, values: list[float]) -> float | None:
        if self._started_us is None or now_us <= self._started_us:
            return None
        return sum(values) * 1e6 / min(self._window_us, now_us - self._started_us)

    def _forget(self, now_us: int) -> None:
        while self._samples and self._samples[0][0] <= now_us - self._window_us:
            self._samples.popleft()


class Meter:
    """The rate of a counter that only grows, for example bytes: samples of its differences."""

    def __init__(self) -> None:
        self._window = Window()
        self._last: int | None = None

    def read(self, now_us: int, total: int) -> None:
        """Take the counter's present value in."""
        self._window.add(now_us, 0 if self._last is None else max(0, total - self._last))
        self._last = total

    def rate(self, now_us: int) -> float | None:
        """Growth a second."""
        return self._window.rate(now_us)


def kbps(bytes_per_s: float | None) -> float | None:
    """Bytes a second -> kilobits (1000 bits) a second, one decimal."""
    return None if bytes_per_s is None else round(bytes_per_s * 8 / 1000, 1)


def rounded(value: float | None, digits: int = 1) -> float | None:
    """A figure as it is shown; None stays None."""
    return None if value is None else round(value, digits)
