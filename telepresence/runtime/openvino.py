"""OpenVINO on the CPU behind the runtime contract. Imports OpenVINO only when a graph is loaded."""

from __future__ import annotations

from functools import lru_cache
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np

from telepresence.errors import EngineError
from telepresence.runtime import telemetry
from telepresence.runtime.contract import Array, BufferedSession, Session, TensorSpec, first_line
from telepresence.runtime.machine import default_threads, int8_instructions, package_version


class OpenVino:
    """The runtime `openvino`; with `int8` it is `openvino-int8`, which draws with engines' graphs in 8 bits."""

    def __init__(self, *, int8: bool = False) -> None:
        self.int8 = int8
        self.name = "openvino-int8" if int8 else "openvino"

    @property
    def version(self) -> str | None:
        """See Runtime.version."""
        return package_version("openvino")

    def available(self) -> str | None:
        """See Runtime.available."""
        if util.find_spec("openvino") is None:
            return "OpenVINO is not installed; get it with: pip install openvino"
        if self.int8 and int8_instructions() is False:
            return "this CPU has no instructions for products of 8-bit numbers (VNNI): it would gain nothing"
        return None

    def load(self, path: Path, *, threads: int | None = None) -> Session:
        """See Runtime.load."""
        telemetry.disable()
        try:
            from openvino.frontend import FrontEndManager

            # Core.read_model would try every other format on a damaged file, and those write to stderr
            frontend = FrontEndManager().load_by_framework("onnx")
            compiled = _core().compile_model(
                frontend.convert(frontend.load(str(path))),
                "CPU",
                {
                    "PERFORMANCE_HINT": "LATENCY",
                    "NUM_STREAMS": 1,
                    "INFERENCE_NUM_THREADS": threads or default_threads(),
                    # where the CPU has bfloat16, OpenVINO would take it, coordinates included: 26 dB, it shows. What
                    # a graph itself has in 8 bits stays in 8 bits
                    "INFERENCE_PRECISION_HINT": "f32",
                    # other processes of a call share these cores; pinned threads cannot give way
                    "ENABLE_CPU_PINNING": False,
                    # no CACHE_DIR: it spares 75 of 225 ms (prior at 256, two Zen 4 cores), and two edges that start at
                    # once would write the same file
                },
            )
            return _OpenVinoSession(self.name, compiled)
        except Exception as error:  # OpenVINO raises RuntimeError; a broken installation, ImportError or OSError
            raise EngineError(f"{self.name} cannot load {path.name}: {first_line(error)}") from error


@lru_cache(maxsize=1)
def _core() -> Any:
    """One for the process. With the last Core goes the CPU plugin, and leaves the main thread an alternate signal stack
    that is no longer mapped: the next signal, a Ctrl-C, would kill the process without a word (2026.4, Linux)."""
    import openvino

    return openvino.Core()


class _OpenVinoSession(BufferedSession):
    def __init__(self, label: str, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        super().__init__(label, _specs(compiled.inputs), _specs(compiled.outputs))

    def _attach_input(self, name: str, array: Array) -> None:
        self._request.set_tensor(name, _shared(array))

    def _attach_output(self, name: str, array: Array) -> None:
        self._request.set_tensor(name, _shared(array))

    def _execute(self) -> None:
        # start_async + wait, because infer() also gathers the outputs into new Python objects
        self._request.start_async(share_inputs=True)
        self._request.wait()

    def _release(self) -> None:
        self._request = None


def _shared(array: Array) -> Any:
    import openvino

    return openvino.Tensor(array, shared_memory=True)


def _specs(ports: Any) -> dict[str, TensorSpec]:
    specs = {}
    for port in ports:
        if port.partial_shape.is_dynamic:
            raise EngineError(f"tensor {port.any_name!r} has no fixed shape; export the engine with static shapes")
        specs[port.any_name] = TensorSpec(tuple(port.shape), np.dtype(port.element_type.to_dtype()))
    return specs
