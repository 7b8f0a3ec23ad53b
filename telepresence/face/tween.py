"""Motion as something that can be subtracted, scaled and moved: rotations on their group, scale as a logarithm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from telepresence.face.motion import Motion, Pose, clamp, rotation_matrix, rotation_vector

Doubles = NDArray[np.float64]

# The fastest that a motion may be shown to go, per second. On face clips the fastest seen are 5.3 rad, 2.9 half-widths,
# 1.2 (logarithm of scale), 400 deviations (a lid) and 3.4 units: nothing real is slowed down.
MAX_TURN: Final = 12.0  # radians
MAX_SHIFT: Final = 6.0  # square half-widths
MAX_ZOOM: Final = 3.0  # natural logarithm of scale
MAX_EXPRESSION: Final = 450.0  # standard deviations, each coefficient
MAX_GAZE: Final = 6.0  # canonical units, each number


@dataclass(frozen=True, slots=True)
class Step:
    """The way from one still to another."""

    turn: Doubles
    """(3,) rotation vector, applied after the rotation."""
    place: Doubles
    """(3,) x, y and natural logarithm of scale."""
    face: Doubles
    """(E + 4,) expression and gaze."""

    def scaled(self, pose: float, face: float) -> Step:
        """This part of the way, for head and face apart."""
        return Step(self.turn * pose, self.place * pose, self.face * face)

    def limited(self, seconds: float) -> Step:
        """As much of the way as can be gone in this time without a jump; each group keeps its direction."""
        bounds = np.full(len(self.face), MAX_EXPRESSION)
        bounds[-4:] = MAX_GAZE
        x, y, zoom = self.place
        shift = np.array([x, y]) * _within(float(np.hypot(x, y)), MAX_SHIFT * seconds)
        zoom = np.clip(zoom, -MAX_ZOOM * seconds, MAX_ZOOM * seconds)
        turn = self.turn * _within(float(np.linalg.norm(self.turn)), MAX_TURN * seconds)
        face = np.clip(self.face, -bounds * seconds, bounds * seconds)
        return Step(turn, np.array([*shift, zoom]), face)


@dataclass(frozen=True, slots=True)
class Still:
    """A motion at one moment, in numbers that can be calculated with."""

    rotation: Doubles
    """(3, 3)"""
    place: Doubles
    """(3,) x, y and natural logarithm of scale."""
    face: Doubles
    """(E + 4,) expression and gaze."""
    schema: int

    @classmethod
    def of(cls, motion: Motion) -> Self:
        """From a motion, bounded to what a face can do."""
        motion = clamp(motion)
        x, y = motion.pose.translation
        place = np.array([x, y, np.log(motion.pose.scale)], np.float64)
        face = np.concatenate([motion.expression, motion.gaze.reshape(-1)]).astype(np.float64)
        return cls(rotation_matrix(motion.pose.rotation), place, face, motion.schema)

    def motion(self) -> Motion:
        """Back to a motion, bounded to what a face can do."""
        pose = Pose(rotation_vector(self.rotation), self.place[:2].astype(np.float32), float(np.exp(self.place[2])))
        face = self.face.astype(np.float32)
        return clamp(Motion(pose, face[:-4], face[-4:].reshape(2, 2), self.schema))

    def like(self, other: Still) -> bool:
        """Whether there is a way from one to the other: same schema, same number of coefficients."""
        return self.schema == other.schema and len(self.face) == len(other.face)

    def to(self, other: Still) -> Step:
        """The shortest way to another."""
        turn = rotation_vector(other.rotation @ self.rotation.T).astype(np.float64)
        return Step(turn, other.place - self.place, other.face - self.face)

    def moved(self, step: Step) -> Still:
        """Where a step leads."""
        turned = rotation_matrix(step.turn) @ self.rotation
        return Still(turned, self.place + step.place, self.face + step.face, self.schema)

    def at_rest(self, pose: Pose | None = None) -> Still:
        """The face at rest, in a given pose or where it is."""
        if pose is None:
            return Still(self.rotation, self.place, np.zeros(len(self.face)), self.schema)
        quiet = np.zeros(len(self.face) - 4, np.float32)
        return Still.of(Motion(pose, quiet, np.zeros((2, 2), np.float32), self.schema))


def _within(length: float, most: float) -> float:
    return 1.0 if length <= most else most / length
