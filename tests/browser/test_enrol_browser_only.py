"""Enrolment where there is only a browser: the hub's page makes an avatar by itself, and an edge is shown it."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from telepresence.avatar.file import save, unpack
from telepresence.avatar.owner import Ownership, verify
from telepresence.avatar.samples import sample_avatar
from telepresence.enrolment.steps import DRAWN, Step
from telepresence.face.landmarks import LandmarkTracker, face_box
from telepresence.hub.urls import URL_VARIABLE
from telepresence.media import read_frames
from telepresence.resources import shipped
from tests.browser.actor import write_actor
from tests.browser.conftest import FLAGS, wait_for
from tests.browser.room import Room

pytestmark = pytest.mark.browser

CLIP = "latentsync2_man.mp4"  # turns to both sides, looks up, laughs, shuts his eyes: all that the guide asks for
ORDER = (Step.SMILE, Step.RIGHT, Step.BLINK, Step.UP, Step.SPEAK, Step.LEFT, Step.OPEN)
CAMERA = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
# Finding faces needs WebGL, which is emulated here; what is seen of the page need not be composed with it.
GL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-gpu-compositing")
PATIENCE_S = 60.0
GUIDE_S = 100.0  # two rounds of the fake camera
STOP_S = 20.0
MOVED = 2.0  # of 255, mean change of the avatar's picture
ALIKE = 0.015  # of the face's width: between landmarks of one picture here and there, on average
FACE_SHARE = 0.2  # of the picture's height, at the least, that a face has which is drawn

# The page's lots, in place of chance: each order that it draws is the one that the fake camera follows.
LOTS = """(lots) => {
  const draw = Crypto.prototype.getRandomValues;
  let next = 0;
  Crypto.prototype.getRandomValues = function (into) {
    if (!(into instanceof Uint32Array) || into.length !== 1) return draw.call(this, into);
    into[0] = lots[next++ % lots.length];
    return into;
  };
}"""
WARM = """async () => {
  const { landmarksOf } = await import("/web/browser/landmarks.js");
  await landmarksOf(new OffscreenCanvas(64, 64).getContext("2d").canvas);
}"""
PIXELS = """() => {
  const canvas = document.querySelector("[data-testid=enrol-avatar]");
  return [...canvas.getContext("2d").getImageData(64, 48, 128, 128).data];
}"""
UPRIGHT = """async (png) => {
  const { upright } = await import("/web/browser/enrolment/photo-faces.js");
  const { readPhoto } = await import("/web/browser/enrolment/photo-files.js");
  const { landmarksOf } = await import("/web/browser/landmarks.js");
  const { loadBasis } = await import("/web/face/basis.js");
  await loadBasis();
  const file = await (await fetch(`data:image/png;base64,${png}`)).blob();
  const { photo, face, turns } = await upright(await readPhoto(file), landmarksOf);
  return { turns, size: [photo.width, photo.height], face: [...face] };
}"""
UNPLUG = """() => {
  const [track] = document.querySelector("[data-testid=enrol-camera]").srcObject.getVideoTracks();
  track.dispatchEvent(new Event("ended"));
}"""


def lots(order: Sequence[Step]) -> list[int]:
    """What has to be drawn so that a shuffle of DRAWN gives an order: see `shuffled` in the page's guide.js."""
    steps, drawn = list(DRAWN), []
    for last in range(len(steps) - 1, 0, -1):
        other = steps.index(order[last])
        steps[last], steps[other] = steps[other], steps[last]
        drawn.append(other)
    return drawn


class Watcher:
    """An edge without a camera that records who else is there; its folders are its own."""

    def __init__(self, room: Room, folder: Path) -> None:
        self.recording, self.cache = folder / "recording.mp4", folder / "cache"
        command = [sys.executable, "-m", "telepresence", "join", "-", "--json-ready", "--name", "Ada"]
        command += ["--camera", "none", "--sink", str(self.recording)]
        own = {"XDG_CACHE_HOME": str(self.cache), "XDG_DATA_HOME": str(folder / "data")}
        environment = os.environ | {URL_VARIABLE: room.url} | own
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        assert self.process.stdout is not None
        self.page = str(json.loads(self.process.stdout.readline())["page"])

    def other(self) -> dict[str, Any]:
        """How the only other participant is shown here; empty: nobody is there."""
        import urllib.request

        with urllib.request.urlopen(f"{self.page}/api/stats", timeout=10) as answer:
            return dict(next(iter(json.load(answer)["participants"]), {}))

    def received(self) -> list[bytes]:
        return [path.read_bytes() for path in self.cache.rglob("*.avatar")]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=STOP_S)


@pytest.fixture(scope="module", autouse=True)
def complete() -> None:
    if not shipped("web").joinpath("vendor", ".fetched").is_file():
        pytest.skip("web/vendor is missing, so enrolment in a browser by itself is NOT tested: make web")


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    made = Room()
    yield made
    made.close()


