"""Several participants a call: sessions of the batched `render` graph, compiled when they are first wanted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import EngineError
from telepresence.runtime import golden
from telepresence.runtime.batch import SIZES, batched_file
from telepresence.runtime.contract import Array, Compiling, Progress, Runtime, Session, first_line
from telepresence.runtime.graphs import Graphs
from telepresence.runtime.info import EngineInfo
from telepresence.runtime.machine import cache_folder

logger = logging.getLogger(__name__)

Pair = tuple[Mapping[str, Array], NDArray[np.float32]]
"""A participant's tensors as `render` takes them, and keypoints (478, 3)."""
Picture = NDArray[np.uint8]
"""(S, S, 4), as `Graphs.render` gives it."""


def batches(runtime: Runtime) -> bool:
    """Whether a runtime gains by drawing several participants in one call: a GPU does, and a CPU does not."""
    return bool(getattr(runtime, "batches", False))


class Batch:
    """The `render` graph for `count` participants, loaded. By one thread at a time."""

    def __init__(
        self, info: EngineInfo, size: int, runtime: Runtime, count: int, progress: Progress | None = None
    ) -> None:
        """Make the graph, compile it if the runtime must, and load it.

        Raises:
            EngineError: the graph cannot be made, compiled or loaded, or `progress` asked to stop.
        """
        self.count = count
        path = batch_path(info, size, count)
        if isinstance(runtime, Compiling):
            runtime.build(path, progress)
        self._session: Session = runtime.load(path)
        self._bound: list[Mapping[str, Array] | None] = [None] * count

    def draw(self, pairs: Sequence[Pair]) -> list[Picture]:
        """Draw 1 to `count` participants; free places draw the last one again. The next call overwrites the pictures.

        Raises:
            EngineError: an argument does not fit.
            RuntimeLostError: the runtime failed.
        """
        feeds = {}
        for slot in range(self.count):
            tensors, keypoints = pairs[min(slot, len(pairs) - 1)]
            if self._bound[slot] is not tensors:
                self._bound[slot] = None
                for name, array in tensors.items():
                    self._session.bind(f"{name}.{slot}", array)
                self._bound[slot] = tensors
            feeds[f"keypoints.{slot}"] = keypoints[None]
        made = self._session.run(feeds)
        return [made[f"picture.{slot}"][0] for slot in range(len(pairs))]

    def warm_up(self, pairs: Sequence[Pair], alone: Sequence[Picture]) -> None:
        """Draw what is being shown, so that the next call is as fast as all others, and compare every place.

        Args:
            pairs: 1 to `count` participants.
            alone: a picture of each, drawn by itself.

        Raises:
            EngineError: the runtime failed, or it draws something else.
        """
        places = [min(slot, len(pairs) - 1) for slot in range(self.count)]
        for _ in range(2):  # on a GPU the first records, and the second is what all others are
            drawn = self.draw([pairs[place] for place in places])
            psnr = golden.compare(np.stack(drawn), np.stack([alone[place] for place in places])).psnr
            if psnr < golden.MIN_PSNR:
                raise EngineError(f"{self.count} in one call are not drawn as each alone is ({psnr:.0f} dB)")

    def close(self) -> None:
        """Free the graph. Closing twice is fine."""
        self._session.close()
        self._bound = [None] * self.count


class Many:
    """Draws any number of participants, up to `SIZES[-1]` in one call.

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
        self._ready: dict[int, Batch] = {}
        self._wanted: set[int] = set()  # asked for once: under way, ready, or refused
        self._closed = False
        self._lock = threading.Lock()

    def render(self, pairs: Sequence[Pair]) -> list[Picture] | None:
        """Draw; None if a batch that this takes is not there: draw each alone, and tell `missed`.

        The next call overwrites the pictures.

        Raises:
            EngineError: an argument does not fit.
            RuntimeLostError: the runtime failed.
        """
        parts = list(_parts(pairs))
        with self._lock:
            if any(size not in self._ready for size, _ in parts):
                return None
            if len(parts) == 1:
                return self._ready[parts[0][0]].draw(pairs)
            # copies, because the next part may be drawn by the same batch
            return [picture.copy() for size, part in parts for picture in self._ready[size].draw(pairs[part])]

    def missed(self, pairs: Sequence[Pair], alone: Sequence[Picture]) -> None:
        """Begin to compile, in the background, what `render` had not; `alone` is each participant drawn by itself."""
        for size, part in _parts(pairs):
            if size not in self._wanted:
                self._wanted.add(size)
                self._later(partial(self._prepare, size, pairs[part], alone[part]))

    def close(self) -> None:
        """Free everything, after a call in progress."""
        self._closed = True
        with self._lock:
            for batch in self._ready.values():
                batch.close()
            self._ready.clear()

    def _prepare(self, size: int, pairs: Sequence[Pair], alone: Sequence[Picture]) -> None:
        """Compile, load and check a batch of `size`; if that fails, participants go on being drawn one by one."""
        if self._closed:
            return
        batch: Batch | None = None
        try:
            batch = Batch(
                self.graphs.info, self.graphs.size, self.graphs.runtime, size, lambda share, what: not self._closed
            )
            batch.warm_up(pairs, alone)
        except Exception as error:  # in a thread of its own: nobody else would say it
            if batch is not None:
                batch.close()
            if not self._closed:
                self._say(f"participants are drawn one by one: {first_line(error)}")
            return
        with self._lock:
            if not self._closed:
                self._ready[size] = batch
                return
        batch.close()


def batch_path(info: EngineInfo, size: int, count: int) -> Path:
    """The ONNX file of `render` for `count` participants, in the cache folder; made if it is not there.

    Raises:
        EngineError: the engine is damaged, its graph cannot be made into one for several, or the file not be written.
    """
    try:
        return batched_file(info.graph("render", size), count, cache_folder() / "graphs")
    except ImportError as error:
        raise EngineError("drawing several in one call needs onnx; get it with: pip install onnx") from error


def _parts(pairs: Sequence[Pair]) -> Iterator[tuple[int, slice]]:
    """Sizes of batches, and the participants that each is for."""
    for start in range(0, len(pairs), SIZES[-1]):
        part = slice(start, min(start + SIZES[-1], len(pairs)))
        yield min(size for size in SIZES if size >= part.stop - start), part
