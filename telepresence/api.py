"""A sink of one's own in a few lines: join a room, take the pictures of everybody in it. `docs/api.md`.

async with Receiver(url) as receiver:
    async for picture in receiver:
        show(picture.rgb)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from telepresence.rtc.edge import Edge
    from telepresence.rtc.renderer import Picture as Rendered


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture of one participant's avatar."""

    participant: str
    """Its id in the room."""
    name: str
    """What it calls itself; several may have the same."""
    rgb: NDArray[np.uint8]
    """(S, S, 3) uint8 RGB, composed over the avatar's background; yours to keep and to change."""
    capture_us: int | None
    """When the motion was captured, microseconds by this machine's monotonic clock; None at rest or not known yet."""
    label: str
    """What people are to be told of it: `avatar`, `photo avatar` or `sample avatar`; drawn already if `labelled`."""


class Receiver:
    """A participant without a camera, whose sink is your code. Enter it to join the room, leave it to leave.

    Whoever takes pictures slower than they come gets the newest of each participant: nothing queues up.

    Args:
        url: the link to the room that the hub printed.
        name: what the others see as your name.
        engine: a shipped engine's name, or a folder; None for the usual one.
        size: picture side: 128, 256 or 512, whichever the engine has.
        avatar: the avatar to be shown as, with `camera`.
        camera: `none`, `sample`, a video file or a device: what moves your own avatar.
        labelled: draw the small mark that says that this is an avatar. Whoever shows pictures to people leaves it on.

    Raises (on entering):
        TelepresenceError: the room cannot be joined; the message says why.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str = "",
        engine: str | None = None,
        size: int = 256,
        avatar: Path | None = None,
        camera: str = "none",
        labelled: bool = True,
    ) -> None:
        self._options: dict[str, Any] = {"name": name, "size": size, "avatar": avatar, "camera": camera}
        if engine is not None:
            self._options["engine"] = engine
        self._url = url
        self._labelled = labelled
        self._waiting: dict[str, Rendered] = {}  # newest of each participant, who has waited longest first
        self._ready = asyncio.Event()
        self._stop = asyncio.Event()
        self._edge: Edge | None = None
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        from telepresence.rtc.edge import Edge, EdgeConfig

        arrived = self._arrived

        class _Edge(Edge):
            def on_picture(self, picture: Rendered) -> bool:
                arrived(picture)
                return super().on_picture(picture)

        edge = _Edge(EdgeConfig(self._url, sink="browser", **self._options))
        await edge.__aenter__()
        self._edge = edge
        self._running = asyncio.ensure_future(edge.run(self._stop))
        self._running.add_done_callback(lambda _: self._ready.set())
        return self

    async def __aexit__(self, *reason: object) -> None:
        self._stop.set()
        self._ready.set()
        if self._running is not None:
            await asyncio.gather(self._running, return_exceptions=True)
        if self._edge is not None:
            await self._edge.__aexit__(*reason)

    def __aiter__(self) -> AsyncIterator[Picture]:
        return self._pictures()

    async def _pictures(self) -> AsyncIterator[Picture]:
        """Until the receiver is left. Raises RoomError when the hub has refused it for good."""
        while True:
            await self._ready.wait()
            if self._stop.is_set():
                return
            if not self._waiting and self._running is not None and self._running.done():
                self._running.result()
                return
            participant = next(iter(self._waiting))
            rendered = self._waiting.pop(participant)
            if not self._waiting and not (self._running and self._running.done()):
                self._ready.clear()
            yield self._picture(rendered)

    def _arrived(self, rendered: Rendered) -> None:
        self._waiting[rendered.participant] = rendered  # keeps its place in the line, if it has one
        self._ready.set()

    def _picture(self, rendered: Rendered) -> Picture:
        import cv2

        from telepresence.sinks.label import label

        rgb: NDArray[Any] = cv2.cvtColor(rendered.i420, cv2.COLOR_YUV2RGB_I420)
        if self._labelled:
            label(rendered.label, rgb.shape[0]).draw(rgb)
        name = self._name(rendered.participant)
        return Picture(rendered.participant, name, rgb, rendered.capture_us, rendered.label)

    def _name(self, participant: str) -> str:
        return self._edge.room.name(participant) if self._edge else ""
