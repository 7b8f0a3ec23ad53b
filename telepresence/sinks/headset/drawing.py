"""The others as stereo pictures: what an edge has in place of `edge.drawing.Drawing` with `--sink headset`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import BaseRoute

from telepresence.edge.drawing import Drawing, DrawingEvents
from telepresence.edge.pages import Pages
from telepresence.runtime.engine import open_engine
from telepresence.sinks.headset.link import routes
from telepresence.sinks.headset.qr import terminal
from telepresence.sinks.headset.sink import Guest, HeadsetSink
from telepresence.wire.codec import MotionPacket

if TYPE_CHECKING:
    from telepresence.rtc.room import Room

LOOK_S: Final = 0.25  # between looks at whether the room is another
AVATAR: Final = "avatar"  # what is written under who is not shown yet


class HeadsetDrawing(Drawing):
    """Draws everybody twice, for the eyes of whoever wears the headset.

    Args:
        engine, size, runtime, events, say: as of `Drawing`.
        port: of the headset's server.
        room: the room, once there is one.
        pages: where the headset's page gets its sound.
    """

    def __init__(
        self,
        engine: str,
        size: int,
        runtime: str | None,
        port: int,
        events: DrawingEvents,
        say: Callable[[str], None],
        room: Callable[[], Room | None],
        pages: Callable[[], Pages],
    ) -> None:
        super().__init__(engine, size, runtime, None, events, say)
        self._port = port
        self._room = room
        self._pages = pages
        self.sink: HeadsetSink

    async def start(self, exit_stack: AsyncExitStack) -> None:
        """Load the engine, let headsets in, and say how; `exit_stack` ends everything.

        Raises:
            InputError: no such engine, or the port or the certificate cannot be used.
        """
        name, size, runtime = self._wanted
        self.sink = HeadsetSink(self._port, self._guests, sound=self._pages().route)
        exit_stack.push_async_callback(self.sink.close)
        self.engine = await asyncio.to_thread(open_engine, name, size, runtime=runtime)
        await asyncio.to_thread(self.engine.warm_up)
        self.renderer = stereo = self.sink.renderer(self.engine, self.publish, self._on_avatar_ready)
        exit_stack.push_async_callback(asyncio.to_thread, stereo.close)
        self._say(f"engine {self.engine.info.name}, {size}x{size} for each eye, {self.engine.reason}")
        await self.sink.start()
        looking = asyncio.ensure_future(self._look())
        exit_stack.callback(looking.cancel)
        stereo.start()
        link = self.sink.link
        self._say(f"headset: scan this with it, or open in its browser, on the same network: {link}\n{terminal(link)}")
        self._say(
            "headset: its browser asks once whether to trust this machine's own certificate; SHA-256 "
            f"{self.sink.fingerprint}"
        )

    def routes(self) -> list[BaseRoute]:
        """For one's own page: how to get in."""
        return routes(lambda: self.sink.link, lambda: self.sink.fingerprint)

    def motion(self, participant: str, packet: MotionPacket, capture_us: int | None) -> None:
        """Motion: to the render worker, and to clients that draw by themselves."""
        super().motion(participant, packet, capture_us)
        self.sink.motion(participant, packet, capture_us)

    def leave(self, participant: str) -> None:
        """Somebody is gone."""
        super().leave(participant)
        self.sink.left(participant)

    def fields(self) -> dict[str, Any]:
        """Of the figures."""
        return super().fields() | {"headset": self.sink.figures()}

    def _guests(self) -> Iterable[Guest]:
        room = self._room()
        if room is None:
            return
        for peer in room.peers.values():
            place = room.places.get(peer.id)
            if place is not None:
                yield Guest(peer.id, room.name(peer.id), place, peer.state.value, peer.proving.label or AVATAR)

    async def _look(self) -> None:
        while True:
            self.sink.changed()
            await asyncio.sleep(LOOK_S)
