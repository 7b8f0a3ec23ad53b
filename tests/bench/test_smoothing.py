"""The measure itself: filters whose lag and damage are known get the figures they deserve."""

from __future__ import annotations

import math

import numpy as np
import pytest

from telepresence.bench.smoothing import OneEuro, measure
from telepresence.face.basis import default_basis
from telepresence.face.motion import Motion
from telepresence.face.smoothing import MotionSmoother
from tests.face import synthetic


def talk(seconds: float = 6) -> list[Motion]:
    rng, motions = np.random.default_rng(1), []
    for n in range(int(seconds * 30)):
        t = n / 30
        expression = rng.normal(0, 0.02, default_basis().size).astype(np.float32)
        speaks = t % 3 < 2
        expression[0] += 1.5 * math.sin(2 * math.pi * 2.5 * t) * speaks
        expression[1] += math.sin(2 * math.pi * 1.1 * t) * speaks
        motions.append(synthetic.motion(synthetic.pose(turn=0.3 * math.sin(2 * math.pi * t) * speaks), expression))
    return motions


def test_no_filter_has_no_lag_and_keeps_all_noise() -> None:
    figures = measure(talk(), default_basis().mean, 30, lambda: lambda motion, _: motion)
    assert figures.lag_mouth == pytest.approx(0, abs=0.5)
    assert figures.lag_yaw == pytest.approx(0, abs=0.5)
    assert figures.still == pytest.approx(1)


def test_a_filter_that_is_a_picture_late_is_found_out() -> None:
    class Late:
        def __init__(self) -> None:
            self._before: Motion | None = None

        def __call__(self, motion: Motion, now_us: int) -> Motion:
            out, self._before = self._before or motion, motion
            return out

    figures = measure(talk(), default_basis().mean, 30, Late)
    assert figures.lag_mouth == pytest.approx(33.3, abs=2)
    assert figures.lag_yaw == pytest.approx(33.3, abs=2)


def test_the_smoother_calms_as_much_as_one_euro_and_lags_less() -> None:
    ours = measure(talk(), default_basis().mean, 30, MotionSmoother)
    theirs = measure(talk(), default_basis().mean, 30, OneEuro)
    assert ours.still is not None
    assert theirs.still is not None
    assert ours.still < min(0.6, 1.2 * theirs.still)
    assert max(ours.lag_mouth, ours.lag_yaw) < 5
    assert ours.lag_mouth < theirs.lag_mouth
