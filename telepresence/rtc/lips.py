"""What page and edge tell each other for the sake of lips and sound: ages of pictures, holds, the voice's mouth."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from telepresence.edge import messages
from telepresence.edge.messages import Delay, Voice
from telepresence.edge.pages import Pages
from telepresence.face.mouth import Mouth
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.sender import Sender
from telepresence.rtc.tracks import Hold
from telepresence.rtc.viewers import Viewers

TELL_S: Final = 0.1  # between two messages "pictures": half of what the page waits for before it acts
LEG_S: Final = 1.0  # between two looks at how long the page's pictures take
LEG_CHANGE_MS: Final = 3.0  # that is worth telling


class Lips:
    """Answers the page's messages `delay` and `voice`, and tells it when each picture was captured.

    Args:
        pages, viewers, sender: this edge's.
        on_page_ms: told on the loop when pictures begin to take longer or shorter from the page's camera to us, ms.
    """

    def __init__(
        self, pages: Pages, viewers: Viewers, sender: Sender, on_page_ms: Callable[[float | None], None]
    ) -> None:
        self._pages = pages
        self._viewers = viewers
        self._sender = sender
        self._on_page_ms = on_page_ms
        self._page_ms: float | None = None
        pages.listen(Delay, self._on_delay)
        pages.listen(Voice, self._on_voice)

    async def run(self) -> None:
        """For as long as the edge runs."""
        looked_us = 0
        while True:
            await asyncio.sleep(TELL_S)
            now = now_us()
            self._tell(now)
            if now - looked_us >= LEG_S * 1e6:
                looked_us = now
                self._look_at_leg(now)

    def release(self) -> None:
        """The page that asked for holds has gone."""
        self._viewers.hold(None, Hold())

    def _tell(self, now: int) -> None:
        at = self._viewers.picture_times(now)
        if at and self._pages.active:
            self._pages.tell(messages.pictures(at, now / 1000))

    def _look_at_leg(self, now: int) -> None:
        page_ms = self._viewers.page_leg.page_ms(now)
        before = self._page_ms
        if page_ms is None or (before is not None and abs(page_ms - before) < LEG_CHANGE_MS):
            return  # without a camera what was known stays: pictures of it may still be under way
        self._page_ms = round(page_ms, 1)
        self._on_page_ms(self._page_ms)

    def _on_delay(self, delay: Delay) -> None:
        age_us = None if delay.age_ms is None else round(delay.age_ms * 1000)
        self._viewers.hold(delay.place, Hold(round(delay.ms * 1000), age_us))

    def _on_voice(self, voice: Voice) -> None:
        self._sender.hear(Mouth(*voice.mouth), voice.level)
