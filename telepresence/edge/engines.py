"""The engines that a renderer draws with: the large one, and a small one, opened when it is first wanted."""

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
        large: loaded and warm.
        open_small: opens and warms up the one for small pictures; None: everybody is drawn large. On a GPU that is
            as well: it draws several in one call, and the small one would have to be compiled first.
    """

    def __init__(self, large: Engine, open_small: Callable[[], Engine] | None = None) -> None:
        self.large = large
        self._open_small = open_small
        self._small: Engine | None = None
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

    def at(self, size: int) -> Engine:
        """The engine for a size that is loaded."""
        small = self._small
        return self.large if size == self.large.size or small is None else small

    def close(self) -> None:
        """Close both."""
        with self._lock:
            self._closed = True
            if self._small is not None:
                self._small.close()
        self.large.close()
