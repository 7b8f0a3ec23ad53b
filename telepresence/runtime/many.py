"""Several participants a call: sessions of the batched `render` graph, compiled when they are first wanted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import EngineError
from telepresence.runtime.batch import SIZES, batched_file
from telepresence.runtime.contract import Array, Compiling, Runtime, Session
from telepresence.runtime.graphs import Graphs
from telepresence.runtime.machine import cache_folder

logger = logging.getLogger(__name__)

Pair = tuple[Mapping[str, Array], NDArray[np.float32]]
"""A participant's tensors as `render` takes them, and keypoints (478, 3)."""


def batches(runtime: Runtime) -> bool:
    """Whether a runtime gains by drawing several participants in one call: a GPU does, and a CPU does not."""
    return bool(getattr(runtime, "batches", False))


class Many:
    """Draws up to `SIZES[-1]` participants in one call.

    Args:
        graphs: those that draw one participant; their runtime is used, and they are left alone.
        later: gets what takes long, to be done in another thread.
        say: gets a line for people when a batch cannot be had.
    """

    def __init__(
        self, graphs: Graphs, later: Callable[[Callable[[], None]], None], say: Callable[[str], None] = logger.warning
    ) -> None:
        self.graphs = graphs
        self._later, self._say = later, say
        self._sessions: dict[int, Session] = {}
        self._bound: dict[int, list[Mapping[str, Array] | None]] = {}
        self._refused: set[int] = set()
        self._closed = False
        self._lock = threading.Lock()

    def render(self, pairs: Sequence[Pair]) -> list[NDArray[np.uint8]] | None:
        """Draw; None if the batch has still to be compiled, which begins now in the background.

        Raises:
            EngineError: the runtime failed.
        """
        chunks = [pairs[start : start + SIZES[-1]] for start in range(0, len(pairs), SIZES[-1])]
        wanted = [min(size for size in SIZES if size >= len(chunk)) for chunk in chunks]
        with self._lock:
            missing = [size for size in wanted if size not in self._sessions]
            if not missing:
                drawn = [self._draw(size, chunk) for size, chunk in zip(wanted, chunks, strict=True)]
                return [picture for pictures in drawn for picture in pictures]
        if not self._closed and missing[0] not in self._refused:
            self._later(lambda: self.prepare(missing[0]))
        return None

    def prepare(self, size: int) -> None:
        """Compile and load a batch of `size`; if that fails, participants go on being drawn one by one."""
        info, runtime = self.graphs.info, self.graphs.runtime
        try:
            path = batched_file(info.graph("render", self.graphs.size), size, cache_folder() / "graphs")
            if isinstance(runtime, Compiling):
                runtime.build(path, lambda share, what: not self._closed)
            session = runtime.load(path)
        except EngineError as error:
            self._refused.add(size)
            if not self._closed:
                self._say(f"participants are drawn one by one: {error}")
            return
        with self._lock:
            if self._closed:
                session.close()
                return
            self._sessions[size] = session
            self._bound[size] = [None] * size

    def close(self) -> None:
        """Free the sessions, after a call in progress."""
        self._closed = True
        with self._lock:
            for session in self._sessions.values():
                session.close()
            self._sessions.clear()
            self._bound.clear()

    def _draw(self, size: int, pairs: Sequence[Pair]) -> list[NDArray[np.uint8]]:
        session, bound = self._sessions[size], self._bound[size]
        feeds = {}
        for slot in range(size):
            tensors, keypoints = pairs[min(slot, len(pairs) - 1)]
            if bound[slot] is not tensors:
                bound[slot] = None
                for name, array in tensors.items():
                    session.bind(f"{name}.{slot}", array)
                bound[slot] = tensors
            feeds[f"keypoints.{slot}"] = keypoints[None]
        made = session.run(feeds)
        # copies, because a second chunk of the same size would overwrite them
        return [made[f"picture.{slot}"][0].copy() for slot in range(len(pairs))]
