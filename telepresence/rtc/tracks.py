"""The avatar as a video track of the page: the newest picture as soon as it is there, or held back for its sound.

It has no clock of its own.
"""

from __future__ import annotations

import asyncio
import fractions
from collections import deque
from collections.abc import Callable
from typing import Final

import av
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from telepresence.rtc import trace
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.renderer import Picture

CLOCK_HZ: Final = 90_000  # of RTP video
REPEAT_S: Final = 0.2  # without a new picture the last is sent again: the page must not think that the track is stuck
MAX_HOLD_US: Final = 200_000
MAX_HELD: Final = 32  # pictures: 200 ms at 120 a second, and a few
MAX_RECENT: Final = 16  # pictures whose times the page has not been told yet
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
        self.hold_us = 0
        """How long pictures wait here, so that their sound is with them; 0..MAX_HOLD_US."""
        self.origin: Callable[[], int | None] = lambda: None
        """What `pts` lacks to the RTP time that the page sees, modulo 2**32; None while that is not known."""
        self._on_shown = on_shown
        self._fresh = asyncio.Event()
        self._held: deque[tuple[int, Picture]] = deque(maxlen=MAX_HELD)  # with when they are due
        self._newest: Picture | None = None
        self._recent: deque[tuple[int, int | None]] = deque(maxlen=MAX_RECENT)
        self._start_us = now_us()
        self._last_pts = -1

    def show(self, picture: Picture) -> None:
        """Hand over a picture, on the event loop; of those that are due and were not fetched, only the last is sent."""
        self._held.append((now_us() + min(self.hold_us, MAX_HOLD_US), picture))
        self._fresh.set()

    def take_times(self) -> list[tuple[int, int | None]]:
        """Of each picture sent since the last time: RTP time (32 bits) and when it was captured, our clock."""
        origin = self.origin()
        if origin is None:
            return []
        times = [((pts + origin) % (1 << 32), captured_us) for pts, captured_us in self._recent]
        self._recent.clear()
        return times

    async def recv(self) -> av.VideoFrame:
        """The next picture as a frame, or the last again after REPEAT_S."""
        if self.readyState != "live":
            raise MediaStreamError
        fresh = await self._next()
        picture, now = self._newest, now_us()
        if picture is None:
            raise MediaStreamError
        if fresh:
            self._on_shown(picture, now)
        frame = av.VideoFrame.from_ndarray(picture.i420, format="yuv420p")
        self._last_pts = max(self._last_pts + 1, (now - self._start_us) * CLOCK_HZ // 1_000_000)
        frame.pts, frame.time_base = self._last_pts, _TIME_BASE
        if fresh:
            self._recent.append((self._last_pts, picture.capture_us))
            trace.note("encoder", picture.capture_us, now, self._last_pts)
        return frame

    async def _next(self) -> bool:
        """Wait for a picture that is due; False if the last is to be sent again."""
        repeat_us = None if self._newest is None else now_us() + round(REPEAT_S * 1e6)
        while not self._take_due():
            now = now_us()
            if repeat_us is not None and now >= repeat_us:
                return False
            waits = [at for at in (repeat_us, self._held[0][0] if self._held else None) if at is not None]
            self._fresh.clear()
            try:
                async with asyncio.timeout((min(waits) - now) / 1e6 if waits else None):
                    await self._fresh.wait()
            except TimeoutError:
                continue
        return True

    def _take_due(self) -> bool:
        now, found = now_us(), False
        while self._held and min(due for due, _ in self._held) <= now:  # not in order while the hold becomes shorter
            _, self._newest = self._held.popleft()
            found = True
        return found
