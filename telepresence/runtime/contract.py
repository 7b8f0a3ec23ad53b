"""The contract between an engine and what executes it: load -> warm up -> run -> close.

Life       `Runtime.load` gives a `Session`: one graph, compiled, static shapes. The first runs may be slower (warm up:
           run it a few times on anything). `close` frees it; every later call raises EngineError.
Buffers    `bind` keeps a reference to the caller's array, and copies nothing but to a GPU's memory, once: leave an
           array unchanged from when it is first bound. What is passed to `run` is copied before the graph runs.
           Arrays that `run` returns belong to the session and are overwritten by the next run: copy what you keep.
Threads    A session may be used from any thread, by one thread at a time. `run` blocks, and releases the interpreter's
           lock while it computes: call it from a worker, never from an event loop.
Units      Shapes and dtypes are those of the graph; times are milliseconds of wall clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import EngineError, RuntimeLostError

Array = NDArray[Any]
Progress = Callable[[float, str], bool]
"""Gets the share that is done, 0-1, and what is being done; False asks to stop."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What an input or output looks like."""

    shape: tuple[int, ...]
    """Static: every axis has a fixed length."""
    dtype: np.dtype[Any]
    """numpy dtype: float32 or uint8 in engines of this version."""

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"

    def check(self, name: str, array: Array) -> None:
        """Raise EngineError unless `array` has this shape and dtype and lies contiguous in memory (C order)."""
        if array.shape != self.shape or array.dtype != self.dtype:
            got = TensorSpec(array.shape, array.dtype)
            raise EngineError(f"tensor {name!r} is {got}, but the engine's graph takes {self}")
        if not array.flags.c_contiguous:
            raise EngineError(f"tensor {name!r} is not contiguous; pass it through numpy.ascontiguousarray")


class Session(Protocol):
    """One loaded graph. See the module's docstring for buffers and threads."""

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """Inputs by name."""

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """Outputs by name."""

    def bind(self, name: str, array: Array) -> None:
        """Keep `array` as input `name` for all later runs, until it is bound or fed anew.

        Nothing is copied, unless the array is read-only.

        Raises:
            EngineError: no such input, or the wrong shape, dtype or memory order.
            RuntimeLostError: the runtime could not take it; another one may do better.
        """

    def run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        """Execute the graph; every input that is not bound must be in `feeds`. What it returns is overwritten later.

        Raises:
            EngineError: an input is missing or wrong, or the session is closed.
            RuntimeLostError: the runtime failed; another one may do better.
        """

    def close(self) -> None:
        """Free the graph. Closing twice is fine."""


class Runtime(Protocol):
    """A way to execute graphs on this machine."""

    @property
    def name(self) -> str:
        """As `--runtime` takes it."""

    @property
    def version(self) -> str | None:
        """Version of the installed package; None if it is not installed."""

    def available(self) -> str | None:
        """None if it can be used here, else why not and how to get it. Cheap: imports nothing."""

    def load(self, path: Path, *, threads: int | None = None) -> Session:
        """Compile the ONNX file for this machine.

        Args:
            path: the graph, static shapes.
            threads: CPU threads to compute with, >= 1; None for `choose.default_threads()`.

        Raises:
            EngineError: the runtime is not usable, or it cannot execute the graph.
        """


@runtime_checkable
class Compiling(Protocol):
    """A runtime that must compile a graph for minutes before it can load it, and keeps what it compiled."""

    def ready(self, path: Path) -> bool:
        """Whether `load` of this ONNX file is quick: what is kept fits this machine. Cheap; never raises."""

    def build(self, path: Path, progress: Progress | None = None) -> None:
        """Compile and keep; does nothing if that was done before. Blocks, for minutes.

        Args:
            path: the graph, static shapes.
            progress: called in any thread.

        Raises:
            EngineError: the runtime is not usable, it cannot compile the graph, or `progress` asked it to stop.
        """


