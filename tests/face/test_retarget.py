from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telepresence.face.motion import Pose, fit_pose, keypoints, rotation_matrix, rotation_vector
from telepresence.face.retarget import CALIBRATION_US, MAX_OFFSET, SCALE_CHANGE, Retarget
from tests.face import synthetic

FRAME_US = 33_333
NEUTRAL = synthetic.person(7)
REST = synthetic.pose(0.1, -0.05, 0.02, 0.05, 0.1, 0.45)  # the avatar's
DRIVER = synthetic.pose(-0.15, 0.1, 0.05, -0.2, -0.1, 0.3)  # the driver's


def relative() -> Retarget:
    return Retarget(NEUTRAL, REST, "relative")


def hold(retarget: Retarget, at: Pose, start_us: int = 0, seconds: float = 1.5) -> int:
    """Hold a pose; return when it ends."""
    for i in range(round(seconds * 1e6 / FRAME_US)):
        retarget(synthetic.motion(at), start_us + i * FRAME_US)
    return start_us + round(seconds * 1e6 / FRAME_US) * FRAME_US


def placed(retarget: Retarget, at: Pose, now_us: int) -> Pose:
    """Where the avatar's head is."""
    return fit_pose(retarget(synthetic.motion(at), now_us), NEUTRAL)


def turned(at: Pose, turn: float = 0.0, nod: float = 0.0, roll: float = 0.0) -> Pose:
    """The head turned further, in the camera's frame."""
    more = rotation_matrix(np.array([nod, turn, roll])) @ rotation_matrix(at.rotation)
    return Pose(rotation_vector(more), at.translation, at.scale)


def assert_same(one: Pose, other: Pose, atol: float = 1e-3) -> None:
    assert np.allclose(rotation_matrix(one.rotation), rotation_matrix(other.rotation), atol=atol)
    assert np.allclose(one.translation, other.translation, atol=atol)
    assert one.scale == pytest.approx(other.scale, rel=atol)


@pytest.mark.parametrize("seed", range(3))
def test_absolute_is_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    at = synthetic.pose(*rng.uniform(-1, 1, 5), scale=0.3)
    motion = synthetic.motion(at, synthetic.expression(seed), rng.uniform(-0.05, 0.05, (2, 2)))
    got = Retarget(NEUTRAL, REST, "absolute")(motion, 0)
    assert np.array_equal(got, keypoints(motion, NEUTRAL))


def test_at_rest_is_the_avatar_as_enrolled() -> None:
    assert np.array_equal(relative().at_rest(), REST.apply(NEUTRAL))


def test_the_drivers_rest_becomes_the_avatars_from_the_first_picture_on() -> None:
    retarget = relative()
    assert_same(placed(retarget, DRIVER, 0), REST)
    now = hold(retarget, DRIVER, FRAME_US)
    assert_same(placed(retarget, DRIVER, now), REST)


@pytest.mark.parametrize(("turn", "nod", "roll"), [(0.4, 0, 0), (-0.3, 0.2, 0), (0, -0.3, 0), (0, 0, 0.5)])
def test_a_turn_is_carried_over(turn: float, nod: float, roll: float) -> None:
    retarget = relative()
    now = hold(retarget, DRIVER)
    got = placed(retarget, turned(DRIVER, turn, nod, roll), now)
    assert_same(got, turned(REST, turn, nod, roll))


def test_expression_and_gaze_are_untouched() -> None:
    retarget = relative()
    now = hold(retarget, DRIVER)
    gaze = np.array([[0.03, 0], [0.02, 0.01]], np.float32)
    got = retarget(synthetic.motion(DRIVER, synthetic.expression(1), gaze), now)
    assert np.abs(got - keypoints(synthetic.motion(REST, synthetic.expression(1), gaze), NEUTRAL)).max() < 2e-3


def test_small_moves_are_scaled_to_the_avatars_size() -> None:
    retarget = relative()
    now = hold(retarget, DRIVER)
    moved = Pose(DRIVER.rotation, DRIVER.translation + np.float32([0.02, -0.01]), DRIVER.scale)
    offset = placed(retarget, moved, now).translation - REST.translation
    assert offset == pytest.approx([0.03, -0.015], abs=1e-3)  # half as near again


@pytest.mark.parametrize("far", [0.5, 1.0, 2.0, 1e6])
def test_the_offset_is_bounded(far: float) -> None:
    retarget = relative()
    now = hold(retarget, DRIVER)
    moved = Pose(DRIVER.rotation, DRIVER.translation + np.float32([far, 0]), DRIVER.scale)
    offset = placed(retarget, moved, now).translation - REST.translation
    assert 0.3 < offset[0] <= MAX_OFFSET + 1e-3
    assert abs(offset[1]) < 1e-3


