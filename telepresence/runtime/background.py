"""What takes long and must not hold up a picture: done one after another in a thread that ends when all is done."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

logger = logging.getLogger(__name__)

CLOSE_S: Final = 5.0  # longest wait for a thread when the engine is closed


class Closing(Protocol):
    """Something that holds memory of a runtime."""

    def close(self) -> None:
        """Free it."""


class Background:
    """A queue of work, and threads in which what has failed is freed. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._todo: deque[Callable[[], None]] = deque()
        self._worker: threading.Thread | None = None  # None when there is nothing to do
        self._freeing: list[threading.Thread] = []
        self._closed = False

    def do(self, work: Callable[[], None]) -> None:
        """Do it after all that is to be done already. Nothing is dropped until `close`."""
        with self._lock:
            if self._closed:
                return
            self._todo.append(work)
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="runtime", daemon=True)
                self._worker.start()

    def free(self, *failed: Closing | None) -> threading.Thread:
        """Close what has failed, in a thread of its own: a GPU that is gone may never answer."""

        def close() -> None:
            for each in failed:
                try:
                    if each is not None:
                        each.close()
                except Exception as error:  # what a lost GPU says when its memory is freed helps nobody
                    logger.debug("a failed runtime could not be closed: %s", error)

        thread = threading.Thread(target=close, name="freeing", daemon=True)
        thread.start()
        with self._lock:
            self._freeing = [each for each in self._freeing if each.is_alive()] + [thread]
        return thread

    def wait(self, timeout_s: float = CLOSE_S) -> None:
        """Wait for what is being done, each thread for so long at most."""
        with self._lock:
            threads = [thread for thread in (self._worker, *self._freeing) if thread is not None]
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(timeout_s)

    def close(self) -> None:
        """Begin nothing more, and wait for what is being done."""
        with self._lock:
            self._closed = True
            self._todo.clear()
        self.wait()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._todo:
                    self._worker = None
                    return
                work = self._todo.popleft()
            try:
                work()
            except Exception:  # what comes next has to be done all the same
                logger.exception("a runtime could not be prepared")
