"""Who has only a browser: the hub's page in a real Chromium, in a room with an edge, and with another such page."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from telepresence.avatar.file import save
from telepresence.avatar.samples import SAMPLE_AVATAR, sample_avatar
from telepresence.face.landmarks import LandmarkTracker
from telepresence.hub.urls import URL_VARIABLE
from telepresence.media import read_frames
from telepresence.resources import shipped
from tests.browser.conftest import FLAGS, wait_for
from tests.browser.room import LOUDNESS, Room, write_voice

pytestmark = pytest.mark.browser

PATIENCE_S = 60.0  # graphs and MediaPipe's model are loaded while other programs take the processor
STOP_S = 20.0
FIGURES_S = 6  # figures are over five seconds
PICTURES = 4  # different ones, so that the avatar moves
MOVED = 0.01  # of the face's width: more than landmarks of a face that keeps still differ by
ALIKE = 0.01  # of the face's width: between landmarks of one picture here and there, on average
HEARD = 0.01  # root mean square of what is played
LISTEN_MS = 1000
LIPS = (13, 14)  # the inner lips' middles, above and below

# Finding faces needs WebGL, which is emulated here; what is seen of the page need not be composed with it.
GL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-gpu-compositing")

# What the canvas of a participant's avatar shows, as a PNG; null while there is none.
SHOWN = """(name) => {
  const tiles = [...document.querySelectorAll('article.tile')];
  const tile = tiles.find((one) => one.querySelector('.name').textContent === name);
  return tile?.querySelector('canvas')?.toDataURL('image/png').slice(22) ?? null;
}"""

# What the page notes, kept.
NOTED = """
window.said = [];
const note = console.info;
console.info = (...words) => { window.said.push(words.join(' ')); note(...words); };
"""

# Landmarks of a picture, as enrolment in the page finds them.
FOUND = """async (png) => {
  const { landmarksOf } = await import('/web/browser/landmarks.js');
  const picture = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob());
  const { faces, width, height } = await landmarksOf(picture);
  return { faces: faces.map((face) => [...face]), width, height };
}"""


class Edge:
    """An edge without a page of its own in use: it moves by recorded motion, and records who else is there."""

    def __init__(self, room: Room, folder: Path) -> None:
        self.room = room
        self.recording = folder / "recording.mp4"
        command = [
            sys.executable,
            "-m",
            "telepresence",
            "join",
            "-",
            "--json-ready",
            "--name",
            "Ada",
            "--engine",
            "prior",
        ]
        command += ["--camera", "sample", "--avatar", str(SAMPLE_AVATAR), "--sink", str(self.recording)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {URL_VARIABLE: room.url})
        assert self.process.stdout is not None
        self.page = str(json.loads(self.process.stdout.readline())["page"])

    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.page}/api/stats", timeout=10) as answer:
            return dict(json.load(answer))

    def participants(self) -> list[tuple[str, str]]:
        return [(one["name"], one["state"]) for one in self.stats()["participants"]]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=STOP_S)


@pytest.fixture(scope="module", autouse=True)
def complete() -> None:
    if not shipped("web").joinpath("vendor", ".fetched").is_file():
        pytest.skip("web/vendor is missing, so a browser by itself is NOT tested: make web")


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    made = Room()
    yield made
    made.close()


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    room = Room()
    started = Edge(room, tmp_path_factory.mktemp("recording"))
    yield started
    started.close()
    room.close()


@pytest.fixture(scope="module")
def enter(chromium: str, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Opens the hub's page in a browser of its own profile, up to the lobby."""
    from playwright.sync_api import sync_playwright

    voice = write_voice(tmp_path_factory.mktemp("voice") / "voice.wav")
    flags = [
        *(flag for flag in FLAGS if flag != "--disable-gpu"),
        *GL,
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={clip}",
        f"--use-file-for-fake-audio-capture={voice}",
        "--autoplay-policy=no-user-gesture-required",
    ]
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)

        def opened(url: str, name: str, before: Callable[[Any], None] | None = None) -> Any:
            page = browser.new_context(viewport={"width": 900, "height": 640}).new_page()
            page.on("pageerror", lambda error: problems.append(f"{name}: {error}"))
            page.on("console", lambda line: print(f"{time.monotonic():.2f} {name}: {line.text[:300]}"))
            page.add_init_script(NOTED)
            if before:
                before(page)
            page.goto(url)
            if not before:
                page.get_by_test_id("join").wait_for(timeout=1000 * PATIENCE_S)
                page.locator("#name").fill(name)
            return page

        yield opened
        browser.close()
    assert not problems, f"errors in the pages: {problems}"