def test_the_offset_never_turns_back() -> None:
    retarget = relative()
    now = hold(retarget, DRIVER)
    xs = [
        placed(retarget, Pose(DRIVER.rotation, DRIVER.translation + np.float32([x, 0]), DRIVER.scale), now).translation[
            0
        ]
        for x in np.linspace(0, 1, 30)
    ]
    assert (np.diff(xs) > -1e-5).all()


@pytest.mark.parametrize("factor", [0.1, 0.5, 1.2, 3.0])
def test_nearness_is_carried_over_within_bounds(factor: float) -> None:
    retarget = relative()
    now = hold(retarget, DRIVER)
    got = placed(retarget, Pose(DRIVER.rotation, DRIVER.translation, DRIVER.scale * factor), now)
    assert got.scale / REST.scale == pytest.approx(float(np.clip(factor, *SCALE_CHANGE)), rel=2e-3)


def test_rest_is_learned_only_while_the_head_is_still() -> None:
    """A head that keeps turning to one side does not pull the rest pose after it."""
    retarget = relative()
    now = hold(retarget, DRIVER, seconds=0.3)
    for i in range(60):  # 1.5 rad/s, to and fro on one side
        at = turned(DRIVER, 0.05 * (1 + min(i % 20, 20 - i % 20)))
        retarget(synthetic.motion(at), now + i * FRAME_US)
    got = placed(retarget, DRIVER, now + 60 * FRAME_US)
    assert_same(got, REST, atol=5e-3)


def test_after_the_stable_second_rest_is_fixed() -> None:
    retarget = relative()
    now = hold(retarget, DRIVER, seconds=CALIBRATION_US / 1e6 + 0.1)
    elsewhere = turned(DRIVER, 0.4)
    now = hold(retarget, elsewhere, now, seconds=20)
    assert_same(placed(retarget, elsewhere, now), turned(REST, 0.4))


def test_rest_is_the_mean_of_a_jittery_second() -> None:
    retarget, rng = relative(), np.random.default_rng(1)
    for i in range(40):
        jitter = turned(DRIVER, *rng.normal(0, 0.003, 3))
        retarget(synthetic.motion(jitter), i * FRAME_US)
    assert_same(placed(retarget, DRIVER, 41 * FRAME_US), REST, atol=3e-3)


def test_recalibrate_learns_a_new_rest() -> None:
    retarget = relative()
    now = hold(retarget, DRIVER)
    elsewhere = turned(Pose(DRIVER.rotation, DRIVER.translation + np.float32([0.2, 0.1]), 0.4), 0.3)
    retarget.recalibrate()
    now = hold(retarget, elsewhere, now)
    assert_same(placed(retarget, elsewhere, now), REST)


def test_a_lasting_silence_does_not_count_as_stillness() -> None:
    """Two pictures ten seconds apart are not a stable second."""
    retarget = relative()
    retarget(synthetic.motion(DRIVER), 0)
    retarget(synthetic.motion(DRIVER), 10_000_000)
    now = hold(retarget, turned(DRIVER, 0.02), 10_000_000 + FRAME_US, seconds=2)
    got = placed(retarget, turned(DRIVER, 0.02), now)
    assert_same(got, REST, atol=5e-3)  # still learning, so the rest pose went along


@pytest.mark.parametrize("step_us", [0, -FRAME_US, -(10**12)])
def test_time_that_stands_or_runs_backwards_breaks_nothing(step_us: int) -> None:
    retarget = relative()
    for i in range(100):
        got = retarget(synthetic.motion(turned(DRIVER, 0.1 * math.sin(i))), 10**15 + i * step_us)
        assert np.isfinite(got).all()
    retarget.recalibrate()
    now = hold(retarget, DRIVER)
    assert_same(placed(retarget, DRIVER, now), REST)


numbers = st.floats(-1, 1)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(numbers, numbers, numbers, numbers, numbers, st.floats(0.02, 2), st.integers(0, 2**64 - 1)),
        min_size=1,
        max_size=20,
    )
)
def test_whatever_comes_the_head_stays_about_its_place(
    steps: list[tuple[float, float, float, float, float, float, int]],
) -> None:
    """Poses as far out as a packet can hold, at any times: the head's origin stays within the bound."""
    retarget = relative()
    for turn, nod, roll, x, y, scale, now_us in steps:
        at = synthetic.pose(3 * turn, 3 * nod, 3 * roll, 2 * x, 2 * y, scale)
        got = retarget(synthetic.motion(at), now_us)
        assert np.isfinite(got).all()
        corners = NEUTRAL[[33, 263]].mean(0)
        reach = np.linalg.norm(corners) * REST.scale * SCALE_CHANGE[1]
        assert np.linalg.norm(got[[33, 263], :2].mean(0) - REST.translation) <= MAX_OFFSET + reach + 1e-3
