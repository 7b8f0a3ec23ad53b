"""When a page captured a picture: reports, their delays, wrapping, nonsense."""

from __future__ import annotations

import random

import pytest

from telepresence.rtc.capture import MOST_US, WRAP, CaptureClock, PageLeg
from telepresence.rtc.viewers import _timed

START_US = 5_000_000
WALL_S = 3_900_000_000  # seconds since 1900, about 2023


def ntp(seconds: float) -> int:
    return (WALL_S << 32) + round(seconds * (1 << 32))


class Page:
    """A camera whose RTP time began at `origin` when our clock stood at START_US and its own wall clock at WALL_S."""

    def __init__(self, origin: int = 12_345) -> None:
        self.origin = origin

    def rtp(self, at_us: int) -> int:
        return (self.origin + (at_us - START_US) * 9 // 100) % WRAP

    def report(self, clock: CaptureClock, at_us: int, late_us: int = 300) -> None:
        clock.report(ntp((at_us - START_US) / 1e6), self.rtp(at_us), at_us + late_us)


def test_before_a_report_nothing_is_known() -> None:
    assert CaptureClock().captured_us(1, START_US) is None


def test_a_report_tells_when_pictures_before_and_after_it_were_captured() -> None:
    page, clock = Page(), CaptureClock()
    page.report(clock, START_US + 1_000_000)
    for captured in (START_US + 950_000, START_US + 1_700_000):
        found = clock.captured_us(page.rtp(captured), captured + 25_000)
        assert found is not None
        assert abs(found - captured) <= 400


def test_the_quickest_report_decides() -> None:
    page, clock, rng = Page(), CaptureClock(), random.Random(1)
    for n in range(10):
        page.report(clock, START_US + n * 1_000_000, 200 if n == 4 else rng.randint(2_000, 80_000))
    captured = START_US + 9_500_000
    found = clock.captured_us(page.rtp(captured), captured + 30_000)
    assert found is not None
    assert abs(found - captured) <= 300


@pytest.mark.parametrize("origin", [WRAP - 45_000, WRAP - 1, 0])
def test_rtp_time_may_wrap(origin: int) -> None:
    page, clock = Page(origin), CaptureClock()
    page.report(clock, START_US)
    captured = START_US + 900_000
    found = clock.captured_us(page.rtp(captured), captured + 10_000)
    assert found is not None
    assert abs(found - captured) <= 400


def test_a_wall_clock_that_is_set_is_followed() -> None:
    page, clock = Page(), CaptureClock()
    page.report(clock, START_US)
    for n in range(1, 3):
        at_us = START_US + n * 1_000_000
        clock.report(ntp(-3600 + n), page.rtp(at_us), at_us + 300)
    captured = START_US + 2_100_000
    found = clock.captured_us(page.rtp(captured), captured + 10_000)
    assert found is not None
    assert abs(found - captured) <= 400


def test_what_cannot_be_is_bounded_or_refused() -> None:
    page, clock = Page(), CaptureClock()
    page.report(clock, START_US)
    captured = START_US + 100_000
    rtp = page.rtp(captured)
    assert clock.captured_us(rtp, captured + 900_000) == captured + 900_000 - MOST_US
    assert clock.captured_us(rtp, captured - 5_000) == captured - 5_000
    assert clock.captured_us(rtp, captured - 50_000) is None
    assert clock.captured_us(rtp, captured + 5_000_000) is None


def test_a_sender_without_a_clock_is_not_believed() -> None:
    clock = CaptureClock()
    clock.report(0, 1, START_US)
    assert not clock.known


class Frame:
    def __init__(self, pts: int | None) -> None:
        self.pts = pts


def test_capture_times_never_go_back_when_the_first_report_comes() -> None:
    page, clock = Page(), CaptureClock()
    times = []
    for n in range(30):
        captured = START_US + n * 33_333
        if n == 15:
            page.report(clock, captured)
        times.append(_timed(Frame(page.rtp(captured) - page.origin), captured + 60_000, clock, page.origin).capture_us)
    assert times == sorted(set(times))
    assert times[14] == START_US + 14 * 33_333 + 60_000
    assert abs(times[29] - (START_US + 29 * 33_333)) <= 400


def test_without_rtp_time_the_time_of_decoding_counts() -> None:
    clock = CaptureClock()
    assert _timed(Frame(None), 7, clock, 3).capture_us == 7
    assert _timed(Frame(3), 7, clock, None).capture_us == 7


def test_the_pages_part_is_the_median() -> None:
    leg = PageLeg()
    assert leg.page_ms(0) is None
    for n, ms in enumerate((20, 21, 400)):
        leg.add(n * 1000, n * 1000 + ms * 1000)
    leg.add(None, 500_000)
    assert leg.page_ms(500_000) == 21
