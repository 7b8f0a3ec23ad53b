"""Who a face is, as opposed to what it does: the neutral shape, and whether two of them are the same person's.

A shape seen in one picture is `mean + identity + expression`. With Gaussian priors for both (the shipped basis, and an
isotropic remainder for identity that no basis holds) the expression's share has a closed form: maximum a posteriori, as
in the separation of 3D morphable models (Blanz and Vetter 1999, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.face.basis import default_basis
from telepresence.face.motion import fit_pose
from telepresence.face.topology import (
    EYE_OPENING_LEFT,
    EYE_OPENING_RIGHT,
    MOUTH_OPENING,
    N_FACE,
    RIGID,
)

Floats = NDArray[np.float32]

IDENTITY_REMAINDER: Final = 0.02  # canonical units; deviation of neutral shapes beyond the shipped identity basis
MANY: Final = 20  # from so many frames on, rest is something seen, not something inferred
REST_SHARE: Final = 0.15  # of many frames, how many count as being at rest


def neutral_shape(points: Sequence[Floats]) -> Floats:
    """A person's own face at rest from one or more pictures.

    Args:
        points: landmarks in square coordinates, (478, 3) each; of the same person.

    Returns:
        (478, 3) float32, canonical coordinates.

    Raises:
        ValueError: `points` is empty.
    """
    if not len(points):
        raise ValueError("a neutral shape needs at least one picture's landmarks")
    mean = default_basis().mean
    shapes = np.stack([fit_pose(p, mean).invert(p) for p in points])
    if len(shapes) >= MANY:
        shapes = shapes[_most_at_rest(shapes)]
        return _symmetric_gaze(np.median(shapes, 0).astype(np.float32))
    return _symmetric_gaze(np.mean([without_expression(s) for s in shapes], 0).astype(np.float32))


def without_expression(shape: Floats) -> Floats:
    """Take the likely expression out of one canonical shape (478, 3)."""
    basis = default_basis()
    coefficients = _expression_gain() @ (shape - basis.mean)[:N_FACE].reshape(-1)
    out = shape.copy()
    out[:N_FACE] -= np.tensordot(coefficients, basis.components, 1)
    return out


def difference(one: Floats, other: Floats) -> float:
    """How unlike two neutral shapes are: root mean square over the points on bone, canonical units, x and y only."""
    gap = (one - other)[list(RIGID), :2]
    gap -= gap.mean(0)
    return float(np.sqrt((gap**2).sum(1).mean()))


def _symmetric_gaze(shape: Floats) -> Floats:
    """Set both irises to the mean face's place in their sockets: a photo's sideways glance is not how the eyes rest."""
    mean = default_basis().mean
    out = shape.copy()
    for iris, (outer, inner) in (((468, 473), (33, 133)), ((473, 478), (263, 362))):
        ring, corners = slice(*iris), [outer, inner]
        home = mean[ring].mean(0) - mean[corners].mean(0)
        width = np.linalg.norm(shape[outer] - shape[inner]) / np.linalg.norm(mean[outer] - mean[inner])
        target = shape[corners].mean(0) + home * width
        out[ring] += target - shape[ring].mean(0)
    return out


def _most_at_rest(shapes: Floats) -> NDArray[np.intp]:
    """Indices of the frames with the mouth most closed among those with open eyes."""
    eyes = _opening(shapes, EYE_OPENING_LEFT) + _opening(shapes, EYE_OPENING_RIGHT)
    awake: NDArray[np.intp] = np.flatnonzero(eyes >= 0.8 * np.median(eyes))
    mouth = _opening(shapes[awake], MOUTH_OPENING)
    chosen: NDArray[np.intp] = awake[mouth.argsort()[: max(5, int(REST_SHARE * len(shapes)))]]
    return chosen


def _opening(shapes: Floats, pair: tuple[int, int]) -> Floats:
    distance: Floats = np.linalg.norm(shapes[:, pair[0]] - shapes[:, pair[1]], axis=-1)
    return distance


@lru_cache(maxsize=1)
def _expression_gain() -> Floats:
    """(E, 1404): residual from the mean -> likely expression coefficients, by the Woodbury identity."""
    basis = default_basis()
    e = basis.components.reshape(basis.size, -1).astype(np.float64)
    i = basis.identity.reshape(len(basis.identity), -1).astype(np.float64)
    tau2 = IDENTITY_REMAINDER**2
    inner = np.linalg.inv(tau2 * np.eye(len(i)) + i @ i.T)
    e_whitened = (e - e @ i.T @ inner @ i) / tau2  # E^T (I I^T + tau^2)^-1
    gain = np.linalg.solve(e_whitened @ e.T + np.eye(len(e)), e_whitened)
    return gain.astype(np.float32)
