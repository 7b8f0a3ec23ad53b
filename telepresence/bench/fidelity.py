"""How near keypoints come to the face that was seen: error, and whether blinks and meeting lips survive.

Truth is the landmarks after a fixed zero-phase filter, so that neither noise counts nor smoothing wins. Errors are in
the picture plane, divided by the outer eye-corner distance (taken in three dimensions, so that turning the head does
not change it).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.face.topology import (
    EYE_CORNERS_OUTER,
    EYE_OPENING_LEFT,
    EYE_OPENING_RIGHT,
    EYELIDS,
    LIPS,
    MOUTH_OPENING,
)

Floats = NDArray[np.float32]

KERNEL: Final = np.array([-3, 12, 17, 12, -3], np.float32) / 35  # Savitzky and Golay 1964: five points, second order
REACH: Final = 2  # pictures by which a kept event may be early or late
SHUT: Final = 0.6  # of the open eye's height: below it is a blink
DEPTH: Final = 0.75  # of an event's depth: what a kept one reaches
LEAST_OPENING: Final = 0.03  # eye-corner distances between open and shut mouth; clips with less do not speak
MET: Final = 0.2  # of that distance above shut: lips have met
APART: Final = 0.5  # what they come from


def zero_phase(points: Floats) -> Floats:
    """Landmarks (T, 478, 3) -> the same, filtered without lag."""
    half = len(KERNEL) // 2
    padded = np.concatenate([points[:1].repeat(half, 0), points, points[-1:].repeat(half, 0)])
    out: Floats = np.sum([k * padded[i : i + len(points)] for i, k in enumerate(KERNEL)], 0).astype(np.float32)
    return out


def errors(shown: Floats, truth: Floats) -> dict[str, float]:
    """Mean error of keypoints (T, 478, 3): over all points, lips, lids; shares of the eye-corner distance."""
    gap = np.linalg.norm((shown - truth)[..., :2], axis=-1) / _eye_distance(truth)[:, None]
    return {
        "nme_mean": float(gap.mean()),
        "nme_lips": float(gap[:, list(LIPS)].mean()),
        "nme_eyelids": float(gap[:, list(EYELIDS)].mean()),
    }


def blinks(shown: Floats, truth: Floats) -> tuple[int, int]:
    """How many blinks there were, and how many of them are in what is shown."""
    true, seen = _eyes(truth), _eyes(shown)
    usual = float(np.median(true))
    kept = total = 0
    for first, last in _runs(true < SHUT * usual):
        around = slice(max(first - REACH, 0), last + REACH)
        total += 1
        kept += bool(usual - seen[around].min() >= DEPTH * (usual - true[first:last].min()))
    return total, kept


def closures(shown: Floats, truth: Floats) -> tuple[int, int]:
    """How often open lips met, and how often they do in what is shown."""
    true, seen = _distance(truth, MOUTH_OPENING), _distance(shown, MOUTH_OPENING)
    eyes = _eye_distance(truth)
    true, seen = true / eyes, seen / eyes
    shut, wide = np.percentile(true, [5, 80])
    kept = total = 0
    if wide - shut < LEAST_OPENING:
        return 0, 0
    was_open = False
    starts = dict(_runs(true < shut + MET * (wide - shut)))
    for i, opening in enumerate(true):
        was_open = was_open or opening > shut + APART * (wide - shut)
        if was_open and i in starts:
            was_open = False
            total += 1
            lowest = seen[max(i - REACH, 0) : starts[i] + REACH].min()
            kept += bool(wide - lowest >= DEPTH * (wide - true[i : starts[i]].min()))
    return total, kept


def _eyes(points: Floats) -> Floats:
    height = _distance(points, EYE_OPENING_RIGHT) + _distance(points, EYE_OPENING_LEFT)
    ratio: Floats = height / _eye_distance(points)
    return ratio


def _eye_distance(points: Floats) -> Floats:
    return _distance(points, EYE_CORNERS_OUTER)


def _distance(points: Floats, pair: tuple[int, int]) -> Floats:
    distance: Floats = np.linalg.norm(points[:, pair[0]] - points[:, pair[1]], axis=-1)
    return distance


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and behind-the-last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
