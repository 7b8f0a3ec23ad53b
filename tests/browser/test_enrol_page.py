"""Enrolment in a real Chromium: a fake camera that follows the guide, photos, and what goes wrong on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from telepresence.avatar.file import load, load_bytes
from telepresence.avatar.owner import verify
from telepresence.avatar.samples import sample_avatar
from telepresence.avatar.sections import digest
from telepresence.enrolment import guide
from telepresence.enrolment.own import own_avatar_path
from telepresence.enrolment.steps import Step
from telepresence.rtc.edge import Edge
from tests.browser.actor import write_actor
from tests.browser.conftest import FLAGS, wait_for
from tests.browser.room import Room
from tests.rtc.call import edge

pytestmark = pytest.mark.browser

CLIP = "latentsync2_man.mp4"  # turns to both sides, looks up, laughs, shuts his eyes: all that the guide asks for
ORDER = [Step.SMILE, Step.RIGHT, Step.BLINK, Step.UP, Step.SPEAK, Step.LEFT, Step.OPEN]
CAMERA = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
GUIDE_S = 75.0  # two rounds of the fake camera
PATIENCE_MS = 20_000

UNPLUG = """() => {
  const [track] = document.querySelector("[data-testid=enrol-camera]").srcObject.getVideoTracks();
  track.dispatchEvent(new Event("ended"));
}"""
PIXELS = """() => {
  const canvas = document.querySelector("[data-testid=enrol-avatar]");
  return [...canvas.getContext("2d").getImageData(64, 48, 128, 128).data];
}"""


class Edges(Room):
    """A room whose edges are all in this process, so that a test may see what they have."""

    def enter(self, **options: Any) -> Edge:
        async def enter() -> Edge:
            return await self._exit.enter_async_context(edge(self.url, **options))

        return self._run(enter())


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("telepresence.rtc.cache.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(guide, "draw", lambda: list(ORDER))


@pytest.fixture
def edges() -> Iterator[Edges]:
    room = Edges()
    yield room
    room.close()


@pytest.fixture(scope="module")
def actor(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = write_actor(faces / "dev" / CLIP, ORDER, tmp_path_factory.mktemp("actor") / "camera.y4m")
    yield path
    path.unlink()  # 150 MB


@pytest.fixture
def opened(chromium: str) -> Iterator[Callable[..., Any]]:
    """Opens an edge's page in a Chromium with these flags; the page must not complain."""
    from playwright.sync_api import sync_playwright

    problems: list[str] = []
    with sync_playwright() as playwright:

        def open_page(running: Edge, *flags: str) -> Any:
            browser = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, *flags])
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.set_default_timeout(PATIENCE_MS)
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("console", lambda line: problems.append(line.text) if "Content Security" in line.text else None)
            page.goto(f"{running.page.url}/")
            page.get_by_test_id("own-avatar").first.get_by_text("the sample avatar").wait_for()
            return page

        yield open_page
    assert not problems, f"errors in the page: {problems}"


def press(page: Any, act: str) -> None:
    page.locator(f"[data-act={act}]").first.click()


def view(page: Any) -> str:
    return str(page.get_by_test_id("enrol").get_attribute("data-view"))


def worn(page: Any, words: str) -> None:
    page.get_by_test_id("own-avatar").first.get_by_text(words, exact=True).wait_for()


