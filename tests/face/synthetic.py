"""Faces made of the shipped basis: people, expressions and poses with known truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from telepresence.face.basis import default_basis
from telepresence.face.motion import Motion, Pose, keypoints
from telepresence.face.topology import N_FACE

Floats = NDArray[np.float32]


def person(seed: int, spread: float = 1.0) -> Floats:
    """Neutral shape (478, 3) of somebody who never lived."""
    basis = default_basis()
    coefficients = spread * np.random.default_rng(seed).standard_normal(len(basis.identity))
    shape = basis.mean.copy()
    shape[:N_FACE] += np.tensordot(coefficients, basis.identity, 1).astype(np.float32)
    return shape


def pose(
    turn: float = 0.0, nod: float = 0.0, roll: float = 0.0, x: float = 0.0, y: float = 0.0, scale: float = 0.4
) -> Pose:
    return Pose(np.array([nod, turn, roll], np.float32), np.array([x, y], np.float32), scale)


def motion(at: Pose | None = None, expression: Floats | None = None, gaze: Floats | None = None) -> Motion:
    basis = default_basis()
    return Motion(
        at or pose(),
        np.zeros(basis.size, np.float32) if expression is None else np.asarray(expression, np.float32),
        np.zeros((2, 2), np.float32) if gaze is None else np.asarray(gaze, np.float32),
    )


def expression(seed: int, strength: float = 1.0) -> Floats:
    return (strength * np.random.default_rng(seed).standard_normal(default_basis().size)).astype(np.float32)


def seen(neutral: Floats, at: Pose, coefficients: Floats | None = None) -> Floats:
    """Landmarks of a picture, square coordinates (478, 3)."""
    return keypoints(motion(at, coefficients), neutral)
