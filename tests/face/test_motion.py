from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telepresence.face.basis import default_basis
from telepresence.face.motion import (
    MAX_ROTATION,
    MAX_TRANSLATION,
    SCALE_RANGE,
    Motion,
    Pose,
    clamp,
    fit_pose,
    keypoints,
    rotation_matrix,
    rotation_vector,
    to_square,
)
from telepresence.face.topology import N_FACE, rigid_weights
from tests.face import synthetic

turns = st.floats(-math.pi, math.pi)
vectors = st.tuples(turns, turns, turns).map(lambda v: np.array(v, np.float32))


@given(vectors)
def test_rotation_round_trip(vector: np.ndarray) -> None:
    matrix = rotation_matrix(vector)
    assert np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(matrix) == pytest.approx(1)
    back = rotation_vector(matrix)
    assert np.linalg.norm(back) <= math.pi + 1e-6
    assert np.allclose(rotation_matrix(back), matrix, atol=2e-6)


@given(vectors, st.floats(0, 1e-5))
def test_rotation_round_trip_near_half_a_turn(axis: np.ndarray, short: float) -> None:
    length = np.linalg.norm(axis)
    if length < 1e-3:
        return
    matrix = rotation_matrix(axis.astype(np.float64) / length * (math.pi - short))
    assert np.allclose(rotation_matrix(rotation_vector(matrix)), matrix, atol=3e-5)


def test_rotation_directions() -> None:
    """Turning about y carries the nose (which is nearer than the eyes) sideways, about x up or down."""
    nose, shape = 1, default_basis().mean
    assert shape[nose, 2] < 0
    right = synthetic.pose(turn=0.3).apply(shape)
    assert right[nose, 0] < -0.05
    assert synthetic.pose(nod=0.3).apply(shape)[nose, 1] > synthetic.pose().apply(shape)[nose, 1] + 0.02


def test_to_square_is_isotropic_and_central() -> None:
    wide = np.tile(np.array([160, 0, 0], np.float32), (478, 1))
    wide[:2] = [[640 - 160, 480, 240], [320, 240, -240]]  # a contour point or two hardly weigh in the depth's zero
    found = to_square(wide, 640, 480)
    assert np.allclose(found[:3, :2], [[2 / 3, 1], [0, 0], [-2 / 3, -1]])
    assert np.allclose(found[:2, 2] - found[2, 2], [1, -1])
    tall = np.tile(np.array([480, 560, 0], np.float32), (478, 1))
    assert np.allclose(to_square(tall, 480, 640), [1, 1, 0])


def test_to_square_puts_depth_zero_at_the_bones() -> None:
    landmarks = synthetic.pose(0.4, scale=100).apply(default_basis().mean) + np.float32([320, 240, 37])
    points = to_square(landmarks.astype(np.float32), 640, 480)
    assert abs(float(rigid_weights() @ points[:, 2])) < 1e-5


@given(vectors, st.floats(-1, 1), st.floats(-1, 1), st.floats(0.1, 1))
def test_pose_invert_undoes_apply(rotation: np.ndarray, x: float, y: float, scale: float) -> None:
    pose = Pose(rotation, np.array([x, y], np.float32), scale)
    shape = default_basis().mean
    assert np.abs(pose.invert(pose.apply(shape)) - shape).max() < 2e-5


@given(st.floats(-1, 1), st.floats(-0.8, 0.8), st.floats(-3, 3), st.floats(0.1, 0.9))
def test_fit_pose_recovers_a_known_pose(turn: float, nod: float, roll: float, scale: float) -> None:
    true = synthetic.pose(turn, nod, roll, x=0.3, y=-0.2, scale=scale)
    found = fit_pose(true.apply(default_basis().mean), default_basis().mean)
    assert np.allclose(rotation_matrix(found.rotation), rotation_matrix(true.rotation), atol=2e-5)
    assert found.scale == pytest.approx(scale, rel=1e-4)
    assert np.allclose(found.translation, true.translation, atol=1e-4)


@pytest.mark.parametrize("seed", range(8))
def test_fit_pose_under_noise_and_expression(seed: int) -> None:
    rng = np.random.default_rng(seed)
    turn, nod, roll = rng.uniform(-0.6, 0.6, 3)
    true = synthetic.pose(turn, nod, roll, *rng.uniform(-0.3, 0.3, 2), scale=0.4)
    points = true.apply(default_basis().mean)
    points += rng.normal(0, 0.004, points.shape)  # one pixel of a 512-pixel square
    points[13:15, 1] += (-0.05, 0.15)  # a mouth wide open must not turn the head
    found = fit_pose(points.astype(np.float32), default_basis().mean)
    between = rotation_vector(rotation_matrix(found.rotation) @ rotation_matrix(true.rotation).T)
    assert np.linalg.norm(between) < math.radians(0.5)
    assert found.scale == pytest.approx(0.4, rel=0.005)
    assert np.abs(found.translation - true.translation).max() < 0.004


