"""How far lips and sound are apart, where it is known."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from telepresence.bench.lips import (
    RATE,
    SECONDS,
    Ages,
    ages,
    evened,
    event_times,
    openness,
    skews,
    summary,
    write_microphone,
)
from telepresence.bench.report import page
from telepresence.bench.run import call_text
from tests.bench.test_results import report

BLOCK_S = 120 / 48_000


def levels(later_s: float, begin_s: float = 100.0, seconds: float = 15.0) -> list[list[float]]:
    """What a page notes of the bursts, `later_s` after they left the microphone."""
    at = np.arange(begin_s, begin_s + seconds, BLOCK_S)
    return [[float(t), float(v)] for t, v in zip(at, 0.4 * openness((at - later_s) % SECONDS), strict=True)]


def pictures(age_ms: float, begin_s: float = 100.0, seconds: float = 15.0) -> list[list[float]]:
    return [[1e6 * t, age_ms] for t in np.arange(begin_s, begin_s + seconds, 1 / 30)]


def heard(later_s: float) -> dict[str, Any]:
    row = {"skew_ms": 3.0, "hold_ms": 0.0, "sound_delay_ms": 20.0, "playout_ms": 10.0}
    return {"levels": levels(later_s), "figures": [row] * 5}


@pytest.mark.parametrize("later_ms", [0, 35, 180])
def test_the_age_of_sound_is_found(later_ms: int) -> None:
    series = [np.array(levels(by)).T for by in (0.0, later_ms / 1000)]
    found = ages((series[0][0], series[0][1]), (series[1][0], series[1][1]))
    assert len(found.age_s) >= 12
    assert 1000 * found.age_s == pytest.approx(later_ms, abs=3)
    assert 1000 * found.later(0.05).age_s == pytest.approx(later_ms + 50, abs=3)


def test_lips_that_are_late_have_a_positive_skew() -> None:
    found = summary({"levels": levels(0.0), "figures": []}, heard(0.06), pictures(90), 5.0)
    assert found is not None
    assert found["sound_ms_p50"] == pytest.approx(70, abs=2)  # 60 and the output's 10
    assert found["skew_ms_p50"] == pytest.approx(25, abs=2)  # 90 and the face's own 5
    assert found["skew_ms_abs_p95"] == pytest.approx(25, abs=4)
    assert (found["hold_ms"], found["sound_delay_ms"], found["page_skew_ms_p50"]) == (0.0, 20.0, 3.0)
    assert found["pictures"] > 400
    early = summary({"levels": levels(0.0), "figures": []}, heard(0.12), pictures(90), None)
    assert early is not None
    assert early["skew_ms_p50"] == pytest.approx(-40, abs=2)
    assert early["skew_ms_abs_p95"] == pytest.approx(40, abs=4)


def test_what_a_screen_takes_makes_pictures_later() -> None:
    found = summary({"levels": levels(0.0), "figures": []}, heard(0.06), pictures(90), 5.0, 24.0)
    assert found is not None
    assert found["skew_ms_p50"] == pytest.approx(49, abs=2)
    assert found["to_visible_ms"] == 24.0


def test_blocks_that_a_track_delivers_at_once_follow_each_other() -> None:
    """Three times 10 ms together, as a device asks for them, a hiccup of 8 ms now and then, and 20 ms lost for good."""
    rng = np.random.default_rng(2)
    begin = np.arange(0, 12, 0.03) + 5.0
    late = begin + np.where(rng.uniform(size=len(begin)) < 0.05, 0.008, 0.0) + np.where(begin > 11, 0.02, 0.0)
    chunks = np.repeat(late, 3)
    times = (chunks[:, None] + np.arange(4) * BLOCK_S).ravel()
    even = evened(times)
    assert np.abs(np.diff(even) - BLOCK_S).max() < 0.012
    true = (np.repeat(begin + np.where(begin > 11, 0.02, 0.0), 12)) + np.tile(np.arange(12) * BLOCK_S, len(begin))
    off_ms = 1000 * (even - true)
    assert np.percentile(np.abs(off_ms - np.median(off_ms)), 95) < 2.5
    assert -12 < np.median(off_ms) < 0, "as late as they are delivered on average: the rest is in the output's delay"


def test_silence_or_no_picture_has_no_skew() -> None:
    quiet = {"levels": [[t, 0.0] for t, _ in levels(0.0)], "figures": []}
    assert summary(quiet, heard(0.05), pictures(90), None) is None
    assert summary(None, heard(0.05), pictures(90), None) is None
    assert summary({"levels": levels(0.0), "figures": []}, heard(0.05), [], None) is None


def test_only_sounds_about_the_same_time_count() -> None:
    sound = Ages(np.array([0.0, 10.0]), np.array([0.05, 0.25]))
    found = skews(Ages(np.array([0.2, 5.0, 9.9]), np.array([0.1, 0.1, 0.1])), sound)
    assert list(found.at_s) == [0.2, 9.9]
    assert list(1000 * found.age_s) == pytest.approx([50, -150])


def test_the_microphone_plays_the_bursts(tmp_path: Path) -> None:
    with wave.open(str(write_microphone(tmp_path / "m.wav"))) as file:
        assert (file.getframerate(), file.getnframes()) == (RATE, SECONDS * RATE)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float64)
    loud = np.abs(samples).reshape(-1, RATE // 100).max(1) > 1000
    begins = np.flatnonzero(loud[1:] & ~loud[:-1]) / 100
    assert len(begins) == len(event_times())
    assert begins == pytest.approx(event_times(), abs=0.03)


def test_the_report_says_how_far_they_are_apart() -> None:
    found = summary({"levels": levels(0.0), "figures": []}, heard(0.06), pictures(90), 5.0)
    text = page({**report(), "lips": found})
    assert "Lips and sound" in text
    assert "45 met" in text
    assert "apart by at most" in call_text({**report(), "lips": found})
    assert "Lips and sound" not in page(report())
