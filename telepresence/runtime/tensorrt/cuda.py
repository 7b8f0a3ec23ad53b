"""The little of CUDA that a session needs, through NVIDIA's own Python bindings (package cuda-bindings).

They were chosen because they are NVIDIA's, thin (every call is the C call), follow each CUDA release, bring the CUDA
runtime with them and compile nothing at the user's; CuPy and PyCUDA are larger or built from source, and torch is not
part of a call. Every call returns (error, results...); `Cuda.call` raises what the error means for the user.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import logging
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from telepresence.errors import EngineError
from telepresence.runtime.contract import Array, TensorSpec, first_line

logger = logging.getLogger(__name__)

_NON_BLOCKING: Final = 1  # cudaStreamNonBlocking: does not wait for the default stream
_DRIVER: Final = "update the NVIDIA driver (nvidia.com/drivers)"
_REMEDIES: Final = {
    "cudaErrorInsufficientDriver": f"the NVIDIA driver is missing or too old for this CUDA; {_DRIVER}",
    "cudaErrorNoDevice": "no NVIDIA GPU is visible; check nvidia-smi and CUDA_VISIBLE_DEVICES",
    "cudaErrorMemoryAllocation": "not enough GPU memory; end other programs that use the GPU, or choose --size 256",
    "cudaErrorDevicesUnavailable": "the GPU is taken by another program; end it, or share the GPU: nvidia-smi -c 0",
    "cudaErrorSystemDriverMismatch": f"driver and CUDA do not fit together; {_DRIVER}, then restart the machine",
    "cudaErrorSystemNotReady": "the GPU is not ready; restart its services, or the machine",
    "cudaErrorNoKernelImageForDevice": "this GPU is too old for the installed CUDA; use another runtime",
    "cudaErrorUnsupportedPtxVersion": f"the NVIDIA driver is too old for this CUDA; {_DRIVER}",
}


@dataclass(frozen=True, slots=True)
class Gpu:
    """The GPU that draws: the first that CUDA sees."""

    name: str
    capability: str
    """Compute capability, such as 9.0."""
    driver: int
    """Highest CUDA version that the driver supports: 12040 is 12.4."""
    free_bytes: int
    total_bytes: int


class Cuda:
    """Calls of the CUDA runtime. `api` is the module cuda.bindings.runtime."""

    def __init__(self, api: Any = None) -> None:
        """Find the bindings.

        Raises:
            EngineError: they are missing or broken.
        """
        if api is None:
            try:
                api = importlib.import_module("cuda.bindings.runtime")
            except Exception as error:  # ImportError, or what a broken installation raises
                raise EngineError(
                    f"CUDA's Python bindings cannot be loaded ({error}); pip install cuda-bindings"
                ) from error
        self.api = api

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function; its result, a tuple of several, or None.

        Raises:
            EngineError: CUDA reports an error; the message says what to do.
        """
        try:
            error, *results = getattr(self.api, name)(*arguments)
        except Exception as failure:  # the bindings cannot load CUDA's library, or it lacks the function
            raise EngineError(f"CUDA cannot be used ({name}: {first_line(failure)}); {_DRIVER}") from failure
        if int(error) != 0:
            raise EngineError(self._meaning(name, error))
        if not results:
            return None
        return results[0] if len(results) == 1 else tuple(results)

    def gpu(self) -> Gpu:
        """The GPU that this process uses.

        Raises:
            EngineError: there is none, or it cannot be used.
        """
        self.call("cudaGetDeviceCount")
        self.call("cudaSetDevice", 0)
        facts = self.call("cudaGetDeviceProperties", 0)
        free, total = self.call("cudaMemGetInfo")
        name = facts.name.decode(errors="replace") if isinstance(facts.name, bytes) else str(facts.name)
        capability = f"{facts.major}.{facts.minor}"
        return Gpu(name.rstrip("\0"), capability, int(self.call("cudaDriverGetVersion")), int(free), int(total))

    def _meaning(self, name: str, error: Any) -> str:
        label = str(getattr(error, "name", error))
        if label in _REMEDIES:
            return _REMEDIES[label]
        with contextlib.suppress(Exception):
            _, text = self.api.cudaGetErrorString(error)
            return f"CUDA: {text.decode(errors='replace')} ({label} in {name})"
        return f"CUDA: {label} in {name}"


@dataclass(frozen=True)  # without slots, so that a finalizer can be attached
class Buffer:
    """Memory on the device."""

    address: int
    bytes: int


