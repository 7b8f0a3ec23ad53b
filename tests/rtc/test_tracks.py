"""The avatar's track: newest picture, repeats, pictures held back for their sound."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np

from telepresence.rtc import tracks
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.renderer import Picture
from telepresence.rtc.tracks import MAX_HOLD_US, MAX_RECENT, AvatarTrack, Hold
from tests.rtc.pair import run


def picture(capture_us: int) -> Picture:
    return Picture("a", np.zeros((24, 16), np.uint8), None, capture_us, capture_us, 1)


class Shown:
    def __init__(self) -> None:
        self.captures: list[int | None] = []
        self.track = AvatarTrack(0, lambda picture, now: self.captures.append(picture.capture_us))


def test_of_pictures_that_were_not_fetched_the_newest_is_sent() -> None:
    async def test() -> None:
        shown = Shown()
        for capture_us in (1, 2, 3):
            shown.track.show(picture(capture_us))
        await shown.track.recv()
        assert shown.captures == [3]

    run(test)


def test_the_last_picture_is_repeated_and_not_counted_again() -> None:
    async def test() -> None:
        shown = Shown()
        shown.track.show(picture(1))
        frames = [await shown.track.recv() for _ in range(2)]
        assert shown.captures == [1]
        assert frames[1].pts > frames[0].pts

    run(test)


def test_a_picture_that_is_held_comes_later_and_in_order() -> None:
    async def test() -> None:
        shown = Shown()
        shown.track.hold = Hold(80_000)
        began = now_us()
        shown.track.show(picture(1))
        await asyncio.sleep(0.02)
        shown.track.show(picture(2))
        await shown.track.recv()
        assert now_us() - began >= 80_000
        await shown.track.recv()
        assert shown.captures == [1, 2]

    run(test)


def test_holding_less_sends_the_newest_that_is_due_and_drops_what_it_overtakes() -> None:
    async def test() -> None:
        shown = Shown()
        shown.track.hold = Hold(200_000)
        shown.track.show(picture(1))
        shown.track.hold = Hold()
        shown.track.show(picture(2))
        await shown.track.recv()
        assert shown.captures == [2]

    run(test)


def test_no_hold_is_longer_than_allowed() -> None:
    async def test() -> None:
        shown = Shown()
        shown.track.hold = Hold(10_000_000)
        began = now_us()
        shown.track.show(picture(1))
        await shown.track.recv()
        assert now_us() - began < tracks.MAX_HOLD_US * 5

    run(test)


def test_each_picture_waits_until_it_is_so_old_and_those_that_are_late_anyway_do_not() -> None:
    now = 1_000_000_000
    hold = Hold(30_000, 120_000)
    assert hold.of(picture(now - 50_000), now) == 70_000
    assert hold.of(picture(now - 119_000), now) == 1_000
    assert hold.of(picture(now - 180_000), now) == 0
    assert hold.of(picture(now + 4_000_000), now) == MAX_HOLD_US  # a clock that is wrong stops nothing
    assert hold.of(replace(picture(now), capture_us=None), now) == 30_000  # at rest nothing has an age


def test_pictures_of_uneven_ages_leave_evenly_and_say_how_long_they_waited() -> None:
    async def test() -> None:
        shown = Shown()
        shown.track.hold = Hold(0, 100_000)
        shown.track.origin = lambda: 0
        for age_us in (30_000, 60_000, 20_000):
            shown.track.show(picture(now_us() - age_us))
            await shown.track.recv()
        for sent, wanted_us in zip(shown.track.take_times(), (70_000, 40_000, 80_000), strict=True):
            assert sent.captured_us is not None
            assert sent.sent_us - sent.captured_us >= 100_000
            assert abs(sent.held_us - wanted_us) < 20_000

    run(test)


def test_times_are_kept_until_their_origin_is_known_and_told_once() -> None:
    async def test() -> None:
        shown = Shown()
        for capture_us in range(MAX_RECENT + 4):
            shown.track.show(picture(capture_us))
            await shown.track.recv()
        assert shown.track.take_times() == []
        shown.track.origin = lambda: (1 << 32) - 1
        times = shown.track.take_times()
        assert [sent.captured_us for sent in times] == list(range(4, MAX_RECENT + 4))
        assert all(0 <= sent.rtp < 1 << 32 for sent in times)
        assert shown.track.take_times() == []

    run(test)
