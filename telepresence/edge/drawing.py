"""The others as pictures: the engine, the render worker, and where its pictures go: to pages or into a file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Protocol

from starlette.routing import BaseRoute

from telepresence.edge.messages import View
from telepresence.edge.schedule import SMALL
from telepresence.errors import EngineError
from telepresence.rtc.camera_sink import CameraSink
from telepresence.rtc.mailbox import LoopMailbox
from telepresence.rtc.recorder import Recorder
from telepresence.rtc.renderer import Picture, Renderer
from telepresence.rtc.sound_mixer import SoundMixer
from telepresence.rtc.stage import PHOTO
from telepresence.runtime.engine import Engine, accelerated, open_engine
from telepresence.runtime.machine import cores, default_threads, wanted_threads
from telepresence.wire.codec import MotionPacket

FEW_CORES: Final = 2  # on which a second thread makes one avatar's pictures sooner, and several avatars' fewer


class DrawingEvents(Protocol):
    """What the edge is told, on the event loop."""

    def on_picture(self, picture: Picture) -> bool:
        """A picture of somebody; returns whether it is to be recorded, or shown by the virtual camera."""

    def on_recorded(self, picture: Picture) -> None:
        """A picture is in the file, or in the virtual camera."""


class Drawing:
    """Draws everybody who is here. Made on the event loop; `start` it before anything else is asked of it.

    Args:
        engine, size, runtime: what draws, as `join` was given them.
        file: records the first of the others.
        device: of the virtual camera that shows the first of the others, as `EdgeConfig.device`.
        events: who is told.
        say: gets a line for people.
    """

    def __init__(
        self,
        engine: str,
        size: int,
        runtime: str | None,
        file: Path | None,
        events: DrawingEvents,
        say: Callable[[str], None],
        device: str | None = None,
    ) -> None:
        self._wanted = engine, size, runtime
        self._file = file
        self._device = device
        self._events = events
        self._say = say
        self._loop = asyncio.get_running_loop()
        self.pictures: dict[str, LoopMailbox[Picture]] = {}
        """Of everybody who is here; what is drawn of others is nobody's."""
        self.errors: dict[str, str] = {}
        """Why somebody's avatar cannot be drawn."""
        self.engine: Engine
        """As it was opened; `renderer.engine` draws."""
        self.renderer: Renderer
        self.recorder: Recorder | None = None
        self.camera: CameraSink | None = None
        self.mixer: SoundMixer | None = None

    async def start(self, exit_stack: AsyncExitStack) -> None:
        """Load the engine and start the workers; `exit_stack` ends them.

        Raises:
            EngineError: no such engine or size, or it cannot be loaded.
            InputError: the recording cannot be written, or there is no virtual camera.
        """
        name, size, runtime = self._wanted
        engine = self.engine = await asyncio.to_thread(_open_engine, name, size, runtime)
        small = SMALL in engine.info.sizes and engine.size > SMALL and not engine.batches and not self._keeps
        few = cores() <= FEW_CORES and wanted_threads() is None and default_threads() > 1 and not accelerated()
        self.renderer = Renderer(
            engine,
            self.publish,
            self._on_avatar_ready,
            keep_rgb=self._keeps,
            open_small=self._open_small if small else None,
            reopen=(lambda several: self._open_again(engine.size, 1 if several else None)) if few else None,
        )
        exit_stack.push_async_callback(asyncio.to_thread, self.renderer.close)
        self._say(f"engine {engine.info.name}, {engine.size}x{engine.size}, {engine.reason}")
        if self._device is not None:
            self.camera = CameraSink(self._device, self._recorded, self._sink_failed)
            exit_stack.push_async_callback(asyncio.to_thread, self.camera.close)
            self._say(f"camera: the avatar is in {self.camera.device}")
        if self._file is not None:
            self.mixer = SoundMixer()
            self.recorder = Recorder(self._file, engine.size, self._recorded, self.mixer, self._sink_failed)
            exit_stack.push_async_callback(self._stop_recorder)
        self.renderer.start()

    def routes(self) -> list[BaseRoute]:
        """What one's own page serves besides."""
        return []

    def arrive(self, participant: str) -> None:
        """Somebody is here."""
        if participant not in self.pictures:
            self.pictures[participant] = LoopMailbox(self._loop, self._on_picture)

    def motion(self, participant: str, packet: MotionPacket, capture_us: int | None) -> None:
        """Motion, straight to the render worker; `capture_us` on our clock, if that is known."""
        self.renderer.put(participant, packet, capture_us)

    def avatar(self, participant: str, data: bytes, whole: bool, label: str | None, problem: str) -> None:
        """An avatar that may be shown, or its first reference; empty: not any more, and why, if there is a reason."""
        self.renderer.put_avatar(participant, data, whole, label or PHOTO)
        if problem:
            self._note_avatar(participant, problem)

    def lost(self, participant: str) -> None:
        """Out of reach: the avatar comes to rest."""
        self.renderer.link_lost(participant)

    def leave(self, participant: str) -> None:
        """Somebody is gone."""
        self.pictures.pop(participant, None)
        self.errors.pop(participant, None)
        self.renderer.remove(participant)

    def look(self, view: View | None) -> None:
        """What can be seen has changed; recording and camera show their one at full size whatever a page shows."""
        if not self._keeps:
            self.renderer.look(view)

    def fields(self) -> dict[str, Any]:
        """Of the figures."""
        engine = self.renderer.engine
        return {"engine": engine.info.name, "size": engine.size, "runtime": engine.runtime_name}

    def publish(self, picture: Picture) -> None:
        """A picture is ready, in the worker's thread."""
        mailbox = self.pictures.get(picture.participant)
        if mailbox is not None:  # else it has just left
            mailbox.put(picture)

    @property
    def _keeps(self) -> bool:
        """Whether anything but pages takes pictures."""
        return self._file is not None or self._device is not None

    def _on_picture(self, picture: Picture) -> None:
        if self._events.on_picture(picture):
            for sink in (self.recorder, self.camera):
                if sink is not None:
                    sink.put(picture)

    def _sink_failed(self, problem: str) -> None:
        self._loop.call_soon_threadsafe(self._say, problem)

    def _open_small(self) -> Engine:
        """In the wardrobe's thread. A GPU, which may have taken over by now, would have to compile it first."""
        if self.renderer.engine.batches:
            raise EngineError(f"{self.renderer.engine.runtime_name} draws everybody in one call")
        return self._open_again(SMALL, 1 if cores() <= FEW_CORES and wanted_threads() is None else None)

    def _open_again(self, size: int, threads: int | None) -> Engine:
        name, _, _ = self._wanted
        return _open_engine(name, size, self.renderer.engine.runtime_name, threads)

    def _recorded(self, picture: Picture, written_us: int) -> None:
        self._loop.call_soon_threadsafe(self._events.on_recorded, picture)

    async def _stop_recorder(self) -> None:
        if self.recorder is not None:
            problem = await asyncio.to_thread(self.recorder.close)
            self._say(f"recorded: {self._file}" if problem is None else problem)

    def _on_avatar_ready(self, participant: str, problem: str | None) -> None:
        self._loop.call_soon_threadsafe(self._note_avatar, participant, problem)

    def _note_avatar(self, participant: str, problem: str | None) -> None:
        self.errors.pop(participant, None)
        if problem is not None and participant in self.pictures:
            self.errors[participant] = problem
            self._say(f"participant {participant}: {problem}")


def _open_engine(name: str, size: int, runtime: str | None, threads: int | None = None) -> Engine:
    engine = open_engine(name, size, runtime=runtime, threads=threads)
    engine.warm_up()
    return engine
