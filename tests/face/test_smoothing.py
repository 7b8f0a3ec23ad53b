"""Noise goes, talking and blinking stay."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from telepresence.face.basis import default_basis
from telepresence.face.motion import Motion, Pose
from telepresence.face.smoothing import (
    EXPRESSION_NOISE,
    GAP_US,
    GAZE_NOISE,
    ROTATION_NOISE,
    SCALE_NOISE,
    TRANSLATION_NOISE,
    MotionSmoother,
)
from tests.face import synthetic

SIZE = default_basis().size
FIRST, MORE, MOST = EXPRESSION_NOISE
NOISE = np.minimum(MOST, FIRST + MORE * np.arange(SIZE))
MAX_LAG_S = 0.005


def numbers(motion: Motion) -> np.ndarray:
    pose = motion.pose
    return np.array([*pose.rotation, *pose.translation, pose.scale, *motion.expression, *motion.gaze.reshape(-1)])


def noisy(motion: Motion, rng: np.random.Generator) -> Motion:
    pose = motion.pose
    return Motion(
        Pose(
            (pose.rotation + rng.normal(0, ROTATION_NOISE)).astype(np.float32),
            (pose.translation + pose.scale * rng.normal(0, TRANSLATION_NOISE)).astype(np.float32),
            pose.scale * math.exp(rng.normal(0, SCALE_NOISE)),
        ),
        (motion.expression + rng.normal(0, NOISE)).astype(np.float32),
        (motion.gaze + rng.normal(0, GAZE_NOISE, (2, 2))).astype(np.float32),
    )


def smooth(source: Callable[[float], Motion], fps: float, seconds: float, seed: int | None = None) -> np.ndarray:
    """(T, 6 + E + 4) of the smoothed motion."""
    smoother, rng, rows = MotionSmoother(), np.random.default_rng(seed), []
    for n in range(int(seconds * fps)):
        motion = source(n / fps)
        rows.append(numbers(smoother(motion if seed is None else noisy(motion, rng), round(n / fps * 1e6))))
    return np.stack(rows)


def talking(t: float) -> Motion:
    """Jaw at 4 Hz by about one standard deviation, head shaken at 1 Hz."""
    expression = np.zeros(SIZE, np.float32)
    expression[[0, 1, 3]] = np.array([1.0, -0.8, 0.8]) * math.sin(2 * math.pi * 4 * t)
    return synthetic.motion(synthetic.pose(turn=0.35 * math.sin(2 * math.pi * t)), expression)


def lag(rows: np.ndarray, truth: np.ndarray, fps: float) -> float:
    """Seconds by which `rows` is behind: cross-correlation, its peak to a fraction of a picture."""
    correlation = [float((rows[3 + s : len(rows) - 3 + s] * truth[3:-3]).sum()) for s in range(-3, 4)]
    peak = int(np.clip(np.argmax(correlation), 1, 5))
    before, at, after = correlation[peak - 1 : peak + 2]
    return (peak - 3 + 0.5 * (before - after) / (before - 2 * at + after)) / fps


@pytest.mark.parametrize("fps", [24, 30, 60])
@pytest.mark.parametrize("seed", [None, 7])
def test_talking_lags_by_less_than_five_milliseconds(fps: float, seed: int | None) -> None:
    rows = smooth(talking, fps, 4, seed)
    truth = np.stack([numbers(talking(n / fps)) for n in range(len(rows))])
    for column in (6, 7, 9, 1):  # three coefficients and the turn of the head
        assert -MAX_LAG_S < lag(rows[:, column], truth[:, column], fps) < MAX_LAG_S
        assert np.abs(rows[:, column]).max() > 0.93 * np.abs(truth[:, column]).max()


def test_a_still_face_stays_still() -> None:
    """Noise from picture to picture falls to less than half, of the head to less than two fifths."""
    still = synthetic.motion(synthetic.pose(turn=0.2, x=0.1, scale=0.4), synthetic.expression(3))
    rows = smooth(lambda _: still, 30, 10, seed=1)[15:]
    rng = np.random.default_rng(1)
    raw = np.stack([numbers(noisy(still, rng)) for _ in range(len(rows))])
    factor = np.diff(rows, axis=0).std(0) / np.diff(raw, axis=0).std(0)
    assert factor[:6].max() < 0.4
    assert factor[6:].mean() < 0.4
    assert factor.max() < 0.5
    assert np.abs(rows.mean(0)[6:-4] - still.expression).max() < 0.05


def test_a_lid_that_falls_is_not_held_up() -> None:
    """A blink is three pictures; its depth must be there in the very picture."""
    shut = np.zeros(SIZE, np.float32)
    shut[2] = 3.0

    def blinking(t: float) -> Motion:
        return synthetic.motion(expression=shut if round(t * 30) % 30 in (10, 11) else None)

    rows = smooth(blinking, 30, 4, seed=2)
    falls = rows[[n for n in range(len(rows)) if n % 30 == 10], 6 + 2]
    assert falls.min() > 0.97 * 3.0
    opens = rows[[n for n in range(len(rows)) if n % 30 == 12], 6 + 2]
    assert np.abs(opens).max() < 0.1 * 3.0


def test_step_response_arrives_and_does_not_overshoot() -> None:
    open_mouth = np.zeros(SIZE, np.float32)
    open_mouth[0] = 2.0

    def step(t: float) -> Motion:
        there = t >= 0.5
        return synthetic.motion(synthetic.pose(turn=0.3 * there), open_mouth if there else None)

    rows = smooth(step, 30, 1.5)
    jaw, turn = rows[15:, 6], rows[15:, 1]
    assert jaw[0] > 0.98 * 2.0
    assert turn[0] > 0.98 * 0.3
    assert jaw.max() < 1.05 * 2.0
    assert turn.max() < 1.05 * 0.3
    assert jaw[10:] == pytest.approx(2.0, abs=0.02)
    assert turn[10:] == pytest.approx(0.3, abs=0.004)


def test_a_blink_does_not_let_the_jaws_noise_through() -> None:
    rng = np.random.default_rng(5)
    smoother, jaw = MotionSmoother(), []
    for n in range(90):
        motion = noisy(synthetic.motion(), rng)
        motion.expression[2] += 3.0 * (n % 6 < 3)
        jaw.append(smoother(motion, n * 33_333).expression[0])
    assert np.diff(jaw[10:]).std() < 0.5 * FIRST * math.sqrt(2)


@pytest.mark.parametrize("later_us", [GAP_US, 10**9, 0, -1, -(10**9)])
def test_after_a_gap_or_backwards_it_starts_anew(later_us: int) -> None:
    smoother, rng = MotionSmoother(), np.random.default_rng(6)
    for n in range(30):
        smoother(noisy(synthetic.motion(), rng), n * 33_333)
    other = noisy(synthetic.motion(synthetic.pose(turn=0.5), synthetic.expression(8)), rng)
    assert numbers(smoother(other, 29 * 33_333 + later_us)) == pytest.approx(numbers(other))
    again = noisy(other, rng)
    assert not np.allclose(numbers(smoother(again, 29 * 33_333 + later_us + 33_333)), numbers(again), atol=1e-6)


def test_reset_and_another_schema_start_anew() -> None:
    smoother, rng = MotionSmoother(), np.random.default_rng(6)
    smoother(noisy(synthetic.motion(), rng), 0)
    smoother.reset()
    one = noisy(synthetic.motion(), rng)
    assert smoother(one, 33_333) is one
    other = Motion(one.pose, one.expression[:20], one.gaze, 2)
    assert smoother(other, 66_666) is other


def test_nonsense_passes_and_leaves_no_trace() -> None:
    smoother = MotionSmoother()
    good = synthetic.motion(expression=synthetic.expression(1))
    smoother(good, 0)
    bad = Motion(good.pose, np.full(SIZE, np.nan, np.float32), good.gaze)
    assert smoother(bad, 33_333) is bad
    assert numbers(smoother(good, 66_666)) == pytest.approx(numbers(good), abs=1e-5)


def test_turned_heads_are_smoothed_on_the_rotation_group() -> None:
    """Across half a turn the rotation vector leaps from one side to the other; the head must not."""
    smoother, turns = MotionSmoother(), []
    for n in range(60):
        angle = math.pi - 0.3 + 0.01 * n
        vector = np.array([0, (angle + math.pi) % (2 * math.pi) - math.pi, 0], np.float32)
        motion = Motion(
            Pose(vector, np.zeros(2, np.float32), 0.4), np.zeros(SIZE, np.float32), np.zeros((2, 2), np.float32)
        )
        turns.append(float(smoother(motion, n * 33_333).pose.rotation[1]) % (2 * math.pi))
    assert np.diff(turns) == pytest.approx(0.01, abs=0.007)
