"""Pages of an edge, made of aiortc: which camera is taken, and what is answered to the rest."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import SessionDescription

from telepresence.rtc.landmarker import CameraPicture
from telepresence.rtc.renderer import Picture
from telepresence.rtc.session import CLOSE_S
from telepresence.rtc.viewers import MAX_PAGES, Viewers
from tests.rtc.call import ClipTrack
from tests.rtc.pair import run, until


def grey(level: int) -> ClipTrack:
    return ClipTrack([np.full((48, 64, 3), level, np.uint8)])


class Seen:
    """What the viewers have told."""

    def __init__(self) -> None:
        self.levels: list[int] = []
        self.states: list[bool] = []

    def picture(self, picture: CameraPicture) -> None:
        self.levels.append(round(float(picture.rgb().mean()), -1))


@contextlib.asynccontextmanager
async def viewers(seen: Seen) -> AsyncIterator[Viewers]:
    made = Viewers(seen.picture, seen.states.append, lambda picture, now_us: None)
    try:
        yield made
    finally:
        made.close()


async def offer(made: Viewers, *cameras: ClipTrack) -> tuple[RTCPeerConnection, str]:
    """A page that sends these, and the answer that it gets."""
    page = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    for camera in cameras:
        page.addTransceiver(camera, "sendonly")
    await page.setLocalDescription(await page.createOffer())
    return page, await made.answer(page.localDescription.sdp)


def test_of_two_cameras_in_one_offer_the_first_is_taken_and_the_other_not_received() -> None:
    async def test() -> None:
        seen = Seen()
        async with viewers(seen) as made:
            page, answer = await offer(made, grey(100), grey(200))
            directions = [media.direction for media in SessionDescription.parse(answer).media]
            assert directions == ["recvonly", "inactive"]
            await page.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            await until(lambda: len(seen.levels) > 5)
            assert set(seen.levels) == {100}
            (here,) = made._pages
            queued = [r.track._queue.qsize() for r in here.getReceivers() if hasattr(r.track._queue, "qsize")]
            assert sum(queued) == 0
            await page.close()

    run(test)


def test_a_page_that_only_offers_takes_the_camera_from_nobody() -> None:
    async def test() -> None:
        seen = Seen()
        async with viewers(seen) as made:
            first, answer = await offer(made, grey(100))
            assert seen.states == []
            await first.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            await until(lambda: len(seen.levels) > 2)
            second, answer = await offer(made, grey(200))
            before = len(seen.levels)
            await until(lambda: len(seen.levels) > before + 5)
            assert set(seen.levels) == {100}
            await second.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            await until(lambda: seen.levels[-1] == 200)
            assert seen.states == [True, True]
            await asyncio.gather(first.close(), second.close())
            await until(lambda: seen.states[-1] is False)

    run(test)


def picture_of(participant: str, level: int) -> Picture:
    return Picture(participant, np.full((96, 64), level, np.uint8), None, 5, 5, 5)


async def first_picture(made: Viewers) -> int | None:
    """How bright the first picture is that a page which opens now gets; None if it gets none."""
    page = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    page.addTransceiver("video", "recvonly")
    await page.setLocalDescription(await page.createOffer())
    answer = await made.answer(page.localDescription.sdp)
    await page.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    try:
        async with asyncio.timeout(3):
            return round(float((await page.getReceivers()[0].track.recv()).to_ndarray(format="gray").mean()), -1)
    except TimeoutError:
        return None
    finally:
        await page.close()


def test_a_page_that_opens_while_an_avatar_rests_is_shown_it_until_its_owner_leaves() -> None:
    async def test() -> None:
        async with viewers(Seen()) as made:
            made.show(0, picture_of("anna", 120))
            assert await first_picture(made) is not None
            made.forget("anna")
            assert await first_picture(made) is None

    run(test)


def test_a_page_is_told_of_the_end_at_once_whatever_the_edge_still_has_to_wait_for() -> None:
    async def test() -> None:
        async with viewers(Seen()) as made:
            page, answer = await offer(made, grey(100))
            await page.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            await until(lambda: page.connectionState == "connected")
            (here,) = made._pages
            (transceiver,) = here.getTransceivers()
            go_on = asyncio.Event()
            stop = transceiver.stop

            async def stuck() -> None:  # as an encoder or a decoder can be
                await go_on.wait()
                await stop()

            transceiver.stop = stuck  # type: ignore[method-assign]
            made.close()
            await until(lambda: page.connectionState == "closed", CLOSE_S / 2)
            go_on.set()
            await page.close()

    run(test)


def test_of_too_many_pages_one_that_never_connected_gives_way_before_one_that_is_in_use() -> None:
    async def test() -> None:
        async with viewers(Seen()) as made:
            page, answer = await offer(made, grey(100))
            await page.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            await until(lambda: page.connectionState == "connected")
            others = [(await offer(made, grey(200)))[0] for _ in range(MAX_PAGES)]
            assert made.count == MAX_PAGES
            assert next(pc.connectionState for pc in made._pages) == "connected"
            await asyncio.gather(page.close(), *(other.close() for other in others))

    run(test)
