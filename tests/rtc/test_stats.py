"""Sliding windows, with time as an argument."""

from __future__ import annotations

import pytest

from telepresence.rtc.stats import MAX_SAMPLES, Meter, Window, kbps, rounded

S = 1_000_000


def test_nothing_measured_is_none() -> None:
    window = Window()
    assert window.rate(0) is None
    assert window.percentile(0, 50) is None
    window.add(0)
    assert window.rate(0) is None  # no time has passed yet


def test_rate_is_right_while_young_and_when_full() -> None:
    window = Window()
    for n in range(300):  # 30 a second for ten seconds
        window.add(n * S // 30)
        if n == 30:
            assert window.count_rate(S) == pytest.approx(30)
    assert window.count_rate(299 * S // 30) == pytest.approx(30, abs=0.3)


def test_rate_falls_to_nought_when_samples_stop() -> None:
    window = Window()
    for n in range(30):
        window.add(n * S // 30)
    assert window.count_rate(60 * S) == 0
    assert window.percentile(60 * S, 50) is None


def test_percentiles_are_of_the_window_only() -> None:
    window = Window()
    window.add(0, 1000.0)
    for n in range(1, 101):
        window.add(6 * S + n, float(n))
    assert window.percentile(6 * S + 100, 50) == 50
    assert window.percentile(6 * S + 100, 95) == 95
    assert window.percentile(6 * S + 100, 100) == 100
    assert window.percentile(6 * S + 100, 0) == 1


def test_memory_is_bounded() -> None:
    window = Window()
    for n in range(2 * MAX_SAMPLES):
        window.add(n)
    assert len(window._samples) == MAX_SAMPLES


def test_meter_turns_a_counter_into_a_rate() -> None:
    meter = Meter()
    for n in range(41):
        meter.read(n * S // 4, n * 2_500)  # 10 kB a second
    assert meter.rate(10 * S) == pytest.approx(10_000)
    assert kbps(meter.rate(10 * S)) == 80.0


def test_none_stays_none() -> None:
    assert kbps(None) is None
    assert rounded(None) is None
    assert rounded(1.26) == 1.3
