"""Page and edge about lips and sound: pictures' times are told, holds are followed, a voice becomes motion."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

from telepresence.edge.messages import Delay, Voice
from telepresence.face.mouth import Mouth
from telepresence.rtc.capture import PageLeg
from telepresence.rtc.lips import Lips
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.tracks import Hold
from tests.rtc.pair import run, until


class Page:
    """In place of the pages."""

    def __init__(self) -> None:
        self.active = True
        self.told: list[dict[str, Any]] = []
        self.handlers: dict[type[Any], Callable[[Any], Any]] = {}

    def listen(self, kind: type[Any], handler: Callable[[Any], Any]) -> None:
        self.handlers[kind] = handler

    def tell(self, text: str) -> None:
        self.told.append(json.loads(text))


class Parts:
    """In place of viewers and sender."""

    def __init__(self) -> None:
        self.page_leg = PageLeg()
        self.holds: list[tuple[int | None, Hold]] = []
        self.heard: list[tuple[Mouth, float]] = []
        self.times = [(0, 4_000_000_000, 41.5, 30.0, 12.0), (2, 7, None, 0.0, 0.0)]

    def picture_times(self, now: int) -> list[tuple[int, int, float | None, float, float]]:
        taken = [*self.times]
        self.times.clear()
        return taken

    def hold(self, place: int | None, hold: Hold) -> None:
        self.holds.append((place, hold))

    def hear(self, mouth: Mouth, level: float) -> None:
        self.heard.append((mouth, level))


def made() -> tuple[Page, Parts, list[float | None], Lips]:
    page, parts, legs = Page(), Parts(), []
    return page, parts, legs, Lips(page, parts, parts, legs.append)  # type: ignore[arg-type]


def test_the_page_is_told_once_when_its_pictures_were_captured() -> None:
    async def test() -> None:
        page, _, _, lips = made()
        task = asyncio.ensure_future(lips.run())
        await until(lambda: bool(page.told))
        await asyncio.sleep(0.25)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert len(page.told) == 1
        assert page.told[0]["type"] == "pictures"
        assert page.told[0]["at"] == [[0, 4_000_000_000, 41.5, 30.0, 12.0], [2, 7, None, 0.0, 0.0]]
        assert abs(page.told[0]["now_ms"] - now_us() / 1000) < 5_000

    run(test)


def test_holds_and_voices_of_the_page_arrive_and_end_with_it() -> None:
    page, parts, _, lips = made()
    page.handlers[Delay](Delay(2, 120.0))
    page.handlers[Delay](Delay(1, 20.0, 95.5))
    page.handlers[Voice](Voice((0.5, 0.25, 0.0), 0.7))
    lips.release()
    assert parts.holds == [(2, Hold(120_000)), (1, Hold(20_000, 95_500)), (None, Hold())]
    assert parts.heard == [(Mouth(0.5, 0.25, 0.0), 0.7)]


def test_others_are_told_when_the_pages_part_of_the_way_changes() -> None:
    async def test() -> None:
        _, parts, legs, lips = made()
        task = asyncio.ensure_future(lips.run())
        for ms in (20, 21, 60):
            parts.page_leg = PageLeg()
            now = now_us()
            parts.page_leg.add(now - ms * 1000, now)
            await asyncio.sleep(1.2)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert legs == [20, 60]

    run(test)
