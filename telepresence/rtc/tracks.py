"""The avatar as a video track of the page: the newest picture as soon as it is there. It has no clock of its own."""

from __future__ import annotations

import asyncio
import fractions
from collections.abc import Callable
from typing import Final

import av
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from telepresence.rtc.monotonic import now_us
from telepresence.rtc.renderer import Picture

CLOCK_HZ: Final = 90_000  # of RTP video
REPEAT_S: Final = 0.2  # without a new picture the last is sent again: the page must not think that the track is stuck
_TIME_BASE: Final = fractions.Fraction(1, CLOCK_HZ)


class AvatarTrack(MediaStreamTrack):
    """One viewer's view of one place in the call.

    Args:
        place: 0 for the first participant.
        on_shown: told of each picture, once, when it goes to the encoder.
    """

    kind = "video"

    def __init__(self, place: int, on_shown: Callable[[Picture, int], None]) -> None:
        super().__init__()
        self.place = place
        self._on_shown = on_shown
        self._fresh = asyncio.Event()
        self._newest: Picture | None = None
        self._start_us = now_us()
        self._last_pts = -1

    def show(self, picture: Picture) -> None:
        """Hand over a picture, on the event loop; one that was not fetched yet is replaced."""
        self._newest = picture
        self._fresh.set()

    async def recv(self) -> av.VideoFrame:
        """The next picture as a frame, or the last again after REPEAT_S."""
        if self.readyState != "live":
            raise MediaStreamError
        try:
            async with asyncio.timeout(None if self._newest is None else REPEAT_S):
                await self._fresh.wait()
        except TimeoutError:
            pass
        picture, now = self._newest, now_us()
        if picture is None:
            raise MediaStreamError
        if self._fresh.is_set():
            self._fresh.clear()
            self._on_shown(picture, now)
        frame = av.VideoFrame.from_ndarray(picture.i420, format="yuv420p")
        self._last_pts = max(self._last_pts + 1, (now - self._start_us) * CLOCK_HZ // 1_000_000)
        frame.pts, frame.time_base = self._last_pts, _TIME_BASE
        return frame