class BufferedSession(ABC):
    """What sessions of all runtimes share: checks, bound inputs, buffers allocated once.

    An adapter says how an array becomes the graph's input or output memory (`_attach_input`, `_attach_output`), how the
    graph runs (`_execute`) and what is to be freed (`_release`).
    """

    def __init__(self, label: str, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]) -> None:
        self.inputs: Mapping[str, TensorSpec] = inputs
        self.outputs: Mapping[str, TensorSpec] = outputs
        self._label = label
        if not outputs:  # OpenVINO takes an empty file for an empty graph
            raise EngineError("the graph has no outputs; the file is damaged")
        self._attached: dict[str, Array] = {}  # keeps alive the memory that the runtime reads
        self._own: dict[str, Array] = {}  # copies of what was fed, made at the first feed
        self._results = {name: self._allocate(spec) for name, spec in outputs.items()}
        self._closed = False
        for name, array in self._results.items():
            self._attach_output(name, array)

    def bind(self, name: str, array: Array) -> None:
        """See Session.bind."""
        self._check_open()
        self._spec(name).check(name, array)
        # OpenVINO takes no read-only memory, and this is rare enough for a copy
        self._attach(name, array if array.flags.writeable else array.copy())

    def run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        """See Session.run."""
        self._check_open()
        for name, array in feeds.items():
            self._feed(name, array)
        missing = self.inputs.keys() - self._attached.keys()
        if missing:
            raise EngineError(f"{self._label}: nothing was bound or fed for {', '.join(sorted(missing))}")
        try:
            self._execute()
        except Exception as error:  # whatever the runtime raises; the caller has one error to handle
            raise RuntimeLostError(f"{self._label} failed while computing: {first_line(error)}") from error
        return self._results

    def close(self) -> None:
        """See Session.close."""
        if not self._closed:
            self._closed = True
            self._release()
            self._attached.clear()
            self._own.clear()

    def _feed(self, name: str, array: Array) -> None:
        spec = self._spec(name)
        if array.shape != spec.shape or array.dtype != spec.dtype:
            spec.check(name, array)
        own = self._own.get(name)
        if own is None:
            try:
                own = self._own[name] = self._allocate(spec)
            except Exception as error:
                raise self._lost(name, error) from error
        np.copyto(own, array)
        self._attach(name, own)

    def _attach(self, name: str, array: Array) -> None:
        if self._attached.get(name) is not array:
            try:
                self._attach_input(name, array)
            except Exception as error:  # of a GPU: no memory, or it went away
                raise self._lost(name, error) from error
            self._attached[name] = array

    def _lost(self, name: str, error: Exception) -> RuntimeLostError:
        return RuntimeLostError(f"{self._label} failed while taking {name!r}: {first_line(error)}")

    def _spec(self, name: str) -> TensorSpec:
        try:
            return self.inputs[name]
        except KeyError:
            raise EngineError(f"the engine's graph has no input {name!r}; it has {', '.join(self.inputs)}") from None

    def _check_open(self) -> None:
        if self._closed:
            raise EngineError(f"{self._label}: the session is closed; open the engine again")

    def _allocate(self, spec: TensorSpec) -> Array:
        """Memory for what is fed or returned; zeros."""
        return np.zeros(spec.shape, spec.dtype)

    @abstractmethod
    def _attach_input(self, name: str, array: Array) -> None: ...

    @abstractmethod
    def _attach_output(self, name: str, array: Array) -> None: ...

    @abstractmethod
    def _execute(self) -> None: ...

    @abstractmethod
    def _release(self) -> None: ...


_TRACE = ("Exception from src/", "Check '", "FrontEnd API failed")  # how OpenVINO begins, before it says what happened


def first_line(error: BaseException) -> str:
    """The first line of an error's text that says something, cut short: runtimes append pages of C++ trace."""
    lines = (line.strip() for line in str(error).splitlines())
    informative = [line for line in lines if line and not line.startswith(_TRACE)]
    return (informative[0] if informative else type(error).__name__)[:200]
