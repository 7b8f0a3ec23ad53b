"""How we want to be shown, told to one participant: at once after hello, later not more often than the rules allow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from telepresence.rtc.hello import Presence

PRESENT_S: Final = 0.25  # between two messages: docs/edge.md allows five a second


class Presenter:
    """Several changes in the meantime are told as one, the last.

    Args:
        send: sends to the participant if it can hear us; False if not: a hello follows, and then `greeted`.
    """

    def __init__(self, send: Callable[[Presence], bool]) -> None:
        self._send = send
        self._presence = Presence()
        self._told: Presence | None = None
        self._told_s = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    def change(self, presence: Presence) -> None:
        """We want to be shown otherwise."""
        self._presence = presence
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, self._told_s + PRESENT_S - loop.time()), self._tell)

    def greeted(self) -> None:
        """Our hello is on its way; this follows it."""
        self._told = None
        self._tell()

    def close(self) -> None:
        """Say nothing more."""
        if self._timer:
            self._timer.cancel()

    def _tell(self) -> None:
        self.close()
        self._timer = None
        if self._told != self._presence and self._send(self._presence):
            self._told, self._told_s = self._presence, asyncio.get_running_loop().time()
