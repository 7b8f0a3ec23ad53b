"""ONNX Runtime's CPU provider behind the runtime contract. Imports onnxruntime only when a graph is loaded."""

from __future__ import annotations

import sys
from importlib import util
from pathlib import Path
from typing import Any, Final

import numpy as np

from telepresence.errors import EngineError
from telepresence.runtime import telemetry
from telepresence.runtime.contract import Array, BufferedSession, Session, TensorSpec, first_line
from telepresence.runtime.machine import default_threads, package_version

_FATAL: Final = 4  # onnxruntime's log level; errors come to us as exceptions
_DTYPES: Final = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}


PROVIDERS: Final = {
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu", "linux win32"),
    "dml": ("DmlExecutionProvider", "onnxruntime-directml", "win32"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime", "darwin"),
}
"""Of a GPU: its name in onnxruntime, the package whose wheel has it, and the systems that it is for."""


class OnnxRuntime:
    """The runtime `onnxruntime`; with a provider `onnxruntime-cuda`, `-dml` or `-coreml`.

    Not run so far: the providers. None of them falls back to the CPU unnoticed.
    """

    def __init__(self, provider: str | None = None) -> None:
        self._provider, self._package, self._systems = (
            PROVIDERS[provider] if provider else ("CPUExecutionProvider", "onnxruntime", sys.platform)
        )
        self.name = f"onnxruntime-{provider}" if provider else "onnxruntime"

    @property
    def version(self) -> str | None:
        """See Runtime.version."""
        return package_version(self._package) or package_version("onnxruntime")

    def available(self) -> str | None:
        """See Runtime.available."""
        if util.find_spec("onnxruntime") is None:
            return "ONNX Runtime is not installed; get it with: pip install onnxruntime"
        if sys.platform not in self._systems.split():
            return f"it is not for this system ({sys.platform})"
        if self._package != "onnxruntime" and package_version(self._package) is None:
            return f"its package is not installed; get it with: pip install {self._package}"
        return None

    def load(self, path: Path, *, threads: int | None = None) -> Session:
        """See Runtime.load."""
        telemetry.disable()
        try:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.log_severity_level = _FATAL
            options.intra_op_num_threads = threads or default_threads()
            options.inter_op_num_threads = 1
            options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
            # a spinning worker takes the core from the call's other processes
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            if self._provider == "DmlExecutionProvider":
                options.enable_mem_pattern = False  # DirectML asks for it
            providers = list(dict.fromkeys([self._provider, "CPUExecutionProvider"]))
            session = onnxruntime.InferenceSession(str(path), options, providers=providers)
            if session.get_providers()[0] != self._provider:
                raise EngineError(f"{self._provider} cannot be used here, and the CPU in its place would be slow")
            return _OnnxRuntimeSession(self.name, session)
        except Exception as error:  # its exceptions have no common base; a broken installation raises ImportError
            raise EngineError(f"{self.name} cannot load {path.name}: {first_line(error)}") from error


class _OnnxRuntimeSession(BufferedSession):
    def __init__(self, label: str, session: Any) -> None:
        import onnxruntime

        self._session = session
        self._binding = session.io_binding()
        self._options = onnxruntime.RunOptions()
        self._options.log_severity_level = _FATAL
        super().__init__(label, _specs(session.get_inputs()), _specs(session.get_outputs()))

    def _attach_input(self, name: str, array: Array) -> None:
        self._binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)

    def _attach_output(self, name: str, array: Array) -> None:
        self._binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)

    def _execute(self) -> None:
        self._session.run_with_iobinding(self._binding, self._options)

    def _release(self) -> None:
        self._binding = None
        self._session = None


def _specs(nodes: Any) -> dict[str, TensorSpec]:
    specs = {}
    for node in nodes:
        if not all(isinstance(length, int) for length in node.shape):
            raise EngineError(f"tensor {node.name!r} has no fixed shape; export the engine with static shapes")
        if node.type not in _DTYPES:
            raise EngineError(f"tensor {node.name!r} is {node.type}; an engine's tensors are float32 or uint8")
        specs[node.name] = TensorSpec(tuple(node.shape), np.dtype(_DTYPES[node.type]))
    return specs
