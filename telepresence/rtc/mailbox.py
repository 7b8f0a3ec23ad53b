"""One-slot mailboxes in which the newest wins: what stands between threads, so that nothing ever queues up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Any thread puts, one worker thread waits and takes. An item that nobody took in time is replaced and counted."""

    def __init__(self) -> None:
        self._ready = threading.Condition()
        self._item: T | None = None
        self._closed = False
        self._replaced = 0

    def put(self, item: T) -> bool:
        """Leave an item for the worker; True if an older one had to make room. Ignored once closed."""
        with self._ready:
            if self._closed:
                return False
            replaced = self._item is not None
            self._replaced += replaced
            self._item = item
            self._ready.notify()
            return replaced

    def take(self, timeout_s: float | None = None) -> T | None:
        """Wait for an item and take it; None after `timeout_s`, or at once when the mailbox is closed."""
        with self._ready:
            self._ready.wait_for(lambda: self._item is not None or self._closed, timeout_s)
            item, self._item = self._item, None
            return None if self._closed else item

    def close(self) -> None:
        """Wake the worker for the last time."""
        with self._ready:
            self._closed = True
            self._item = None
            self._ready.notify_all()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def replaced(self) -> int:
        """How many items were never taken because a newer one came."""
        return self._replaced


class LoopMailbox(Generic[T]):
    """Any thread puts; the event loop gets the newest item by a call of `deliver`: one, however long it was busy."""

    def __init__(self, loop: asyncio.AbstractEventLoop, deliver: Callable[[T], None]) -> None:
        self._loop = loop
        self._deliver = deliver
        self._lock = threading.Lock()
        self._item: T | None = None
        self._replaced = 0

    def put(self, item: T) -> bool:
        """Hand an item to the loop; True if an older one had to make room."""
        with self._lock:
            waiting = self._item is not None
            self._replaced += waiting
            self._item = item
        if not waiting:
            try:
                self._loop.call_soon_threadsafe(self._drain)
            except RuntimeError:  # the loop has been closed: the process is ending
                self._item = None
        return waiting

    def _drain(self) -> None:
        with self._lock:
            item, self._item = self._item, None
        if item is not None:
            self._deliver(item)

    @property
    def replaced(self) -> int:
        """How many items the loop never saw because a newer one came."""
        return self._replaced
