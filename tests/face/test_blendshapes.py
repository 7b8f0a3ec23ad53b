"""Blendshape weights: what they follow, and what stays 0."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telepresence.avatar.samples import sample_motion
from telepresence.face.basis import default_basis
from telepresence.face.blendshapes import MEASURED, NAMES, NOT_MEASURED, blendshapes, head_metres
from telepresence.face.motion import Motion, Pose, keypoints, rotation_matrix, to_square
from telepresence.face.tracking import MotionExtractor

E = default_basis().size
STRAIGHT = Pose(np.zeros(3, np.float32), np.zeros(2, np.float32), 0.4)
FRAMES = 150


def of(expression: np.ndarray | None = None, gaze: np.ndarray | None = None) -> dict[str, float]:
    zeros = np.zeros(E, np.float32), np.zeros((2, 2), np.float32)
    moved = Motion(STRAIGHT, zeros[0] if expression is None else expression, zeros[1] if gaze is None else gaze)
    return dict(zip(NAMES, blendshapes(moved).tolist(), strict=True))


def test_there_are_the_52_names_of_arkit() -> None:
    assert len(NAMES) == len(set(NAMES)) == 52
    assert len(MEASURED) + len(NOT_MEASURED) == 52
    assert set(NOT_MEASURED) < set(NAMES)


def test_a_face_at_rest_is_all_zero() -> None:
    assert max(of().values()) == pytest.approx(0, abs=1e-5)


@given(seed=st.integers(0, 1000), size=st.floats(0, 6))
def test_weights_are_between_0_and_1_and_what_is_not_measured_is_0(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    expression = np.clip(rng.normal(size=E) * size, -6, 6).astype(np.float32)
    weights = of(expression, rng.uniform(-0.12, 0.12, (2, 2)).astype(np.float32))
    assert all(0 <= value <= 1 for value in weights.values())
    assert all(weights[name] == 0 for name in NOT_MEASURED)


def test_the_pose_changes_nothing() -> None:
    some = sample_motion()[40].motion
    turned = Motion(Pose(np.array([0.3, 0.4, 0.1], np.float32), STRAIGHT.translation, 0.2), some.expression, some.gaze)
    np.testing.assert_array_equal(blendshapes(turned), blendshapes(some))


def test_eyes_that_look_to_the_persons_left_look_out_and_in() -> None:
    weights = of(gaze=np.array([[0.05, 0], [0.05, 0]], np.float32))  # the picture's right
    assert weights["eyeLookOutLeft"] > 0.5
    assert weights["eyeLookInRight"] > 0.5
    assert weights["eyeLookInLeft"] == weights["eyeLookOutRight"] == 0
    down = of(gaze=np.array([[0, 0.05], [0, 0.05]], np.float32))
    assert down["eyeLookDownLeft"] > 0.5
    assert down["eyeLookUpLeft"] == 0


def test_mouth_and_lids_of_the_sample_motion_move() -> None:
    weights = np.stack([blendshapes(packet.motion) for packet in sample_motion()])
    for name in ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "mouthLowerDownLeft", "browInnerUp"):
        assert np.ptp(weights[:, NAMES.index(name)]) > 0.1, name


@pytest.mark.parametrize("clip", ["cnn_presenter_512", "justin_1080p"])
def test_blinks_and_the_mouth_of_a_real_face_are_followed(faces: Path, clip: str) -> None:
    from telepresence.face.landmarks import LandmarkTracker
    from telepresence.media import read_frames

    extract, found = MotionExtractor(), []
    with LandmarkTracker() as tracker:
        for number, frame in enumerate(read_frames(faces / "dev" / f"{clip}.mp4")):
            height, width = frame.picture.shape[:2]
            points = tracker(frame.picture)
            if points is not None:
                weights = blendshapes(extract(to_square(points, width, height)))
                eyes = np.linalg.norm(points[263] - points[33])
                lids = np.linalg.norm(points[[159, 386]] - points[[145, 374]], axis=1).mean() / eyes
                lips = np.linalg.norm(points[13] - points[14]) / eyes
                found.append((weights[0] + weights[7], lids, weights[NAMES.index("jawOpen")], lips))
            if number >= FRAMES:
                break
    blink, lids, jaw, lips = np.array(found[30:]).T  # after the neutral shape has been learned
    assert np.corrcoef(blink, -lids)[0, 1] > 0.8
    assert np.corrcoef(jaw, lips)[0, 1] > 0.8


def test_two_people_with_one_motion_have_the_same_weights() -> None:
    """Weights take no face but the mean one: a motion says nothing of who made it."""
    basis = default_basis()
    some = sample_motion()[25].motion
    for strength in (-1.5, 1.5):
        own = basis.mean.copy()
        own[:468] += strength * basis.identity[0]
        shape = keypoints(some, own)
        displaced = some.pose.invert(shape) - own
        expression, gaze = basis.analyse(displaced)
        again = blendshapes(Motion(STRAIGHT, expression, gaze))
        assert np.abs(again - blendshapes(some)).max() < 0.15


@given(x=st.floats(-1.5, 1.5), y=st.floats(-1.5, 1.5), z=st.floats(-1.5, 1.5))
def test_a_quaternion_is_the_same_rotation_in_a_frame_with_y_up(x: float, y: float, z: float) -> None:
    pose = Pose(np.array([x, y, z], np.float32), np.array([0.2, -0.1], np.float32), 0.3)
    (qx, qy, qz, qw), position = head_metres(pose)
    flip = np.diag([1, -1, -1])
    vector = 2 * np.arccos(np.clip(qw, -1, 1)) * np.array([qx, qy, qz]) / max(np.linalg.norm([qx, qy, qz]), 1e-9)
    expected = flip @ rotation_matrix(pose.rotation) @ flip
    np.testing.assert_allclose(rotation_matrix(vector), expected, atol=2e-3)
    assert position[0] > 0
    assert position[1] > 0  # up
    assert position[2] == pytest.approx(-0.09 / (0.3 * 0.466))
