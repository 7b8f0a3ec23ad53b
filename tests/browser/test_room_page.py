"""The room's page in a real Chromium with a call that is whatever the test says: every state, keyboard, names, size."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from telepresence.page_headers import HUB_PAGE_HEADERS
from telepresence.resources import shipped
from tests.browser.conftest import FLAGS

pytestmark = pytest.mark.browser

FAKE = Path(__file__).with_name("fake_call.js")
CAMERA = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
ADA = {"id": "a", "name": "Ada Lovelace"}
GRACE = {"id": "g", "name": "Grace Hopper"}

# Everything that can be used and has no name for a screen reader.
NAMELESS = """() => [...document.querySelectorAll("button, input, select, [role=meter], progress")]
  .filter((e) => e.checkVisibility())
  .filter((e) => !(e.ariaLabel || e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.length))
  .map((e) => e.outerHTML)"""


FAILING = """window.fail = "ERROR";
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wanted) => {
  if (window.fail) throw new DOMException("", window.fail);
  return open(wanted);
};"""

HIDE = """() => {
  Object.defineProperty(document, "hidden", { value: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


class _Handler(http.server.SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        for name, value in HUB_PAGE_HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The page's files, with the headers of a hub."""
    handler = functools.partial(_Handler, directory=str(shipped("web")))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/index.html"
        running.shutdown()


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, *CAMERA])
        yield opened
        opened.close()


@pytest.fixture
def fresh(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A page that has loaded nothing yet; `options` are those of its context."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | getattr(request, "param", {}))
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda line: problems.append(line.text) if "Content Security" in line.text else None)
    page.route("**/api/page-config", lambda route: route.fulfill(json={"mode": "browser"}))
    fake = FAKE.read_text()
    page.route("**/browser-call.js", lambda route: route.fulfill(body=fake, content_type="text/javascript"))
    yield page
    context.close()
    assert not problems, f"errors in the page: {problems}"


@pytest.fixture
def lobby(fresh: Any, server: str) -> Any:
    fresh.goto(server)
    fresh.get_by_test_id("join").wait_for()
    return fresh


@pytest.fixture
def joined(lobby: Any) -> Any:
    lobby.wait_for_function("document.querySelector('#join').textContent === 'Join'")
    lobby.get_by_test_id("join").click()
    lobby.get_by_role("toolbar").wait_for()
    return lobby


def put(page: Any, **changes: Any) -> None:
    page.evaluate("(changes) => window.set(changes)", changes)


def tile(page: Any, name: str) -> Any:
    return page.get_by_test_id("tile").filter(has_text=name)


def test_the_lobby_says_who_is_there_and_what_joining_discloses(lobby: Any) -> None:
    lobby.evaluate("window.names = ['Ada', 'Grace', '']")
    lobby.get_by_text("Ada, Grace and Somebody are here.").wait_for(timeout=10_000)
    assert "the photos it was made from go to everybody in the room" in lobby.locator("#disclosure").inner_text()
    assert (
        lobby.evaluate("getComputedStyle(document.querySelector('#preview')).transform") == "matrix(-1, 0, 0, 1, 0, 0)"
    )
    lobby.wait_for_function("+document.querySelector('[role=meter]').getAttribute('aria-valuenow') > 0")
    assert lobby.evaluate(NAMELESS) == []
    lobby.locator("#name").fill(" Katherine ")
    lobby.keyboard.press("Enter")
    lobby.get_by_role("toolbar").wait_for()
    assert lobby.evaluate("window.did[0][1].name") == "Katherine"
    lobby.reload()
    lobby.get_by_test_id("join").wait_for()
    assert lobby.locator("#name").input_value() == "Katherine"


@pytest.mark.parametrize(
    ("error", "title"),
    [
        ("NotAllowedError", "The camera was refused"),
        ("NotFoundError", "No camera was found"),
        ("NotReadableError", "Another program has the camera"),
        ("TypeError", "The camera does not start"),
    ],
)
def test_a_device_that_fails_is_explained_and_not_needed(fresh: Any, server: str, error: str, title: str) -> None:
    fresh.add_init_script(FAILING.replace("ERROR", error))
    fresh.goto(server)
    fresh.get_by_role("heading", name=title).wait_for()
    assert fresh.locator("#lobby-pickers .help").inner_text()
    assert fresh.get_by_test_id("join").inner_text() == "Join without camera and microphone"
    fresh.evaluate("window.fail = ''")
    fresh.get_by_role("button", name="Try again").click()
    fresh.wait_for_function("document.querySelector('#join').textContent === 'Join without microphone'")
    fresh.get_by_test_id("join").click()
    fresh.get_by_test_id("empty").wait_for()
    did = fresh.evaluate("window.did[0]")
    assert did == ["join", {"name": "", "camera": True, "microphone": False, "muted": False}]


def test_tiles_say_what_is_shown_and_why_somebody_is_not(joined: Any) -> None:
    refused = GRACE | {"label": None, "unshown": "it did not prove that the avatar is its own", "pictured": False}
    put(joined, others=[ADA | {"label": "photo avatar"}, refused])
    assert joined.locator("article.tile .label:visible").all_inner_texts() == ["photo avatar"]
    assert tile(joined, "Ada").get_attribute("aria-label") == "Ada Lovelace, photo avatar"
    assert tile(joined, "Grace").get_attribute("aria-label") == "Grace Hopper, not shown"
    assert "Not shown: it did not prove that the avatar is its own" in tile(joined, "Grace").inner_text()
    put(joined, others=[ADA | {"label": None, "unshown": "its owner has deleted it", "pictured": False}, refused])
    assert joined.locator("article.tile .label:visible").count() == 0  # the picture that it had is gone
    assert "Not shown: its owner has deleted it" in tile(joined, "Ada").inner_text()


def test_every_tile_has_a_name_its_states_and_the_label_avatar(joined: Any) -> None:
    assert joined.get_by_test_id("empty").is_visible()
    assert joined.locator("#link").input_value().startswith("https://hub.example/room/monday")
    put(joined, others=[ADA | {"muted": True}, GRACE | {"camera": False}])
    assert tile(joined, "Ada").get_attribute("aria-label") == "Ada Lovelace, muted"
    assert tile(joined, "Grace").get_attribute("aria-label") == "Grace Hopper, camera off"
    assert joined.locator("article.tile .label:visible").count() == 2
    arriving = {"id": "m", "name": "Mary", "avatar": 0.45, "pictured": False}
    put(
        joined,
        others=[
            ADA | {"state": "lost"},
            arriving,
            {"id": "x", "state": "refused", "reason": "too old", "pictured": False},
        ],
    )
    assert "Out of reach" in tile(joined, "Ada").inner_text()
    assert "45 %" in tile(joined, "Mary").inner_text()
    assert "No link: too old" in tile(joined, "Somebody").inner_text()
    assert joined.evaluate(NAMELESS) == []
    joined.keyboard.press("p")
    listed = joined.locator("#people-list li").all_text_contents()
    assert [text.strip() for text in listed] == [
        "You (you)",
        "Ada Lovelaceout of reach",
        "Maryavatar arriving",
        "Somebodyno link",
    ]
    assert joined.evaluate(NAMELESS) == []
    joined.keyboard.press("Escape")
    assert joined.get_by_test_id("people").is_hidden()


def test_arrivals_and_departures_are_spoken(joined: Any) -> None:
    put(joined, others=[ADA])
    assert joined.get_by_test_id("announce").inner_text() == "Ada Lovelace has joined."
    put(joined, others=[GRACE])
    assert joined.get_by_test_id("announce").inner_text() == "Grace Hopper has joined. Ada Lovelace has left."
    assert joined.get_by_test_id("status").inner_text() == "Live, 2 in the call"


def test_who_speaks_is_large_unless_another_is_pinned(joined: Any) -> None:
    put(joined, others=[ADA, GRACE])
    assert joined.evaluate("window.seen.speaker") is None
    assert set(joined.evaluate("window.seen.tiles")) == {"a", "g"}
    joined.keyboard.press("g")
    put(joined, others=[ADA, GRACE | {"level": 0.9}])
    joined.wait_for_function("window.seen.speaker === 'g'")
    sides = joined.evaluate("window.seen.tiles")
    assert sides["g"] > 3 * sides["a"] > 0
    tile(joined, "Ada").get_by_role("button").focus()  # by keyboard
    joined.keyboard.press("Enter")
    assert joined.evaluate("window.seen.speaker") == "a" or joined.wait_for_function("window.seen.speaker === 'a'")
    joined.wait_for_timeout(2500)  # longer than a change of speaker takes
    assert joined.evaluate("window.seen.speaker") == "a"
    assert tile(joined, "Ada").get_by_role("button").get_attribute("aria-pressed") == "true"
    joined.evaluate(HIDE)
    assert sorted(joined.evaluate("window.seen.hidden")) == ["a", "g"]


def test_a_device_that_is_unplugged_and_sound_that_is_held_back(joined: Any) -> None:
    track = "document.querySelector('#self video').srcObject.getVideoTracks()[0]"
    joined.evaluate(f"{track}.dispatchEvent(new Event('ended'))")
    joined.get_by_text("The camera has gone").wait_for()
    assert ["camera", False] in joined.evaluate("window.did")
    joined.get_by_role("button", name="Choose another").click()
    assert joined.get_by_role("dialog", name="Settings").is_visible()
    assert joined.evaluate(NAMELESS) == []
    joined.keyboard.press("Escape")
    joined.evaluate("""() => {
      window.play = HTMLMediaElement.prototype.play;
      HTMLMediaElement.prototype.play = async function () { throw new DOMException("", "NotAllowedError"); };
      const sound = new AudioContext().createMediaStreamDestination().stream;
      window.set({ others: [{ id: "a", name: "Ada", sound }] });
    }""")
    held = joined.get_by_role("button", name="Play sound")
    held.wait_for()
    joined.evaluate("() => { HTMLMediaElement.prototype.play = window.play; }")
    held.click()
    held.wait_for(state="detached")
    assert joined.evaluate("document.querySelector('#sounds audio').paused") is False


def test_the_hub_and_the_program_out_of_reach(joined: Any) -> None:
    put(joined, others=[ADA], hub=False)
    joined.get_by_text("nobody new can join until it is back").wait_for()
    joined.evaluate("window.tell('The program does not answer.', 'error', 'program')")
    assert joined.get_by_role("alert").inner_text() == "The program does not answer."
    joined.evaluate("window.tell('', 'info', 'program')")
    put(joined, hub=True)
    joined.wait_for_function("document.querySelector('#banners').children.length === 0")


@pytest.mark.parametrize(
    ("kind", "title"), [("full", "The room is full"), ("refused", "You cannot join with this link")]
)
def test_a_room_that_does_not_let_us_in(lobby: Any, kind: str, title: str) -> None:
    lobby.evaluate("(kind) => { window.refusal = [kind, 'For this reason.']; }", kind)
    lobby.get_by_test_id("join").click()
    lobby.get_by_role("heading", name=title).wait_for()
    assert "For this reason." in lobby.get_by_test_id("over").inner_text()
    lobby.evaluate("window.refusal = null")
    lobby.get_by_role("button", name="Back to the start").click()
    lobby.get_by_test_id("join").click()
    lobby.get_by_test_id("empty").wait_for()


def test_leaving_switches_everything_off_and_a_superseded_tab_can_take_the_call_back(joined: Any) -> None:
    joined.get_by_role("button", name="Leave the call").click()
    assert joined.get_by_role("heading", name="You have left the call").is_visible()
    assert joined.evaluate("document.activeElement.id") == "over-title"
    joined.get_by_role("button", name="Come back").click()
    joined.get_by_role("toolbar").wait_for()
    put(joined, state="superseded")
    joined.get_by_role("button", name="Use it here").click()
    joined.get_by_role("toolbar").wait_for()
    assert [name for name, *_ in joined.evaluate("window.did") if name in ("join", "leave", "take")] == [
        "join", "leave", "join", "take",
    ]  # fmt: skip
    did = joined.evaluate("window.did")
    again = did[did.index(["take"]) + 1 :]
    assert ["camera", True] in again  # they were switched off, so that others are not shown a camera that stands still
    assert ["microphone", True] in again


@pytest.mark.parametrize("fresh", [{"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}], indirect=True)
def test_a_phone_in_the_dark(joined: Any) -> None:
    put(joined, others=[{"id": f"p{n}", "name": f"Participant with a long name {n}"} for n in range(11)])
    for _ in range(2):  # grid, speaker
        assert joined.evaluate("document.documentElement.scrollWidth") <= 390
        for button in joined.locator("#bar button:visible").all():
            box = button.bounding_box()
            assert min(box["width"], box["height"]) >= 44
            assert 0 <= box["x"] <= box["x"] + box["width"] <= 390
        joined.keyboard.press("g")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert joined.evaluate(ground) == "rgb(18, 19, 21)"
    joined.get_by_role("button", name="Dark or light").click()
    assert joined.evaluate(ground) == "rgb(246, 245, 242)"


def test_figures_are_there_for_those_who_want_them(joined: Any) -> None:
    put(joined, others=[ADA], figures={"fps": 24, "wire_kbps": 28.5, "skew_ms": -12, "drawn_by": "live, WASM"})
    assert joined.get_by_test_id("overlay").is_hidden()
    joined.keyboard.press("f")
    text = joined.get_by_test_id("overlay").inner_text()
    assert all(part in text for part in ("live, WASM", "24 per second", "28.5 kbit/s", "-12 ms")), text
