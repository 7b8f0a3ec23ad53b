"""The render worker: newest motion in, picture out, for every participant. One thread, no queue."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.edge.engines import Engines
from telepresence.edge.messages import View
from telepresence.edge.schedule import Scheduler
from telepresence.errors import EngineError
from telepresence.rtc import trace
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.stage import BLANK, PHOTO, Due, Picture, Stage, blank, to_i420
from telepresence.rtc.wardrobe import Wardrobe
from telepresence.wire.codec import MotionPacket

if TYPE_CHECKING:
    from telepresence.runtime.engine import Engine

__all__ = ["BLANK", "Picture", "Renderer", "to_i420"]

logger = logging.getLogger(__name__)

IDLE_S: Final = 1.0  # longest sleep of the worker


class Renderer:
    """Draws every participant's avatar as its motion arrives.

    Args:
        engine: loaded and warm; closed with the renderer.
        publish: gets each picture, in the worker's thread; must return at once.
        on_avatar: gets a participant and None when its whole avatar is shown, or why not; in a worker's thread.
        keep_rgb: whether pictures carry RGB too.
        open_small, reopen: open further engines, in a worker's thread; see `Engines`.
    """

    def __init__(
        self,
        engine: Engine,
        publish: Callable[[Picture], Any],
        on_avatar: Callable[[str, str | None], None],
        *,
        keep_rgb: bool = False,
        open_small: Callable[[], Engine] | None = None,
        reopen: Callable[[bool], Engine] | None = None,
    ) -> None:
        self._engines = Engines(engine, open_small, reopen)
        self._scheduler = Scheduler(engine.size, self._engines.small_size)
        self._publish = publish
        self._keep_rgb = keep_rgb
        self._changed = threading.Condition()
        self._stages: dict[str, Stage] = {}
        self._closed = False
        self._worker = threading.Thread(target=self._work, name="render", daemon=True)
        self._wardrobe = Wardrobe(self._changed, self._stages, self._engines, self._scheduler, on_avatar)

    @property
    def engine(self) -> Engine:
        """What draws large pictures now."""
        return self._engines.large

    def start(self) -> None:
        """Start the worker."""
        self._worker.start()

    def put(self, participant: str, packet: MotionPacket, capture_us: int | None) -> None:
        """Motion of a participant; `capture_us` on our clock, if that is known."""
        with self._changed:
            stage = self._stage(participant)
            if not stage.playout.receive(packet, now_us()):
                return
            stage.offset_us = None if capture_us is None else capture_us - packet.capture_us
            stage.overtaken += stage.arrived and not self._scheduler.thins(participant)
            stage.arrived = True
            self._changed.notify()

    def put_avatar(self, participant: str, data: bytes, whole: bool, label: str = PHOTO) -> None:
        """A participant's avatar file, or the beginning of it, which is shown until the whole is there.

        An empty beginning takes back what is shown of an avatar that is not whole; an empty whole one, all of it.

        Args:
            label: what its pictures are labelled with.
        """
        if data:
            with self._changed:
                self._wardrobe.put(participant, self._stage(participant), data, whole, label)
        else:
            self._wardrobe.take_back(participant, entirely=whole)

    def look(self, view: View | None) -> None:
        """What can be seen has changed; None: nobody says."""
        with self._changed:
            self._scheduler.look(view)
            self._wardrobe.resize()
            self._changed.notify()

    def size(self, participant: str) -> int | None:
        """Side of a participant's pictures, pixels; None if there are none."""
        stage = self._stages.get(participant)
        return stage.size if stage is not None and stage.prepared is not None else None

    def link_lost(self, participant: str) -> None:
        """Let a participant's avatar come to rest."""
        with self._changed:
            if participant in self._stages:
                self._stages[participant].playout.link_lost()
                self._changed.notify()

    def remove(self, participant: str) -> None:
        """The participant has left."""
        with self._changed:
            self._stages.pop(participant, None)
            self._scheduler.leave(participant)

    def overtaken(self, participant: str) -> int:
        """How many packets of a participant were replaced by newer ones, although every one was to be drawn."""
        with self._changed:
            stage = self._stages.get(participant)
            return stage.overtaken if stage else 0

    def settle(self) -> float:
        """To be called every quarter of a second. The time there is over what is needed; see `Scheduler.room`."""
        self._wardrobe.settle()
        with self._changed:
            return self._scheduler.room()

    def close(self) -> None:
        """Stop the workers and close the engine."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._wardrobe.close()
        if self._worker.is_alive():
            self._worker.join(timeout=5)
        self._engines.close()

    def _stage(self, participant: str) -> Stage:
        self._scheduler.arrive(participant)
        return self._stages.setdefault(participant, Stage())

    def _work(self) -> None:
        while (todo := self._wait()) is not None:
            try:
                self._draw(todo)
            except Exception:
                logger.exception("a picture could not be drawn")

    def _wait(self) -> list[tuple[str, Stage]] | None:
        """Sleep until something is to be drawn; None when closed."""
        with self._changed:
            while not self._closed:
                turn, sleep_us = self._turn()
                if turn:
                    return turn
                self._changed.wait(sleep_us / 1e6)
        return None

    def _turn(self) -> tuple[list[tuple[str, Stage]], float]:
        """Who is drawn now; if nobody is, for how long nobody will be, unless something comes."""
        now, sleep_us = now_us(), IDLE_S * 1e6
        ready = []
        for participant, stage in self._stages.items():
            if stage.blank:
                return [(participant, stage)], 0.0
            if stage.puppet is None:
                continue
            due_us = stage.puppet.due_us()
            if stage.arrived or stage.redraw or (due_us is not None and due_us <= now):
                ready.append(participant)
            elif due_us is not None and not self._scheduler.hidden(participant):
                sleep_us = min(sleep_us, due_us - now)
        turn = self._scheduler.turn(ready, now, len(ready) > 1 and self._engines.large.batches)
        if turn.wait_us is not None:
            sleep_us = min(sleep_us, turn.wait_us)
        return [(participant, self._stages[participant]) for participant in turn.draw], max(0.0, sleep_us)

    def _draw(self, some: list[tuple[str, Stage]]) -> None:
        """Draw participants, those of a size in one engine call."""
        old = self._engines.take_over()
        if old is not None:
            self._wardrobe.dispose(old)
        sizes: dict[int, list[Due]] = {}
        for participant, stage in some:
            due = self._due(participant, stage)
            if due is not None:
                sizes.setdefault(due.size, []).append(due)  # not as wanted, but as prepared
        for size, group in sizes.items():
            begun_us = now_us()
            try:
                self._draw_group(self._engines.at(size), group)
            finally:  # whatever happened: who cannot be drawn has had a turn
                with self._changed:
                    self._scheduler.drawn([one.participant for one in group], size, begun_us, now_us() - begun_us)

    def _draw_group(self, engine: Engine, group: list[Due]) -> None:
        """Draw several of one size together; if that fails, each by itself: one spoils no other's."""
        together: list[NDArray[np.uint8]] | None = None
        if len(group) > 1:
            try:
                together = engine.render_many([(one.prepared, one.keypoints) for one in group])
            except EngineError as error:
                logger.warning("%d participants could not be drawn in one call: %s", len(group), error)
        for place, one in enumerate(group):
            try:
                rgba = together[place] if together is not None else engine.render(one.prepared, one.keypoints)
            except EngineError as error:
                logger.warning("a picture of %s could not be drawn: %s", one.participant, error)
                continue
            i420, rgb = to_i420(rgba), rgba[..., :3].copy() if self._keep_rgb else None
            done = now_us()
            trace.note("rendered", one.capture_us, done)
            self._publish(Picture(one.participant, i420, rgb, one.capture_us, done, done - one.started_us, one.label))

    def _due(self, participant: str, stage: Stage) -> Due | None:
        """What is to be drawn of a participant now; None if nothing."""
        with self._changed:
            stage.arrived = False
            puppet, prepared = stage.puppet, stage.prepared
            taken_back, stage.blank = stage.blank, False
            started = now_us()
            keypoints = puppet.keypoints(stage.playout, started) if puppet else None
            if keypoints is None and stage.redraw:
                keypoints = stage.points
            stage.redraw, stage.points = False, stage.points if keypoints is None else keypoints
            size, label = stage.size, stage.label
            capture_us = stage.playout.shown_capture_us
            trace.note("drawing", capture_us, started)
            trace.note("keypoints", capture_us)
            capture_us = None if capture_us is None or stage.offset_us is None else capture_us + stage.offset_us
        if taken_back:
            self._publish(blank(participant, self._engines.large.size, started, keep_rgb=self._keep_rgb))
        if keypoints is None or prepared is None:
            return None
        return Due(participant, prepared, size, keypoints, capture_us, started, label)
