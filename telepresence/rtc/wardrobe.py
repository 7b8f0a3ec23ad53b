"""Prepares avatars for the render worker: unpacked and encoded in a thread of its own, for the size they are shown in.

Nobody's picture stands still while somebody arrives.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from telepresence.edge.engines import Engines
from telepresence.edge.schedule import Scheduler
from telepresence.errors import AvatarError, TelepresenceError
from telepresence.rtc.puppet import Puppet
from telepresence.rtc.stage import Stage

if TYPE_CHECKING:
    from telepresence.runtime.engine import Engine

logger = logging.getLogger(__name__)

MAX_SPARES: Final = 4  # avatars kept ready in a size that they are not drawn in just now: some 40 MB each

SETTLED: Final = 20  # quarters of a second: opening an engine takes seconds of a machine on which somebody arrives


class Wardrobe:
    """Everybody's avatar. It shares the render worker's stages; `changed` guards them, and is told of news.

    Args:
        changed: the worker's condition.
        stages: the worker's participants.
        engines, scheduler: the worker's; the scheduler is asked with `changed` held.
        on_avatar: gets a participant and None when its whole avatar is shown, or why not; in the wardrobe's thread or
            the caller's.
    """

    def __init__(
        self,
        changed: threading.Condition,
        stages: dict[str, Stage],
        engines: Engines,
        scheduler: Scheduler,
        on_avatar: Callable[[str, str | None], None],
    ) -> None:
        self._changed = changed
        self._stages = stages
        self._engines = engines
        self._scheduler = scheduler
        self._on_avatar = on_avatar
        self._closed = False
        self._unsuited = 0  # looks in a row
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="avatars")

    def put(self, participant: str, stage: Stage, data: bytes, whole: bool, label: str) -> None:
        """Prepare an avatar's file, or its beginning, of which something is shown already if there is anything."""
        with self._changed:
            if self._closed or (not whole and (stage.prepared is not None or stage.whole)):
                return  # of a new version: the one before is shown, or about to be, until the new one is whole
            stage.avatar, stage.whole = data, whole
            self.pool.submit(self._prepare, participant, data, whole, label)

    def take_back(self, participant: str, *, entirely: bool) -> None:
        """Show nothing more of an avatar of which only the beginning is there, or of any."""
        with self._changed:
            stage = self._stages.get(participant)
            if stage is None:
                return
            if entirely:
                stage.blank = stage.prepared is not None
                stage.avatar, stage.whole, stage.provisional = b"", False, False
                stage.prepared, stage.puppet, stage.points, stage.redraw = None, None, None, False
                stage.spares.clear()
                self._changed.notify()
                return
            if not stage.whole:
                stage.avatar = b""  # one that is being prepared just now is of no use either
        self._fail(participant, stage, "its avatar has not arrived whole, or not as it was offered")

    def resize(self) -> None:
        """Have every avatar prepared for the size it is wanted in, and drawn as it is until then. `changed` is held."""
        for participant, stage in self._stages.items() if not self._closed else ():
            wanted = self._scheduler.size(participant)
            if stage.prepared is not None and stage.whole and stage.size != wanted and not stage.resizing:
                stage.resizing = True  # once, however often what can be seen changes meanwhile
                self.pool.submit(self._resize, participant, stage)

    def settle(self) -> None:
        """To be called every quarter of a second: the engine is to suit as many as there have been for a while."""
        with self._changed:
            several = self._scheduler.several
            self._unsuited = 0 if self._engines.suits(several) else self._unsuited + 1
            if self._unsuited == SETTLED and not self._closed:
                self.pool.submit(self._suit, several)

    def dispose(self, engine: Engine) -> None:
        """Close an engine that does not draw any more, after the avatar at hand, which it may be preparing."""
        with self._changed:
            if not self._closed:
                self.pool.submit(engine.close)
                return
        engine.close()

    def _suit(self, several: bool) -> None:
        try:
            self._engines.suit(several)
        except Exception:  # in a thread of its own: nobody else would say it
            logger.exception("the engine could not be opened again")

    def close(self) -> None:
        """Stop; blocks until the avatar at hand is done."""
        with self._changed:
            self._closed = True
        self.pool.shutdown(wait=True, cancel_futures=True)

    def _fail(self, participant: str, stage: Stage, problem: str, failed: bytes | None = None) -> None:
        """Report, and show nothing of an avatar of which only the beginning was good."""
        with self._changed:
            if stage.avatar is failed:
                stage.avatar, stage.whole = b"", False
            if stage.provisional:
                stage.prepared, stage.puppet, stage.provisional, stage.blank = None, None, False, True
                self._changed.notify()
        self._on_avatar(participant, problem)

    def _prepare(self, participant: str, data: bytes, whole: bool, label: str) -> None:
        from telepresence.avatar.file import unpack, unpack_first

        stage = self._stages.get(participant)
        if stage is None or stage.avatar is not data:  # left, or more of it is there by now
            return
        try:
            avatar = unpack(data) if whole else unpack_first(data)
            if avatar is None:
                return
            size = self._size_now(participant)
            prepared, puppet = self._engines.at(size).prepare(avatar), Puppet(avatar)
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
            if stage.avatar is not data:  # taken back meanwhile, or more of it, or another one is there by now
                return
            stage.label = label
            if stage.puppet is not None:
                puppet.take_over(stage.puppet)  # as it is now, between two pictures
            stage.prepared, stage.puppet, stage.provisional, stage.blank = prepared, puppet, not whole, False
            stage.size, stage.points = size, None
            stage.spares.clear()
            self.resize()
            self._changed.notify()
        if whole:
            self._on_avatar(participant, None)

    def _size_now(self, participant: str) -> int:
        """The size that a participant's avatar can be prepared for at once."""
        with self._changed:
            wanted = self._scheduler.size(participant)
        return wanted if self._engines.loaded(wanted) else self._engines.large.size

    def _resize(self, participant: str, stage: Stage) -> None:
        """Prepare an avatar for the size that it is wanted in now; once more if that has changed meanwhile."""
        from telepresence.avatar.file import unpack

        with self._changed:
            stage.resizing, wanted = False, self._scheduler.size(participant)
            gone = self._closed or self._stages.get(participant) is not stage
            if gone or stage.prepared is None or stage.provisional or stage.size == wanted:
                return
            data, prepared = stage.avatar, stage.spares.pop(wanted, None)
        try:
            if not self._engines.load(wanted):
                self._no_small_pictures()
                return
            prepared = prepared or self._engines.at(wanted).prepare(unpack(data))
        except TelepresenceError as error:
            logger.warning("an avatar is drawn in the size that it has: %s", error)
            return
        except Exception:  # in a thread of its own: nobody else would say it
            logger.exception("an avatar could not be prepared for another size")
            return
        with self._changed:
            if stage.avatar is not data or stage.prepared is None or stage.provisional:
                return  # another one by now, which is prepared for the size that it finds
            stage.spares[stage.size] = stage.prepared
            stage.prepared, stage.size, stage.redraw = prepared, wanted, True
            self._drop_spares(stage)
            self.resize()  # what can be seen may have changed back meanwhile
            self._changed.notify()

    def _no_small_pictures(self) -> None:
        with self._changed:
            self._scheduler.small = None
            self._scheduler.again()

    def _drop_spares(self, newest: Stage) -> None:
        kept = [stage for stage in self._stages.values() if stage.spares and stage is not newest]
        for stage in kept[: max(0, len(kept) + 1 - MAX_SPARES)]:
            stage.spares.clear()
