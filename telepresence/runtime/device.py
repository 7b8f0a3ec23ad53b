"""Sessions whose graph computes in another memory than the host's: what goes there once, and what with every picture.

    pinned host buffer --upload--> input --compute--> output --download--> pinned host buffer
                                     ^
    an avatar's tensors, uploaded once, copied on the device when another avatar is drawn

The whole line is captured once and replayed for each picture, with one synchronisation at its end.
"""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from telepresence.runtime.contract import Array, BufferedSession, TensorSpec

WARM_UP_ROUNDS: Final = 2  # before the capture: the first runs allocate, which a capture may not
MAX_CAPTURES: Final = 4  # one for each set of inputs that are fed


class Memory(Protocol):
    """A device's memory and its one queue of work (CUDA: a stream of our own). Buffers are the device's own objects."""

    def pinned(self, spec: TensorSpec) -> Array:
        """Host memory, zeros, that the device reads and writes by itself."""

    def buffer(self, spec: TensorSpec) -> Any:
        """Device memory."""

    def upload(self, target: Any, array: Array) -> None:
        """Queue a copy from the host; `array` stays unchanged until the next `synchronise`."""

    def copy(self, target: Any, source: Any) -> None:
        """Queue a copy within the device."""

    def download(self, array: Array, source: Any) -> None:
        """Queue a copy to the host."""

    def synchronise(self) -> None:
        """Wait until everything queued is done. Raises what went wrong meanwhile."""

    def capture(self, work: Callable[[], None]) -> Callable[[], None] | None:
        """Record what `work` queues; what is returned queues it again. None: this device cannot record."""

    def close(self) -> None:
        """Free everything."""


@dataclass(slots=True)
class _Resident:
    """An array's copy on the device."""

    array: weakref.ref[Array]
    buffer: Any


class DeviceSession(BufferedSession, ABC):
    """What sessions on a device share; an adapter queues the graph itself (`_compute`).

    Args:
        label: the runtime's name.
        inputs, outputs: as the engine's graph has them, in the host's memory.
        memory: the session's own.
        lifted: inputs that the compiled graph takes in another dtype of the same values.
    """

    def __init__(
        self,
        label: str,
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
        memory: Memory,
        lifted: Mapping[str, np.dtype[Any]],
    ) -> None:
        self._memory = memory
        self._lifted = lifted
        self._there: dict[str, Any] = {
            name: memory.buffer(TensorSpec(spec.shape, lifted.get(name, spec.dtype)))
            for name, spec in (*inputs.items(), *outputs.items())
        }
        self._residents: dict[tuple[int, str], _Resident] = {}
        self._captured: dict[frozenset[str], Callable[[], None] | None] = {}
        super().__init__(label, inputs, outputs)

    @abstractmethod
    def _compute(self) -> None:
        """Queue the graph: from the buffers of the inputs to those of the outputs."""

    def _allocate(self, spec: TensorSpec) -> Array:
        return self._memory.pinned(spec)

    def _attach_output(self, name: str, array: Array) -> None:
        pass  # downloaded with every picture

    def _attach_input(self, name: str, array: Array) -> None:
        if array is not self._own.get(name):  # what is fed goes over with every picture
            self._memory.copy(self._there[name], self._resident(name, array))

    def _resident(self, name: str, array: Array) -> Any:
        key = (id(array), str(self._lifted.get(name, array.dtype)))
        found = self._residents.get(key)
        if found is not None and found.array() is array:
            return found.buffer
        values = self._converted(name, array)
        buffer = self._memory.buffer(TensorSpec(values.shape, values.dtype))
        self._memory.upload(buffer, values)
        self._memory.synchronise()  # `values` may be a temporary
        # an avatar that nobody shows any more frees its copy
        forget = weakref.ref(array, lambda _: self._residents.pop(key, None))
        self._residents[key] = _Resident(forget, buffer)
        return buffer

    def _converted(self, name: str, array: Array) -> Array:
        return array.astype(self._lifted[name]) if name in self._lifted else array

    def _execute(self) -> None:
        fed = frozenset(name for name, array in self._attached.items() if array is self._own.get(name))
        if fed not in self._captured:
            self._prepare(fed)
        replay = self._captured[fed]
        if replay is None:
            self._round(fed)
        else:
            replay()
        self._memory.synchronise()

    def _prepare(self, fed: frozenset[str]) -> None:
        for _ in range(WARM_UP_ROUNDS):
            self._round(fed)
        self._memory.synchronise()
        if len(self._captured) >= MAX_CAPTURES:
            self._captured.clear()
        # what is fed and converted on the way needs the host with every picture: not to be recorded
        recordable = not fed & self._lifted.keys()
        self._captured[fed] = self._memory.capture(lambda: self._round(fed)) if recordable else None

    def _round(self, fed: frozenset[str]) -> None:
        for name in sorted(fed):
            self._memory.upload(self._there[name], self._converted(name, self._own[name]))
        self._compute()
        for name, array in self._results.items():
            self._memory.download(array, self._there[name])

    def _release(self) -> None:
        self._captured.clear()
        self._residents.clear()
        self._there.clear()
        self._memory.close()
