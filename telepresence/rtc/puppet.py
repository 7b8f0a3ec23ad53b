"""Which keypoints an avatar shows, moment by moment: the newest motion, or on the way to rest. Sans-I/O."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.model import Avatar
from telepresence.face.motion import fit_pose, to_square
from telepresence.face.retarget import Retarget
from telepresence.wire.codec import MotionPacket

Floats = NDArray[np.float32]

GONE_US: Final = 500_000  # without a packet: the link or the sender is gone
EASE_US: Final = 250_000  # time constant of the way to rest
STEP_US: Final = 33_333  # between pictures on the way to rest
RESUME_US: Final = 150_000  # from rest back to the person
FORGET_US: Final = (
    1_000_000  # after so long without motion somebody else may sit there, or sit elsewhere: calibrate anew
)
SETTLED: Final = 0.002  # square half-widths: a quarter of a pixel at 256


class Puppet:
    """One avatar's movement. It never freezes in the middle of a word: without motion it comes to rest."""

    def __init__(self, avatar: Avatar, before: Puppet | None = None) -> None:
        """Take over from the puppet of the same avatar, known in part, if there is one."""
        first = avatar.references[0]
        self._neutral = avatar.neutral
        pose = fit_pose(to_square(first.landmarks, first.side, first.side), avatar.neutral)
        self._retarget: Retarget = Retarget(avatar.neutral, pose, "relative")
        self._rest: Floats = self._retarget.at_rest()
        self._shown: Floats = self._rest
        if before is not None and np.array_equal(before._neutral, avatar.neutral):
            self._retarget, self._shown = before._retarget, before._shown
        self._heard_us: int | None = None
        self._resting = True
        self._settled = False
        self._blend = 0.0
        self._last_us = 0
        self._target: Floats | None = None

    def on_motion(self, packet: MotionPacket, now_us: int) -> None:
        """The newest packet; the next `keypoints` show it."""
        if packet.rest:
            self._resting = True
            return
        if self._heard_us is not None and now_us - self._heard_us > FORGET_US:
            self._retarget.recalibrate()
        if self._resting:
            self._blend, self._last_us = 0.0, now_us
        self._heard_us, self._resting, self._settled = now_us, False, False
        self._target = self._retarget(packet.motion, packet.capture_us)

    def on_link_lost(self) -> None:
        """The next packet may come from a sender that starts anew: learn its rest pose again."""
        self._retarget.recalibrate()
        self._resting = True

    def keypoints(self, now_us: int) -> Floats | None:
        """Keypoints (478, 3) to draw now; None if the picture would be the same as the last one."""
        if self._heard_us is not None and now_us - self._heard_us > GONE_US:
            self._resting = True
        if self._settled:
            return None
        elapsed_us = min(max(0, now_us - self._last_us), 100_000)
        self._last_us = now_us
        if self._resting:
            self._shown = _towards(self._shown, self._rest, 1 - math.exp(-elapsed_us / EASE_US))
            if float(np.abs(self._shown - self._rest).max()) < SETTLED:
                self._shown, self._settled = self._rest, True
            return self._shown
        target, self._target = self._target, None
        if target is None:
            return None
        self._blend = min(1.0, self._blend + elapsed_us / RESUME_US)
        self._shown = target if self._blend >= 1 else _towards(self._shown, target, self._blend)
        return self._shown

    def due_us(self) -> int | None:
        """When `keypoints` wants to be asked although nothing has come; None if only a packet changes anything."""
        if self._settled:
            return None
        if self._resting:
            return self._last_us + STEP_US
        return (self._heard_us or 0) + GONE_US + 1


def _towards(start: Floats, end: Floats, part: float) -> Floats:
    return (start + (end - start) * part).astype(np.float32)
