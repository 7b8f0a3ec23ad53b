"""A page that stays open and does nothing: what it keeps does not grow. A soak, ten minutes unless told otherwise.

TELEPRESENCE_IDLE_S=600 python -m pytest -m soak tests/browser/test_idle.py
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.browser.conftest import FLAGS, wait_for
from tests.browser.room import Room

pytestmark = [pytest.mark.browser, pytest.mark.soak]

SECONDS = float(os.environ.get("TELEPRESENCE_IDLE_S", "600"))
EVERY_S = max(2.0, SECONDS / 40)
SETTLE_SHARE = 0.2  # of the time: caches fill, code is compiled
PATIENCE_S = 60.0
MOST_HEAP_KB = 200.0  # by which the script's memory may grow in ten minutes, after its garbage was collected
MOST_NODES = 20.0  # elements and listeners, the same
MOST_RENDERER_MB = 8.0


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def renderer(browser: Any) -> int:
    """The larger of the browser's processes that show pages: ours, another may keep an empty one."""
    told = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    return max((one["id"] for one in told if one["type"] == "renderer"), key=resident_mb)


def growth(rows: list[list[float]], column: int) -> float:
    """What a straight line through the values gains in ten minutes; of the first ones nothing is made."""
    kept = np.array(rows[round(SETTLE_SHARE * len(rows)) :])
    slope = float(np.polyfit(kept[:, 0], kept[:, column], 1)[0])
    return slope * 600


def test_an_idle_page_keeps_nothing(chromium: str, figures: dict[str, object]) -> None:
    from playwright.sync_api import sync_playwright

    room = Room()
    try:
        here = room.add_here("Ada")
        room.add("Grace")
        with sync_playwright() as playwright:
            flags = [*FLAGS, "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
            browser = playwright.chromium.launch(executable_path=chromium, args=flags)
            page = browser.new_page(viewport={"width": 900, "height": 640})
            page.goto(f"{here.page.url}/")
            page.keyboard.press("v")  # without a camera and silent: idle
            page.get_by_test_id("join").click()
            page.keyboard.press("m")
            wait_for(lambda: page.locator("article.tile").count() == 1, PATIENCE_S, "the other is there")
            rows = watched(page, renderer(browser))
            browser.close()
    finally:
        room.close()
    kept = rows[round(SETTLE_SHARE * len(rows)) :]
    names = ("heap KB", "nodes", "listeners", "renderer MB")
    for column, name in enumerate(names, 1):
        first, last = np.median([r[column] for r in kept[:5]]), np.median([r[column] for r in kept[-5:]])
        figures[f"idle page, {SECONDS:g} s: {name}, first, last, growth in 10 min"] = [
            round(float(value), 1) for value in (first, last, growth(rows, column))
        ]
    assert growth(rows, 1) < MOST_HEAP_KB, figures
    assert max(growth(rows, 2), growth(rows, 3)) < MOST_NODES, figures
    assert growth(rows, 4) < MOST_RENDERER_MB, figures


def watched(page: Any, pid: int) -> list[list[float]]:
    """Seconds, heap in KB, nodes, listeners, and MB of the page's process, again and again."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    rows: list[list[float]] = []
    while not rows or rows[-1][0] - rows[0][0] < SECONDS:
        page.wait_for_timeout(EVERY_S * 1000)
        session.send("HeapProfiler.collectGarbage")
        metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
        heap_kb, nodes = metrics["JSHeapUsedSize"] / 1000, metrics["Nodes"]
        rows.append([metrics["Timestamp"], heap_kb, nodes, metrics["JSEventListeners"], resident_mb(pid)])
    return rows
