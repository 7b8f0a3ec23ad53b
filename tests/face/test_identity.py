from __future__ import annotations

import numpy as np
import pytest

from telepresence.avatar.samples import sample_avatar
from telepresence.face.basis import default_basis
from telepresence.face.identity import MANY, difference, neutral_shape, without_expression
from telepresence.face.motion import fit_pose, keypoints, to_square
from telepresence.face.topology import LIPS, MOUTH_CORNERS, MOUTH_OPENING, N_FACE
from telepresence.face.tracking import SAME_PERSON
from tests.face import synthetic


def smile(strength: float = 2.0) -> synthetic.Floats:
    """The coefficients that move the corners of the mouth apart and up, as large as faces make them."""
    basis = default_basis()
    right, left = (basis.components[:, corner] for corner in MOUTH_CORNERS)
    wide = left[:, 0] - right[:, 0] - 0.5 * (left[:, 1] + right[:, 1])
    return (strength * wide / np.linalg.norm(wide)).astype(np.float32)


def raw_shape(points: synthetic.Floats) -> synthetic.Floats:
    return fit_pose(points, default_basis().mean).invert(points)


def lips_apart(one: synthetic.Floats, other: synthetic.Floats) -> float:
    """How far lips are from where they should be in the face; where the whole face lies is the pose's affair."""
    gap = (one - other)[:N_FACE, :2]
    return float(np.linalg.norm((gap - gap.mean(0))[list(LIPS)], axis=1).mean())


@pytest.mark.parametrize("seed", range(6))
def test_a_single_smiling_picture_gives_nearly_the_face_at_rest(seed: int) -> None:
    true = synthetic.person(seed)
    points = synthetic.seen(true, synthetic.pose(0.1, -0.05, 0.1, scale=0.4), smile())
    aligned = raw_shape(synthetic.seen(true, synthetic.pose()))  # the truth, as this fit would place it
    assert lips_apart(raw_shape(points), aligned) > 0.04
    assert lips_apart(neutral_shape([points]), aligned) < 0.6 * lips_apart(raw_shape(points), aligned)


def test_the_mean_face_is_its_own_neutral_shape() -> None:
    mean = default_basis().mean
    found = neutral_shape([synthetic.seen(mean, synthetic.pose(x=0.2, scale=0.5))])
    assert (found.shape, found.dtype) == ((478, 3), np.float32)
    assert np.abs(found - mean).max() < 2e-3


def test_without_expression_leaves_the_mean_face_and_shrinks_any_expression() -> None:
    basis = default_basis()
    assert np.abs(without_expression(basis.mean) - basis.mean).max() < 1e-5
    for seed in range(4):
        moved = basis.mean + basis.displacement(synthetic.expression(seed), np.zeros((2, 2), np.float32))
        left = without_expression(moved)
        assert np.linalg.norm((left - basis.mean)[:N_FACE]) < 0.75 * np.linalg.norm((moved - basis.mean)[:N_FACE])


def test_a_mouth_wide_open_in_many_frames_is_not_rest() -> None:
    """Of a clip, the frames at rest decide, and the others do not pull."""
    person = synthetic.person(3)
    talking = [synthetic.seen(person, synthetic.pose(0.05 * np.sin(i)), None) for i in range(MANY)]
    for i, points in enumerate(talking):
        if i % 3:
            points[14, 1] += 0.05
            points[[17, 152], 1] += 0.05
    found = neutral_shape(talking)
    quiet = neutral_shape([synthetic.seen(person, synthetic.pose()) for _ in range(MANY)])
    gaps = [float(np.linalg.norm(s[MOUTH_OPENING[0]] - s[MOUTH_OPENING[1]])) for s in (found, quiet)]
    assert gaps[0] == pytest.approx(gaps[1], abs=0.01)


def test_two_people_differ_and_one_does_not() -> None:
    shapes = [neutral_shape([synthetic.seen(synthetic.person(s), synthetic.pose(0.05 * s))]) for s in range(6)]
    again = [neutral_shape([synthetic.seen(synthetic.person(s), synthetic.pose(nod=0.1, x=0.1))]) for s in range(6)]
    same = [difference(a, b) for a, b in zip(shapes, again, strict=True)]
    other = [difference(shapes[i], again[j]) for i in range(6) for j in range(6) if i != j]
    assert max(same) < min(other)
    assert max(same) < SAME_PERSON[0]
    assert np.median(other) > SAME_PERSON[0]


def test_difference_is_symmetric_and_blind_to_place() -> None:
    one, other = synthetic.person(1), synthetic.person(2)
    assert difference(one, one) == 0
    assert difference(one, other) == pytest.approx(difference(other, one))
    assert difference(one, one + np.float32([0.3, -0.1, 0.5])) == pytest.approx(0, abs=1e-6)


def test_a_sideways_glance_is_not_how_the_eyes_rest() -> None:
    mean = default_basis().mean
    glance = synthetic.motion(synthetic.pose(), gaze=[[0.06, 0.0], [0.06, 0.0]])
    found = neutral_shape([keypoints(glance, mean)])
    assert np.abs(found[[468, 473], 0] - mean[[468, 473], 0]).max() < 0.01


def test_a_real_portrait_has_a_plausible_neutral_shape() -> None:
    reference = sample_avatar().references[0]
    found = neutral_shape([to_square(reference.landmarks, reference.side, reference.side)])
    assert np.linalg.norm(found[33] - found[263]) == pytest.approx(1, abs=0.1)
    assert np.linalg.norm(found[13] - found[14]) < 0.06  # a broad smile in the picture
    assert difference(found, default_basis().mean) < 0.1


def test_no_picture_at_all() -> None:
    with pytest.raises(ValueError, match="at least one"):
        neutral_shape([])
