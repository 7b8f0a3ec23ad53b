"""A picture's relief: by it a headset shows what a moved head sees, before a picture for it comes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from telepresence.avatar.samples import sample_avatar
from telepresence.face.stereo import Stereo, eye_keypoints, head_centre, unit_m, viewer
from telepresence.sinks.headset.relief import SIDE, STEP_M, ZERO, relief

NOSE = 4
AWAY_M = 1.3
RIGHT = np.array([1.0, 0.0, 0.0])


def scene() -> tuple[NDArray[np.float32], float]:
    avatar = sample_avatar()
    return avatar.rest.apply(avatar.neutral), unit_m(avatar.rest.scale)


def seen(points: NDArray[np.float32], metres: float, x: float, ipd: float = 0.0) -> Stereo:
    return eye_keypoints(points, viewer(np.array([x, 0.0, AWAY_M]), RIGHT, ipd), metres)


def grid(stereo: Stereo, metres: float) -> NDArray[np.float64]:
    """Metres towards the viewer."""
    steps = np.frombuffer(relief(stereo, metres), np.uint8).reshape(SIDE, SIDE)
    return (steps.astype(np.float64) - ZERO) * STEP_M


def at(depth: NDArray[np.float64], points: NDArray[np.float32]) -> NDArray[np.float64]:
    """What the page shows between the points of the grid: (N,) metres."""
    import cv2

    where = (points[:, :2] + 1) / 2 * (SIDE - 1)
    found = cv2.remap(depth.astype(np.float32), where[:, 0].astype(np.float32), where[:, 1].astype(np.float32), 1)
    return np.asarray(found, np.float64).ravel()


def test_a_face_is_as_near_as_its_keypoints_and_the_corners_are_in_the_plane() -> None:
    points, metres = scene()
    front = seen(points, metres, 0.0)
    depth = grid(front, metres)
    true = (head_centre(front.left)[2] - front.left[:, 2]) * metres
    assert np.abs(at(depth, front.left) - true).mean() < 0.006
    assert at(depth, front.left)[NOSE] == pytest.approx(true[NOSE], abs=0.015)
    assert not depth[[0, 0, -1, -1], [0, -1, 0, -1]].any()


@pytest.mark.parametrize("x", [0.1, -0.2])
def test_a_moved_eye_sees_by_the_relief_what_would_be_drawn_for_it(x: float) -> None:
    """As the page's shader does: each point goes towards the eye of before, then the new eye looks at it."""
    points, metres = scene()
    front, aside = seen(points, metres, 0.0), seen(points, metres, x)
    near = at(grid(front, metres), front.left)
    centre = head_centre(front.left)
    flat = np.concatenate([(front.left - centre)[:, :2] * (1.0, -1.0) * metres, np.zeros((478, 1))], axis=1)
    eye, before = np.array([x, 0.0, AWAY_M]), np.array([0.0, 0.0, AWAY_M])
    shown = flat + (before - flat) * (near / AWAY_M)[:, None]
    angle = np.arctan2(x, AWAY_M)
    turned = (shown - eye) @ np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    away = float(np.hypot(x, AWAY_M))
    across = -turned[:, 0] / turned[:, 2] * away  # where it meets the plane that faces the new eye
    true = ((aside.left - head_centre(aside.left)) * metres)[:, 0].astype(np.float64)
    still = ((front.left - centre) * metres)[:, 0].astype(np.float64) * np.cos(angle)  # the plane, without a relief
    moved = np.abs(true - still)
    assert moved[NOSE] > 0.005
    assert np.abs(across - true)[NOSE] < 0.2 * moved[NOSE]
    assert np.abs(across - true).mean() < 0.25 * moved.mean()


def test_absurd_keypoints_still_make_a_relief() -> None:
    points, metres = scene()
    far = points.copy()
    far[:, 2] *= 1000
    assert len(relief(seen(far, metres, 0.0), metres)) == SIDE * SIDE
