"""Being in the room, leaving it, and coming back, while the process goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from telepresence.edge.messages import Level
from telepresence.errors import InputError, RoomError
from telepresence.hub.client import Backoff, HubClient
from telepresence.rtc.room import Room

logger = logging.getLogger(__name__)


class MembershipEvents(Protocol):
    """What the edge is told, on the event loop."""

    def on_membership(self) -> None:
        """We have left or come back, or will not come back."""

    def on_problem(self, text: str, level: Level) -> None:
        """Something for the user."""


class Membership:
    """Keeps the room going; `leave` and `come_back` at any time.

    Args:
        room: with a hub that is connected.
        connect: makes another connection to the hub, as `HubClient.connect`.
        events: who is told.
    """

    def __init__(self, room: Room, connect: Callable[[], Awaitable[HubClient]], events: MembershipEvents) -> None:
        self.room = room
        self._connect = connect
        self._events = events
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._ending: asyncio.Task[None] | None = None

    @property
    def joined(self) -> bool:
        """Whether we are in the room, or on the way back into it."""
        return self._wanted.is_set()

    def leave(self) -> None:
        """Leave the room; the others are told at once."""
        if self._wanted.is_set():
            self._wanted.clear()
            self._ending = asyncio.ensure_future(self.room.hub.close())
            self.room.close()
            self._events.on_membership()

    def come_back(self) -> None:
        """Join the room again, as somebody new."""
        if not self._wanted.is_set():
            self._wanted.set()
            self._events.on_membership()

    async def run(self) -> None:
        """Follow the room for ever.

        Raises:
            RoomError: the hub has refused us for good, without having been left before, and nobody is connected.
        """
        while True:
            await self.room.run()
            if self._ending is None:
                return  # the hub's connection was closed by the owner: the process ends
            await self._ending
            self._ending = None
            hub = await self._back()
            self.room.enter(hub)
            self._events.on_membership()
            if not self._wanted.is_set():  # left again meanwhile
                self.room.close()
                self._ending = asyncio.ensure_future(hub.close())

    async def _back(self) -> HubClient:
        backoff, said = Backoff(), ""
        while True:
            await self._wanted.wait()
            try:
                return await self._connect()
            except InputError as error:
                if str(error) != said:
                    said = str(error)
                    self._events.on_problem(said, "warning")
                await asyncio.sleep(backoff.next_s())
            except RoomError as error:
                self._wanted.clear()
                self._events.on_membership()
                self._events.on_problem(str(error), "error")
