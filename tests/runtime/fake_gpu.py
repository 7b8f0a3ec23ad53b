"""Stand-ins for the modules cuda.bindings.runtime and tensorrt: device memory is the host's, a plan is the ONNX file.

They take what the real ones take (test_tensorrt_api compares), fail on request, and count what they are asked to do. A
stream executes at once, except while it is captured.
"""

# ruff: noqa: N802, N815 - the names are NVIDIA's

from __future__ import annotations

import ctypes
import enum
import weakref
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

PLAN = b"fake plan of "


class CudaError(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorDevicesUnavailable = 46
    cudaErrorNoDevice = 100
    cudaErrorIllegalAddress = 700


class _Kind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2
    cudaMemcpyDeviceToDevice = 3


class _Mode(enum.IntEnum):
    cudaStreamCaptureModeGlobal = 0
    cudaStreamCaptureModeThreadLocal = 1


class FakeCuda:
    """cuda.bindings.runtime. `failing[function]` is the error that it reports from now on."""

    cudaMemcpyKind = _Kind
    cudaStreamCaptureMode = _Mode

    def __init__(self, name: str = "Fake H200", capability: tuple[int, int] = (9, 0)) -> None:
        self.name, self.capability = name, capability
        self.failing: dict[str, CudaError] = {}
        self.calls: Counter[str] = Counter()
        self.blocks: dict[int, Any] = {}
        self.freed: set[int] = set()
        self.recording: dict[int, list[Callable[[], None]]] = {}
        self.streams = 0
        self.graphs = 0  # recorded, and not destroyed yet

    def queue(self, stream: int, work: Callable[[], None]) -> None:
        if stream in self.recording:
            self.recording[stream].append(work)
        else:
            work()

    def _result(self, name: str, *results: Any) -> tuple[Any, ...]:
        self.calls[name] += 1
        error = self.failing.get(name, CudaError.cudaSuccess)
        return (error, *(results if error == 0 else (None,) * len(results)))

    def cudaGetDeviceCount(self) -> tuple[Any, ...]:
        return self._result("cudaGetDeviceCount", 1)

    def cudaSetDevice(self, device: int) -> tuple[Any, ...]:
        return self._result("cudaSetDevice")

    def cudaGetDeviceProperties(self, device: int) -> tuple[Any, ...]:
        major, minor = self.capability
        facts = SimpleNamespace(name=self.name.encode() + b"\0\0", major=major, minor=minor)
        return self._result("cudaGetDeviceProperties", facts)

    def cudaMemGetInfo(self) -> tuple[Any, ...]:
        return self._result("cudaMemGetInfo", 10**9, 2 * 10**9)

    def cudaDriverGetVersion(self) -> tuple[Any, ...]:
        return self._result("cudaDriverGetVersion", 13000)

    def cudaGetErrorString(self, error: int) -> tuple[Any, ...]:
        return CudaError.cudaSuccess, b"an illegal memory access was encountered"

    def cudaGetLastError(self) -> tuple[Any, ...]:
        return self._result("cudaGetLastError")

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        self.streams += 1
        return self._result("cudaStreamCreateWithFlags", self.streams)

    def cudaStreamDestroy(self, stream: int) -> tuple[Any, ...]:
        return self._result("cudaStreamDestroy")

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:
        return self._result("cudaStreamSynchronize")

    def _new(self, name: str, size: int) -> tuple[Any, ...]:
        block = (ctypes.c_uint8 * size)()
        result = self._result(name, ctypes.addressof(block))
        if result[0] == 0:
            self.blocks[result[1]] = block
        return result

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:
        return self._new("cudaMalloc", size)

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[Any, ...]:
        return self._new("cudaHostAlloc", size)

    def _free(self, name: str, address: int) -> tuple[Any, ...]:
        assert address in self.blocks, "freed twice, or never allocated"
        del self.blocks[address]
        return self._result(name)

    def cudaFree(self, devPtr: int) -> tuple[Any, ...]:
        return self._free("cudaFree", devPtr)

    def cudaFreeHost(self, ptr: int) -> tuple[Any, ...]:
        return self._free("cudaFreeHost", ptr)

    def cudaMemcpyAsync(self, dst: int, src: int, count: int, kind: _Kind, stream: int) -> tuple[Any, ...]:
        self.queue(stream, lambda: ctypes.memmove(dst, src, count) and None)
        return self._result("cudaMemcpyAsync")

    def cudaStreamBeginCapture(self, stream: int, mode: _Mode) -> tuple[Any, ...]:
        result = self._result("cudaStreamBeginCapture")
        if result[0] == 0:
            self.recording[stream] = []
        return result

    def cudaStreamEndCapture(self, stream: int) -> tuple[Any, ...]:
        result = self._result("cudaStreamEndCapture", self.recording.pop(stream, []))
        self.graphs += result[0] == 0
        return result

    def cudaGraphInstantiate(self, graph: Any, flags: int) -> tuple[Any, ...]:
        return self._result("cudaGraphInstantiate", list(graph))

    def cudaGraphDestroy(self, graph: Any) -> tuple[Any, ...]:
        self.graphs -= 1
        return self._result("cudaGraphDestroy")

    def cudaGraphExecDestroy(self, graphExec: Any) -> tuple[Any, ...]:
        return self._result("cudaGraphExecDestroy")

    def cudaGraphLaunch(self, graphExec: Any, stream: int) -> tuple[Any, ...]:
        result = self._result("cudaGraphLaunch")
        if result[0] == 0:
            for work in graphExec:
                work()
        return result


class FakeTensorRt:
    """The module tensorrt, of one version. `log` is what it says before it gives nothing."""

    def __init__(self, cuda: FakeCuda, version: str = "10.16.1.11") -> None:
        self.cuda = cuda
        self.__version__ = version
        self.broken: dict[str, str] = {}  # "parse", "build", "deserialize", "context", "execute" -> what it logs
        self.builds = 0
        self.configs: list[Any] = []
        for name, made in _classes(self).items():
            setattr(self, name, made)

    def fails(self, what: str, logger: Any) -> bool:
        if what in self.broken:
            logger.log(self.ILogger.Severity.ERROR, self.broken[what])  # type: ignore[attr-defined]
            return True
        return False

    def nptype(self, dtype: Any) -> Any:
        return dtype


def _classes(trt: FakeTensorRt) -> dict[str, Any]:
    v11 = trt.__version__.startswith("11.")

    class Severity(enum.Enum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    class ILogger:
        def __init__(self) -> None:
            pass

        def log(self, severity: Any, msg: str) -> None:
            raise NotImplementedError

    ILogger.Severity = Severity  # type: ignore[attr-defined]

    class NetworkDefinitionCreationFlag(enum.IntEnum):
        STRONGLY_TYPED = 0 if v11 else 1

    class BuilderFlag(enum.IntEnum):
        TF32 = 6
        VERSION_COMPATIBLE = 12 if v11 else 13

    class MemoryPoolType(enum.IntEnum):
        WORKSPACE = 0

    class HardwareCompatibilityLevel(enum.IntEnum):
        NONE = 0
        AMPERE_PLUS = 1
        SAME_COMPUTE_CAPABILITY = 2

    class TensorIOMode(enum.Enum):
        INPUT = 1
        OUTPUT = 2

    class IProgressMonitor:
        def __init__(self) -> None:
            pass

    class ITimingCache:
        def __init__(self, data: bytes) -> None:
            self.data = data

        def serialize(self) -> memoryview:
            return memoryview(self.data + b"+")

    class IBuilderConfig:
        def __init__(self) -> None:
            self.flags = {BuilderFlag.TF32}
            self.pools: dict[Any, int] = {}
            self.builder_optimization_level = 3
            self.hardware_compatibility_level = HardwareCompatibilityLevel.NONE
            self.progress_monitor: Any = None
            self.cache: Any = None

        def clear_flag(self, flag: Any) -> None:
            self.flags.discard(flag)

        def set_flag(self, flag: Any) -> None:
            self.flags.add(flag)

        def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
            self.pools[pool] = pool_size

        def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
            return ITimingCache(bytes(serialized_timing_cache))

        def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
            self.cache = cache
            return not cache.data.startswith(b"foreign")

    class Network:
        parser: Any = None  # who owns the weights, weakly
        model = b""

    class Builder:
        def __init__(self, logger: Any) -> None:
            if trt.fails("builder", logger) and "factory" in trt.broken["builder"]:
                raise TypeError("pybind11::init(): factory function returned nullptr")
            self.logger = logger

        def create_network(self, flags: int = 0) -> Any:
            assert flags == 1 << int(NetworkDefinitionCreationFlag.STRONGLY_TYPED)
            return Network()

        def create_builder_config(self) -> Any:
            trt.configs.append(IBuilderConfig())
            return trt.configs[-1]

        def build_serialized_network(self, network: Any, config: Any) -> Any:
            trt.builds += 1
            assert network.parser() is not None, "here the real one reads weights that were freed"
            if trt.fails("build", self.logger):
                return None
            monitor = config.progress_monitor
            if monitor is not None:
                monitor.phase_start("Building", None, 2)
                monitor.phase_start("Tactics", "Building", 4)
                for step in range(4):
                    if not monitor.step_complete("Tactics", step):
                        return None
                monitor.phase_finish("Tactics")
                monitor.step_complete("Building", 0)
                monitor.phase_finish("Building")
            several = BuilderFlag.VERSION_COMPATIBLE in config.flags
            version = f"{trt.__version__.partition('.')[0]} with host code" if several else trt.__version__
            return memoryview(PLAN + version.encode() + b"\n" + network.model)

    class ParserError:
        def __init__(self, text: str) -> None:
            self.text = text

        def desc(self) -> str:
            return self.text

    class OnnxParser:
        def __init__(self, network: Any, logger: Any) -> None:
            self.network, self.logger = network, logger
            self.num_errors = 0

        def parse(self, model: bytes, path: str | None = None) -> bool:
            if "parse" in trt.broken:
                self.num_errors = 1
                return False
            self.network.model, self.network.parser = bytes(model), weakref.ref(self)
            return True

        def get_error(self, index: int) -> Any:
            return ParserError(trt.broken["parse"])

    class IExecutionContext:
        def __init__(self, engine: Any, logger: Any) -> None:
            self.engine, self.logger = engine, logger
            self.addresses: dict[str, int] = {}

        def set_tensor_address(self, name: str, memory: int) -> bool:
            self.addresses[name] = memory
            return True

        def execute_async_v3(self, stream_handle: int) -> bool:
            trt.cuda.calls["execute"] += 1
            if trt.fails("execute", self.logger):
                return False
            trt.cuda.queue(stream_handle, self._run)
            return True

        def _array(self, name: str) -> Any:
            _, shape, dtype = self.engine.tensors[name]
            size = int(np.prod(shape)) * np.dtype(dtype).itemsize
            block = (ctypes.c_uint8 * size).from_address(self.addresses[name])
            return np.frombuffer(block, dtype).reshape(shape)

        def _run(self) -> None:
            trt.cuda.calls["computed"] += 1
            session = self.engine.session
            feeds = {given.name: self._array(given.name) for given in session.get_inputs()}
            names = [made.name for made in session.get_outputs()]
            for name, made in zip(names, session.run(names, feeds), strict=True):
                self._array(name)[...] = made

    class ICudaEngine:
        def __init__(self, model: bytes, logger: Any) -> None:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            options.log_severity_level = 4
            self.logger = logger
            self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            kinds = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
            self.tensors = {
                node.name: (mode, tuple(node.shape), kinds[node.type])
                for mode, nodes in (
                    (TensorIOMode.INPUT, self.session.get_inputs()),
                    (TensorIOMode.OUTPUT, self.session.get_outputs()),
                )
                for node in nodes
            }
            self.num_io_tensors = len(self.tensors)

        def get_tensor_name(self, index: int) -> str:
            return list(self.tensors)[index]

        def get_tensor_mode(self, name: str) -> Any:
            return self.tensors[name][0]

        def get_tensor_shape(self, name: str) -> Any:
            return self.tensors[name][1]

        def get_tensor_dtype(self, name: str) -> Any:
            return self.tensors[name][2]

        def create_execution_context(self, strategy: Any = None) -> Any:
            return None if trt.fails("context", self.logger) else IExecutionContext(self, self.logger)

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self.logger = logger
            self.engine_host_code_allowed = False
            self.doomed = trt.fails("runtime", logger)  # 11.4 goes on, and crashes later

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
            assert not self.doomed, "here the real one ends the process"
            head, _, model = serialized_engine.partition(b"\n")
            fits = [trt.__version__]
            if self.engine_host_code_allowed:
                fits.append(f"{trt.__version__.partition('.')[0]} with host code")
            if head.decode(errors="replace") not in [PLAN.decode() + version for version in fits]:
                return None
            if trt.fails("deserialize", self.logger):
                return None
            return ICudaEngine(model, self.logger)

    return {name: made for name, made in locals().items() if isinstance(made, type)}
