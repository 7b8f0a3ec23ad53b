"""Real pages whose surroundings go wrong: the hub starts again, a page sleeps, sound may go by a relay only."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from telepresence.hub.ice import IceConfig
from telepresence.rtc.edge import Edge
from tests.browser.conftest import FLAGS, wait_for
from tests.browser.room import PICTURES, Room, write_voice
from tests.browser.test_room import PATIENCE_S, hears, others, sees, status
from tests.turnserver import SECRET, TurnServer, turn_server

pytestmark = pytest.mark.browser

AWAY_S = 4.0
ASLEEP_S = 8.0  # longer than a browser takes to call a connection dead

# What kinds of candidates each connection of the page uses now: [local, remote] of each.
KINDS = """async () => {
  const found = [];
  for (const peer of window.peers.filter((one) => one.connectionState === "connected")) {
    const report = await peer.getStats();
    const at = (id) => report.get(id);
    const transport = [...report.values()].find(({ type }) => type === "transport");
    const pair = transport && at(transport.selectedCandidatePairId);
    const sounds = peer.getTransceivers().some((way) => way.receiver.track.kind === "audio");
    if (pair) found.push([sounds, at(pair.localCandidateId).candidateType, at(pair.remoteCandidateId).candidateType]);
  }
  return found;
}"""
NOTE_PEERS = """window.peers = [];
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...given) { super(...given); window.peers.push(this); }
};"""


@contextlib.contextmanager
def two(room: Room, chromium: str, voice: Any) -> Iterator[tuple[Edge, Any, Any]]:
    """Ada's edge, her page and Grace's, both in the call and seen and heard."""
    from playwright.sync_api import sync_playwright

    flags = [
        *FLAGS,
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={voice}",
        "--autoplay-policy=no-user-gesture-required",
    ]
    first = room.add_here("Ada")
    addresses = [first.page.url, room.add("Grace")]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        pages = []
        for address in addresses:
            page = browser.new_context(viewport={"width": 900, "height": 640}).new_page()
            page.on("console", lambda line: print(f"{time.monotonic():.2f} {line.text}"))
            page.add_init_script(NOTE_PEERS)
            page.goto(f"{address}/")
            page.get_by_test_id("join").click()
            pages.append(page)
        ada, grace = pages
        wait_for(lambda: sees(ada, "Grace") and sees(grace, "Ada"), PATIENCE_S, "both are seen")
        wait_for(lambda: hears(ada, "Grace") and hears(grace, "Ada"), PATIENCE_S, "both are heard")
        yield first, ada, grace
        browser.close()


@pytest.fixture
def voice(tmp_path: Any) -> Any:
    return write_voice(tmp_path / "voice.wav")


def pictures(page: Any, name: str) -> int:
    return int(page.evaluate(PICTURES, [others(page)[name], 400]))


def connections(page: Any) -> int:
    """How many this page has made so far."""
    return int(page.evaluate("window.peers.length"))


def test_a_hub_that_starts_again_is_not_missed(chromium: str, voice: Any, figures: dict[str, object]) -> None:
    room = Room()
    try:
        with two(room, chromium, voice) as (_, ada, grace):
            made = connections(ada), connections(grace)
            room.stop_hub()
            ada.get_by_text("nobody new can join until it is back").wait_for(timeout=PATIENCE_S * 1000)
            time.sleep(AWAY_S)
            assert pictures(ada, "Grace") > 0
            assert hears(ada, "Grace")
            assert hears(grace, "Ada")
            assert status(ada) == "Live, 2 in the call"
            room.start_hub()
            began = time.monotonic()
            for page in (ada, grace):
                gone = "!document.querySelector('#banners').textContent.includes('out of reach')"
                wait_for(lambda page=page, gone=gone: page.evaluate(gone), PATIENCE_S, "the hub is back")
            figures["hub started again: back in the pages after, s"] = round(time.monotonic() - began, 2)
            # Both are members again: who comes now meets them.
            third = room.add_here("Mary", camera="none")
            wait_for(lambda: set(others(ada)) == {"Grace", "Mary"}, PATIENCE_S, "a newcomer is seen by those before")
            wait_for(lambda: set(others(grace)) == {"Ada", "Mary"}, PATIENCE_S, "by both")
            wait_for(lambda: len(third.room.peers) == 2, PATIENCE_S, "and sees them")
            assert pictures(ada, "Grace") > 0
            assert hears(grace, "Ada")
            assert (connections(ada), connections(grace)) == made, "no connection was made anew for that"
    finally:
        room.close()


def test_a_page_that_slept_goes_on(chromium: str, voice: Any, figures: dict[str, object]) -> None:
    room = Room()
    try:
        with two(room, chromium, voice) as (first, ada, grace):
            session = ada.context.new_cdp_session(ada)
            took = []
            for cut in (False, True):
                session.send("Page.setWebLifecycleState", {"state": "frozen"})
                if cut:  # the program was started again meanwhile, as far as the page can see
                    room.cut(first)
                time.sleep(ASLEEP_S)
                session.send("Page.setWebLifecycleState", {"state": "active"})
                began = time.monotonic()
                wait_for(lambda: pictures(ada, "Grace") > 0, PATIENCE_S, "pictures come again")
                took.append(round(time.monotonic() - began, 2))
                wait_for(lambda: hears(ada, "Grace"), PATIENCE_S, "sound is heard again")
                wait_for(lambda: hears(grace, "Ada"), PATIENCE_S, "by the other, too")
                wait_for(lambda: status(ada) == "Live, 2 in the call", PATIENCE_S, "the page says so")
            figures["page slept 8 s: pictures again after, s; with its link cut meanwhile"] = took
    finally:
        room.close()


class Turn:
    """A TURN server on a loop of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._entered = turn_server()
        self.server: TurnServer = self._run(self._entered.__aenter__())

    def close(self) -> None:
        self._run(self._entered.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self, step: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(step, self._loop).result(30)


def test_the_pages_sound_goes_through_the_relay_where_nothing_else_may(chromium: str, voice: Any) -> None:
    turn = Turn()
    room = Room(IceConfig(turn=(turn.server.url,), secret=SECRET.encode(), relay_only=True))
    try:
        with two(room, chromium, voice) as (_, ada, grace):
            for page in (ada, grace):
                kinds = [kinds for sounds, *kinds in page.evaluate(KINDS) if sounds]
                assert kinds == [["relay", "relay"]]
    finally:
        room.close()
        turn.close()


# What is asked of the camera's encoder, and what it gives: pictures a second.
SENDING = """async () => {
  const senders = window.peers.flatMap((peer) => peer.getSenders()).filter(({ track }) => track?.kind === "video");
  const report = await senders[0].getStats();
  const out = [...report.values()].find(({ type }) => type === "outbound-rtp");
  return [senders[0].getParameters().encodings[0].maxFramerate ?? null, out?.framesPerSecond ?? 0];
}"""
SLOW_PER_S = 10.0


def test_a_page_sends_an_edge_that_is_behind_fewer_pictures(chromium: str) -> None:
    from playwright.sync_api import sync_playwright

    room = Room()
    try:
        edge = room.add_here("Ada")
        with sync_playwright() as playwright:
            flags = [*FLAGS, "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
            browser = playwright.chromium.launch(executable_path=chromium, args=flags)
            page = browser.new_page()
            page.add_init_script(NOTE_PEERS)
            page.goto(f"{edge.page.url}/")
            page.get_by_test_id("join").click()
            wait_for(lambda: page.evaluate("window.peers.length") > 0, PATIENCE_S, "a connection")
            wait_for(lambda: page.evaluate(SENDING)[1] > 1.3 * SLOW_PER_S, PATIENCE_S, "pictures")
            assert page.evaluate(SENDING)[0] is None
            edge._sender.pace.per_s = SLOW_PER_S
            wait_for(lambda: page.evaluate(SENDING)[0] == SLOW_PER_S, PATIENCE_S, "fewer are asked for")
            wait_for(lambda: 0 < page.evaluate(SENDING)[1] <= 1.2 * SLOW_PER_S, PATIENCE_S, "and sent")
            edge._sender.pace.per_s = None
            wait_for(lambda: page.evaluate(SENDING)[0] is None, PATIENCE_S, "all are asked for")
            wait_for(lambda: page.evaluate(SENDING)[1] > 1.3 * SLOW_PER_S, PATIENCE_S, "and sent")
            browser.close()
    finally:
        room.close()
