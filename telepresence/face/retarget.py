"""From motion to an avatar's keypoints: whose head moves, and where it is placed."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from telepresence.face.motion import Motion, Pose, keypoints, rotation_matrix, rotation_vector

Floats = NDArray[np.float32]
Framing = Literal["relative", "absolute"]

CALIBRATION_US: Final = 1_000_000  # the driver's rest pose is what they hold in their first stable second
STILL_RAD_PER_S: Final = 0.5  # a head turning faster is not resting
STILL_PER_S: Final = 0.5  # square half-widths a second, likewise
MAX_OFFSET: Final = 0.6  # square half-widths that a relative head may leave its place: further, it leaves the picture
SCALE_CHANGE: Final = (0.7, 1.4)  # how much nearer or farther a relative head may come


class Retarget:
    """Puts a driver's motion on an avatar.

    `absolute` puts the head where the driver's is: right for one's own avatar and for comparisons with the camera.
    `relative` keeps the avatar framed as enrolled: the driver's rest pose, learned in their first stable second,
    becomes the avatar's.

    Args:
        neutral: (478, 3) the avatar's neutral shape, canonical coordinates.
        rest: the avatar's own pose at rest, as in its first reference.
        framing: `relative` or `absolute`.
    """

    def __init__(self, neutral: Floats, rest: Pose, framing: Framing = "relative") -> None:
        self._neutral = neutral
        self._rest = rest
        self._framing = framing
        self._driver: Pose | None = None
        self._matrix_sum = np.zeros((3, 3))
        self._linear_sum = np.zeros(4)  # x, y, log scale, weight
        self._stable_us = 0
        self._last: tuple[Pose, int] | None = None

    def __call__(self, motion: Motion, now_us: int) -> Floats:
        """Motion captured at `now_us` (any monotonic clock, microseconds) -> keypoints (478, 3), square coordinates."""
        if self._framing == "absolute":
            return keypoints(motion, self._neutral)
        driver = self._calibrate(motion.pose, now_us)
        placed = Motion(self._place(motion.pose, driver), motion.expression, motion.gaze, motion.schema)
        return keypoints(placed, self._neutral)

    @property
    def driver(self) -> Pose | None:
        """The driver's rest pose as far as it is known; what puts the avatar where it rests."""
        return self._driver

    def at_rest(self) -> Floats:
        """Keypoints (478, 3) of the avatar at rest, where nothing has come yet."""
        return self._rest.apply(self._neutral)

    def recalibrate(self) -> None:
        """Forget the driver's rest pose; the next stable second sets a new one."""
        self._driver, self._last, self._stable_us = None, None, 0
        self._matrix_sum[:], self._linear_sum[:] = 0, 0

    def take_over(self, before: Retarget) -> None:
        """Go on with what another has learned of the driver, whose poses mean the same: of the same neutral shape."""
        self._driver, self._last, self._stable_us = before._driver, before._last, before._stable_us
        self._matrix_sum[:], self._linear_sum[:] = before._matrix_sum, before._linear_sum

    def _place(self, pose: Pose, driver: Pose) -> Pose:
        turn = rotation_matrix(pose.rotation) @ rotation_matrix(driver.rotation).T
        scale = float(np.clip(pose.scale / driver.scale, *SCALE_CHANGE))
        offset = (pose.translation - driver.translation) * (self._rest.scale / driver.scale)
        length = float(np.linalg.norm(offset))
        if length > 1e-6:
            offset *= MAX_OFFSET * np.tanh(length / MAX_OFFSET) / length  # bends towards the bound, never hits it
        return Pose(
            rotation_vector(turn @ rotation_matrix(self._rest.rotation)),
            (self._rest.translation + offset).astype(np.float32),
            self._rest.scale * scale,
        )

    def _calibrate(self, pose: Pose, now_us: int) -> Pose:
        """Take a pose in; return the driver's rest pose as far as it is known."""
        step_us = 0
        if self._driver is not None and self._last is not None:
            if self._stable_us >= CALIBRATION_US:
                return self._driver
            step_us = now_us - self._last[1]
            if step_us > 0 and not _still(self._last[0], pose, step_us / 1e6):
                self._last = (pose, now_us)
                return self._driver
        self._stable_us += max(0, min(step_us, CALIBRATION_US // 10))
        self._last = (pose, now_us)
        self._matrix_sum += rotation_matrix(pose.rotation)
        self._linear_sum += (*pose.translation, np.log(pose.scale), 1.0)
        self._driver = self._mean()
        return self._driver

    def _mean(self) -> Pose:
        u, _, vt = np.linalg.svd(self._matrix_sum)  # the mean rotation: nearest to the mean matrix
        rotation = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
        x, y, log_scale = self._linear_sum[:3] / self._linear_sum[3]
        return Pose(rotation_vector(rotation), np.array([x, y], np.float32), float(np.exp(log_scale)))


def _still(before: Pose, after: Pose, seconds: float) -> bool:
    turned = rotation_vector(rotation_matrix(after.rotation) @ rotation_matrix(before.rotation).T)
    moved = np.linalg.norm(after.translation - before.translation)
    return bool(np.linalg.norm(turned) < STILL_RAD_PER_S * seconds and moved < STILL_PER_S * seconds)
