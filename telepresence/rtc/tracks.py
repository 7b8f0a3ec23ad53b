"""The avatar as a video track of the page: the newest picture as soon as it is there, or held back for its sound.

It has no clock of its own.
"""

from __future__ import annotations

import asyncio
import fractions
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True)
class Hold:
    """How long pictures wait, so that their sound is with them; by no more than MAX_HOLD_US."""

    us: int = 0
    """All alike."""
    age_us: int | None = None
    """Instead: each until its capture is so long ago. Those that are later anyway do not wait."""

    def of(self, picture: Picture, now: int) -> int:
        """For how long this one is to wait from now on."""
        wanted = self.us
        if self.age_us is not None and picture.capture_us is not None:
            wanted = picture.capture_us + self.age_us - now
        return max(0, min(wanted, MAX_HOLD_US))


@dataclass(frozen=True, slots=True)
class Sent:
    """What the page is told of a picture."""

    rtp: int
    """RTP time, 32 bits."""
    captured_us: int | None
    """Our clock; None at rest."""
    sent_us: int
    """When it went to the encoder."""
    held_us: int


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
        self.hold = Hold()
        self.origin: Callable[[], int | None] = lambda: None
        """What `pts` lacks to the RTP time that the page sees, modulo 2**32; None while that is not known."""
        self._on_shown = on_shown
        self._fresh = asyncio.Event()
        self._held: deque[tuple[int, int, Picture]] = deque(maxlen=MAX_HELD)  # when due, and how long held until then
        self._newest: Picture | None = None
        self._newest_held_us = 0
        self._recent: deque[Sent] = deque(maxlen=MAX_RECENT)
        self._start_us = now_us()
        self._last_pts = -1

    def show(self, picture: Picture) -> None:
        """Hand over a picture, on the event loop; of those that are due and were not fetched, only the last is sent."""
        now = now_us()
        hold_us = self.hold.of(picture, now)
        self._held.append((now + hold_us, hold_us, picture))
        self._fresh.set()

    def take_times(self) -> list[Sent]:
        """Each picture sent since the last time."""
        origin = self.origin()
        if origin is None:
            return []
        times = [replace(sent, rtp=(sent.rtp + origin) % (1 << 32)) for sent in self._recent]
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
            self._recent.append(Sent(self._last_pts, picture.capture_us, now, self._newest_held_us))
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
        while self._held and min(due for due, _, _ in self._held) <= now:  # not in order while the hold becomes shorter
            _, self._newest_held_us, self._newest = self._held.popleft()
            found = True
        return found