def test_a_stranger_follows_the_guide_and_joins_as_their_own_avatar(
    edges: Edges, actor: Path, opened: Callable[..., Any], figures: dict[str, object], tmp_path: Path
) -> None:
    ada = edges.enter(camera="browser", name="Ada", engine="live")
    edges.enter(camera="none", name="Grace", sink="browser")
    page = opened(ada, *CAMERA, f"--use-file-for-fake-video-capture={actor}")
    page.locator(".switches [data-do=camera]").click()  # so that the fake camera begins anew with the guide
    page.wait_for_timeout(300)
    press(page, "enrol")
    page.locator(".own.pictured").wait_for()
    assert "go to everybody in it" in page.get_by_test_id("enrol").inner_text()
    press(page, "enrol-begin")
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
    figures["page to own moving avatar, s"] = round(time.monotonic() - began, 1)
    assert asked == [Step.REST, *ORDER]
    before = np.array(page.evaluate(PIXELS), float)
    wait_for(lambda: np.abs(np.array(page.evaluate(PIXELS), float) - before).mean() > 2, 15, "the avatar moves")
    assert "because you followed the guide live" in page.get_by_test_id("enrol").inner_text()
    assert not own_avatar_path().exists(), "nothing is kept before it is accepted"
    press(page, "enrol-accept")
    page.get_by_role("heading", name="You are shown as this avatar now").wait_for()
    press(page, "enrol-done")
    worn(page, "your own avatar")
    page.get_by_test_id("join").click()
    data = load_bytes(own_avatar_path())
    ownership = verify(data)
    assert ownership is not None
    assert (ownership.made, ownership.label) == ("live", "avatar")
    assert len(load(own_avatar_path()).references) >= 5
    cached = tmp_path / "cache" / f"{digest(data)}.avatar"
    wait_for(lambda: list((tmp_path / "cache").rglob(cached.name)), 30, "the other has the new avatar")


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


def test_photos_do_as_well_and_bad_ones_are_refused_in_words(
    edges: Edges, opened: Callable[..., Any], photo: Path, tmp_path: Path
) -> None:
    ada = edges.enter(camera="browser", sink="null")
    page = opened(ada, "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream=device-count=0")
    press(page, "enrol")
    page.get_by_text("No camera was found. Plug one in").or_(
        page.get_by_role("heading", name="No camera was found").last
    ).wait_for()
    page.get_by_role("button", name="Use photos instead").click()
    problem = page.get_by_test_id("enrol-problem")
    huge = tmp_path / "huge.jpg"
    with huge.open("wb") as file:
        file.truncate(2 << 30)  # sparse: 2 GB that nobody reads
    choose(page, huge)
    problem.get_by_text("huge.jpg has 2048 MB").wait_for()
    hostile = tmp_path / "hostile.jpg"
    hostile.write_bytes(b"\xff\xd8\xff\xc2" + bytes(range(256)) * 40)
    choose(page, hostile)
    problem.get_by_text("hostile.jpg").get_by_text("JPEG or PNG").or_(
        problem.get_by_text("hostile.jpg")
    ).first.wait_for()
    choose(page, photo)
    page.get_by_role("heading", name="This is you, as the others will see you").wait_for()
    page.locator(".enrol.drawn").wait_for()  # recorded motion moves it
    assert "photos could be of anybody" in page.get_by_test_id("enrol").inner_text()
    press(page, "enrol-accept")
    press(page, "enrol-done")
    worn(page, "your own photo avatar")
    ownership = verify(load_bytes(own_avatar_path()))
    assert ownership is not None
    assert ownership.label == "photo avatar"

    press(page, "enrol")
    page.get_by_role("button", name="Delete my avatar").click()
    press(page, "enrol-delete")
    worn(page, "the sample avatar")
    assert not own_avatar_path().exists()


def test_a_camera_that_goes_and_a_page_that_is_reloaded_lose_nothing(
    edges: Edges, actor: Path, opened: Callable[..., Any]
) -> None:
    ada = edges.enter(camera="browser", sink="null")
    page = opened(ada, *CAMERA, f"--use-file-for-fake-video-capture={actor}")
    page.locator(".switches [data-do=camera]").click()
    page.wait_for_timeout(300)
    press(page, "enrol")
    page.locator(".own.pictured").wait_for()
    press(page, "enrol-begin")
    followed = page.locator(".steps .done")
    followed.first.wait_for()
    page.evaluate(UNPLUG)
    page.get_by_role("heading", name="The camera has gone").wait_for()
    assert followed.count() >= 1
    page.get_by_role("button", name="Try again").click()
    page.locator(".own.pictured").wait_for()
    page.reload()
    page.get_by_role("button", name="Go on").click()
    page.locator(".own.pictured").wait_for()
    assert view(page) == "guide"
    assert followed.count() >= 1, "the edge has kept what was followed"
    page.get_by_role("button", name="Close").last.click()
    page.get_by_role("button", name="Make your avatar").wait_for()
    assert not own_avatar_path().exists()
