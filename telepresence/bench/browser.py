"""Chromium for the benchmark: found, started with a camera of our choosing or without, driven through Playwright."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from telepresence.bench.ordinary import as_users_have_it
from telepresence.errors import InputError

VARIABLE: Final = "TELEPRESENCE_CHROMIUM"
NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
VIEW: Final = {"width": 660, "height": 500}
START_S: Final = 60.0

FLAGS: Final = (
    "--disable-background-networking",
    "--disable-gpu",  # composing without GL: emulating it (SwiftShader) takes most of a core
    "--disable-features=WebRtcHideLocalIpsWithMdns",  # two browsers on one machine meet by address
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--autoplay-policy=no-user-gesture-required",
)


def playwright() -> Any:
    """Playwright's asynchronous API; browsers started by it get the priorities that they have for users.

    Raises:
        InputError: it is not installed.
    """
    try:
        from playwright.async_api import async_playwright
    except ImportError as error:
        raise InputError(
            "the benchmark drives a browser through playwright, which is not installed; run: make bench, or: "
            "pip install 'telepresence[bench]'"
        ) from error
    as_users_have_it()
    return async_playwright


def find_chromium() -> str:
    """Path of a Chromium, or of a browser made from it.

    Raises:
        InputError: none, or TELEPRESENCE_CHROMIUM names none.
    """
    named = os.environ.get(VARIABLE)
    if named:
        found = shutil.which(named)
        if found is None:
            raise InputError(f"{VARIABLE}={named}: there is no such program")
        return found
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise InputError(
            f"no Chromium was found; install one (Debian: apt install chromium), or name one in {VARIABLE}"
        )
    return found


def require() -> None:
    """Look for what drives a browser, and for the browser, before anything that takes long.

    Raises:
        InputError: one is missing; the message says how to get it.
    """
    playwright()
    find_chromium()


def has_display() -> bool:
    """Whether a window could be opened."""
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.name == "nt")


@contextlib.asynccontextmanager
async def opened(
    driver: Any, url: str, *, camera: Path | None = None, microphone: Path | None = None, headless: bool
) -> AsyncIterator[Browser]:
    """A browser of its own with one page on `url`; without a camera file it has no camera at all.

    Raises:
        InputError: it does not start.
    """
    flags = [*FLAGS, "--use-fake-ui-for-media-stream"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags.append("--no-sandbox")
    if camera is None:
        flags.append("--use-fake-device-for-media-stream=device-count=0")
    else:
        flags += ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera}"]
    if microphone is not None:
        flags.append(f"--use-file-for-fake-audio-capture={microphone}")
    before = _children()
    try:
        started = await driver.chromium.launch(
            executable_path=find_chromium(), args=flags, headless=headless, timeout=START_S * 1000
        )
    except InputError:
        raise
    except Exception as error:  # whatever Playwright raises when a browser does not start
        first = str(error).strip().splitlines()[0]
        raise InputError(
            f"{find_chromium()} does not start ({first}); try it by hand, or name another in {VARIABLE}"
        ) from error
    try:
        page = await started.new_page(viewport=VIEW)
        browser = Browser(page, started.version, next(iter(_children() - before), None))
        page.on("pageerror", lambda error: browser.problems.append(str(error)))
        await page.goto(url)
        await page.wait_for_function("() => window.bench !== undefined", timeout=START_S * 1000)
        yield browser
    finally:
        await started.close()


class Browser:
    """One browser with one page of the benchmark's."""

    def __init__(self, page: Any, version: str, pid: int | None) -> None:
        self.page = page
        self.version = version
        self.pid = pid
        """Of its first process; None where that is not known."""
        self.problems: list[str] = []

    async def call(self, name: str, argument: Any = None) -> Any:
        """Call a function of the page's `window.bench`.

        Raises:
            InputError: it failed; the message is the page's.
        """
        try:
            return await self.page.evaluate("([name, argument]) => window.bench[name](argument)", [name, argument])
        except Exception as error:  # Playwright's own; what the page threw is in its text
            first = str(error).strip().splitlines()[0]
            raise InputError(f"the page's {name}: {first}") from error


def _children() -> set[int]:
    """Chromium's first processes below ours: Playwright's driver does not tell."""
    from telepresence.bench import load

    if not load.known():
        return set()
    parents = load.parents_of_all()
    ours = load.family(os.getpid(), parents, ())
    found = set()
    for pid in ours:
        try:
            command = (load.PROC / str(pid) / "cmdline").read_bytes()
        except OSError:
            continue
        if b"--remote-debugging-" in command and b"--type=" not in command:
            found.add(pid)
    # a launcher script stays above the program itself: the topmost of each is the root
    return {pid for pid in found if parents.get(pid) not in found}
