"""Where avatars sit: around a table in front of the viewer, and where a viewer is as each avatar sees it."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from telepresence.face.stereo import Viewer, viewer
from telepresence.sinks.headset.protocol import HeadPose, Seat

HEAD_M: Final = 1.2  # above the floor: of somebody who sits
ACROSS_M: Final = 1.3  # from the viewer's place to the one opposite
APART: Final = math.radians(35.0)  # between neighbours, as the viewer sees them
WIDEST: Final = math.radians(75.0)  # of the outermost, from the middle


def seats(places: list[int], raised_m: float = 0.0) -> dict[int, Seat]:
    """A seat for each place, in order from left to right; each faces the viewer's place at the room's origin."""
    ordered = sorted(places)
    middle = (len(ordered) - 1) / 2
    step = min(APART, WIDEST / middle) if middle else 0.0
    found = {}
    for number, place in enumerate(ordered):
        angle = (number - middle) * step
        found[place] = Seat((ACROSS_M * math.sin(angle), HEAD_M + raised_m, -ACROSS_M * math.cos(angle)), -angle)
    return found


def seen_from(seat: Seat, pose: HeadPose) -> Viewer:
    """A viewer's head in the frame of an avatar on a seat (see telepresence.face.stereo)."""
    c, s = math.cos(seat.yaw), math.sin(seat.yaw)
    into = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    return viewer(into @ (pose.position - np.array(seat.position)), into @ pose.right, pose.ipd)
