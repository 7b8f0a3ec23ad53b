"""A face that is driven by its voice alone: the mouth moves, now and then it blinks, its head is never quite still.

Sans-I/O: time comes in as an argument. Everything is bounded, and nothing of it is the person's: it says that somebody
is there and talks, and no more.
"""

from __future__ import annotations

import math
import random
from typing import Final

import numpy as np

from telepresence.face.basis import default_basis
from telepresence.face.motion import Motion, Pose, clamp, rotation_matrix, rotation_vector
from telepresence.face.mouth import Mouth, expression

BLINK_US: Final = (110_000, 60_000, 150_000)  # closing, closed, opening
BETWEEN_BLINKS_S: Final = (2.0, 6.0)
SWAY: Final = (
    (0.013, 0.19, 0.0),  # nod: radians, Hz, phase
    (0.018, 0.13, 1.0),  # turn
    (0.008, 0.11, 2.0),  # tilt
)
NOD: Final = 0.012  # radians with a full voice: people stress with their heads
NOD_TAU_S: Final = 0.25


class Speaking:
    """Motion of a face that nobody sees. One per participant.

    Args:
        seed: of the blinks.
    """

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._blink_us: int | None = None
        self._nod = 0.0
        self._before_us: int | None = None
        self._begun_us = 0

    def __call__(self, mouth: Mouth, level: float, rest: Pose, now_us: int) -> Motion:
        """The motion at a moment.

        Args:
            mouth, level: what the voice says; see `voice.Heard`.
            rest: where the head is when it is still.
            now_us: any monotonic clock, microseconds.
        """
        if self._before_us is None:
            self._begun_us = now_us
        seconds = max(0.0, (now_us - (self._before_us or now_us)) / 1e6)
        self._before_us = now_us
        self._nod += (NOD * min(1.0, max(0.0, level)) - self._nod) * (1 - math.exp(-seconds / NOD_TAU_S))
        at_s = (now_us - self._begun_us) / 1e6
        ease = min(1.0, at_s)  # begins where the head is
        sway = [ease * size * math.sin(2 * math.pi * hertz * at_s + phase) for size, hertz, phase in SWAY]
        turn = rotation_matrix(np.array([sway[0] + self._nod, sway[1], sway[2]], np.float32))
        pose = Pose(rotation_vector(turn @ rotation_matrix(rest.rotation)), rest.translation, rest.scale)
        face = expression(mouth, self._lids(now_us))
        return clamp(Motion(pose, face, np.zeros((2, 2), np.float32), default_basis().schema))

    def _lids(self, now_us: int) -> float:
        """How far the lids are closed, 0..1."""
        closing, closed, opening = BLINK_US
        if self._blink_us is None or now_us > self._blink_us + closing + closed + opening:
            self._blink_us = now_us + round(self._random.uniform(*BETWEEN_BLINKS_S) * 1e6)
        into = now_us - self._blink_us
        return float(np.interp(into, [0, closing, closing + closed, closing + closed + opening], [0, 1, 1, 0], 0, 0))