class CudaMemory:
    """Memory and stream of one session (see device.Memory)."""

    def __init__(self, cuda: Cuda) -> None:
        """Make a stream.

        Raises:
            EngineError: the GPU cannot be used.
        """
        self._cuda = cuda
        self._api = cuda.api
        self.stream: Any = cuda.call("cudaStreamCreateWithFlags", _NON_BLOCKING)
        self._finalizers: list[weakref.finalize[Any, Any]] = []
        self._graphs: list[Any] = []

    def pinned(self, spec: TensorSpec) -> Array:
        """See Memory; freed with the array, for whoever got a picture may hold it longer than the session lives."""
        size = _bytes(spec)
        address = int(self._cuda.call("cudaHostAlloc", size, 0))
        block = (ctypes.c_uint8 * size).from_address(address)
        _when_gone(block, self._api.cudaFreeHost, address)
        array: Array = np.frombuffer(memoryview(block).cast("B"), spec.dtype).reshape(spec.shape)
        array[...] = 0
        return array

    def buffer(self, spec: TensorSpec) -> Buffer:
        """See Memory; freed with the last reference, or with the session."""
        size = _bytes(spec)
        buffer = Buffer(int(self._cuda.call("cudaMalloc", size)), size)
        self._finalizers = [finalizer for finalizer in self._finalizers if finalizer.alive]
        self._finalizers.append(_when_gone(buffer, self._api.cudaFree, buffer.address))
        return buffer

    def upload(self, target: Buffer, array: Array) -> None:
        """See Memory."""
        self._copy(target.address, array.ctypes.data, array.nbytes, "cudaMemcpyHostToDevice")

    def copy(self, target: Buffer, source: Buffer) -> None:
        """See Memory."""
        self._copy(target.address, source.address, source.bytes, "cudaMemcpyDeviceToDevice")

    def download(self, array: Array, source: Buffer) -> None:
        """See Memory."""
        self._copy(array.ctypes.data, source.address, array.nbytes, "cudaMemcpyDeviceToHost")

    def synchronise(self) -> None:
        """See Memory."""
        self._cuda.call("cudaStreamSynchronize", self.stream)

    def capture(self, work: Callable[[], None]) -> Callable[[], None] | None:
        """See Memory."""
        # thread-local: another session may allocate in another thread meanwhile
        mode = self._api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        try:
            self._cuda.call("cudaStreamBeginCapture", self.stream, mode)
            captured = self._instantiated(self._recorded(work))
        except Exception as error:
            self._api.cudaGetLastError()  # or TensorRT takes the error that is over for one of its own
            logger.warning("pictures are drawn without a CUDA graph, somewhat slower: %s", first_line(error))
            return None
        self._graphs.append(captured)
        return lambda: self._cuda.call("cudaGraphLaunch", captured, self.stream)

    def _recorded(self, work: Callable[[], None]) -> Any:
        try:
            work()
        except Exception:
            error, graph = self._api.cudaStreamEndCapture(self.stream)  # or the stream stays in capture for ever
            if int(error) == 0:
                self._api.cudaGraphDestroy(graph)
            raise
        return self._cuda.call("cudaStreamEndCapture", self.stream)

    def _instantiated(self, graph: Any) -> Any:
        try:
            return self._cuda.call("cudaGraphInstantiate", graph, 0)
        finally:
            self._api.cudaGraphDestroy(graph)  # what was instantiated is a copy

    def close(self) -> None:
        """See Memory."""
        self._api.cudaStreamSynchronize(self.stream)
        for captured in self._graphs:
            self._api.cudaGraphExecDestroy(captured)
        for finalizer in self._finalizers:
            finalizer()
        self._api.cudaStreamDestroy(self.stream)
        self._graphs.clear()
        self._finalizers.clear()

    def _copy(self, target: int, source: int, size: int, kind: str) -> None:
        self._cuda.call("cudaMemcpyAsync", target, source, size, getattr(self._api.cudaMemcpyKind, kind), self.stream)


def _when_gone(thing: Any, free: Callable[[int], Any], address: int) -> weakref.finalize[Any, Any]:
    finalizer = weakref.finalize(thing, free, address)
    finalizer.atexit = False  # CUDA is being taken down itself by then; the system frees what is left
    return finalizer


def _bytes(spec: TensorSpec) -> int:
    return max(1, int(np.prod(spec.shape, dtype=np.int64)) * spec.dtype.itemsize)
