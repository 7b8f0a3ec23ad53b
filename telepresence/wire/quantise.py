"""Motion <-> integers. All that the codec remembers and predicts is in these integers, so both ends agree exactly.

The grid follows the face's size: translation counts in canonical units (`t / scale`) and scale in octaves, so that one
step moves the keypoints of a near and of a far face by the same share of the face.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from telepresence.face.basis import default_basis
from telepresence.face.motion import SCALE_RANGE, Motion, Pose, clamp
from telepresence.wire.tables import Tables

SCALE: Final = 3  # where the scale is among the values; translation follows it, since it depends on it
TRANSLATION: Final = slice(4, 6)
GAZE: Final = slice(6, 10)
EXPRESSION: Final = 10
SCALE_ONE: Final = 1 << 20
KEEP: Final = 0.6  # steps; a value this near to the reference's stays what it was: 0.5 would flicker and cost bits

Grid = list[int]
"""(V,) one motion in integers."""


def quantise(motion: Motion, tables: Tables, near: Grid | None = None) -> Grid:
    """Motion -> integers, bounded; a value within KEEP steps of that of `near` takes it over."""
    motion = clamp(motion)
    pose, steps = motion.pose, tables.steps
    values = np.empty(len(steps))
    values[:3] = pose.rotation / steps[:3]
    values[SCALE] = np.log2(pose.scale / SCALE_RANGE[0]) / steps[SCALE]
    values[GAZE] = motion.gaze.reshape(-1) / steps[GAZE]
    values[EXPRESSION:] = motion.expression[: len(steps) - EXPRESSION] / steps[EXPRESSION:]
    scale = _kept(values[SCALE], near[SCALE] if near else None)
    scale = min(max(scale, 0), tables.limits[SCALE])
    values[TRANSLATION] = pose.translation / (steps[TRANSLATION] * scale_of(scale, tables))
    values[SCALE] = scale
    rounded = np.rint(values)
    if near is not None:
        before = np.array(near, np.float64)
        before[TRANSLATION] = [rescaled(near[i], near[SCALE], scale, tables) for i in (4, 5)]
        rounded = np.where(np.abs(values - before) < KEEP, before, rounded)
    limits = np.array(tables.limits)
    grid: Grid = np.clip(rounded, -limits, limits).astype(int).tolist()
    return grid


def restore(grid: Grid, tables: Tables) -> Motion:
    """Integers -> motion, within the bounds of `face.motion.clamp`."""
    values = np.array(grid) * tables.steps
    scale = scale_of(grid[SCALE], tables)
    expression = np.zeros(default_basis().size, np.float32)
    expression[: len(values) - EXPRESSION] = values[EXPRESSION:]
    pose = Pose(values[:3].astype(np.float32), (values[TRANSLATION] * scale).astype(np.float32), scale)
    return clamp(Motion(pose, expression, values[GAZE].reshape(2, 2).astype(np.float32), tables.schema))


def scale_of(index: int, tables: Tables) -> float:
    """Scale in square half-widths."""
    return tables.scales[index] / SCALE_ONE


def rescaled(translation: int, before: int, after: int, tables: Tables) -> int:
    """What a translation on one scale's grid is on another's: rounded to the nearest, halves up."""
    if before == after:
        return translation
    old, new = tables.scales[before], tables.scales[after]
    return (translation * old + new // 2) // new


def _kept(value: float, before: int | None) -> int:
    return before if before is not None and abs(value - before) < KEEP else round(value)
