"""Stereo: what either eye sees, against a pinhole camera in each eye."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telepresence.face.basis import default_basis
from telepresence.face.motion import Pose, fit_pose
from telepresence.face.stereo import (
    BOUND,
    LINEAR,
    MAX_DISTANCE_M,
    MAX_IPD_M,
    MIN_DISTANCE_M,
    Viewer,
    bounded,
    direction_of,
    eye_keypoints,
    facing,
    head_centre,
    unit_m,
    viewer,
)

SCALE = 0.36
METRES = unit_m(SCALE)
FACE = Pose(np.zeros(3, np.float32), np.array([0.1, -0.2], np.float32), SCALE).apply(default_basis().mean)
FLIP = np.array([1, -1, -1])
RIGHT = np.array([1.0, 0.0, 0.0])

angle = st.floats(-np.pi / 2, np.pi / 2)
metre = st.floats(-3, 3)
ipd = st.floats(0.05, 0.078)


def beside(yaw: float, distance: float) -> Any:
    return np.array([np.sin(yaw), 0, np.cos(yaw)]) * distance


def pinholes(points: Any, seen_by: Viewer) -> Any:
    """Where two pinhole cameras see points (metres, avatar's frame) on the plane through the origin that faces them."""
    turn = facing(direction_of(seen_by.position))
    seen = []
    for side in (-1, 1):
        eye = seen_by.position + side * seen_by.ipd / 2 * seen_by.right
        rays = (points - eye) @ turn.T
        start = turn @ eye
        seen.append((start + rays * (-start[2] / rays[:, 2])[:, None])[:, :2])
    return seen


@pytest.mark.parametrize("distance", [0.6, 1.0, 2.0])
@pytest.mark.parametrize("degrees", [0, -10, 14])
def test_disparity_is_geometrys_within_a_tenth(distance: float, degrees: float) -> None:
    """Points of known depth: disparity in the eyes' pictures against that of two pinhole cameras."""
    eyes = viewer(
        beside(np.radians(degrees), distance),
        np.array([np.cos(np.radians(degrees)), 0, -np.sin(np.radians(degrees))]),
        0.063,
    )
    stereo = eye_keypoints(FACE, eyes, METRES)
    ours = (stereo.right - stereo.left)[:, 0] * METRES
    left, right = pinholes((FACE - head_centre(FACE)) * FLIP * METRES, eyes)
    true = (right - left)[:, 0]
    told = np.abs(true) > 0.0005  # half a millimetre: the ears lie in the plane itself
    assert told.sum() > 350
    assert np.abs(ours / np.where(told, true, 1) - 1)[told].max() < 0.1
    assert np.abs(ours - true)[~told].max() < 0.0002


def test_what_is_nearer_than_the_plane_is_crossed() -> None:
    stereo = eye_keypoints(FACE, viewer(beside(0, 1), RIGHT, 0.063), METRES)
    nose = 1
    assert stereo.right[nose, 0] < stereo.left[nose, 0]
    np.testing.assert_allclose(head_centre(stereo.left), head_centre(FACE), atol=2e-3)


def test_a_tilted_head_sees_disparity_along_its_eyes() -> None:
    stereo = eye_keypoints(FACE, viewer(beside(0, 1), np.array([0.0, 1.0, 0.0]), 0.063), METRES)
    moved = (stereo.right - stereo.left)[1]
    assert abs(moved[0]) < 1e-6
    assert moved[1] > 0.01  # the upper eye sees the nose farther down, and y points down


def test_a_viewer_on_the_right_sees_the_nose_go_left() -> None:
    seen = eye_keypoints(FACE, viewer(beside(np.radians(10), 1), RIGHT, 0), METRES)
    assert seen.left[1, 0] < FACE[1, 0] - 0.01
    turned = fit_pose(seen.left, default_basis().mean)
    assert turned.rotation[1] == pytest.approx(np.radians(10), abs=1e-3)  # a positive turn carries the nose left
    assert turned.scale == pytest.approx(SCALE, rel=1e-3)


def test_a_viewer_above_sees_the_nose_go_down() -> None:
    seen = eye_keypoints(FACE, viewer(np.array([0, 0.2, 1.0]), RIGHT, 0), METRES)
    assert seen.left[1, 1] > FACE[1, 1] + 0.01


@given(yaw=st.floats(-np.radians(15), np.radians(15)), distance=st.floats(0.4, 5))
def test_without_eyes_apart_both_see_the_same(yaw: float, distance: float) -> None:
    stereo = eye_keypoints(FACE, viewer(beside(yaw, distance), RIGHT, 0), METRES)
    np.testing.assert_array_equal(stereo.left, stereo.right)


@given(ipd=ipd, distance=st.floats(0.4, 10))
def test_the_eyes_are_symmetric_and_farther_away_see_less_depth(ipd: float, distance: float) -> None:
    near = eye_keypoints(FACE, viewer(beside(0, distance), RIGHT, ipd), METRES)
    far = eye_keypoints(FACE, viewer(beside(0, 2 * distance), RIGHT, ipd), METRES)
    np.testing.assert_allclose((near.left + near.right) / 2, FACE, atol=1e-5)
    assert np.abs(far.right - far.left)[1, 0] < np.abs(near.right - near.left)[1, 0]


@given(x=metre, y=metre, z=metre, side=st.tuples(metre, metre, metre), ipd=st.floats(-1, 1))
def test_wherever_the_viewer_is_keypoints_are_finite_and_bounded(
    x: float, y: float, z: float, side: tuple[float, float, float], ipd: float
) -> None:
    seen_by = viewer(np.array([x, y, z]), np.array(side), ipd)
    assert MIN_DISTANCE_M - 1e-9 <= np.linalg.norm(seen_by.position) <= MAX_DISTANCE_M
    assert 0 <= seen_by.ipd <= MAX_IPD_M
    stereo = eye_keypoints(FACE, seen_by, METRES)
    for points in (stereo.left, stereo.right):
        assert np.isfinite(points).all()
        assert np.abs(points - FACE).max() < 1
    assert np.hypot(*stereo.drawn) <= BOUND
    total = np.add(stereo.drawn, stereo.beyond)
    np.testing.assert_allclose(total, direction_of(seen_by.position), atol=1e-9)


@given(yaw=angle, pitch=angle, step=st.floats(-1e-4, 1e-4))
def test_the_bound_is_smooth_and_keeps_the_direction(yaw: float, pitch: float, step: float) -> None:
    before, after = np.array(bounded((yaw, pitch))), np.array(bounded((yaw + step, pitch)))
    assert np.abs(after - before).max() <= abs(step) * 1.0001 + 1e-12  # never faster than the viewer
    assert np.hypot(*before) <= min(BOUND, np.hypot(yaw, pitch) + 1e-12)
    assert np.cross(before, (yaw, pitch)) == pytest.approx(0, abs=1e-12)


def test_small_turns_are_followed_in_full() -> None:
    assert bounded((LINEAR, 0)) == (LINEAR, 0)
    assert bounded((np.radians(90), 0))[0] == pytest.approx(BOUND, rel=1e-3)


def test_someone_at_the_very_centre_is_put_in_front() -> None:
    seen_by = viewer(np.zeros(3), np.zeros(3), 0.06)
    np.testing.assert_array_equal(seen_by.position, [0, 0, MIN_DISTANCE_M])
    np.testing.assert_array_equal(seen_by.right, RIGHT)
