"""What was shown of a simulated link, and what it is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.face.basis import default_basis
from telepresence.face.motion import keypoints
from telepresence.face.topology import BROWS, EYELIDS, LIPS, RIGID
from telepresence.rtc.link import LinkConditions
from telepresence.wire.packets import MotionPacket

Floats = NDArray[np.float32]

POINTS: Final = [*LIPS, *EYELIDS, *BROWS, *RIGID]
RECOVERY_US: Final = 500_000  # after an outage: its own columns tell of it, the others do not
STALE_US: Final = 250_000  # beyond the network's delay
SAME: Final = 0.25 * 2 / 256  # square half-widths: a quarter of a pixel at 256, nobody sees less
MOVED: Final = 1.0 * 2 / 256  # a pixel: by then the source has visibly moved


@dataclass(slots=True)
class Trace:
    """What was shown, and when."""

    now_us: list[int]
    capture_us: list[int | None]
    points: list[Floats]
    """(P, 2) each, square coordinates."""


class Source:
    """The sender's keypoints at any time, in between by interpolation."""

    def __init__(self, packets: Sequence[MotionPacket]) -> None:
        neutral = default_basis().mean
        self._times = np.array([p.capture_us for p in packets], np.float64)
        self._points = np.stack([keypoints(p.motion, neutral)[POINTS, :2] for p in packets])
        self.scale = float(np.median([p.motion.pose.scale for p in packets]))

    def at(self, times_us: NDArray[Any]) -> Floats:
        """(T, P, 2)"""
        after = np.clip(np.searchsorted(self._times, times_us), 1, len(self._times) - 1)
        start, end = self._times[after - 1], self._times[after]
        part = np.clip((times_us - start) / (end - start), 0, 1)[:, None, None]
        points: Floats = (self._points[after - 1] * (1 - part) + self._points[after] * part).astype(np.float32)
        return points


def in_outage(link: LinkConditions, now_us: int) -> bool:
    """Whether it is an outage, or just after one."""
    return any(start <= now_us < end + RECOVERY_US for start, end in link.outages_us)


def longest_freeze(now: NDArray[Any], shown: Floats, truth: Floats) -> float:
    """Longest time for which the display stays as it is while the source has left the place shown. Microseconds."""
    longest, start, left = 0.0, 0, 0  # since when the display stands, and since when the source does not
    for i in range(1, len(now)):
        if np.abs(shown[i] - shown[start]).max() >= SAME:
            start = left = i
            continue
        away = np.abs(truth[i] - truth[start]).max()
        if away < SAME:
            left = i
        elif away >= MOVED:
            longest = max(longest, float(now[i] - now[left]))
    return longest


def stale_shown(trace: Trace, link: LinkConditions) -> int:
    """How many motions were too old when they were first shown."""
    seen: set[int] = set()
    stale = 0
    for now_us, capture_us in zip(trace.now_us, trace.capture_us, strict=True):
        if capture_us is None or capture_us in seen:
            continue
        if seen and capture_us > max(seen):
            stale += now_us - capture_us > link.delay_us + STALE_US
        seen.add(capture_us)
    return stale


def fresh_after(trace: Trace, link: LinkConditions) -> float | None:
    """Milliseconds from the end of the first outage to motion captured after it; None without an outage."""
    if not link.outages_us:
        return None
    end = link.outages_us[0][1]
    found = [t for t, c in zip(trace.now_us, trace.capture_us, strict=True) if c is not None and c >= end]
    return (found[0] - end) / 1000 if found else float("inf")
