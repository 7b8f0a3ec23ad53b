"""What a soak thinks of figures that grow, do not, or cannot be judged yet."""

from __future__ import annotations

import numpy as np

from telepresence.bench import results
from telepresence.bench.report import page
from telepresence.bench.soak import SPAN_MINUTES, WATCHED, soak_text, summary, verdict


def points(slope: float, minutes: float, noise: float, count: int = 180, seed: int = 0) -> list[tuple[float, float]]:
    """`slope` in SPAN_MINUTES."""
    draw = np.random.default_rng(seed)
    at = np.linspace(0, minutes, count)
    return [(float(t), float(100 + slope * t / SPAN_MINUTES + draw.normal(0, noise))) for t in at]


def test_growth_is_told_from_noise() -> None:
    assert verdict(points(0, 30, 3), 10)["verdict"] == "does not grow"
    assert verdict(points(80, 30, 3), 10)["verdict"] == "grows"
    assert verdict(points(80, 30, 3), 10)["growth"] == np.float64(verdict(points(80, 30, 3), 10)["growth"])
    assert abs(verdict(points(80, 30, 3), 10)["growth"] - 80) < 5


def test_a_short_soak_cannot_tell() -> None:
    assert verdict(points(0, 0.5, 3, count=30), 10)["verdict"] == "too short to tell"


def test_what_grows_for_two_minutes_has_told_nothing_yet() -> None:
    assert verdict(points(600, 2, 1, count=60), 10)["verdict"] == "too short to tell"
    assert verdict(points(600, 5, 1, count=60), 10)["verdict"] == "grows"


def test_a_warm_up_is_no_growth() -> None:
    warm = [(t, value - 50 * max(0.0, 1 - t / 3)) for t, value in points(0, 30, 1)]
    assert verdict(warm, 10)["verdict"] == "does not grow"


def test_what_is_not_known_here_is_left_out() -> None:
    readings = [{"minutes": n / 6, "age_ms_p50": 60.0 + n % 2, "memory_mib": None} for n in range(60)]
    found = summary(readings)
    assert [row["figure"] for row in found["verdicts"]] == ["age_ms_p50"]
    assert WATCHED["age_ms_p50"][0] in soak_text(found)
    assert "too few" in soak_text(summary([]))


def test_a_soak_makes_a_page_of_its_own() -> None:
    readings = [{"minutes": n / 6, "age_ms_p50": 60.0 + n % 2, "memory_mib": 400.0} for n in range(60)]
    about = {"clip": {"name": "clip"}, "engine": {}, "problems": [], "soak": summary(readings)}
    text = page(results.report("soak", 0.0, about, [], complete=True))
    assert text.count("does not grow") == 2
    assert text.count("<svg") == 2
