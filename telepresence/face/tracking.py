"""From landmarks to motion over time: pose and expression against the tracked person's own neutral shape."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.face.basis import default_basis
from telepresence.face.identity import difference, without_expression
from telepresence.face.motion import Motion, fit_pose

Floats = NDArray[np.float32]

SAME_PERSON: Final = (0.012, 0.022)
"""Below the first difference of neutral shapes the face is taken for the avatar's own, above the second for another's.
On 52 clips of 1 to 7 per person: median 0.009 within a person, 0.024 between people, and they overlap from 0.008 to
0.027, hence a gradual passage instead of a threshold. Being wrong costs a slight resting expression, nothing else."""
MEMORY_FRAMES: Final = 900  # the running neutral forgets beyond this: half a minute of a webcam
MAX_ANGLE: Final = 0.6  # radians off the camera's axis; beyond it MediaPipe's depth is too poor to learn a shape from


class MotionExtractor:
    """Turns one person's landmarks, picture by picture, into motion.

    The person's neutral shape is learned on the way: the likely expression is taken out of every picture's shape and
    the remainders are averaged, so the first picture already gives usable motion. One per camera; not thread-safe.

    Args:
        neutral: (478, 3) neutral shape of the avatar that will be driven, if it is at hand. When the face in front of
            the camera is that person's, it is used in place of the learned one, and then keypoints on that avatar land
            exactly where the landmarks were.
    """

    def __init__(self, neutral: Floats | None = None) -> None:
        self._known = neutral
        self._shape = default_basis().mean  # what the pose is fitted to until something better is known
        self._learned: Floats | None = None
        self._count = 0

    def __call__(self, points: Floats) -> Motion:
        """Landmarks in square coordinates (478, 3) -> motion."""
        basis = default_basis()
        self._learn(points)
        pose = fit_pose(points, self._shape)
        expression, gaze = basis.analyse(pose.invert(points) - self._shape)
        return Motion(pose, expression, gaze, basis.schema)

    @property
    def neutral(self) -> Floats:
        """(478, 3) the neutral shape in use, canonical coordinates."""
        return self._shape

    def follow(self, neutral: Floats | None) -> None:
        """Another avatar is driven from now on; what is known of the face in front of the camera stays."""
        self._known = neutral

    def _learn(self, points: Floats) -> None:
        pose = fit_pose(points, self._shape)
        if self._learned is not None and np.linalg.norm(pose.rotation) > MAX_ANGLE:
            return
        # Against the mean face, so that nothing learned here feeds back into what is learned next.
        seen = without_expression(fit_pose(points, default_basis().mean).invert(points))
        self._count = min(self._count + 1, MEMORY_FRAMES)
        self._learned = seen if self._learned is None else self._learned + (seen - self._learned) / self._count
        self._shape = self._blend(self._learned)

    def _blend(self, learned: Floats) -> Floats:
        if self._known is None:
            return learned
        near, far = SAME_PERSON
        own = float(np.clip((far - difference(learned, self._known)) / (far - near), 0, 1))
        return (own * self._known + (1 - own) * learned).astype(np.float32)
