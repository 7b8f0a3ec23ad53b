"""An edge's own page, as `telepresence join` serves it, in a real Chromium: the states that depend on the edge."""

from __future__ import annotations

import asyncio

import pytest

from telepresence.rtc.edge import Edge
from tests.browser.conftest import FLAGS
from tests.rtc.call import edge, hub
from tests.rtc.pair import run, until

pytestmark = pytest.mark.browser

PATIENCE_S = 45.0
DEVICES = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")  # a test pattern: nobody's face


async def stage(chromium: str, running: Edge, last: str) -> tuple[str, list[str]]:
    """Join on the edge's page and wait for a status: what the stage then says, and the page's complaints."""
    from playwright.async_api import async_playwright

    problems: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, *DEVICES])
        page = await browser.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: problems.append(line.text) if "Content Security" in line.text else None)
        await page.goto(f"{running.page.url}/")
        await page.get_by_test_id("join").click()
        await page.get_by_test_id("status").get_by_text(last).wait_for(timeout=PATIENCE_S * 1000)
        await until(lambda: running.stats()["camera_runs"], PATIENCE_S)
        await asyncio.sleep(1.5)  # the next round of figures must not change it
        said = await page.get_by_test_id("stage").inner_text()
        await browser.close()
    return said, problems


def test_a_page_that_draws_no_avatar_says_so_and_takes_part_all_the_same(chromium: str) -> None:
    async def test() -> None:
        async with (
            hub() as url,
            edge(url, camera="browser", sink="null") as sender,
            edge(url, camera="none", sink="null", name="Grace"),
        ):
            said, problems = await stage(chromium, sender, "Live, 2 in the call")
            assert "Grace" in said
            assert "another --sink" in said
            assert problems == []

    run(test, 2 * PATIENCE_S)


def test_a_page_alone_has_the_link_to_invite_others(chromium: str) -> None:
    async def test() -> None:
        async with hub() as url, edge(url, camera="browser", sink="null") as sender:
            said, problems = await stage(chromium, sender, "Waiting for the others")
            assert "Nobody else is here yet" in said
            assert "Copy link" in said
            assert problems == []

    run(test, 2 * PATIENCE_S)
