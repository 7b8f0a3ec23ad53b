"""What smoothing costs and brings, on face clips: `python -m telepresence.bench.smoothing CLIPS_DIR`.

The truth is the unsmoothed motion through a fixed zero-phase filter (Savitzky and Golay 1964, quadratic over five
pictures), which has no lag by construction and keeps blinks, so that neither over-smoothing nor lag can win against it.
Figures are of the people of `face.fit.HELD_OUT`, or with `--tuned` of the others, on whom the constants were chosen.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.face.basis import default_basis
from telepresence.face.fit import HELD_OUT, clip_landmarks
from telepresence.face.motion import Motion, Pose, keypoints, to_square
from telepresence.face.smoothing import MotionSmoother
from telepresence.face.topology import EYE_OPENING_LEFT, EYE_OPENING_RIGHT, LIPS, MOUTH_OPENING, RIGID
from telepresence.face.tracking import MotionExtractor

Doubles = NDArray[np.float64]

FRAMES: Final = 450  # of each clip
SETTLE: Final = 10  # pictures until a person's neutral shape is known well enough
ZERO_PHASE: Final = np.array([-3, 12, 17, 12, -3]) / 35
STILL_PER_S: Final = 0.25  # outer eye-corner distances: a face whose fastest point is slower is at rest
STILL_SPAN: Final = 7  # pictures over which it must be
POINTS: Final = [*LIPS, *EYE_OPENING_RIGHT, *EYE_OPENING_LEFT, *RIGID]
# Events. A blink: the lids' opening at its lowest, below the first share of its median; kept if below the second.
BLINK: Final = (0.55, 0.6)
# Lips meet: their distance at its lowest, below the first; kept if below the second; open before and after, by the
# third and fourth. Canonical units.
CLOSURE: Final = (0.03, 0.035, 0.06, 0.045)

Filter = Callable[[Motion, int], Motion]


class OneEuro:
    """One-Euro filter (Casiez, Roussel, Vogel 2012) on every number of a motion, for comparison.

    Cut-offs: at rest `least_hz`, opening by `beta` for each noise deviation a second; the velocity's own is 8 Hz, since
    the paper's 1 Hz opens after the blink.
    """

    def __init__(self, least_hz: float = 2.0, beta: float = 0.06, velocity_hz: float = 8.0) -> None:
        self._least_hz, self._beta, self._velocity_hz = least_hz, beta, velocity_hz
        expression = np.minimum(0.09, 0.018 + 0.0045 * np.arange(default_basis().size))
        self._noise = np.array([0.0016, 0.0015, 0.0007, 0.0004, 0.0002, 0.0003, *expression, *[0.0006] * 4])
        self._state: tuple[Doubles, Doubles, int] | None = None

    def __call__(self, motion: Motion, now_us: int) -> Motion:
        """Smooth one picture's motion."""
        new = _numbers(motion)
        if self._state is None:
            self._state = (new, np.zeros(len(new)), now_us)
            return motion
        old, velocity, before_us = self._state
        seconds = max(now_us - before_us, 1) / 1e6
        velocity = velocity + _alpha(np.array(self._velocity_hz), seconds) * ((new - old) / seconds - velocity)
        cut_off = self._least_hz + self._beta * np.abs(velocity) / self._noise
        smooth = old + _alpha(cut_off, seconds) * (new - old)
        self._state = (smooth, velocity, now_us)
        return _motion(smooth)


FILTERS: Final[dict[str, Callable[[], Filter]]] = {
    "none": lambda: lambda motion, _: motion,
    "One-Euro": OneEuro,
    "MotionSmoother": MotionSmoother,
}


@dataclass(slots=True)
class Figures:
    """One filter on one clip. Lags in milliseconds, jitter as a part of the unsmoothed, error in percent."""

    lag_mouth: float
    lag_eyes: float
    lag_yaw: float
    still: float | None
    blinks: tuple[int, int]
    """Kept, all."""
    closures: tuple[int, int]
    error_pct: float


