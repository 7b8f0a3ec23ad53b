"""When a real browser's page captured a picture, as the edge finds it out: each picture shows when it was drawn."""

from __future__ import annotations

import asyncio
import statistics
import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from telepresence.rtc import playout_delay
from telepresence.rtc.landmarker import CameraPicture
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.session import closed_all
from telepresence.rtc.viewers import Viewers

pytestmark = pytest.mark.browser

SECONDS = 8
BITS, CELL = 24, 20  # of the time in the picture, milliseconds modulo 2**24, as black and white squares

# A canvas as the camera: each picture shows when it was drawn. The capture follows within the same task.
CAMERA = f"""
async () => {{
  const canvas = document.createElement('canvas');
  canvas.width = {BITS * CELL}; canvas.height = 48;
  const draw = canvas.getContext('2d');
  const stream = canvas.captureStream(0);
  const [track] = stream.getVideoTracks();
  window.timer = setInterval(() => {{
    const now = Math.round(performance.now());
    for (let bit = 0; bit < {BITS}; bit += 1) {{
      draw.fillStyle = (now >> bit) & 1 ? 'white' : 'black';
      draw.fillRect(bit * {CELL}, 0, {CELL}, canvas.height);
    }}
    track.requestFrame();
  }}, 33);
  window.peer = new RTCPeerConnection({{ iceServers: [] }});
  window.peer.addTransceiver(track, {{ direction: 'sendonly', streams: [stream] }});
  await window.peer.setLocalDescription();
  await new Promise((done) => {{
    const peer = window.peer;
    peer.addEventListener('icegatheringstatechange', () => peer.iceGatheringState === 'complete' && done());
  }});
  return window.peer.localDescription.sdp;
}}
"""


def shown_ms(picture: NDArray[np.uint8]) -> int:
    """The time that is drawn in a picture."""
    grey = picture.mean(axis=2)
    step = grey.shape[1] / BITS
    middle = grey[grey.shape[0] // 2]
    return sum(int(middle[int((bit + 0.5) * step)] > 127) << bit for bit in range(BITS))


class Camera:
    """What the edge makes of the page's pictures: on a loop of its own, for playwright needs this one."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int | None, int]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.viewers: Viewers = self._call(self._make())

    async def _make(self) -> Viewers:
        return Viewers(self._put, lambda running: None, lambda picture, now: None, shows=False)

    def _put(self, picture: CameraPicture) -> None:
        self.rows.append((shown_ms(picture.rgb()), picture.captured_us, picture.decoded_us))

    def answer(self, sdp: str) -> str:
        return str(self._call(self.viewers.answer(sdp)))

    def close(self) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    async def _end(self) -> None:
        self.viewers.close()
        await closed_all()

    def _call(self, step: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(step, self._loop).result(15)


@pytest.mark.camera("none")
def test_a_pictures_capture_time_is_that_at_which_the_page_drew_it(page: Any, figures: dict[str, object]) -> None:
    camera = Camera()
    try:
        page.goto("about:blank")
        sdp = camera.answer(page.evaluate(CAMERA))
        page.evaluate("(sdp) => window.peer.setRemoteDescription({ type: 'answer', sdp })", sdp)
        clocks = []
        for _ in range(SECONDS * 10):
            before = now_us()
            page_ms = page.evaluate("performance.now()")
            after = now_us()
            clocks.append((after - before, (before + after) / 2 - page_ms * 1000))
            page.wait_for_timeout(100)
    finally:
        camera.close()
    offset_us = min(clocks)[1]
    timed = [(ms, at, decoded) for ms, at, decoded in camera.rows if at is not None]
    first = next(i for i, row in enumerate(camera.rows) if row[1] is not None)
    wrong = [(at - offset_us) / 1000 - ms for ms, at, _ in timed]
    legs = [(decoded - offset_us) / 1000 - ms for ms, _, decoded in timed]
    typical = statistics.quantiles(wrong, n=20)
    figures["capture time off by, ms p5/p50/p95"] = [round(typical[i], 1) for i in (0, 9, 18)]
    figures["pictures before the first report"] = first
    figures["from the page to the edge, ms p50"] = round(statistics.median(legs), 1)
    assert len(timed) > SECONDS * 10
    assert first < 60
    assert abs(statistics.median(wrong)) < 15  # Chromium itself gives times that are 4 to 8 ms early
    assert typical[18] - typical[0] < 20
    leg = camera.viewers.page_leg.page_ms(now_us())
    assert leg is None or abs(leg - statistics.median(legs)) < 15


SCREEN = """
async () => {
  const peer = new RTCPeerConnection({ iceServers: [] });
  peer.addTransceiver('video', { direction: 'recvonly' });
  await peer.setLocalDescription();
  return peer.localDescription.sdp;
}
"""


@pytest.mark.camera("none")
def test_a_real_browser_lets_itself_be_told_to_show_pictures_as_they_come(page: Any) -> None:
    playout_delay.understood()
    edge = Camera()
    try:
        page.goto("about:blank")
        offered = page.evaluate(SCREEN)
        assert playout_delay.URI in offered
        assert playout_delay.URI in edge.answer(offered)
    finally:
        edge.close()
