"""The lag of one face behind another, where it is known."""

from __future__ import annotations

import numpy as np
import pytest

from telepresence.bench.lag import Lag, Movement, lag, looks, summary


def face(rate: float, seconds: float = 15.0, later_s: float = 0.0, noise: float = 0.0, seed: int = 0) -> Movement:
    """A head that turns and talks, seen `rate` times a second, `later_s` later than it does."""
    draw = np.random.default_rng(seed)
    times = np.arange(0, seconds, 1 / rate) + draw.uniform(0, 0.3 / rate, int(np.ceil(seconds * rate)))
    at = times - later_s
    yaw = 12 * np.sin(2 * np.pi * 0.31 * at) + 4 * np.sin(2 * np.pi * 0.83 * at + 1)
    mouth = 0.2 + 0.1 * np.sin(2 * np.pi * 2.3 * at) * np.sin(2 * np.pi * 0.21 * at + 2)
    tremble = draw.normal(0, noise, (2, len(times)))
    return Movement(times, yaw + 10 * tremble[0], mouth + 0.1 * tremble[1])


@pytest.mark.parametrize("later_ms", [0, 37, 128, 410])
def test_a_known_lag_is_found(later_ms: int) -> None:
    found = lag(face(10), face(11, later_s=later_ms / 1000, seed=1))
    assert found is not None
    assert found.likely
    assert found.ms == pytest.approx(later_ms, abs=5)


def test_noise_makes_it_less_certain_not_wrong() -> None:
    found = lag(face(10, noise=0.15), face(10, later_s=0.12, noise=0.15, seed=3))
    assert found is not None
    assert found.ms == pytest.approx(120, abs=12)


def test_a_face_that_freezes_is_as_late_as_it_is_shown() -> None:
    """Pictures that come in bursts: between them the last one stands."""
    second = face(10, later_s=0.1, seed=2)
    kept = np.array([int(t / 0.7) % 3 != 1 for t in second.times])
    held = Movement(second.times[kept], second.yaw[kept], second.mouth[kept])
    found = lag(face(10), held)
    assert found is not None
    assert 95 <= found.ms <= 300


def test_another_face_and_a_still_one_mean_nothing() -> None:
    draw = np.random.default_rng(9)
    first = face(10)
    other = Movement(first.times, draw.normal(0, 5, len(first.times)), draw.normal(0, 1, len(first.times)))
    still = Movement(first.times, np.zeros_like(first.times), np.zeros_like(first.times))
    for second in (other, still):
        found = lag(first, second)
        assert found is None or not found.likely
    assert lag(first, Movement(first.times[:1], first.yaw[:1], first.mouth[:1])) is None
    assert lag(face(10, seconds=2), face(10, seconds=2)) is None


def test_yaw_is_positive_to_the_right_and_the_mouth_opens() -> None:
    points = np.zeros((478, 3), np.float32)
    points[234], points[454] = (-1, 0, 0), (1, 0, 0.5)
    points[33], points[263] = (-0.5, 0, 0), (0.5, 0, 0)
    points[14] = (0, 0.25, 0)
    yaw, mouth = looks(points)
    assert yaw == pytest.approx(14.04, abs=0.1)
    assert mouth == pytest.approx(0.25)


def test_stretches_that_mean_nothing_do_not_count() -> None:
    found = summary([Lag(100, 0.9, 0.9), None, Lag(900, 0.1, 0.2), Lag(110, 0.9, 0.8)])
    assert found["lag_ms_face"] == 105
    assert found["lag_ms_each"] == [100, 110]
    assert summary([None])["lag_ms_face"] is None
