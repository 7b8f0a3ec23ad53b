"""Whom the viewer looks at: what the schedule of drawing is told, as a page tells it which tile is large."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from telepresence.edge.messages import View
from telepresence.sinks.headset.protocol import HeadPose, Seat

KEPT: Final = math.radians(6.0)  # another has to be nearer to the middle of the view by so much: heads are never still
OUTSIDE: Final = math.radians(80.0)  # from the middle of the view: no headset shows that


class Gaze:
    """Follows one viewer's head."""

    def __init__(self) -> None:
        self._at: str | None = None
        self._told: View | None = None

    def look(self, pose: HeadPose, seats: Mapping[str, Seat]) -> View | None:
        """A head pose, and where everybody sits, by participant; None if what the schedule was told still holds."""
        away = {who: _angle(pose, seat) for who, seat in seats.items()}
        nearest = min(away, key=away.__getitem__, default=None)
        if nearest is None or self._at not in away or away[nearest] < away[self._at] - KEPT:
            self._at = nearest
        view = View(self._at, {}, frozenset(who for who, angle in away.items() if angle > OUTSIDE and who != self._at))
        if view == self._told:
            return None
        self._told = view
        return view

    def forget(self) -> None:
        """Nobody looks any more."""
        self._at = self._told = None


def _angle(pose: HeadPose, seat: Seat) -> float:
    towards = np.array(seat.position) - pose.position
    distance = float(np.linalg.norm(towards))
    if distance < 1e-6:
        return 0.0
    return math.acos(float(np.clip(towards @ pose.forward / distance, -1.0, 1.0)))
