"""The headset's page in a real Chromium with an emulated headset (iwer): both eyes' pictures, parallax, coming back."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from telepresence.resources import shipped
from telepresence.sinks.headset.rehearsal import show
from tests.browser.conftest import wait_for

pytestmark = pytest.mark.browser

FLAGS = ("--no-sandbox", "--disable-background-networking", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
EMULATE = """
const device = new IWER.XRDevice(IWER.metaQuest3);
device.installRuntime({ forceInstall: true });
device.stereoEnabled = true;
device.ipd = 0.063;
device.position.set(0, 1.2, 0);
globalThis.device = device;
"""
# The canvas in its own animation frame: outside of it what was drawn is gone.
GRAB = """() => new Promise((resolve) => requestAnimationFrame(() => {
  const canvas = document.querySelector("canvas");
  resolve(canvas.toDataURL("image/png"));
}))"""


# A head aside that faces whoever sits opposite, so that the face stays in the middle of the picture.
LOOK_AT_IT = """(x) => {
  const angle = Math.atan2(x, 1.3);
  device.position.set(x, 1.2, 0);
  device.quaternion.set(0, Math.sin(angle / 2), 0, Math.cos(angle / 2));
}"""


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A sink with a moving avatar, in a loop of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield from _link()


_running: dict[str, Any] = {}  # the sink, its loop


def cut() -> None:
    """End every connection to the sink."""

    def end() -> None:
        for client in list(_running["sink"]._server._clients):
            client.end(1001)

    _running["loop"].call_soon_threadsafe(end)


def _link() -> Iterator[str]:
    ready, told = threading.Event(), {}
    loop = asyncio.new_event_loop()

    async def run() -> None:
        told["stop"] = asyncio.Event()
        async with show() as sink:
            told["link"] = sink.link
            _running.update(sink=sink, loop=loop)
            ready.set()
            await told["stop"].wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), daemon=True)
    thread.start()
    assert ready.wait(60)
    yield str(told["link"])
    loop.call_soon_threadsafe(told["stop"].set)
    thread.join(20)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    context = browser.new_context(ignore_https_errors=True, viewport={"width": 960, "height": 540})
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    yield opened
    context.close()
    assert not errors


def emulate(page: Any) -> None:
    iwer = shipped("web") / "vendor" / "iwer" / "build" / "iwer.min.js"
    if not iwer.is_file():
        pytest.skip("web/vendor/iwer is missing: make web")
    page.add_init_script(iwer.read_text() + "\n" + EMULATE)


def pictures(page: Any) -> int:
    return int(page.evaluate("[...globalThis.headsetPage?.avatars.values() ?? []].reduce((n, a) => n + a.pictures, 0)"))


def wait_pictures(page: Any, more: int = 5) -> None:
    before = pictures(page)
    wait_for(lambda: pictures(page) >= before + more, 40, lambda: f"pictures come; {page.inner_text('#status')!r}")


def grab(page: Any, path: Path | None = None) -> NDArray[np.uint8]:
    """What the canvas shows: (H, W, 3)."""
    import base64

    from PIL import Image

    data = base64.b64decode(page.evaluate(GRAB).split(",")[1])
    if path is not None:
        path.write_bytes(data)
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def eyes(canvas: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    half = canvas.shape[1] // 2
    return canvas[:, :half], canvas[:, half : 2 * half]


def shown(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a person is: brighter than the dark room."""
    bright: NDArray[np.bool_] = picture.max(2) > 120
    return bright


def enter(page: Any) -> None:
    page.click("#vr")
    wait_for(lambda: page.evaluate("headsetPage.renderer.xr.isPresenting"), 15, "the session begins")


def drawn(page: Any) -> list[float]:
    return list(page.evaluate("[...headsetPage.avatars.values()][0].drawn"))


def seen(page: Any, path: Path | None = None) -> NDArray[np.uint8]:
    """The canvas as soon as both eyes see somebody: on a busy machine frames are drawn late."""

    def both() -> list[NDArray[np.uint8]]:
        canvas = grab(page, path)
        return [canvas] if all(shown(eye).mean() > 0.005 for eye in eyes(canvas)) else []

    (canvas,) = wait_for(both, 20, "both eyes see somebody")
    return np.asarray(canvas)


def nose(page: Any, x: float) -> float:
    """Where the nose is between the eyes for a head that looks from x metres aside, in units of their distance."""
    from telepresence.face.landmarks import LandmarkTracker

    page.evaluate(LOOK_AT_IT, x)
    camera = "headsetPage.renderer.xr.getCamera().cameras[0].matrixWorld.elements[12]"
    wait_for(lambda: page.evaluate(camera) == pytest.approx(x - 0.0315, abs=1e-3), 20, "the head is there")
    left, _ = eyes(seen(page))
    with LandmarkTracker(still=True) as track:
        points = track(np.ascontiguousarray(left))
    assert points is not None, "there is a face"
    corners = points[[33, 263]]
    return float((points[4, 0] - corners[:, 0].mean()) / np.linalg.norm(corners[1] - corners[0]))


