"""What the headset's page costs: its main thread's time a frame, in Chromium with an emulated headset (iwer)."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from telepresence.bench import browser
from telepresence.errors import InputError
from telepresence.resources import shipped
from telepresence.sinks.headset.rehearsal import show

if TYPE_CHECKING:
    from telepresence.bench.headset import HeadsetConfig

FRAME_MS: Final = 1000 / 72
VIEW: Final = {"width": 960, "height": 540}
START_S: Final = 60.0
LOOK_MS: Final = 100
FLAGS: Final = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-background-networking")
EMULATED: Final = """
const device = new IWER.XRDevice(IWER.metaQuest3);
device.installRuntime({ forceInstall: true });
device.stereoEnabled = true;
device.ipd = 0.063;
device.position.set(0, 1.2, 0);
"""
SHOWN: Final = "[...globalThis.headsetPage?.avatars.values() ?? []].reduce((n, a) => n + a.pictures, 0)"


async def measure_page(config: HeadsetConfig, guests: int) -> dict[str, Any]:
    """Frames in a session, with pictures of `guests` avatars arriving.

    Raises:
        InputError: no Chromium, no Playwright, or `web/vendor` lacks iwer.
    """
    drive, chromium, emulator = browser.playwright(), browser.find_chromium(), _emulator()
    flags = [*FLAGS, "--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else list(FLAGS)
    async with (
        show(engine=config.engine, size=config.size, runtime=config.runtime, guests=guests) as sink,
        drive() as driver,
    ):
        opened = await driver.chromium.launch(executable_path=chromium, args=flags)
        try:
            context = await opened.new_context(ignore_https_errors=True, viewport=VIEW)
            page = await context.new_page()
            await page.add_init_script(emulator.read_text() + EMULATED)
            await page.goto(sink.link)
            await _until(page, f"{SHOWN} > 3", "no avatar appears in the page")
            await page.click("#vr")
            await _until(page, "headsetPage.renderer.xr.isPresenting", "the emulated headset lets nobody in")
            await page.wait_for_timeout(2000)  # shaders are compiled, first textures uploaded
            await page.evaluate("headsetPage.frameMs.length = 0")
            before = await page.evaluate(SHOWN)
            await page.wait_for_timeout(1000 * config.seconds)
            frames = np.array(await page.evaluate("headsetPage.frameMs"))
            pictures = await page.evaluate(SHOWN) - before
        finally:
            await opened.close()
    return {
        "guests": guests, "frames": len(frames), "frame_ms_p50": round(float(np.median(frames)), 2),
        "frame_ms_p95": round(float(np.percentile(frames, 95)), 2), "frame_ms_most": round(float(frames.max()), 1),
        "within_share": round(float((frames <= FRAME_MS).mean()), 4),
        "pictures_per_s": round(pictures / config.seconds, 1),
        "browser": opened.version,
    }  # fmt: skip


async def _until(page: Any, script: str, problem: str) -> None:
    """Ask again and again: Playwright's own waiting needs `eval`, which the page forbids."""
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