def test_fit_pose_never_mirrors() -> None:
    flat = default_basis().mean * np.float32([1, 1, 0])  # no depth at all: a reflection would fit as well
    found = fit_pose(flat, default_basis().mean)
    assert np.linalg.det(rotation_matrix(found.rotation)) == pytest.approx(1)
    assert found.scale > 0


def test_fit_pose_of_a_single_point_is_finite() -> None:
    found = fit_pose(np.full((478, 3), 0.25, np.float32), default_basis().mean)
    assert found.scale > 0
    assert np.isfinite([*found.rotation, *found.translation]).all()


@pytest.mark.parametrize("seed", range(6))
def test_keypoints_of_what_was_extracted_are_the_points(seed: int) -> None:
    """Displacements within the basis come back to a thousandth of the eye-corner distance (0.04 % of the picture)."""
    basis, rng = default_basis(), np.random.default_rng(seed)
    at = synthetic.pose(*rng.uniform(-0.5, 0.5, 3), *rng.uniform(-0.3, 0.3, 2), scale=0.4)
    gaze = rng.uniform(-0.05, 0.05, (2, 2))
    points = keypoints(synthetic.motion(at, synthetic.expression(seed), gaze), basis.mean)
    expression, found_gaze = basis.analyse(at.invert(points) - basis.mean)
    again = keypoints(Motion(at, expression, found_gaze), basis.mean)
    assert np.abs(again - points)[:N_FACE].max() < 1e-3 * 0.4
    assert np.abs(again - points)[N_FACE:].max() < 1e-3 * 0.4
    assert np.allclose(found_gaze, gaze, atol=1e-3)


def test_keypoints_are_float32_in_square_coordinates() -> None:
    points = keypoints(synthetic.motion(synthetic.pose(x=0.5, scale=0.3)), default_basis().mean)
    assert (points.shape, points.dtype) == ((478, 3), np.float32)
    assert rigid_weights() @ points == pytest.approx([0.5, 0, 0], abs=1e-6)  # the canonical origin
    assert points[263, 0] - points[33, 0] == pytest.approx(0.3)


def test_clamp_leaves_a_sensible_motion_alone() -> None:
    sensible = synthetic.motion(
        synthetic.pose(0.5, 0.2, -0.3, 0.4, 0.1), synthetic.expression(1), [[0.05, 0], [0, -0.02]]
    )
    bounded = clamp(sensible)
    assert np.array_equal(bounded.expression, sensible.expression)
    assert np.array_equal(bounded.gaze, sensible.gaze)
    assert np.array_equal(bounded.pose.rotation, sensible.pose.rotation)
    assert np.array_equal(bounded.pose.translation, sensible.pose.translation)
    assert bounded.pose.scale == sensible.pose.scale


anything = st.floats(allow_nan=True, allow_infinity=True, width=32)


def arrays(count: int) -> st.SearchStrategy[np.ndarray]:
    return st.lists(anything, min_size=count, max_size=count).map(lambda v: np.array(v, np.float32))


@given(arrays(3), arrays(2), anything, arrays(5), arrays(4))
def test_clamp_bounds_everything(
    rotation: np.ndarray, translation: np.ndarray, scale: float, expression: np.ndarray, gaze: np.ndarray
) -> None:
    basis = default_basis()
    with np.errstate(all="ignore"):
        bounded = clamp(Motion(Pose(rotation, translation, scale), expression, gaze.reshape(2, 2)))
    assert np.linalg.norm(bounded.pose.rotation.astype(np.float64)) <= MAX_ROTATION * (1 + 1e-6)
    assert np.abs(bounded.pose.translation).max() <= MAX_TRANSLATION
    assert SCALE_RANGE[0] <= bounded.pose.scale <= SCALE_RANGE[1]
    assert np.abs(bounded.expression).max() <= basis.limit
    assert np.abs(bounded.gaze).max() <= np.float32(basis.gaze_limit)


def test_clamp_makes_nan_rest() -> None:
    nan = np.float32(np.nan)
    bounded = clamp(Motion(Pose(np.full(3, nan), np.full(2, nan), float(nan)), np.full(4, nan), np.full((2, 2), nan)))
    for part in (bounded.pose.rotation, bounded.pose.translation, bounded.expression, bounded.gaze):
        assert not part.any()
    assert bounded.pose.scale == 1