@pytest.fixture(scope="module")
def lobby(room: Room, enter: Callable[..., Any]) -> Iterator[Any]:
    """A page that has not joined."""
    page = enter(room.url, "Bob")
    yield page
    page.close()


def join(page: Any) -> float:
    """Enter; when that was."""
    began = time.monotonic()
    page.get_by_test_id("join").click()
    return began


def shown(page: Any, name: str) -> NDArray[np.uint8] | None:
    """The picture of somebody's avatar, (S, S, 3); None while there is none."""
    from PIL import Image

    found = page.evaluate(SHOWN, name)
    return None if found is None else np.asarray(Image.open(io.BytesIO(base64.b64decode(found))).convert("RGB"))


def lips(pictures: list[NDArray[np.uint8]]) -> list[float]:
    """How far the lips are apart in each, in widths of the face: there has to be one in each."""
    apart = []
    with LandmarkTracker(still=True) as find:
        for picture in pictures:
            face = find(picture)
            assert face is not None, "a picture without a face"
            apart.append(float(np.linalg.norm(np.diff(face[list(LIPS), :2], axis=0)) / np.ptp(face[:, 0])))
    return apart


def spread(values: list[float]) -> float:
    return max(values) - min(values)


def wait_until_lips_move(page: Any, name: str) -> None:
    """In different pictures of somebody's avatar, however fast they come; there has to be a face in each."""
    seen: list[NDArray[np.uint8]] = []
    apart: list[float] = []

    def moved() -> bool:
        picture = shown(page, name)
        if picture is not None and not any(np.array_equal(picture, one) for one in seen):
            seen.append(picture)
            apart.extend(lips([picture]))
        return len(seen) >= PICTURES and spread(apart) > MOVED

    wait_for(moved, PATIENCE_S, lambda: f"{name}'s lips move: {apart}: {page.locator('#call').inner_text()}")


def figure(page: Any, name: str) -> str:
    return " ".join(page.locator(f"[data-figure={name}]").first.text_content().split())


def others(page: Any) -> dict[str, str]:
    """Name -> id of everybody on the stage."""
    script = "(tiles) => tiles.map((tile) => [tile.querySelector('.name').textContent, tile.dataset.id])"
    return dict(page.locator("article.tile").evaluate_all(script))


