"""The render worker: newest motion in, picture out, for every participant. One thread, no queue.

Avatars are unpacked and encoded in a second thread, so that nobody's picture stands still while somebody arrives.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import AvatarError, TelepresenceError
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.puppet import Puppet
from telepresence.wire.codec import MotionPacket
from telepresence.wire.playout import Playout

if TYPE_CHECKING:
    from telepresence.runtime.engine import Engine, Prepared

logger = logging.getLogger(__name__)

IDLE_S: Final = 1.0  # longest sleep of the worker
BLANK: Final = 128  # grey level in place of an avatar that was taken back: a page repeats the last picture it has


@dataclass(frozen=True, slots=True)
class Picture:
    """A rendered picture."""

    participant: str
    i420: NDArray[np.uint8]
    """(S * 3 / 2, S) uint8, planar YUV 4:2:0, BT.601 limited range, composed over the avatar's background."""
    rgb: NDArray[np.uint8] | None
    """(S, S, 3), if the sink asked for it."""
    capture_us: int | None
    """When the sender's camera picture was decoded, on OUR clock; None at rest, or while its clock is unknown."""
    rendered_us: int
    """When the picture was ready, on our clock."""
    render_us: int
    """How long drawing and conversion took."""


@dataclass(slots=True)
class _Stage:
    """What the worker knows of one participant."""

    playout: Playout = field(default_factory=lambda: Playout(forget=True))
    """Outlives the avatar that it moves."""
    puppet: Puppet | None = None
    prepared: Prepared | None = None
    arrived: bool = False
    offset_us: int | None = None
    """Our clock less the sender's, as last known."""
    avatar: bytes = b""
    """The newest that came."""
    whole: bool = False
    """Whether that is a whole one."""
    provisional: bool = False
    overtaken: int = 0
    blank: bool = False


@dataclass(frozen=True, slots=True)
class _Due:
    """A picture to be drawn."""

    participant: str
    prepared: Prepared
    keypoints: NDArray[np.float32]
    capture_us: int | None
    started_us: int


