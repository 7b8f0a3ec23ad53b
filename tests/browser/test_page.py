"""An edge's own page, as `telepresence join` serves it, in a real Chromium."""

from __future__ import annotations

import asyncio

import pytest

from telepresence.rtc.edge import Edge
from tests.browser.conftest import FLAGS
from tests.rtc.call import edge, hub
from tests.rtc.pair import run

pytestmark = pytest.mark.browser

PATIENCE_S = 45.0
CAMERA = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")  # a test pattern: nobody's face


async def watch(chromium: str, running: Edge, last: str) -> tuple[list[str], str, list[str]]:
    """Open the edge's page: each status until `last`, then the avatar's notice, and the page's complaints."""
    from playwright.async_api import async_playwright

    said: list[str] = []
    problems: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, *CAMERA])
        page = await browser.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: problems.append(line.text) if "Content Security" in line.text else None)
        await page.goto(f"{running.page.url}/")
        async with asyncio.timeout(PATIENCE_S):
            while last not in said:
                said.append(await page.get_by_test_id("status").inner_text())
                await asyncio.sleep(0.1)
        await asyncio.sleep(1.5)  # the figures' next round must not change it
        said.append(await page.get_by_test_id("status").inner_text())
        notice = await page.get_by_test_id("avatar-notice").inner_text()
        await browser.close()
    return said, notice, problems


def test_a_page_that_shows_no_avatar_says_so_and_that_motion_goes_out(chromium: str) -> None:
    async def test() -> None:
        async with (
            hub() as url,
            edge(url, camera="browser", sink="null") as sender,
            edge(url, camera="none", sink="null"),
        ):
            said, notice, problems = await watch(chromium, sender, "Avatar at rest")
            assert said[-1] == "Avatar at rest"  # of the far end: no face in view
            assert "Link lost, reconnecting" not in said
            assert "No avatar is shown here" in notice
            assert problems == []

    run(test, 2 * PATIENCE_S)


def test_a_page_alone_waits_for_the_others(chromium: str) -> None:
    async def test() -> None:
        async with hub() as url, edge(url, camera="browser", sink="null") as sender:
            said, notice, problems = await watch(chromium, sender, "Waiting for the others")
            assert said[-1] == "Waiting for the others"
            assert "Nobody else is here yet" in notice
            assert problems == []

    run(test, 2 * PATIENCE_S)
