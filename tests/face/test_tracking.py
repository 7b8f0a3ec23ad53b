from __future__ import annotations

import numpy as np
import pytest

from telepresence.face.basis import default_basis
from telepresence.face.identity import difference
from telepresence.face.motion import keypoints, rotation_matrix, rotation_vector
from telepresence.face.topology import N_FACE
from telepresence.face.tracking import MAX_ANGLE, MEMORY_FRAMES, MotionExtractor
from tests.face import synthetic


def wandering(neutral: synthetic.Floats, count: int, strength: float = 0.5) -> list[synthetic.Floats]:
    """Pictures of somebody who talks and looks around a little."""
    return [
        synthetic.seen(
            neutral,
            synthetic.pose(
                0.3 * np.sin(i / 5), 0.15 * np.sin(i / 7), 0.1 * np.sin(i / 9), 0.1 * np.sin(i / 11), 0, 0.4
            ),
            synthetic.expression(i, strength),
        )
        for i in range(count)
    ]


def test_the_first_picture_already_gives_usable_motion() -> None:
    at = synthetic.pose(0.2, 0.1, -0.1, 0.1, -0.1, 0.35)
    motion = MotionExtractor()(synthetic.seen(synthetic.person(1), at))
    between = rotation_vector(rotation_matrix(motion.pose.rotation) @ rotation_matrix(at.rotation).T)
    assert np.linalg.norm(between) < 0.1
    assert motion.pose.scale == pytest.approx(0.35, rel=0.1)
    assert motion.expression.shape == (default_basis().size,)
    assert np.abs(motion.expression).max() < 3


@pytest.mark.parametrize("seed", range(4))
def test_ones_own_avatar_lands_where_the_landmarks_were(seed: int) -> None:
    """A thousandth of the eye-corner distance off in the mean, four at most (0.4 pixels at 512)."""
    neutral = synthetic.person(seed)
    extractor = MotionExtractor(neutral)
    for points in wandering(neutral, 40):
        again = keypoints(extractor(points), neutral)
    assert np.array_equal(extractor.neutral, neutral)
    error = np.linalg.norm((again - points)[:N_FACE, :2], axis=1) / 0.4
    assert error.mean() < 1e-3
    assert error.max() < 4e-3


def test_somebody_elses_avatar_is_not_taken_for_ones_own() -> None:
    own = synthetic.person(1, spread=1.5)
    avatars = synthetic.person(2, spread=1.5)
    extractor = MotionExtractor(avatars)
    for points in wandering(own, 40, strength=0.2):
        motion = extractor(points)
    assert difference(extractor.neutral, own) < difference(extractor.neutral, avatars)
    assert np.isfinite(motion.expression).all()


def test_the_neutral_shape_is_learned() -> None:
    own = synthetic.person(5)
    extractor = MotionExtractor()
    assert np.array_equal(extractor.neutral, default_basis().mean)
    first = None
    for points in wandering(own, 60):
        extractor(points)
        first = difference(extractor.neutral, own) if first is None else first
    assert difference(extractor.neutral, own) < 0.012
    assert difference(extractor.neutral, own) < difference(default_basis().mean, own)


def test_a_resting_face_comes_out_as_rest_and_a_talking_one_does_not() -> None:
    own = synthetic.person(6)
    extractor = MotionExtractor()
    for points in wandering(own, 60):
        extractor(points)
    rest = extractor(synthetic.seen(own, synthetic.pose()))
    lively = extractor(synthetic.seen(own, synthetic.pose(), synthetic.expression(99, 1.5)))
    assert np.linalg.norm(rest.expression) < 0.6 * np.linalg.norm(lively.expression)


def test_nothing_is_learned_from_a_head_turned_far() -> None:
    own, extractor = synthetic.person(2), MotionExtractor()
    extractor(synthetic.seen(own, synthetic.pose()))
    before = extractor.neutral.copy()
    for _ in range(50):
        extractor(synthetic.seen(own, synthetic.pose(turn=MAX_ANGLE + 0.2)))
    assert np.array_equal(extractor.neutral, before)


def test_memory_is_bounded_so_that_a_new_person_takes_over() -> None:
    """Whoever sits down next is learned as fast after an hour as after half a minute."""
    first, second = synthetic.person(1), synthetic.person(2)
    extractor = MotionExtractor()
    extractor._count = 10 * MEMORY_FRAMES  # an hour of the first person
    extractor(synthetic.seen(first, synthetic.pose()))
    for _ in range(3 * MEMORY_FRAMES // 10):
        extractor(synthetic.seen(second, synthetic.pose()))
    assert extractor._count == MEMORY_FRAMES


def test_gaze_is_relative_to_the_eyes_own_corners() -> None:
    mean = default_basis().mean
    extractor = MotionExtractor(mean)
    look = synthetic.motion(synthetic.pose(0.1, 0.05), gaze=[[0.04, -0.01], [0.05, 0.01]])
    found = extractor(keypoints(look, mean)).gaze
    assert np.abs(found - look.gaze).max() < 5e-3
