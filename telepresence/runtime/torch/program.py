"""A graph as a list of torch calls: constants folded, memory freed as soon as nothing reads it any more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from telepresence.errors import EngineError
from telepresence.runtime.torch.operators import HOST_INPUTS, OPERATORS, Attributes, Operator


@dataclass(frozen=True, slots=True)
class _Step:
    operator: Operator
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Attributes
    last: tuple[str, ...]
    """Tensors that nothing reads after this step."""


class Program:
    """An ONNX graph that torch executes.

    Args:
        model: onnx.ModelProto, static shapes, the standard domain only.
        device: where it computes.

    Raises:
        EngineError: it has an operator that is not known here, or one takes its shape from data.
    """

    def __init__(self, model: Any, device: torch.device) -> None:
        from onnx import numpy_helper

        graph = model.graph
        self.device = device
        self.outputs = [value.name for value in graph.output]
        # a copy, because ONNX's arrays are read-only
        self._host: dict[str, Tensor] = {
            tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer
        }
        self._constants: dict[str, Tensor] = {}
        self._steps: list[_Step] = []
        for node in graph.node:
            self._add(node)
        self._note_last_uses()
        needed = {name for step in self._steps for name in step.inputs} | set(self.outputs)
        self._constants = {name: value for name, value in self._constants.items() if name in needed}
        if device.type == "cuda":  # whoever runs this has a stream of their own, which does not wait for ours
            torch.cuda.synchronize(device)

    def run(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Execute; tensors are on the program's device. Waits for nothing."""
        values: dict[str, Tensor] = {**self._constants, **feeds}
        for step in self._steps:
            given = [self._host[n] if n in self._host else values[n] if n else None for n in step.inputs]
            made = step.operator(given, step.attributes)
            if isinstance(made, Tensor):
                values[step.outputs[0]] = made
            else:
                values.update(zip(step.outputs, made, strict=False))
            for name in step.last:
                values.pop(name, None)
        return {name: values[name] for name in self.outputs}

    def _add(self, node: Any) -> None:
        attributes = _attributes(node)
        if node.op_type == "Constant":
            self._host[node.output[0]] = attributes["value"]
            return
        operator = OPERATORS.get(node.op_type)
        if operator is None or node.domain not in ("", "ai.onnx"):
            raise EngineError(f"torch cannot execute the operator {node.domain or 'ONNX'} {node.op_type}")
        if all(name in self._host or not name for name in node.input):  # known already: fold it
            made = operator([self._host[name] if name else None for name in node.input], attributes)
            self._host.update(zip(node.output, (made,) if isinstance(made, Tensor) else made, strict=False))
            return
        on_host = HOST_INPUTS.get(node.op_type, ())
        names = [self._placed(name, node, i in on_host) for i, name in enumerate(node.input)]
        self._steps.append(_Step(operator, node.op_type, tuple(names), tuple(node.output), attributes, ()))

    def _placed(self, name: str, node: Any, on_host: bool) -> str:
        """The name under which an input is found: a constant may be needed in the host's memory, or on the device."""
        if not name or (name not in self._host and not on_host):
            return name
        if on_host:
            if name not in self._host:
                raise EngineError(f"torch cannot execute {node.op_type} {node.name!r}: {name!r} is not a constant")
            return name
        placed = f"{name} on the device"
        if placed not in self._constants:
            value = self._host[name].to(self.device)
            if node.op_type == "Conv" and value.dim() == 4 and value.device.type == "cuda":
                value = value.contiguous(memory_format=torch.channels_last)
            self._constants[placed] = value
        return placed

    def _note_last_uses(self) -> None:
        seen = {*self.outputs, *self._host}
        for index in range(len(self._steps) - 1, -1, -1):
            step = self._steps[index]
            names = [name for name in (*step.inputs, *step.outputs) if name and name not in seen]
            seen.update(names)
            last = tuple(name for name in dict.fromkeys(names) if name not in self._constants)
            self._steps[index] = _Step(step.operator, step.name, step.inputs, step.outputs, step.attributes, last)


def _attributes(node: Any) -> Attributes:
    from onnx import helper, numpy_helper
    from onnx.onnx_pb import TensorProto

    found: Attributes = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, TensorProto):
            value = torch.from_numpy(numpy_helper.to_array(value).copy())
        elif isinstance(value, bytes):
            value = value.decode()
        elif not isinstance(value, (int, float)):
            value = list(value)
        found[attribute.name] = value
    return found
