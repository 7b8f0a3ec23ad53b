"""A plan at work: own stream, buffers that stay where they are, one CUDA graph for the whole picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from telepresence.errors import EngineError
from telepresence.runtime.contract import TensorSpec
from telepresence.runtime.device import DeviceSession
from telepresence.runtime.tensorrt.build import Messages, make_logger
from telepresence.runtime.tensorrt.cuda import Cuda, CudaMemory


class PlanError(EngineError):
    """A plan cannot be used on this machine, or is not that of the graph; build it anew."""


class TensorRtSession(DeviceSession):
    """See contract.Session.

    Args:
        trt: the module tensorrt.
        cuda: of the GPU that the plan is for.
        plan: its bytes.
        inputs, outputs: of the engine's graph.
        lifted: inputs that the plan takes in another dtype.
        host_code: whether the plan may bring code for the CPU: one for several versions of TensorRT does.

    Raises:
        PlanError: the plan is not one of this graph for this machine.
        EngineError: there is not enough memory, or the GPU cannot be used.
    """

    def __init__(
        self,
        trt: Any,
        cuda: Cuda,
        plan: bytes,
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
        lifted: Mapping[str, np.dtype[Any]],
        *,
        host_code: bool = False,
    ) -> None:
        self._messages = Messages()
        self._log = make_logger(trt, self._messages)
        try:
            self._runtime = trt.Runtime(self._log)
        except Exception as error:
            raise EngineError(f"TensorRT cannot use the GPU: {self._messages.why(str(error))}") from error
        self._messages.refuse("TensorRT cannot use the GPU", self._runtime, self._log)
        if host_code:
            self._runtime.engine_host_code_allowed = True
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise PlanError(f"the plan cannot be read: {self._messages.why('it does not say why')}")
        _compare(trt, self._engine, inputs, outputs, lifted)
        self._context: Any = self._engine.create_execution_context()
        if self._context is None:
            raise EngineError(f"TensorRT cannot prepare the plan: {self._messages.why('not enough GPU memory')}")
        memory = CudaMemory(cuda)
        self._stream = int(memory.stream)
        try:
            super().__init__("tensorrt", inputs, outputs, memory, lifted)
            for name, buffer in self._there.items():
                if not self._context.set_tensor_address(name, buffer.address):
                    raise PlanError(f"the plan does not take {name!r}: {self._messages.why('it does not say why')}")
        except Exception:
            memory.close()
            raise

    def _compute(self) -> None:
        if not self._context.execute_async_v3(self._stream):
            raise EngineError(self._messages.why("TensorRT does not say why"))

    def _release(self) -> None:
        super()._release()
        # in this order: each needs the one before it
        self._context = self._engine = self._runtime = None


def _compare(
    trt: Any,
    engine: Any,
    inputs: Mapping[str, TensorSpec],
    outputs: Mapping[str, TensorSpec],
    lifted: Mapping[str, np.dtype[Any]],
) -> None:
    """Raise PlanError unless a plan has the graph's inputs and outputs."""
    wanted = {
        name: (trt.TensorIOMode.INPUT, TensorSpec(spec.shape, lifted.get(name, spec.dtype)))
        for name, spec in inputs.items()
    } | {name: (trt.TensorIOMode.OUTPUT, spec) for name, spec in outputs.items()}
    have = {}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
        have[name] = (engine.get_tensor_mode(name), TensorSpec(tuple(engine.get_tensor_shape(name)), dtype))
    for name in wanted.keys() | have.keys():
        if wanted.get(name) != have.get(name):
            raise PlanError(f"the plan is of another graph: {name!r} is not as it should be")
