"""Which runtimes there are for an engine on this machine, and what was measured of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from telepresence.errors import EngineError
from telepresence.runtime import golden
from telepresence.runtime.choose import memory_key
from telepresence.runtime.contract import Runtime
from telepresence.runtime.graphs import Graphs, takes_int8
from telepresence.runtime.info import EngineInfo
from telepresence.runtime.machine import nvidia_driver
from telepresence.runtime.onnxruntime import PROVIDERS, OnnxRuntime
from telepresence.runtime.openvino import OpenVino
from telepresence.runtime.tensorrt.runtime import TensorRt
from telepresence.runtime.torch.runtime import Torch


def accelerated() -> list[Runtime]:
    """Those of a GPU, best first; none on a machine without one, where nobody wants to hear that they are missing."""
    return [TensorRt(), Torch()] if nvidia_driver() is not None else []


def runtimes(info: EngineInfo | None = None, size: int = 0) -> tuple[list[Runtime], list[Runtime]]:
    """Those that are chosen from by themselves by measuring, and those that only a name brings in.

    Args:
        info: the engine that is to be drawn with; without one, 8 bits are not among the former.
        size: of its pictures, pixels.
    """
    ordinary: list[Runtime] = [OpenVino(), OnnxRuntime()]
    ordinary += [runtime for provider in PROVIDERS if (runtime := OnnxRuntime(provider)).available() is None]
    extra: list[Runtime] = [Torch("cpu")]
    int8 = OpenVino(int8=True)
    (ordinary if info is not None and info.has_int8(size) and int8.available() is None else extra).insert(0, int8)
    return ordinary, extra if nvidia_driver() is not None else [*extra, TensorRt(), Torch()]


def key_of(info: EngineInfo, size: int, threads: int, compared: Sequence[Runtime]) -> str:
    """Everything that a measurement depends on, as one readable line."""
    graphs = info.digest
    if any(takes_int8(runtime) for runtime in compared):  # of which the digest says nothing
        graphs += f" with {info.int8[info.graph('render', size, int8=True).name]}"
    return memory_key(graphs, size, threads, compared)


def cost_of(compared: Sequence[Runtime]) -> Callable[[], float] | None:
    """What runtimes are compared by, seconds; None for wall time.

    A first call may be on a busy machine, where wall time is chance, and what was found is remembered for long. CPU
    time says nothing of a GPU, and Windows counts it in steps of 16 ms.
    """
    of_gpu = {f"onnxruntime-{provider}" for provider in PROVIDERS}
    if sys.platform == "win32" or any(runtime.name in of_gpu for runtime in compared):
        return None
    return time.process_time


def checked_int8(graphs: Graphs) -> Graphs:
    """Graphs as they are, after a look at their pictures if they are drawn in 8 bits: CPUs compute those differently.

    Takes a third of a second.

    Raises:
        EngineError: they are not the engine's pictures; the graphs are closed.
    """
    if takes_int8(graphs.runtime):
        try:
            psnr = golden.check(graphs, graphs.info.folder / f"golden-{graphs.size}.npz").psnr
            if psnr < golden.MIN_INT8_PSNR:
                raise EngineError(f"its pictures are too far from those in float32 on this CPU ({psnr:.0f} dB)")
        except EngineError:
            graphs.close()
            raise
    return graphs
