"""Where a viewer's eyes are, and what keypoints each of them sees: stereo and parallax from one set of keypoints.

The avatar's frame: metres, origin at the centre of its head (between the ears), x to the picture's right, y up, z out
of the picture, towards somebody straight in front. Square coordinates have y and z the other way round.

The picture of an eye is for a plane through the head's centre that faces the viewer: a point in that plane is at the
same place for both eyes, nearer ones are crossed, farther ones uncrossed. What a viewer's place turns is bounded: a
generator knows what it was shown (docs/quality.md): beyond, the picture stays and is seen obliquely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

EYE_CORNERS_M: Final = 0.09  # between the outer corners of an adult's eyes (Farkas 1994: 88 to 91 mm): a canonical unit
EARS: Final = (234, 454)  # in front of either ear; the head turns about their middle
BOUND: Final = np.radians(25.0)  # most that parallax turns the keypoints
LINEAR: Final = np.radians(15.0)  # up to here they turn as far as the viewer moves
MIN_DISTANCE_M: Final = 0.35  # nearer than this the geometry of a picture plane means nothing
MAX_DISTANCE_M: Final = 50.0
MAX_IPD_M: Final = 0.09  # of people 0.05 to 0.078
MAX_DEPTH: Final = 0.6  # of the distance: no point comes nearer to the eye


@dataclass(frozen=True, slots=True)
class Viewer:
    """A viewer's head in the avatar's frame. Make it with `viewer`, which bounds what others sent."""

    position: Doubles
    """(3,) metres, the middle between the eyes; in front of the avatar, or beside it."""
    right: Doubles
    """(3,) unit vector from the left eye to the right one."""
    ipd: float = 0.063
    """Metres between the eyes, 0..MAX_IPD_M; 0: both see the same."""


@dataclass(frozen=True, slots=True)
class Stereo:
    """What each eye sees, and for which direction."""

    left: Floats
    """(478, 3) float32, square coordinates."""
    right: Floats
    drawn: tuple[float, float]
    """Yaw and pitch, radians, of the direction that the pictures are drawn for: the normal of their plane, in the
    avatar's frame; yaw positive to the picture's right, pitch positive upwards."""
    beyond: tuple[float, float]
    """What the viewer's own direction has more than that: by so much the plane is seen obliquely."""


def viewer(position: NDArray[np.floating[Any]], right: NDArray[np.floating[Any]], ipd: float) -> Viewer:
    """A viewer within bounds: as far as MAX_DISTANCE_M, no nearer than MIN_DISTANCE_M. Numbers have to be finite."""
    place = np.asarray(position, np.float64)
    distance = float(np.linalg.norm(place))
    if distance < 1e-6:
        place, distance = np.array([0.0, 0.0, MIN_DISTANCE_M]), MIN_DISTANCE_M
    place = place * (np.clip(distance, MIN_DISTANCE_M, MAX_DISTANCE_M) / distance)
    side = np.asarray(right, np.float64)
    length = float(np.linalg.norm(side))
    side = side / length if length > 1e-6 else np.array([1.0, 0.0, 0.0])
    return Viewer(place, side, float(np.clip(ipd, 0.0, MAX_IPD_M)))


def bounded(direction: tuple[float, float]) -> tuple[float, float]:
    """Yaw and pitch (radians) that the generator is asked for: the same up to LINEAR, then ever less, never over BOUND.

    Smooth to the first derivative, so that nothing jerks where the bound begins.
    """
    angle = float(np.hypot(*direction))
    if angle <= LINEAR:
        return direction
    room = BOUND - LINEAR
    kept = (LINEAR + room * np.tanh((angle - LINEAR) / room)) / angle
    return direction[0] * kept, direction[1] * kept


def direction_of(position: Doubles) -> tuple[float, float]:
    """Yaw and pitch, radians, of a place (3,) in the avatar's frame."""
    x, y, z = position
    return float(np.arctan2(x, z)), float(np.arctan2(y, np.hypot(x, z)))


def facing(direction: tuple[float, float]) -> Doubles:
    """The rotation (3, 3) that brings a direction of the avatar's frame to z: the frame as that viewer sees it."""
    yaw, pitch = direction
    c, s, k, n = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    about_y = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    about_x = np.array([[1, 0, 0], [0, k, -n], [0, n, k]])
    matrix: Doubles = about_x @ about_y
    return matrix


def head_centre(keypoints: Floats) -> Floats:
    """(3,) square coordinates: what the head turns about."""
    centre: Floats = keypoints[list(EARS)].mean(0)
    return centre


def unit_m(scale: float) -> float:
    """Metres in a square half-width, life-sized, for a head of `Pose.scale`."""
    return EYE_CORNERS_M / scale


def eye_keypoints(keypoints: Floats, seen_by: Viewer, metres: float) -> Stereo:
    """Keypoints of a frontal picture -> those that either eye of a viewer sees.

    The head is turned about its centre to face the viewer as far as `bounded` allows; then, for an eye beside the
    middle by (ex, ey) at distance D, a point z nearer than the picture plane moves by -(ex, ey) * z / (D - z): the
    difference of its two central projections onto that plane. To the first order this is the
    rotation by the eye's own angle.

    Args:
        keypoints: (478, 3) float32, square coordinates.
        seen_by: from `viewer`.
        metres: in a square half-width, `unit_m`.
    """
    direction = direction_of(seen_by.position)
    drawn = bounded(direction)
    flip = np.array([1.0, -1.0, -1.0])
    centre = head_centre(keypoints).astype(np.float64)
    points = (keypoints - centre) * flip @ facing(drawn).T * metres
    distance = float(np.linalg.norm(seen_by.position))
    offset = facing(direction) @ seen_by.right * (seen_by.ipd / 2)
    left, right = (_from_eye(points, side * offset, distance) / metres * flip + centre for side in (-1, 1))
    beyond = direction[0] - drawn[0], direction[1] - drawn[1]
    return Stereo(left.astype(np.float32), right.astype(np.float32), drawn, beyond)


def _from_eye(points: Doubles, eye: Doubles, distance: float) -> Doubles:
    """Points (N, 3) in metres, z towards the viewer, as an eye at `eye` beside the middle sees them."""
    away = distance + eye[2]
    near = np.clip(points[:, 2], -MAX_DEPTH * away, MAX_DEPTH * away)
    moved = points.copy()
    moved[:, :2] -= near[:, None] / (away - near)[:, None] * eye[:2]
    moved[:, 2] += points[:, :2] @ eye[:2] / away
    return moved