@dataclass(frozen=True, slots=True)
class Signals:
    """What is looked at, over T pictures."""

    mouth: Doubles
    eyes: Doubles
    yaw: Doubles
    points: Doubles
    """(T, P, 2), outer eye-corner distances."""


def measure(raw: Sequence[Motion], neutral: NDArray[np.float32], fps: float, make: Callable[[], Filter]) -> Figures:
    """One filter against the zero-phase truth on one clip's motion."""
    smooth = make()
    shown = [smooth(motion, round(n * 1e6 / fps)) for n, motion in enumerate(raw)]
    numbers = np.stack([_numbers(motion) for motion in raw])
    padded = np.pad(numbers, ((2, 2), (0, 0)), mode="edge")
    filtered = sum(w * padded[k : k + len(numbers)] for k, w in enumerate(ZERO_PHASE))
    truth = _signals([_motion(row) for row in np.asarray(filtered)], neutral)
    seen, before = _signals(shown, neutral), _signals(raw, neutral)
    still = _still(truth, fps)
    return Figures(
        lag_mouth=_lag_ms(seen.mouth, truth.mouth, fps),
        lag_eyes=_lag_ms(seen.eyes, truth.eyes, fps),
        lag_yaw=_lag_ms(seen.yaw, truth.yaw, fps),
        still=_jitter(seen, still) / _jitter(before, still) if still[1:-1].sum() >= 10 else None,
        blinks=_blinks(seen, truth),
        closures=_closures(seen, truth),
        error_pct=100 * float(np.linalg.norm(seen.points - truth.points, axis=-1).mean()),
    )


def clips(folder: Path, cache: Path, *, tuned: bool) -> Iterator[tuple[list[Motion], NDArray[np.float32], float]]:
    """Unsmoothed motion, neutral shape and rate of every usable clip whose face is never lost."""
    for item in json.loads((folder / "MANIFEST.json").read_text())["items"]:
        skip = item["rights_tier"].startswith("B") or item["real_human"].startswith("real person, pixels")
        if skip or (item["identity"] in HELD_OUT) == tuned:
            continue
        landmarks = clip_landmarks(folder / item["file"], cache)[:FRAMES]
        landmarks = landmarks[np.isfinite(landmarks).all((1, 2))]
        if len(landmarks) < 50:
            continue
        extract = MotionExtractor()
        motions = [extract(to_square(points, *item["size"])) for points in landmarks]
        yield motions[SETTLE:], extract.neutral, item["fps"]


def report(folder: Path, cache: Path, *, tuned: bool = False) -> str:
    """The table: medians over clips, events summed up."""
    people = list(clips(folder, cache, tuned=tuned))
    lines = [
        f"{len(people)} clips, {'tuned on' if tuned else 'held out'}",
        "",
        "| filter | lag mouth | eyes | yaw | jitter at rest | blinks kept | closures kept | error |",
        "| --- |" + " ---: |" * 7,
        "| | ms | ms | ms | of unsmoothed | | | % |",
    ]
    for name, make in FILTERS.items():
        rows = [measure(*person, make) for person in people]
        lag = [np.median([getattr(row, f"lag_{part}") for row in rows]) for part in ("mouth", "eyes", "yaw")]
        still = np.median([row.still for row in rows if row.still is not None])
        blinks, closures = (np.sum([getattr(row, kind) for row in rows], 0) for kind in ("blinks", "closures"))
        error = np.median([row.error_pct for row in rows])
        lines.append(
            f"| {name} | {lag[0]:.1f} | {lag[1]:.1f} | {lag[2]:.1f} | {still:.2f} | {blinks[0]}/{blinks[1]} "
            f"| {closures[0]}/{closures[1]} | {error:.2f} |"
        )
    return "\n".join(lines)


def _alpha(cut_off_hz: Doubles, seconds: float) -> Doubles:
    alpha: Doubles = 1 / (1 + 1 / (2 * np.pi * cut_off_hz * seconds))
    return alpha


