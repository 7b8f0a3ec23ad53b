"""A real Chromium, a fake camera that plays a face, and the demo running for real."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from telepresence.bench.ordinary import as_users_have_it
from telepresence.hub.urls import URL_VARIABLE
from tests.browser.camera_clip import write_camera_clip

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CLIP = "lia_vox3.mp4"  # webcam framing, turns its head, opens its mouth wide
READY_S = 120.0
STOP_S = 15.0

FLAGS = (
    "--no-sandbox",  # as root, in a container
    "--disable-background-networking",
    "--disable-gpu",  # composing without GL: emulating it (SwiftShader) took most of a core from the call
)

_figures = pytest.StashKey[dict[str, object]]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "camera(kind): what the browser's camera is: clip, none or refused")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    figures = config.stash.get(_figures, {})
    if figures:
        terminalreporter.section("figures of the live call")
        for name, value in figures.items():
            terminalreporter.line(f"{name:32} {value}")


@pytest.fixture(scope="session")
def figures(request: pytest.FixtureRequest) -> dict[str, object]:
    """What is measured on the way; printed at the end of the run."""
    return request.config.stash.setdefault(_figures, {})


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium."""
    found = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None) or os.environ.get("TELEPRESENCE_CHROMIUM")
    if not found:
        advice = "install Chromium (apt install chromium), or name one in TELEPRESENCE_CHROMIUM"
        warnings.warn(f"no Chromium, so the live call is NOT tested: {advice}", stacklevel=1)
        pytest.skip(f"no Chromium: {advice}")
    as_users_have_it()
    return found


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What the fake camera plays: a real face where there is one, otherwise the sample avatar, moved."""
    folder = tmp_path_factory.mktemp("camera")
    faces = Path(os.environ.get("TELEPRESENCE_FACES", Path(__file__).resolve().parents[3] / "shared" / "faces"))
    source = faces / "dev" / CLIP
    if not source.is_file():
        from telepresence.render import render_files

        source = folder / "sample.mp4"
        render_files(None, None, source, engine="prior", size=256, framing="relative", runtime=None, json_out=None)
    path = write_camera_clip(source, folder / "camera.y4m")
    yield path
    path.unlink()  # 160 MB, and pytest keeps the folders of its last runs


@dataclass(frozen=True)
class Demo:
    """A running `telepresence demo`."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def edge(self, role: str) -> int:
        """Process id of an edge, `sender` or `receiver`."""
        sink = {"sender": "null", "receiver": "browser"}[role]
        for pid, parent, command in processes():
            if parent == self.process.pid and f"--sink {sink}" in command:
                return pid
        raise LookupError(f"no {role}: {self.text()}")

    def join_url(self, role: str) -> str:
        """The link by which an edge has joined: in its environment, which only its user may read."""
        for variable in Path(f"/proc/{self.edge(role)}/environ").read_bytes().split(b"\0"):
            name, _, value = variable.decode().partition("=")
            if name == URL_VARIABLE:
                return value
        raise LookupError(f"{URL_VARIABLE} is not in the environment of the {role}'s edge")

    def text(self) -> str:
        return self.log.read_text(errors="replace")


def processes() -> list[tuple[int, int, str]]:
    """(id, parent's id, command) of every process."""
    command = ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [(int(pid), int(parent), args) for pid, parent, args in (line.split(None, 2) for line in lines)]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The demo as a newcomer starts it, on a free port; checked to leave no process behind."""
    log = tmp_path_factory.mktemp("demo") / "log.txt"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "telepresence", "demo", "--no-open", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    running = Demo(process, port, log)
    try:
        wait_for(lambda: process.poll() is not None or answers(running.url), READY_S, "the demo answers")
        assert process.poll() is None, f"the demo ended: {running.text()}"
        edges = [pid for pid, parent, _ in processes() if parent == process.pid]
        yield running
        edges += [pid for pid, parent, _ in processes() if parent == process.pid]
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            pytest.fail(f"the demo did not end on Ctrl-C: {running.text()}")
    assert process.returncode == 0, running.text()
    assert not {pid for pid, _, _ in processes()} & set(edges), "an edge was left behind"


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def wait_for(condition: Callable[[], Any], seconds: float, what: str | Callable[[], str]) -> Any:
    """Poll until `condition` is true; its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    pytest.fail(f"not within {seconds:g} s: {what() if callable(what) else what}")


@pytest.fixture
def page(request: pytest.FixtureRequest, chromium: str) -> Iterator[Any]:
    """A page in a fresh Chromium; mark with `camera("clip" | "none" | "refused")` what camera it has."""
    from playwright.sync_api import sync_playwright

    marker = request.node.get_closest_marker("camera")
    camera = marker.args[0] if marker else "clip"
    flags = list(FLAGS)
    if camera == "clip":
        path = request.getfixturevalue("clip")
        flags += ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
        flags.append(f"--use-file-for-fake-video-capture={path}")
    elif camera == "none":
        flags += ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream=device-count=0"]
    else:
        flags.append("--use-fake-device-for-media-stream")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        opened = browser.new_page(viewport={"width": 900, "height": 640})
        problems: list[str] = []
        opened.on("pageerror", lambda error: problems.append(str(error)))
        if camera == "refused":
            session = browser.new_browser_cdp_session()
            session.send("Browser.setPermission", {"permission": {"name": "camera"}, "setting": "denied"})
        yield opened
        browser.close()
    assert not problems, f"errors in the page: {problems}"
