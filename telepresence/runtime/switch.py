"""The runtime that draws, and its replacement in mid-call: by a better one that is ready now, or because it failed.

Nothing stands still for a better one: it is loaded and warmed up in a thread of its own, and takes over between two
pictures. After a failure the picture at hand is drawn again by a stand-in, the runtime that loads fastest, and the best
of the others follows in the background. A runtime that failed is not tried again for as long as the engine is open.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import EngineError, RuntimeLostError
from telepresence.runtime import golden
from telepresence.runtime.background import CLOSE_S, Background
from telepresence.runtime.contract import Array, Compiling, Progress, Runtime, first_line
from telepresence.runtime.graphs import EncodeInput, Graphs
from telepresence.runtime.info import EngineInfo
from telepresence.runtime.many import Many, Pair, batches

logger = logging.getLogger(__name__)

WARM_UP_PICTURES: Final = 3
SHARE_SAID: Final = 0.2  # of a build: how much has to be done before it is said again

Load = Callable[[Runtime], Graphs]
T = TypeVar("T")


@dataclass
class Switch:
    """An engine's graphs in one runtime or another; looks like `Graphs` to the engine."""

    current: Graphs
    """Those that draw now."""
    load: Load
    """Loads the engine in a runtime, or raises EngineError."""
    stand_ins: Sequence[Runtime] = ()
    """To fall back on, fastest to load first."""
    preferred: Sequence[Runtime] = ()
    """To change over to after a stand-in took over, fastest to draw first."""
    say: Callable[[str], None] = logger.warning
    """Gets a line for people at every change, in any thread."""
    broken: dict[str, str] = field(default_factory=dict)
    """Runtimes that failed, and what they said."""
    _changing: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _background: Background = field(default_factory=Background)
    _many: Many | None = None
    _last: tuple[Mapping[str, Array], NDArray[np.float32]] | None = None

    @property
    def info(self) -> EngineInfo:
        """The engine's description."""
        return self.current.info

    @property
    def size(self) -> int:
        """S, pixels."""
        return self.current.size

    def tensors(self, references: Iterable[EncodeInput], background: NDArray[np.uint8]) -> Mapping[str, Array]:
        """See Graphs.tensors; another runtime takes over if this one fails."""
        given = list(references)
        return self._surely(lambda graphs: graphs.tensors(given, background))

    def render(self, tensors: Mapping[str, Array], keypoints: NDArray[np.float32]) -> NDArray[np.uint8]:
        """See Graphs.render; another runtime takes over if this one fails."""
        self._last = (tensors, keypoints)
        return self._surely(lambda graphs: graphs.render(tensors, keypoints))

    def render_many(self, pairs: Sequence[Pair]) -> list[NDArray[np.uint8]]:
        """Draw several participants; in one call where the runtime gains by it, once that has been prepared."""
        many = self._several() if len(pairs) > 1 else None
        if many is not None:
            try:
                pictures = many.render(pairs)
            except RuntimeLostError as error:
                self._replace(many.graphs, error)
            else:
                if pictures is not None:
                    return pictures
        alone = [self.render(*pair).copy() for pair in pairs]
        if many is not None and many.graphs is self.current:
            many.missed(pairs, alone)
        return alone

    def _several(self) -> Many | None:
        """What draws several in a call with the runtime that draws now; None where nothing is gained by it."""
        with self._changing:
            if self._many is None and batches(self.current.runtime):
                self._many = Many(self.current, self._background.do, self.say)
            return self._many

    def trial(self) -> None:
        """See Graphs.trial."""
        self._surely(lambda graphs: graphs.trial())

    def forget_trial(self) -> None:
        """See Graphs.forget_trial."""
        self.current.forget_trial()

    def close(self) -> None:
        """Free everything, after a picture in progress is done."""
        self._stop.set()
        self._background.close()
        with self._changing:
            many, self._many = self._many, None
        if many is not None:
            many.close()
        self.current.close()
        self._last = None

    def improve(self, runtime: Runtime) -> None:
        """Compile and load another runtime in the background, and change over to it when it is ready."""
        self._background.do(lambda: self._try_all([runtime]))

    def change_to(self, runtime: Runtime) -> None:
        """Load another runtime, warm it up on what is being drawn, and change over to it. Blocks; draws meanwhile.

        Raises:
            EngineError: it cannot be loaded, or what it draws is not what it should be; all stays as it was.
        """
        graphs = self.load(runtime)
        try:
            self._warm_up(graphs)
        except BaseException:
            graphs.close()
            raise
        with self._changing:
            if self._stop.is_set():
                graphs.close()
                return
            before, self.current = self.current, graphs
            many, self._many = self._many, None
        if many is not None:
            many.close()
        before.close()  # waits for a picture in progress
        self.say(f"pictures are drawn by {_named(runtime)} from now on")

    def _surely(self, work: Callable[[Graphs], T]) -> T:
        while True:
            graphs = self.current
            try:
                return work(graphs)
            except RuntimeLostError as error:
                self._replace(graphs, error)
            except EngineError:
                if graphs is self.current:
                    raise
                # closed between the two lines, because another took over: do it there

    def _replace(self, failed: Graphs, error: RuntimeLostError) -> None:
        """Put a stand-in in the place of graphs that failed. Raises `error` if there is none."""
        with self._changing:
            if self.current is not failed:  # the other thread has seen to it
                return
            self.broken[failed.runtime.name] = str(error)
            graphs = None if self._stop.is_set() else self._stand_in()
            if graphs is None:
                raise error
            self.current = graphs
            many, self._many = self._many, None
            if self._stop.is_set():  # closed meanwhile, by who saw only the failed ones
                graphs.close()
        self.say(f"{error}; pictures are drawn by {_named(graphs.runtime)} from now on")
        freeing = self._background.free(failed, many)
        better = [runtime for runtime in self.preferred if self._may_be_used(runtime)]
        if better and better[0].name != graphs.runtime.name:
            # what failed may have taken the memory that the next one needs
            self._background.do(lambda: freeing.join(CLOSE_S))
            self._background.do(lambda: self._try_all(better))

    def _may_be_used(self, runtime: Runtime) -> bool:
        try:
            return runtime.name not in self.broken and runtime.available() is None
        except Exception as error:  # a broken installation; the call goes on with another one
            self.broken[runtime.name] = first_line(error)
            return False

    def _stand_in(self) -> Graphs | None:
        for runtime in self.stand_ins:
            if not self._may_be_used(runtime):
                continue
            try:
                return self.load(runtime)
            except Exception as error:  # in mid-call nothing but the next one helps
                self.broken[runtime.name] = first_line(error)
        return None

    def _try_all(self, runtimes: Sequence[Runtime]) -> None:
        for runtime in runtimes:
            if self._stop.is_set() or runtime.name == self.current.runtime.name:
                return  # what draws now is better than those that follow
            if runtime.name in self.broken:
                continue
            try:
                self._compile(runtime)
                self.change_to(runtime)
                return
            except EngineError as error:
                if not self._stop.is_set():
                    self.broken[runtime.name] = str(error)
                    self.say(f"{runtime.name} does not take over: {error}")
            except Exception as error:  # in a thread of its own: nobody else would say it
                logger.exception("a runtime could not be prepared")
                self.broken[runtime.name] = str(error)

    def _compile(self, runtime: Runtime) -> None:
        if not isinstance(runtime, Compiling):
            return
        for kind in ("encode", "render"):
            path = self.info.graph(kind, self.size)
            runtime.build(path, self._progress(f"{runtime.name} compiles {path.stem}"))

    def _progress(self, title: str) -> Progress:
        said = 0.0

        def progress(share: float, what: str) -> bool:
            nonlocal said
            if share >= said + SHARE_SAID:
                said = share
                self.say(f"{title}: {share:4.0%}")
            return not self._stop.is_set()

        return progress

    def _warm_up(self, graphs: Graphs) -> None:
        golden_file = self.info.folder / f"golden-{self.size}.npz"
        if golden_file.exists():
            psnr = golden.check(graphs, golden_file).psnr
            if psnr < golden.MIN_PSNR:
                raise EngineError(
                    f"its pictures are not those of the engine ({psnr:.0f} dB); examine it with: telepresence engines "
                    f"verify {self.info.name} --runtime {graphs.runtime.name}"
                )
        for _ in range(WARM_UP_PICTURES):
            graphs.trial()
        last = self._last
        if last is not None:  # so that its tensors are where this runtime needs them
            graphs.render(*last)
        graphs.forget_trial()


def compiled(runtime: Runtime, paths: Iterable[Path]) -> bool:
    """Whether a runtime can load graphs at once, without compiling them first."""
    return not isinstance(runtime, Compiling) or all(runtime.ready(path) for path in paths)


def _named(runtime: Runtime) -> str:
    return f"{runtime.name} {runtime.version}" if runtime.version else runtime.name
