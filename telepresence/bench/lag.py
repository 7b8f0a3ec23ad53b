"""By how much one face moves later than another, as seen: no clock of anything between them has a say.

Head yaw and mouth opening of the camera's face, as the sender's page showed it, and of the face on the receiver's
screen are put on one grid and shifted until they agree best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.bench.pages import Sample

Series = NDArray[np.float64]

STEP_S: Final = 0.005  # grid
COARSE_S: Final = 0.03  # between lags that are looked at first
RANGE_S: Final = (-0.3, 2.0)  # of lags that are looked at
SMOOTH_S: Final = 0.1  # mean over this: the landmarks' tremble is not what is compared
HOLD_S: Final = 0.25  # without a new picture: the last one stood still until the next came
PICTURE_S: Final = 1 / 30
LEAST_LIKENESS: Final = 0.5  # mean correlation: below it the lag means nothing
LEAST_S: Final = 4.0  # of overlap
EARS: Final = (234, 454)
OUTER_EYES: Final = (33, 263)
INNER_LIPS: Final = (13, 14)


@dataclass(frozen=True)
class Movement:
    """A face's movement over time."""

    times: Series
    """Seconds, ascending."""
    yaw: Series
    """Degrees; positive when the head turns to the picture's right."""
    mouth: Series
    """Opening between the inner lips, in distances between the outer eye corners."""
    missed: int = 0
    """Pictures in which no face was found."""


@dataclass(frozen=True)
class Lag:
    """How one movement follows another."""

    ms: float
    yaw: float
    """Pearson correlation at that lag."""
    mouth: float

    @property
    def likely(self) -> bool:
        """Whether the two are alike enough for the lag to mean something."""
        return (self.yaw + self.mouth) / 2 >= LEAST_LIKENESS


def follow(samples: Sequence[Sample]) -> Movement:
    """Find the face in pictures kept by a page."""
    from telepresence.face.landmarks import LandmarkTracker

    rows, missed = [], 0
    with LandmarkTracker() as tracker:
        for sample in samples:
            points = tracker(sample.rgb())
            if points is None:
                missed += 1
            else:
                rows.append((sample.time_us / 1e6, *looks(points)))
    series = np.array(rows, np.float64).reshape(-1, 3).T
    return Movement(series[0], series[1], series[2], missed)


def looks(points: NDArray[np.float32]) -> tuple[float, float]:
    """Landmarks (478, 3) -> yaw in degrees, mouth opening."""
    across = points[EARS[1]] - points[EARS[0]]
    eyes = np.linalg.norm(points[OUTER_EYES[1]] - points[OUTER_EYES[0]])
    mouth = np.linalg.norm(points[INNER_LIPS[1]] - points[INNER_LIPS[0]]) / eyes
    return float(np.degrees(np.arctan2(across[2], across[0]))), float(mouth)


def lag(first: Movement, second: Movement) -> Lag | None:
    """The lag at which `second` follows `first` best in yaw and mouth together; None if there is too little to tell."""
    if min(len(first.times), len(second.times)) < 2:
        return None
    best_s: float = 0.0
    for begin, end, step in ((*RANGE_S, COARSE_S), (-COARSE_S, COARSE_S + STEP_S / 2, STEP_S)):
        lags = best_s + np.arange(begin, end, step)
        yaw, mouth = (np.array([_correlation(first, second, what, at) for at in lags]) for what in ("yaw", "mouth"))
        if not np.isfinite(yaw + mouth).any():
            return None
        best = int(np.nanargmax(yaw + mouth))
        best_s = float(lags[best])
    return Lag(1000 * (best_s + STEP_S * _vertex(yaw + mouth, best)), float(yaw[best]), float(mouth[best]))


def _vertex(values: Series, at: int) -> float:
    """Where the parabola through a maximum and its neighbours has its own, in steps from it."""
    if not 0 < at < len(values) - 1:
        return 0.0
    before, peak, after = values[at - 1 : at + 2]
    bend = before - 2 * peak + after
    return float((before - after) / (2 * bend)) if np.isfinite(bend) and bend < 0 else 0.0


def _correlation(first: Movement, second: Movement, what: str, at_s: float) -> float:
    begin = max(first.times[0], second.times[0] - at_s)
    end = min(first.times[-1], second.times[-1] - at_s)
    if end - begin < LEAST_S:
        return float("nan")
    grid = np.arange(begin, end, STEP_S)
    a, b = _on(grid, first, what), _on(grid + at_s, second, what)
    if a.std() < 1e-9 or b.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _on(grid: Series, movement: Movement, what: str) -> Series:
    """A series on a grid: straight between pictures, standing still where none came."""
    times, values = movement.times, getattr(movement, what)
    late = np.flatnonzero(np.diff(times) > HOLD_S) + 1
    times = np.insert(times, late, times[late] - PICTURE_S)
    values = np.insert(values, late, values[late - 1])
    box = np.ones(round(SMOOTH_S / STEP_S)) * STEP_S / SMOOTH_S
    smooth: Series = np.convolve(np.interp(grid, times, values), box, "valid")
    return smooth


def summary(found: Sequence[Lag | None]) -> dict[str, Any]:
    """Lags of several stretches of the same path as one: the median of those that mean something, and their spread."""
    sure = [one for one in found if one is not None and one.likely]
    if not sure:
        return {"lag_ms_face": None, "lag_ms_each": [], "yaw_correlation": None, "mouth_correlation": None}
    return {
        "lag_ms_face": round(float(np.median([one.ms for one in sure])), 1),
        "lag_ms_each": [round(one.ms, 1) for one in sure],
        "yaw_correlation": round(float(np.median([one.yaw for one in sure])), 3),
        "mouth_correlation": round(float(np.median([one.mouth for one in sure])), 3),
    }