class Renderer:
    """Draws every participant's avatar as its motion arrives.

    Args:
        engine: loaded and warm; closed with the renderer.
        publish: gets each picture, in the worker's thread; must return at once.
        on_avatar: gets a participant and None when its whole avatar is shown, or why not; in a worker's thread.
        keep_rgb: whether pictures carry RGB too.
    """

    def __init__(
        self,
        engine: Engine,
        publish: Callable[[Picture], Any],
        on_avatar: Callable[[str, str | None], None],
        *,
        keep_rgb: bool = False,
    ) -> None:
        self._engine = engine
        self._publish = publish
        self._on_avatar = on_avatar
        self._keep_rgb = keep_rgb
        self._changed = threading.Condition()
        self._stages: dict[str, _Stage] = {}
        self._closed = False
        self._worker = threading.Thread(target=self._work, name="render", daemon=True)
        self._avatars = ThreadPoolExecutor(1, thread_name_prefix="avatars")

    def start(self) -> None:
        """Start the worker."""
        self._worker.start()

    def put(self, participant: str, packet: MotionPacket, capture_us: int | None) -> None:
        """Motion of a participant; `capture_us` on our clock, if that is known."""
        with self._changed:
            stage = self._stages.setdefault(participant, _Stage())
            if not stage.playout.receive(packet, now_us()):
                return
            stage.offset_us = None if capture_us is None else capture_us - packet.capture_us
            stage.overtaken += stage.arrived
            stage.arrived = True
            self._changed.notify()

    def put_avatar(self, participant: str, data: bytes, whole: bool) -> None:
        """A participant's avatar file, or the beginning of it, which is shown until the whole is there.

        An empty beginning takes back what is shown of an avatar that is not whole.
        """
        if not data:
            self._take_back(participant)
            return
        with self._changed:
            stage = self._stages.setdefault(participant, _Stage())
            if not whole and (stage.prepared is not None or stage.whole):
                return  # of a new version: the one before is shown, or about to be, until the new one is whole
            stage.avatar, stage.whole = data, whole
        self._avatars.submit(self._prepare, participant, data, whole)

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

    def overtaken(self, participant: str) -> int:
        """How many packets of a participant were replaced by newer ones before they could be drawn."""
        with self._changed:
            stage = self._stages.get(participant)
            return stage.overtaken if stage else 0

    def close(self) -> None:
        """Stop the workers and close the engine."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._avatars.shutdown(wait=True, cancel_futures=True)
        if self._worker.is_alive():
            self._worker.join(timeout=5)
        self._engine.close()

    def _take_back(self, participant: str) -> None:
        with self._changed:
            stage = self._stages.get(participant)
            if stage is None:
                return
            if not stage.whole:
                stage.avatar = b""  # one that is being prepared just now is of no use either
        self._fail(participant, stage, "its avatar has not arrived whole, or not as it was offered")

    def _fail(self, participant: str, stage: _Stage, problem: str, failed: bytes | None = None) -> None:
        """Report, and show nothing of an avatar of which only the beginning was good."""
        with self._changed:
            if stage.avatar is failed:
                stage.avatar, stage.whole = b"", False
            if stage.provisional:
                stage.prepared, stage.puppet, stage.provisional, stage.blank = None, None, False, True
                self._changed.notify()
        self._on_avatar(participant, problem)

    def _prepare(self, participant: str, data: bytes, whole: bool) -> None:
        from telepresence.avatar.file import unpack, unpack_first

        stage = self._stages.get(participant)
        if stage is None or stage.avatar is not data:  # left, or more of it is there by now
            return
        try:
            avatar = unpack(data) if whole else unpack_first(data)
            if avatar is None:
                return
            prepared, puppet = self._engine.prepare(avatar), Puppet(avatar)
            for warning in prepared.warnings:
                logger.warning("%s", warning)
        except AvatarError as error:
            self._fail(participant, stage, f"its avatar cannot be used: {error}", data)
            return
        except TelepresenceError as error:
            self._fail(participant, stage, str(error), data)
            return
        except Exception as error:
            logger.exception("an avatar could not be prepared")
            self._fail(participant, stage, f"its avatar cannot be drawn ({type(error).__name__})", data)
            return
        with self._changed:
            if not stage.avatar:  # taken back meanwhile
                return
            if stage.puppet is not None:
                puppet.take_over(stage.puppet)  # as it is now, between two pictures
            stage.prepared, stage.puppet, stage.provisional, stage.blank = prepared, puppet, not whole, False
            self._changed.notify()
        if whole:
            self._on_avatar(participant, None)

    def _work(self) -> None:
        while (todo := self._wait()) is not None:
            together = len(todo) > 1 and self._engine.batches
            for some in [todo] if together else [[one] for one in todo]:
                try:
                    self._draw(some)
                except Exception:
                    logger.exception("a picture could not be drawn")

    def _wait(self) -> list[tuple[str, _Stage]] | None:
        """Sleep until something is to be drawn; None when closed."""
        with self._changed:
            while not self._closed:
                ready, sleep_us = self._ready()
                if ready:
                    return ready
                self._changed.wait(sleep_us / 1e6)
        return None

    def _ready(self) -> tuple[list[tuple[str, _Stage]], float]:
        now, sleep_us = now_us(), IDLE_S * 1e6
        ready = []
        for participant, stage in self._stages.items():
            if stage.blank:
                ready.append((participant, stage))
                continue
            if stage.puppet is None:
                continue
            due_us = stage.puppet.due_us()
            if stage.arrived or (due_us is not None and due_us <= now):
                ready.append((participant, stage))
            elif due_us is not None:
                sleep_us = min(sleep_us, due_us - now)
        return ready, max(0.0, sleep_us)

    def _draw(self, some: list[tuple[str, _Stage]]) -> None:
        """Draw participants, several in one engine call."""
        due = [found for participant, stage in some if (found := self._due(participant, stage)) is not None]
        if len(due) > 1:
            pictures = self._engine.render_many([(one.prepared, one.keypoints) for one in due])
        else:
            pictures = [self._engine.render(one.prepared, one.keypoints) for one in due]
        for one, rgba in zip(due, pictures, strict=True):
            i420, rgb = to_i420(rgba), rgba[..., :3].copy() if self._keep_rgb else None
            done = now_us()
            self._publish(Picture(one.participant, i420, rgb, one.capture_us, done, done - one.started_us))

    def _due(self, participant: str, stage: _Stage) -> _Due | None:
        """What is to be drawn of a participant now; None if nothing."""
        with self._changed:
            stage.arrived = False
            puppet, prepared = stage.puppet, stage.prepared
            blank, stage.blank = stage.blank, False
            started = now_us()
            keypoints = puppet.keypoints(stage.playout, started) if puppet else None
            capture_us = stage.playout.shown_capture_us
            capture_us = None if capture_us is None or stage.offset_us is None else capture_us + stage.offset_us
        if blank:
            self._publish(self._blank(participant))
        if keypoints is None or prepared is None:
            return None
        return _Due(participant, prepared, keypoints, capture_us, started)

    def _blank(self, participant: str) -> Picture:
        grey = np.full((self._engine.size, self._engine.size, 4), BLANK, np.uint8)
        return Picture(participant, to_i420(grey), grey[..., :3] if self._keep_rgb else None, None, now_us(), 0)


def to_i420(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(S, S, 4) RGBA, composed -> planar YUV 4:2:0 (S * 3 / 2, S); a copy. S is even."""
    import cv2

    i420: NDArray[np.uint8] = cv2.cvtColor(rgba, cv2.COLOR_RGBA2YUV_I420)
    return i420