def _numbers(motion: Motion) -> Doubles:
    pose = motion.pose
    row = [*pose.rotation, *pose.translation, pose.scale, *motion.expression, *motion.gaze.reshape(-1)]
    return np.array(row, np.float64)


def _motion(row: Doubles) -> Motion:
    numbers = row.astype(np.float32)
    return Motion(Pose(numbers[:3], numbers[3:5], float(numbers[5])), numbers[6:-4], numbers[-4:].reshape(2, 2))


def _signals(motions: Sequence[Motion], neutral: NDArray[np.float32]) -> Signals:
    basis = default_basis()
    shapes = np.stack([neutral + basis.displacement(m.expression, m.gaze) for m in motions])

    def opening(pair: tuple[int, int]) -> Doubles:
        distance: Doubles = np.linalg.norm(shapes[:, pair[0]] - shapes[:, pair[1]], axis=-1).astype(np.float64)
        return distance

    scale = float(np.median([m.pose.scale for m in motions]))
    points = np.stack([keypoints(m, neutral)[POINTS, :2] for m in motions]).astype(np.float64) / scale
    eyes = (opening(EYE_OPENING_RIGHT) + opening(EYE_OPENING_LEFT)) / 2
    return Signals(opening(MOUTH_OPENING), eyes, np.array([m.pose.rotation[1] for m in motions], np.float64), points)


def _still(truth: Signals, fps: float) -> NDArray[np.bool_]:
    """(T,) whether a picture lies in a still stretch."""
    speed = np.zeros(len(truth.points))
    speed[1:] = np.linalg.norm(np.diff(truth.points, axis=0), axis=-1).max(1) * fps
    half = STILL_SPAN // 2
    return np.array([speed[max(0, n - half) : n + half + 1].max() < STILL_PER_S for n in range(len(speed))])


def _jitter(signals: Signals, still: NDArray[np.bool_]) -> float:
    """Deviation from picture to picture in still stretches."""
    return float(np.sqrt((np.diff(signals.points, 2, axis=0)[still[1:-1]] ** 2).mean()))


def _lag_ms(seen: Doubles, truth: Doubles, fps: float) -> float:
    """By how much a signal is behind: least squares over shifts, the best one to a fraction of a picture."""
    reach = 4
    middle = truth[reach:-reach]
    costs = [float(((seen[reach + s : len(seen) - reach + s] - middle) ** 2).sum()) for s in range(-reach, reach + 1)]
    best = int(np.clip(np.argmin(costs), 1, 2 * reach - 1))
    before, at, after = costs[best - 1 : best + 2]
    bend = before - 2 * at + after
    return (best - reach + (0.5 * (before - after) / bend if bend > 0 else 0.0)) * 1000 / fps


def _lows(signal: Doubles, below: float, reach: int) -> list[int]:
    """Where a signal is at its lowest within `reach` pictures, and below a bound."""
    lows = []
    for n in range(reach, len(signal) - reach):
        if signal[n] < below and signal[n] == signal[n - reach : n + reach + 1].min():
            lows.append(n)
    return lows


def _blinks(seen: Signals, truth: Signals) -> tuple[int, int]:
    usual = float(np.median(truth.eyes))
    found = _lows(truth.eyes, BLINK[0] * usual, 3)
    return sum(seen.eyes[n - 1 : n + 2].min() < BLINK[1] * usual for n in found), len(found)


def _closures(seen: Signals, truth: Signals) -> tuple[int, int]:
    below, kept, before, after = CLOSURE
    mouth = truth.mouth
    found = [
        n for n in _lows(mouth, below, 4) if mouth[n - 4 : n].max() > before and mouth[n + 1 : n + 5].max() > after
    ]
    return sum(seen.mouth[n - 1 : n + 2].min() < kept for n in found), len(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("out/landmarks"))
    parser.add_argument("--tuned", action="store_true", help="the people that the filter was tuned on")
    options = parser.parse_args()
    print(report(options.clips, options.cache, tuned=options.tuned))
