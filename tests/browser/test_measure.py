"""The ruler itself: it finds a known lag, and does not see likeness where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from tests.browser.measure import Movement, agreement


def wave(times: np.ndarray, late_s: float = 0.0, seed: int = 0) -> Movement:
    rng = np.random.default_rng(seed)
    phases, speeds = rng.uniform(0, 6, (2, 5)), rng.uniform(1, 9, (2, 5))
    yaw, mouth = (np.sin(np.outer(times - late_s, speeds[i]) + phases[i]).sum(1) for i in (0, 1))
    return Movement(times, yaw, mouth, 0)


@pytest.mark.parametrize("late_s", [0.0, 0.1, 0.44])
def test_finds_the_lag_of_a_later_copy_sampled_at_other_moments(late_s: float) -> None:
    agreed = agreement(wave(np.arange(0, 10, 0.1)), wave(np.arange(0.03, 10, 0.11), late_s))
    assert agreed.lag_s == pytest.approx(late_s, abs=0.05)
    assert min(agreed.yaw, agreed.mouth) > 0.95


def test_sees_no_likeness_between_strangers_or_with_a_still_picture() -> None:
    times = np.arange(0, 10, 0.1)
    assert agreement(wave(times), wave(times, seed=1)).yaw < 0.8
    still = Movement(times, np.zeros(100), np.zeros(100), 0)
    assert agreement(wave(times), still).yaw == 0.0
