"""torch behind the runtime contract: on an NVIDIA GPU in mixed precision and as one CUDA graph, or plainly on a CPU.

Executes the engine's own graphs, so it needs neither the generator's code nor weights beside them. Imports torch only
when a graph is loaded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from telepresence.errors import EngineError
from telepresence.runtime.contract import Array, Session, TensorSpec, first_line
from telepresence.runtime.device import DeviceSession
from telepresence.runtime.graphfile import specs
from telepresence.runtime.machine import default_threads, nvidia_driver, package_version

if TYPE_CHECKING:
    import torch

    from telepresence.runtime.torch.program import Program

logger = logging.getLogger(__name__)

_INSTALL: Final = "pip install torch onnx"
_CPU_ONLY: Final = f"this torch was built without CUDA; {_INSTALL} with the index for CUDA at pytorch.org"


class Torch:
    """The runtime `torch`, on a GPU; with device "cpu" it is `torch-cpu`: slow, for comparing, never automatic.

    Args:
        device: "cuda" or "cpu".
        half: whether convolutions compute in half precision; None: on a GPU.
    """

    def __init__(self, device: str = "cuda", *, half: bool | None = None) -> None:
        self._device = device
        self._half = device == "cuda" if half is None else half
        self.name = "torch" if device == "cuda" else f"torch-{device}"
        self.batches = device == "cuda"

    @property
    def version(self) -> str | None:
        """See Runtime.version."""
        return package_version("torch")

    def available(self) -> str | None:
        """See Runtime.available."""
        if self._device == "cuda" and nvidia_driver() is None:
            return "no NVIDIA driver found; install it from nvidia.com/drivers if this machine has an NVIDIA GPU"
        for needed in ("torch", "onnx"):
            if util.find_spec(needed) is None:
                return f"{needed} is not installed; get it with: {_INSTALL}"
        if self._device == "cuda" and (self.version or "").endswith("+cpu"):
            return _CPU_ONLY  # importing it only to find that out would cost every start seconds
        return None

    def load(self, path: Path, *, threads: int | None = None) -> Session:
        """See Runtime.load."""
        try:
            import torch

            device = _device(self._device)
            if self._device == "cpu":
                torch.set_num_threads(threads or default_threads())  # torch has one number for the whole process
            return _open(self.name, path, device, self._half)
        except EngineError as error:
            raise EngineError(f"{self.name} cannot load {path.name}: {error}") from error
        except Exception as error:  # CUDA errors, a damaged file, a broken installation
            raise EngineError(f"{self.name} cannot load {path.name}: {first_line(error)}") from error


def _device(name: str) -> torch.device:
    import torch

    if name == "cuda":
        if torch.version.cuda is None:
            raise EngineError(_CPU_ONLY)
        if not torch.cuda.is_available():
            raise EngineError(
                f"torch finds no usable GPU; it needs a driver for CUDA {torch.version.cuda}: update the driver"
            )
        # both would compute where things are with ten bits of mantissa
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True  # shapes never change
    return torch.device(name)


def _open(label: str, path: Path, device: torch.device, half: bool) -> Session:
    import onnx

    from telepresence.runtime.precision import mixed
    from telepresence.runtime.torch.program import Program

    model = onnx.load(str(path))
    inputs, outputs = specs(model.graph.input), specs(model.graph.output)
    lifted: dict[str, np.dtype[Any]] = {}
    if half:
        rewritten = mixed(model)
        model, lifted = rewritten.model, dict.fromkeys(rewritten.half_inputs, np.dtype(np.float16))
    return _TorchSession(label, inputs, outputs, Program(model, device), lifted)


class _TorchMemory:
    """Memory and stream of one session; on a CPU the same without a stream."""

    def __init__(self, device: torch.device) -> None:
        import torch

        self._torch = torch
        self._device = device
        self.stream: Any = None
        if device.type == "cuda":
            self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pinned: list[torch.Tensor] = []

    def pinned(self, spec: TensorSpec) -> Array:
        tensor = self._empty(spec, self._torch.device("cpu")).zero_()
        if self.stream is not None:
            tensor = tensor.pin_memory()
        self._pinned.append(tensor)
        array: Array = tensor.numpy()
        return array

    def buffer(self, spec: TensorSpec) -> torch.Tensor:
        with self._on_stream():  # torch keeps memory by the stream that it was allocated on
            return self._empty(spec, self._device)

    def upload(self, target: torch.Tensor, array: Array) -> None:
        with self._on_stream():
            target.copy_(self._torch.from_numpy(array), non_blocking=True)

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        with self._on_stream():
            target.copy_(source, non_blocking=True)

    def download(self, array: Array, source: torch.Tensor) -> None:
        with self._on_stream():
            self._torch.from_numpy(array).copy_(source, non_blocking=True)

    def synchronise(self) -> None:
        if self.stream is not None:
            self.stream.synchronize()

    def capture(self, work: Callable[[], None]) -> Callable[[], None] | None:
        if self.stream is None:
            return None
        graph = self._torch.cuda.CUDAGraph()
        try:
            # another session may allocate in another thread meanwhile; a capture that fails leaves its stream current
            with (
                self._on_stream(),
                self._torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"),
            ):
                work()
        except Exception as error:
            logger.warning("pictures are drawn without a CUDA graph, somewhat slower: %s", first_line(error))
            return None

        def replay() -> None:
            with self._on_stream():
                graph.replay()

        return replay

    def close(self) -> None:
        self._pinned.clear()

    def _on_stream(self) -> Any:
        return self._torch.cuda.stream(self.stream)  # does nothing for None

    def _empty(self, spec: TensorSpec, device: torch.device) -> torch.Tensor:
        kind = self._torch.from_numpy(np.empty(0, spec.dtype)).dtype
        return self._torch.empty(spec.shape, dtype=kind, device=device)


class _TorchSession(DeviceSession):
    def __init__(
        self,
        label: str,
        inputs: dict[str, TensorSpec],
        outputs: dict[str, TensorSpec],
        program: Program,
        lifted: dict[str, np.dtype[Any]],
    ) -> None:
        self._program: Program | None = program
        memory = _TorchMemory(program.device)
        self._stream = memory._on_stream
        super().__init__(label, inputs, outputs, memory, lifted)

    def _compute(self) -> None:
        import torch

        if self._program is None:
            return
        with torch.inference_mode(), self._stream():
            made = self._program.run({name: self._there[name] for name in self.inputs})
            for name, tensor in made.items():
                self._there[name].copy_(tensor)

    def _release(self) -> None:
        super()._release()
        self._program = None
