"""Mouth and lids by name instead of by coefficient: what a voice knows of a face, in the coefficients of the basis."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.face.basis import default_basis
from telepresence.face.topology import (
    BROWS,
    EYE_LEFT,
    EYE_RIGHT,
    LIPS,
    LIPS_INNER,
    LIPS_OUTER,
    MOUTH_CORNERS,
    N_FACE,
    RIGID,
)

Floats = NDArray[np.float32]

RIDGE: Final = 0.05  # of the fit: keeps the coefficients those of a likely face
OPEN: Final = 0.16  # canonical units between the inner lips at `open` 1: a clear "a"
RAISED: Final = 0.15  # of that, the part of the upper lip
CHIN: Final = (152, 148, 377, 176, 400, 149, 378, 175, 199, 200)
WIDE: Final = 0.045  # canonical units that each corner goes outwards at `wide` 1
ROUND: Final = (0.085, 0.05)  # the same inwards at `round` 1, and the lips forwards
LID_LOWEST: Final = 0.95  # of the way down at `blink` 1


@dataclass(frozen=True, slots=True)
class Mouth:
    """A mouth's shape, each 0..1: closed and at rest is all zeros."""

    open: float = 0.0
    wide: float = 0.0
    round: float = 0.0


def expression(mouth: Mouth, blink: float = 0.0) -> Floats:
    """Coefficients (E,) of the basis for a mouth, and for lids that are closed by `blink` (0..1)."""
    return np.array([mouth.open, mouth.wide, mouth.round, blink], np.float32) @ directions()


@lru_cache(maxsize=1)
def directions() -> Floats:
    """(4, E): coefficients of `open`, `wide`, `round` and `blink` at 1.

    Each is the displacement wanted at the lips, chin or lids, and none at brows and bone, in the coefficients that come
    nearest to it: least squares, with a little ridge. What the cheeks do follows from the basis, that is from faces.
    """
    basis = default_basis()
    wanted = (_open(basis.mean), _wide(basis.mean), _round(basis.mean), _blink(basis.mean))
    return np.stack([_fitted(basis.components, displacement, weight) for displacement, weight in wanted])


def _fitted(components: Floats, displacement: Floats, weight: Floats) -> Floats:
    matrix = (components * weight[:, None]).reshape(len(components), -1).T.astype(np.float64)
    target = (displacement * weight[:, None]).reshape(-1).astype(np.float64)
    scale = RIDGE * float(np.square(matrix).sum(0).mean())
    solved = np.linalg.solve(matrix.T @ matrix + scale * np.eye(len(components)), matrix.T @ target)
    return solved.astype(np.float32)


def _still(*, lips: bool) -> tuple[Floats, Floats]:
    """No displacement, and the weights of what is to keep still."""
    weight = np.zeros(N_FACE, np.float32)
    weight[list(RIGID) + list(BROWS)] = 1.0
    if lips:
        weight[list(LIPS)] = 1.0
    else:
        weight[list(EYE_LEFT) + list(EYE_RIGHT)] = 1.0
    return np.zeros((N_FACE, 3), np.float32), weight


def _middle(mean: Floats, points: list[int]) -> Floats:
    """How near points are to the middle of the mouth: 1 there, 0 at its corners."""
    left, right = (mean[corner, 0] for corner in MOUTH_CORNERS)
    across = (2 * mean[points, 0] - left - right) / (right - left)
    near: Floats = np.clip(1 - across**2, 0, 1).astype(np.float32)
    return near


def _lower(mean: Floats, points: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """Upper and lower half of a ring of lip points; the corners are in neither."""
    ring = [point for point in points if point not in (*MOUTH_CORNERS, 78, 308)]
    middle = mean[[78, 308], 1].mean()
    half = len(ring) // 2
    order = sorted(ring, key=lambda point: mean[point, 1] - middle)
    return order[:half], order[half:]


def _open(mean: Floats) -> tuple[Floats, Floats]:
    displacement, weight = _still(lips=False)
    for ring in (LIPS_OUTER, LIPS_INNER):
        upper, lower = _lower(mean, ring)
        displacement[upper, 1] = -OPEN * RAISED * _middle(mean, upper)
        displacement[lower, 1] = OPEN * (1 - RAISED) * _middle(mean, lower)
    displacement[list(CHIN), 1] = OPEN * (1 - RAISED)
    weight[list(LIPS)] = 3.0
    weight[list(CHIN)] = 1.0
    return displacement, weight


def _wide(mean: Floats) -> tuple[Floats, Floats]:
    displacement, weight = _still(lips=False)
    left, right = (mean[corner, 0] for corner in MOUTH_CORNERS)
    lips = list(LIPS)
    displacement[lips, 0] = WIDE * (2 * mean[lips, 0] - left - right) / (right - left)
    weight[lips] = 3.0
    return displacement, weight


def _round(mean: Floats) -> tuple[Floats, Floats]:
    displacement, weight = _still(lips=False)
    left, right = (mean[corner, 0] for corner in MOUTH_CORNERS)
    lips = list(LIPS)
    inwards, forwards = ROUND
    displacement[lips, 0] = -inwards * (2 * mean[lips, 0] - left - right) / (right - left)
    displacement[lips, 2] = -forwards * _middle(mean, lips)
    weight[lips] = 3.0
    return displacement, weight


def _blink(mean: Floats) -> tuple[Floats, Floats]:
    displacement, weight = _still(lips=True)
    for lower, upper in ((EYE_RIGHT[1:8], EYE_RIGHT[15:8:-1]), (EYE_LEFT[1:8], EYE_LEFT[15:8:-1])):
        for below, above in zip(lower, upper, strict=True):
            displacement[above] = LID_LOWEST * (mean[below] - mean[above])
    weight[list(EYE_LEFT) + list(EYE_RIGHT)] = 3.0
    return displacement, weight