@pytest.fixture
def watcher(room: Room, tmp_path: Path) -> Iterator[Watcher]:
    made = Watcher(room, tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def actor(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = write_actor(faces / "dev" / CLIP, list(ORDER), tmp_path_factory.mktemp("actor") / "camera.y4m")
    yield path
    path.unlink()  # 150 MB


@pytest.fixture
def opened(chromium: str, room: Room) -> Iterator[Callable[..., Any]]:
    """Opens the hub's page, up to the lobby, in a Chromium with these flags; the page must not complain."""
    from playwright.sync_api import sync_playwright

    problems: list[str] = []
    with sync_playwright() as playwright:

        def open_page(*flags: str) -> Any:
            plain = [flag for flag in FLAGS if flag != "--disable-gpu"]
            browser = playwright.chromium.launch(executable_path=chromium, args=[*plain, *GL, *flags])
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.set_default_timeout(1000 * PATIENCE_S)
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("console", lambda line: print(f"{time.monotonic():.2f} {line.text[:300]}"))
            page.add_init_script(f"({LOTS})({json.dumps(lots(ORDER))})")
            page.goto(room.url)
            worn(page, "the sample avatar")
            page.locator("#name").fill("Bob")
            return page

        yield open_page
    assert not problems, f"errors in the page: {problems}"


def press(page: Any, act: str) -> None:
    page.locator(f"[data-act={act}]").first.click()


def view(page: Any) -> str:
    return str(page.get_by_test_id("enrol").get_attribute("data-view"))


def worn(page: Any, words: str) -> None:
    page.get_by_test_id("own-avatar").first.get_by_text(words, exact=True).wait_for()


def begin(page: Any) -> None:
    """Open the dialog with the fake camera at its beginning, and begin."""
    page.evaluate(WARM)
    page.locator(".switches [data-do=camera]").click()  # so that the fake camera begins anew with the guide
    page.wait_for_timeout(300)
    press(page, "enrol")
    page.locator(".own.pictured").wait_for()
    press(page, "enrol-begin")


def signed(data: bytes) -> Ownership:
    ownership = verify(data)
    assert ownership is not None
    assert ownership.owner is not None
    return ownership


def faces_in(recording: Path) -> int:
    """In how many of its later pictures there is a face of a proper size."""
    pictures = [frame.picture for frame in read_frames(recording)]
    with LandmarkTracker(still=True) as find:
        found = [find(picture) for picture in pictures[len(pictures) // 2 :: max(1, len(pictures) // 12)]]
    high = [face_box(face)[3] - face_box(face)[1] for face in found if face is not None]
    return sum(one > FACE_SHARE * pictures[0].shape[0] for one in high)


def test_a_page_follows_the_guide_and_an_edge_is_shown_its_avatar(
    watcher: Watcher, actor: Path, opened: Callable[..., Any], figures: dict[str, object]
) -> None:
    page = opened(*CAMERA, f"--use-file-for-fake-video-capture={actor}")
    begin(page)
    began = time.monotonic()
    asked: list[str] = []

    def reviewed() -> bool:
        step = page.get_by_test_id("enrol").get_attribute("data-step")
        if step and step not in asked:
            asked.append(step)
        return view(page) in ("review", "failed")

    wait_for(reviewed, GUIDE_S, lambda: f"the guide's end; it asked for {asked}, and shows {view(page)}")
    assert view(page) == "review", page.get_by_test_id("enrol").inner_text()
    page.locator(".enrol.drawn").wait_for()
    figures["browser only: begin to own moving avatar, s"] = round(time.monotonic() - began, 1)
    assert asked == [Step.REST, *ORDER]
    before = np.array(page.evaluate(PIXELS), float)
    wait_for(lambda: np.abs(np.array(page.evaluate(PIXELS), float) - before).mean() > MOVED, 15, "the avatar moves")
    assert "because you followed the guide live" in page.get_by_test_id("enrol").inner_text()
    press(page, "enrol-accept")
    page.get_by_role("heading", name="You are shown as this avatar now").wait_for()
    assert "a browser cannot learn" in page.get_by_test_id("enrol").inner_text()
    press(page, "enrol-done")
    worn(page, "your own avatar")
    page.locator("#lobby [data-do=camera]").click()
    page.get_by_test_id("join").click()
    wait_for(lambda: watcher.other().get("label") == "avatar", PATIENCE_S, lambda: f"its label: {watcher.other()}")
    [data] = wait_for(watcher.received, PATIENCE_S, "the edge has the file")
    assert signed(data).made == "live"
    avatar = unpack(data)
    assert avatar.name == "Bob"
    assert len(avatar.references) >= 5
    assert all(0.1 < (reference.matte > 127).mean() < 0.9 for reference in avatar.references)
    time.sleep(6)  # recorded meanwhile
    watcher.close()
    assert faces_in(watcher.recording) >= 4


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from PIL import Image

    path = tmp_path_factory.mktemp("photos") / "me at work.png"
    Image.fromarray(sample_avatar().references[0].picture).resize((640, 640)).save(path)
    return path


def choose(page: Any, *files: Path) -> None:
    with page.expect_file_chooser() as chooser:
        press(page, "enrol-photos")
    chooser.value.set_files([str(file) for file in files])


def vast_png(path: Path) -> Path:
    """A few bytes that say that they are 50 000 x 50 000 pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)))
    return path


def test_photos_do_as_well_and_what_was_made_can_be_deleted(
    watcher: Watcher, opened: Callable[..., Any], photo: Path, tmp_path: Path
) -> None:
    page = opened("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream=device-count=0")
    press(page, "enrol")
    page.get_by_role("button", name="Use photos instead").click()
    problem = page.get_by_test_id("enrol-problem")
    huge = tmp_path / "huge.jpg"
    with huge.open("wb") as file:
        file.truncate(2 << 30)  # sparse: 2 GB that nobody reads
    choose(page, huge)
    problem.get_by_text("huge.jpg has 2048 MB").wait_for()
    choose(page, vast_png(tmp_path / "vast.png"))
    problem.get_by_text("50000 x 50000 pixels").wait_for()
    hostile = tmp_path / "hostile.jpg"
    hostile.write_bytes(b"\xff\xd8\xff\xc2" + bytes(range(256)) * 40)
    choose(page, hostile)
    problem.get_by_text("hostile.jpg").wait_for()
    blank = tmp_path / "wall.png"
    _wall(blank)
    choose(page, blank)
    problem.get_by_text("wall.png: no face found").wait_for()
    choose(page, blank, photo)
    page.get_by_role("heading", name="This is you, as the others will see you").wait_for()
    page.locator(".enrol.drawn").wait_for()  # it moves by itself
    assert "photos could be of anybody" in page.get_by_test_id("enrol").inner_text()
    press(page, "enrol-accept")
    press(page, "enrol-done")
    worn(page, "your own photo avatar")
    mine = tmp_path / "another.avatar"
    save(replace(sample_avatar(), free_for_all=False), mine)
    page.locator("#avatar-file").set_input_files(mine)
    worn(page, "another")
    page.reload()
    worn(page, "another")
    press(page, "enrol")
    press(page, "enrol-wear")
    worn(page, "your own photo avatar")
    page.reload()
    worn(page, "your own photo avatar")
    page.get_by_test_id("join").click()
    wait_for(lambda: watcher.other().get("label") == "photo avatar", PATIENCE_S, lambda: f"{watcher.other()}")
    [data] = wait_for(watcher.received, PATIENCE_S, "the edge has the file")
    assert signed(data).made == "photos"
    page.locator("#bar [data-do=settings]").click()
    page.locator("#settings [data-act=enrol]").click()
    page.get_by_role("button", name="Delete my avatar").click()
    press(page, "enrol-delete")
    wait_for(lambda: watcher.other().get("label") == "sample avatar", PATIENCE_S, lambda: f"{watcher.other()}")
    wait_for(lambda: data not in watcher.received(), PATIENCE_S, "the edge was asked to delete its copy, and did")
    page.reload()
    worn(page, "the sample avatar")


def test_photos_that_lie_are_set_upright(opened: Callable[..., Any]) -> None:
    from PIL import Image

    page = opened("--use-fake-device-for-media-stream=device-count=0")
    wide = np.full((480, 640, 3), 128, np.uint8)
    picture = np.asarray(Image.fromarray(sample_avatar().references[0].picture).resize((480, 480)))
    wide[:, 80:560] = picture
    with LandmarkTracker(still=True) as find:
        wanted = find(wide)
    assert wanted is not None
    for turns in range(4):
        file = io.BytesIO()
        Image.fromarray(np.rot90(wide, -turns)).save(file, "PNG")
        found = page.evaluate(UPRIGHT, base64.b64encode(file.getvalue()).decode())
        assert (found["turns"], found["size"]) == (turns, [640, 480])
        apart = np.abs(np.reshape(found["face"], (-1, 3)) - wanted)[:, :2].mean()
        assert apart < ALIKE * np.ptp(wanted[:, 0]), f"turned by {turns} quarters"


def _wall(path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.full((480, 640, 3), (170, 160, 150), np.uint8)).save(path)


def test_a_camera_that_goes_loses_nothing_and_leaving_keeps_nothing(actor: Path, opened: Callable[..., Any]) -> None:
    page = opened(*CAMERA, f"--use-file-for-fake-video-capture={actor}")
    begin(page)
    followed = page.locator(".steps .done")
    followed.first.wait_for()
    page.evaluate(UNPLUG)
    page.get_by_role("heading", name="The camera has gone").wait_for()
    page.get_by_role("button", name="Try again").click()
    page.locator(".own.pictured").wait_for()
    assert view(page) == "guide"
    assert followed.count() >= 1
    page.get_by_role("button", name="Close").last.click()
    page.reload()
    worn(page, "the sample avatar")
