"""What the headset's page costs: its main thread's time a frame, in Chromium with an emulated headset (iwer)."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from telepresence.bench import browser
from telepresence.bench.headset_scene import HeadsetConfig, Report
from telepresence.errors import InputError
from telepresence.resources import shipped
from telepresence.sinks.headset.rehearsal import show

if TYPE_CHECKING:
    from playwright.async_api import ViewportSize

    from telepresence.sinks.headset.sink import HeadsetSink

FRAME_MS: Final = 1000 / 72
VIEW: Final[ViewportSize] = {"width": 960, "height": 540}
SETTLE_MS: Final = 2000  # shaders are compiled, first textures uploaded
START_S: Final = 60.0
LOOK_MS: Final = 100
FLAGS: Final = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-background-networking")
EMULATED: Final = """
const device = new IWER.XRDevice(IWER.metaQuest3);
device.installRuntime({ forceInstall: true });
device.stereoEnabled = true;
device.ipd = 0.063;
device.position.set(0, 1.2, 0);
globalThis.device = device;
"""
SHOWN: Final = "[...globalThis.headsetPage?.avatars.values() ?? []].reduce((n, a) => n + a.pictures, 0)"


@contextlib.asynccontextmanager
async def worn(sink: HeadsetSink, view: ViewportSize = VIEW) -> AsyncIterator[tuple[Any, str]]:
    """The headset's page in a session, in an emulated headset, and the version of the browser.

    Raises:
        InputError: no Chromium, no Playwright, or `web/vendor` lacks iwer; or nobody is let in.
    """
    drive, chromium, emulator = browser.playwright(), browser.find_chromium(), _emulator()
    flags = [*FLAGS, "--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else list(FLAGS)
    async with drive() as driver:
        opened = await driver.chromium.launch(executable_path=chromium, args=flags)
        try:
            context = await opened.new_context(ignore_https_errors=True, viewport=view)
            page = await context.new_page()
            await page.add_init_script(emulator.read_text() + EMULATED)
            await page.goto(sink.link)
            await until(page, f"{SHOWN} > 3", "no avatar appears in the page")
            await page.click("#vr")
            await until(page, "headsetPage.renderer.xr.isPresenting", "the emulated headset lets nobody in")
            await page.wait_for_timeout(SETTLE_MS)
            yield page, opened.version
        finally:
            await opened.close()


async def measure_page(config: HeadsetConfig, guests: int) -> Report:
    """Frames in a session, with pictures of `guests` avatars arriving.

    Raises:
        InputError: as of `worn`.
    """
    async with (
        show(engine=config.engine, size=config.size, runtime=config.runtime, guests=guests) as sink,
        worn(sink) as (page, version),
    ):
        await page.evaluate("headsetPage.frameMs.length = 0")
        before = await page.evaluate(SHOWN)
        await page.wait_for_timeout(1000 * config.seconds)
        frames = np.array(await page.evaluate("headsetPage.frameMs"))
        pictures = await page.evaluate(SHOWN) - before
    return {
        "guests": guests, "frames": len(frames), "frame_ms_p50": round(float(np.median(frames)), 2),
        "frame_ms_p95": round(float(np.percentile(frames, 95)), 2), "frame_ms_most": round(float(frames.max()), 1),
        "within_share": round(float((frames <= FRAME_MS).mean()), 4),
        "pictures_per_s": round(pictures / config.seconds, 1),
        "browser": version,
    }  # fmt: skip


async def until(page: Any, script: str, problem: str) -> None:
    """Wait for something in the page to be true.

    Ask again and again: Playwright's own waiting needs `eval`, which the page forbids.

    Raises:
        InputError: it takes too long.
    """
    end = time.monotonic() + START_S
    while not await page.evaluate(script):
        if time.monotonic() > end:
            raise InputError(f"{problem} in {START_S:g} s")
        await page.wait_for_timeout(LOOK_MS)


def _emulator() -> Path:
    path = shipped("web") / "vendor" / "iwer" / "build" / "iwer.min.js"
    if not path.is_file():
        raise InputError(f"{path} is missing: run make web")
    return path
