"""Motion: what is sent of a face. Landmarks -> pose and identity-free expression, and back to keypoints.

Spaces
    square    the picture's central square, x and y from -1 (left, top edge) to 1, z in the same unit, towards the scene
    canonical head coordinates: x to the picture's right, y down, z away from the camera; the origin is the
              weighted centroid of the points on bone (`topology.rigid_weights`), and the outer eye corners of the mean
              face are one unit apart

A face is `square = scale * rotation @ (neutral + expression) + translation` (scaled orthography; z has no translation).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.face.basis import Basis, default_basis
from telepresence.face.topology import rigid_weights

Floats = NDArray[np.float32]

MAX_ROTATION: Final = np.pi  # radians, length of the rotation vector
MAX_TRANSLATION: Final = 2.0  # square half-widths: a face twice as far out as the picture's edge
SCALE_RANGE: Final = (0.02, 2.0)  # outer eye-corner distance in square half-widths


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a head is: canonical -> square coordinates."""

    rotation: Floats
    """(3,) float32, rotation vector in radians; its length is the angle."""
    translation: Floats
    """(2,) float32, where the canonical origin lies, in square half-widths."""
    scale: float
    """Square half-widths per canonical unit (the outer eye-corner distance of a frontal mean face)."""

    def apply(self, canonical: Floats) -> Floats:
        """Map canonical points (N, 3) to square coordinates (N, 3)."""
        out = self.scale * canonical @ rotation_matrix(self.rotation).T
        out[:, :2] += self.translation
        return out.astype(np.float32)

    def invert(self, square: Floats) -> Floats:
        """Map square points (N, 3) to canonical coordinates (N, 3)."""
        moved = square.astype(np.float32).copy()
        moved[:, :2] -= self.translation
        return (moved @ rotation_matrix(self.rotation) / self.scale).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Motion:
    """One picture's worth of motion: everything that crosses the network."""

    pose: Pose
    expression: Floats
    """(E,) float32, coefficients in the basis, in standard deviations; zero is the person's face at rest."""
    gaze: Floats
    """(2, 2) float32: right and left eye, how far the iris has moved from rest, x and y, canonical units."""
    schema: int = field(default=1)
    """Version of the basis that `expression` refers to."""


def rotation_matrix(rotation: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Rodrigues: rotation vector (3,) in radians -> matrix (3, 3)."""
    r = np.asarray(rotation, np.float64)
    angle = float(np.linalg.norm(r))
    if angle < 1e-9:
        return np.eye(3)
    x, y, z = r / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    matrix: NDArray[np.float64] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return matrix


def rotation_vector(matrix: NDArray[np.floating[Any]]) -> Floats:
    """Rotation matrix (3, 3) -> rotation vector (3,) in radians, length at most pi."""
    m = np.asarray(matrix, np.float64)
    angle = float(np.arccos(np.clip((np.trace(m) - 1) / 2, -1, 1)))
    axis = np.array([m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]])
    length = float(np.linalg.norm(axis))
    if angle < 1e-7:
        return np.zeros(3, np.float32)
    if length < 1e-6:  # half a turn: the axis is the eigenvector of eigenvalue 1
        values, vectors = np.linalg.eigh((m + m.T) / 2)
        return (angle * vectors[:, int(np.argmax(values))]).astype(np.float32)
    return (angle * axis / length).astype(np.float32)


def to_square(landmarks: Floats, width: int, height: int) -> Floats:
    """Landmarks (478, 3) in pixels of a width x height frame -> square coordinates of its central square.

    Depth gets its zero at the weighted centroid of the points on bone: MediaPipe puts it elsewhere, by an amount that
    varies from person to person, which a turned head would show as a sideways shift.
    """
    half = min(width, height) / 2
    depth = float(_WEIGHTS @ landmarks[:, 2])
    centre = np.array([width / 2, height / 2, depth], np.float32)
    return ((landmarks - centre) / half).astype(np.float32)


def fit_pose(points: Floats, shape: Floats) -> Pose:
    """Weighted Procrustes of square points (478, 3) onto a canonical shape (478, 3).

    Source: Umeyama 1991, with `topology.rigid_weights`.
    """
    weights = _WEIGHTS[:, None]
    mean_p, mean_s = (weights * points).sum(0), (weights * shape).sum(0)
    p, s = points - mean_p, shape - mean_s
    u, singular, vt = np.linalg.svd((weights * p).T.astype(np.float64) @ s)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * sign) @ vt
    spread = max(float((weights * s * s).sum()), 1e-9)  # a shape of one point has no size; it must not become NaN
    scale = max(float((singular * sign).sum()) / spread, 1e-6)
    translation = mean_p - scale * rotation @ mean_s
    return Pose(rotation_vector(rotation), translation[:2].astype(np.float32), scale)


def keypoints(motion: Motion, neutral: Floats, basis: Basis | None = None) -> Floats:
    """Apply motion to a person's neutral shape (478, 3): keypoints (478, 3) float32 in square coordinates."""
    basis = basis or default_basis()
    return motion.pose.apply(neutral + basis.displacement(motion.expression, motion.gaze))


def clamp(motion: Motion) -> Motion:
    """Bound every value to what a face can do, so that no packet can move it to nonsense; NaN becomes rest."""
    basis = default_basis()
    if _within_bounds(motion, basis):
        return motion
    pose = motion.pose
    rotation = np.nan_to_num(pose.rotation, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)
    angle = float(np.linalg.norm(rotation))
    if angle > MAX_ROTATION:
        rotation *= np.float32(MAX_ROTATION / angle)
    translation = np.clip(np.nan_to_num(pose.translation), -MAX_TRANSLATION, MAX_TRANSLATION).astype(np.float32)
    scale = float(np.clip(np.nan_to_num(pose.scale, nan=1.0), *SCALE_RANGE))
    expression = np.clip(np.nan_to_num(motion.expression), -basis.limit, basis.limit).astype(np.float32)
    gaze = np.clip(np.nan_to_num(motion.gaze), -basis.gaze_limit, basis.gaze_limit).astype(np.float32)
    return Motion(Pose(rotation, translation, scale), expression, gaze, motion.schema)


def _within_bounds(motion: Motion, basis: Basis) -> bool:
    """Whether `clamp` has nothing to do, as nearly always: for each participant every motion is looked at."""
    pose = motion.pose
    parts = pose.rotation, pose.translation, motion.expression, motion.gaze
    return bool(
        all(part.dtype == np.float32 for part in parts)
        and isinstance(pose.scale, float)
        and SCALE_RANGE[0] <= pose.scale <= SCALE_RANGE[1]
        and sum(value * value for value in pose.rotation.tolist()) <= MAX_ROTATION**2
        and (np.abs(pose.translation) <= MAX_TRANSLATION).all()
        and (np.abs(motion.expression) <= basis.limit).all()
        and (np.abs(motion.gaze) <= basis.gaze_limit).all()
    )


_WEIGHTS: Final = rigid_weights()
