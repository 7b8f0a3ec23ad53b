"""Which keypoints an avatar shows, moment by moment: a participant's playout, put on their avatar. Sans-I/O."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.model import Avatar
from telepresence.face.motion import Pose
from telepresence.face.retarget import Retarget
from telepresence.wire.playout import Playout, PlayoutState

Floats = NDArray[np.float32]

MISSED_US: Final = (
    45_000  # without a packet: a picture of 24 a second and a bit; later ones are predicted until they come
)
STEP_US: Final = 33_333  # between pictures while none come


class Puppet:
    """One avatar's movement. It never freezes in the middle of a word: without motion it comes to rest."""

    def __init__(self, avatar: Avatar) -> None:
        self._neutral = avatar.neutral
        self._rest = avatar.rest
        self._retarget: Retarget = Retarget(avatar.neutral, self._rest, "relative")
        self._begun: int | None = None
        self._settled = False
        self._due_us = 0

    def take_over(self, before: Puppet) -> None:
        """Go on for another puppet: what is known of the driver stays so, if the neutral shape is the same."""
        if np.array_equal(before._neutral, self._neutral):
            self._retarget.take_over(before._retarget)
            self._begun = before._begun

    @property
    def rest(self) -> Pose:
        """The avatar's own pose at rest: how large it is, and where."""
        return self._rest

    @property
    def neutral(self) -> Floats:
        """(478, 3), the avatar's neutral shape."""
        return self._neutral

    def keypoints(self, playout: Playout, now_us: int) -> Floats | None:
        """Keypoints (478, 3) to draw now; None if the picture would be the same as the last one."""
        self._due_us = now_us + STEP_US  # before anything can go wrong: a worker that is due at once would spin
        motion = playout.sample(now_us)
        if self._settled and playout.settled:
            return None
        self._settled = playout.settled
        if playout.state is PlayoutState.LIVE:
            self._due_us = now_us + (STEP_US if playout.still else MISSED_US)
        if motion is None:
            return self._retarget.at_rest()
        if playout.begun != self._begun:
            self._begun = playout.begun
            self._retarget.recalibrate()
        shown = self._retarget(motion, now_us)
        playout.rest_pose = self._retarget.driver
        return shown

    def due_us(self) -> int | None:
        """When `keypoints` wants to be asked although nothing has come; None if only a packet changes anything."""
        return None if self._settled else self._due_us