def test_a_browser_and_an_edge_draw_each_other(
    edge: Edge, enter: Callable[..., Any], figures: dict[str, object], tmp_path: Path
) -> None:
    mine = tmp_path / "mine.avatar"
    save(
        replace(sample_avatar(), free_for_all=False), mine
    )  # so the edge draws it only if the page proves that it is ours
    page = enter(edge.room.url, "Bob")
    wait_for(lambda: "landmarks: in a worker" in page.evaluate("window.said.join()"), PATIENCE_S, "faces are found")
    assert page.locator("#avatar-name").inner_text() == "A sample, free for all"
    page.locator("#avatar-file").set_input_files(mine)
    wait_for(lambda: page.locator("#avatar-name").inner_text() == "mine", PATIENCE_S, "the avatar is taken")
    began = join(page)
    wait_for(lambda: shown(page, "Ada") is not None, PATIENCE_S, lambda: page.locator("#call").inner_text())
    figures["browser only: join to first picture, s"] = round(time.monotonic() - began, 2)
    wait_until_lips_move(page, "Ada")
    wait_for(lambda: (edge.stats()["payload_received_kbps"] or 0) > 2, PATIENCE_S, "the face in the camera is sent")
    time.sleep(FIGURES_S)
    page.keyboard.press("f")
    drawn_by = page.locator("#engine").inner_text()
    assert "live" in drawn_by
    assert "WebAssembly" in drawn_by
    stats = edge.stats()
    figures["browser only: drawn by"] = drawn_by
    figures["browser only: pictures a second"] = figure(page, "fps")
    figures["browser only: picture age p50"] = figure(page, "age_ms_p50")
    figures["browser only: motion received, kbit/s"] = stats["payload_received_kbps"]
    assert edge.participants() == [("Bob", "connected")]
    assert stats["participants"][0]["label"] == "photo avatar"
    assert stats["violations"] == 0
    page.get_by_role("button", name="Leave the call").click()
    wait_for(lambda: edge.participants() == [], PATIENCE_S, "the other sees it leave")
    page.close()
    edge.close()
    recorded = [frame.picture for frame in read_frames(edge.recording)]
    assert spread(lips(recorded[len(recorded) // 2 :: max(1, len(recorded) // 12)])) > MOVED


def test_two_browsers_without_any_edge_and_one_of_them_only_talks(room: Room, enter: Callable[..., Any]) -> None:
    bob, carl = enter(room.url, "Bob"), enter(room.url, "Carl")
    carl.locator("#lobby [data-do=camera]").click()
    for page in (bob, carl):
        join(page)
    for page, other in ((bob, "Carl"), (carl, "Bob")):
        wait_for(lambda page=page, other=other: shown(page, other) is not None, PATIENCE_S, f"{other} is seen")
        heard = [others(page)[other], LISTEN_MS]
        wait_for(lambda page=page, heard=heard: page.evaluate(LOUDNESS, heard) > HEARD, PATIENCE_S, "a voice is heard")
    assert "camera off" in bob.locator("#people-list").text_content()
    wait_until_lips_move(carl, "Bob")
    wait_until_lips_move(bob, "Carl")  # by the voice alone
    carl.close()
    wait_for(lambda: "Carl" not in others(bob), PATIENCE_S, "who has gone is gone")
    bob.close()


def test_landmarks_of_a_picture_are_those_of_the_package(lobby: Any) -> None:
    from PIL import Image

    picture = sample_avatar().references[0].picture
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    found = lobby.evaluate(FOUND, base64.b64encode(file.getvalue()).decode())
    with LandmarkTracker(still=True) as find:
        wanted = find(picture)
    assert wanted is not None
    assert (found["width"], found["height"], len(found["faces"])) == (*picture.shape[1::-1], 1)
    apart = np.abs(np.reshape(found["faces"][0], (-1, 3)) - wanted)[:, :2]
    assert apart.mean() < ALIKE * np.ptp(wanted[:, 0])


def test_an_avatar_of_ones_own_is_worn_and_kept(lobby: Any, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.avatar"
    damaged.write_bytes(SAMPLE_AVATAR.read_bytes()[:5000])
    lobby.locator("#avatar-file").set_input_files(damaged)
    output = lobby.locator("#avatar-name")
    wait_for(lambda: "cannot be used" in output.inner_text(), PATIENCE_S, output.inner_text)
    mine = tmp_path / "mine.avatar"
    save(replace(sample_avatar(), name="Mine"), mine)
    lobby.locator("#avatar-file").set_input_files(mine)
    wait_for(lambda: output.inner_text() == "mine", PATIENCE_S, output.inner_text)
    lobby.reload()
    wait_for(lambda: output.inner_text() == "mine", PATIENCE_S, "it is kept")


def test_what_cannot_be_is_said_in_words(room: Room, enter: Callable[..., Any]) -> None:
    page = enter(room.url[:-4] + "abcd", "Eve")
    join(page)
    over = page.get_by_test_id("over")
    wait_for(lambda: "not good any more" in over.inner_text(), PATIENCE_S, lambda: page.inner_text("body"))
    page.close()

    def incomplete(page: Any) -> None:
        answer = json.dumps({"mode": "browser", "problem": "this hub lacks its files"})
        page.route("**/api/page-config", lambda route: route.fulfill(body=answer, content_type="application/json"))

    page = enter(room.url, "Eve", incomplete)
    wait_for(lambda: "lacks its files" in page.get_by_test_id("over").inner_text(), PATIENCE_S, page.content)
    page.close()