def test_both_eyes_see_a_moving_avatar_and_a_moving_head_sees_parallax(page: Any, link: str, tmp_path: Path) -> None:
    emulate(page)
    page.goto(link)
    wait_pictures(page)
    enter(page)
    wait_pictures(page)
    canvas = seen(page, tmp_path / "eyes.png")
    left, right = eyes(canvas)
    assert np.abs(left.astype(int) - right).mean() > 0.5
    # the same head, seen from 6 cm farther right, is farther left
    columns = [np.nonzero(shown(eye))[1].mean() / eye.shape[1] for eye in (left, right)]
    assert columns[0] > columns[1]
    wait_for(lambda: np.abs(grab(page).astype(int) - canvas).mean() > 0.05, 20, "the avatar moves")

    page.evaluate("device.position.set(0.3, 1.2, 0)")
    wait_for(lambda: drawn(page)[0] > 0.15, 20, "pictures for a head 13 degrees aside")
    assert drawn(page)[0] == pytest.approx(np.arctan2(0.3, 1.3), abs=0.03)
    assert np.abs(seen(page, tmp_path / "aside.png").astype(int) - canvas).mean() > 0.5


def test_a_moved_head_sees_parallax_before_a_picture_for_it_comes(page: Any, link: str) -> None:
    emulate(page)
    page.goto(link)
    enter(page)
    page.evaluate("device.fovy = 0.35")  # a telephoto lens: a nose is many pixels
    wait_pictures(page)
    page.evaluate("headsetPage.avatars.get(0).show = () => {}")  # no more pictures
    page.wait_for_timeout(500)
    before = pictures(page)
    left, right = (nose(page, x) for x in (-0.2, 0.2))
    assert pictures(page) == before
    assert left > right + 0.04, "from the left, the nose is farther right"
    page.evaluate("for (const eye of headsetPage.avatars.get(0).eyes) eye.material.uniforms.deep.value = 0")
    flat = [nose(page, x) for x in (-0.2, 0.2)]
    assert abs(flat[0] - flat[1]) < 0.4 * (left - right), "a plane alone has next to none"


def test_in_ar_there_is_nothing_but_the_person(page: Any, link: str, tmp_path: Path) -> None:
    from PIL import Image

    emulate(page)
    page.goto(link)
    wait_pictures(page)
    page.click("#ar")
    wait_for(lambda: page.evaluate("headsetPage.renderer.xr.isPresenting"), 15, "the session begins")
    wait_pictures(page)
    seen(page, tmp_path / "ar.png")
    alpha = np.asarray(Image.open(tmp_path / "ar.png").convert("RGBA"))[..., 3]
    height, width = alpha.shape
    for eye in (alpha[:, : width // 2], alpha[:, width // 2 :]):
        assert eye.max() > 250, "somebody stands there"
        assert (eye == 0).mean() > 0.8, "one's own room is all around"
        assert not eye[[0, 0, -1, -1], [0, -1, 0, -1]].any()
        assert not eye[: height // 5].any()


def test_the_session_can_be_left_and_entered_again(page: Any, link: str) -> None:
    emulate(page)
    page.goto(link)
    wait_pictures(page)
    for _ in range(2):
        enter(page)
        wait_pictures(page)
        page.evaluate("headsetPage.renderer.xr.getSession().end()")
        wait_for(lambda: not page.evaluate("headsetPage.renderer.xr.isPresenting"), 15, "the session ends")
        assert "left the room" in page.inner_text("#status")
        wait_pictures(page)


def test_a_lost_connection_comes_back_by_itself_with_everybody_where_they_were(page: Any, link: str) -> None:
    emulate(page)
    page.goto(link)
    wait_pictures(page)
    page.evaluate("device.position.set(0, 1.5, 0)")
    enter(page)
    wait_for(lambda: page.evaluate("headsetPage.avatars.get(0).group.position.y") == 1.5, 20, "heads meet")
    cut()
    wait_for(lambda: page.evaluate("headsetPage.board.group.visible"), 20, "the board says that something is lost")
    wait_for(lambda: not page.evaluate("headsetPage.board.group.visible"), 20, "and that it is back")
    wait_pictures(page)
    wait_for(lambda: page.evaluate("headsetPage.avatars.get(0).group.position.y") == 1.5, 20, "heads meet again")
    assert page.evaluate("headsetPage.renderer.xr.isPresenting")


def test_without_webxr_the_mouse_is_the_head(page: Any, link: str) -> None:
    page.add_init_script("Object.defineProperty(Navigator.prototype, 'xr', {value: undefined})")
    page.goto(link)
    wait_pictures(page)
    assert "no WebXR" in page.inner_text("#hint")
    assert not page.is_visible("#vr")
    assert "Guest 0" in page.inner_text("#people")
    page.mouse.move(900, 270)
    wait_for(lambda: drawn(page)[0] > 0.15, 20, "pictures for a head on the right")
    page.mouse.move(60, 270)
    wait_for(lambda: drawn(page)[0] < -0.15, 20, "pictures for a head on the left")


def test_a_link_without_its_token_says_what_to_do(page: Any, link: str) -> None:
    page.goto(link.split("#")[0])
    assert "no token" in page.inner_text("#status")


def test_a_wrong_token_is_told_and_not_tried_again(page: Any, link: str) -> None:
    page.goto(link.split("=")[0] + "=wrong")
    wait_for(lambda: "token is wrong" in page.inner_text("#status"), 15, lambda: page.inner_text("#status"))
