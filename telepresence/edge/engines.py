"""The engines that a renderer draws with: the large one, and others, opened when they are first wanted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from telepresence.edge.schedule import SMALL
from telepresence.errors import EngineError

if TYPE_CHECKING:
    from telepresence.runtime.engine import Engine

logger = logging.getLogger(__name__)


class Engines:
    """One engine in one or two sizes.

    Args:
        large: loaded and warm; suits one participant.
        open_small: opens and warms up the one for small pictures; None: everybody is drawn large. On a GPU that is
            as well: it draws several in one call, and the small one would have to be compiled first.
        reopen: opens and warms up `large` anew, to suit one participant (False) or several (True): one picture soon, or
            many from the same machine. None: it suits both.
    """

    def __init__(
        self,
        large: Engine,
        open_small: Callable[[], Engine] | None = None,
        reopen: Callable[[bool], Engine] | None = None,
    ) -> None:
        self.large = large
        self._open_small = open_small
        self._reopen = reopen
        self._small: Engine | None = None
        self._next: Engine | None = None  # takes over from `large` when that draws nothing
        self._several = False
        self._closed = False
        self._lock = threading.Lock()

    @property
    def small_size(self) -> int | None:
        """Side of small pictures; None if there are none."""
        return SMALL if self._open_small is not None else None

    def loaded(self, size: int) -> bool:
        """Whether an engine draws pictures of this size now."""
        return size == self.large.size or self._small is not None

    def load(self, size: int) -> bool:
        """Open an engine of this size if that has not been done. Blocks. False if there is none: do not ask again."""
        if self.loaded(size):
            return True
        if self._open_small is None:
            return False
        try:
            small = self._open_small()
        except EngineError as error:
            logger.warning("small pictures are drawn large: %s", error)
            self._open_small = None
            return False
        with self._lock:
            if not self._closed:
                self._small = small
                return True
        small.close()
        return False

    def suits(self, several: bool) -> bool:
        """Whether the large engine is the best there is for several participants, or for one."""
        return self._reopen is None or several == self._several

    def suit(self, several: bool) -> None:
        """Have the large engine suit several participants, or one, soon. Blocks. It goes on as it is if that fails."""
        if self._reopen is None or several == self._several:
            return
        try:
            engine = self._reopen(several)
        except EngineError as error:
            logger.warning("the engine stays as it is: %s", error)
            self._reopen = None
            return
        with self._lock:
            self._several = several
            useless, self._next = (engine, None) if self._closed else (self._next, engine)
        if useless is not None:
            useless.close()

    def take_over(self) -> Engine | None:
        """For who draws, between two pictures: take what `suit` has made; returns what is to be closed instead of it.

        Avatars stay prepared; whoever may still prepare some with the old one has to be waited for.
        """
        with self._lock:
            if self._next is None:
                return None
            old, self.large, self._next = self.large, self._next, None
            return old

    def at(self, size: int) -> Engine:
        """The engine for a size that is loaded."""
        small = self._small
        return self.large if size == self.large.size or small is None else small

    def close(self) -> None:
        """Close all."""
        with self._lock:
            self._closed = True
            for engine in (self._small, self._next):
                if engine is not None:
                    engine.close()
        self.large.close()
