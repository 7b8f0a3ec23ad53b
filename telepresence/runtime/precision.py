"""Rewrites an engine's graph for a GPU: convolutions in half precision, what says where things are in float32.

A strongly typed TensorRT network computes every layer in the type that the graph says, so the graph says it:

* A convolution computes in float16, with what lies between two convolutions (activations, sums, enlarging).
* Keypoints, mesh, raster, flow and GridSample's coordinates stay float32: in half precision they err by 0.1 pixel at
  512, and squared distances overflow. So do convolutions whose output becomes coordinates.
* uint8 inputs that the graph computes with (TensorRT has uint8 only at a network's edge) become float16 inputs; 0-255
  are exact in it. Whoever executes the graph converts them once, when an avatar is bound.

Needs the package onnx.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from telepresence.errors import EngineError

CONVOLUTIONS: Final = ("Conv", "ConvTranspose")
# What may lie between two convolutions in half precision: no sums over many values, which could overflow. So
# normalisation is not among them: the squares of a whole map are summed in whatever type the graph says.
BETWEEN: Final = (
    "LeakyRelu", "Relu", "PRelu", "Add", "Sub", "Mul", "Concat", "Resize", "DepthToSpace", "SpaceToDepth", "Identity",
    "AveragePool", "MaxPool",
)  # fmt: skip
_INDEX_INPUTS: Final = {"Resize": (1, 2, 3)}  # inputs that are shapes or scales, which stay as they are
_HALF_LIMIT: Final = 65504.0  # largest finite float16


@dataclass(slots=True)
class Rewritten:
    """A graph in mixed precision."""

    model: Any
    """onnx.ModelProto"""
    half_inputs: tuple[str, ...]
    """Inputs that were uint8 and take float16 now, with the same values 0-255."""
    half_nodes: int
    """How many nodes compute in float16."""


def mixed(model: Any) -> Rewritten:
    """Rewrite a copy of `model` (onnx.ModelProto, static shapes, float32) for mixed precision.

    Raises:
        EngineError: a weight is too large for float16.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    half_inputs = lift_bytes(copy.graph)
    graph = _Graph(copy.graph)
    chosen = graph.half_nodes()
    if chosen:
        _Caster(graph, chosen).rewrite()
    onnx.checker.check_model(copy)
    return Rewritten(copy, half_inputs, len(chosen))


def lift_bytes(graph: Any) -> tuple[str, ...]:
    """Make uint8 inputs that more than a Cast reads float16; returns their names. Changes `graph` (onnx.GraphProto)."""
    from onnx import TensorProto

    lifted = []
    for given in graph.input:
        kind = given.type.tensor_type
        readers = [node for node in graph.node if given.name in node.input]
        if kind.elem_type == TensorProto.UINT8 and any(node.op_type != "Cast" for node in readers):
            kind.elem_type = TensorProto.FLOAT16
            lifted.append(given.name)
    del graph.value_info[:]  # what they said of types may not hold any more
    return tuple(lifted)


def towards_coordinates(graph: Any) -> set[int]:
    """Indices of the nodes of a graph (onnx.GraphProto) whose output becomes coordinates without passing a convolution;
    the last convolution is among them."""
    return _Graph(graph).towards_coordinates()


@dataclass(slots=True)
class _Graph:
    """A graph with the way from each tensor to its maker and its readers."""

    proto: Any
    made_by: dict[str, int] = field(default_factory=dict)
    readers: dict[str, list[int]] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    casts: dict[str, str] = field(default_factory=dict)
    """float32 tensor -> the float16 constant of which it is a cast."""

    def __post_init__(self) -> None:
        from onnx import TensorProto

        self.constants = {tensor.name: tensor for tensor in self.proto.initializer}
        for index, node in enumerate(self.proto.node):
            for name in node.output:
                self.made_by[name] = index
            for name in node.input:
                self.readers.setdefault(name, []).append(index)
            source = self.constants.get(node.input[0]) if node.op_type == "Cast" else None
            if source is not None and source.data_type == TensorProto.FLOAT16:
                self.casts[node.output[0]] = node.input[0]

    def fixed(self, name: str) -> bool:
        """Whether a tensor is known before anything is fed."""
        return name in self.constants or name in self.casts

    def half_nodes(self) -> set[int]:
        """Indices of the nodes that compute in half precision."""
        nodes = self.proto.node
        exact = self.towards_coordinates()
        able = {i for i, node in enumerate(nodes) if i not in exact and node.op_type in (*CONVOLUTIONS, *BETWEEN)}
        convolutions = {i for i in able if nodes[i].op_type in CONVOLUTIONS}
        after = self._spread(convolutions, able, self._following)
        before = self._spread(convolutions, able, self._preceding)
        return convolutions | (after & before)

    def towards_coordinates(self) -> set[int]:
        """See the function of that name."""
        nodes = self.proto.node
        found: set[int] = set()
        todo = [self.made_by[node.input[1]] for node in nodes if node.op_type == "GridSample" and self._made(node, 1)]
        while todo:
            index = todo.pop()
            if index in found:
                continue
            found.add(index)
            if nodes[index].op_type not in CONVOLUTIONS:
                todo.extend(self._preceding(index))
        return found

    def _made(self, node: Any, position: int) -> bool:
        return node.input[position] in self.made_by

    def _preceding(self, index: int) -> Iterator[int]:
        return (self.made_by[name] for name in self.proto.node[index].input if name in self.made_by)

    def _following(self, index: int) -> Iterator[int]:
        return (reader for name in self.proto.node[index].output for reader in self.readers.get(name, ()))

    @staticmethod
    def _spread(start: set[int], able: set[int], step: Any) -> set[int]:
        """All of `able` that steps reach from `start` without leaving `able`."""
        found: set[int] = set()
        todo = list(start)
        while todo:
            for other in step(todo.pop()):
                if other in able and other not in found:
                    found.add(other)
                    todo.append(other)
        return found


class _Caster:
    """Makes the chosen nodes compute in float16, with casts where they meet the others."""

    def __init__(self, graph: _Graph, chosen: set[int]) -> None:
        self._graph = graph
        self._chosen = chosen
        self._nodes: list[Any] = []
        self._half: dict[str, str] = {}  # float32 tensor -> its float16 twin
        self._weights: list[Any] = []
        self._outputs = {value.name for value in graph.proto.output}

    def rewrite(self) -> None:
        proto = self._graph.proto
        for index, node in enumerate(list(proto.node)):
            if index in self._chosen:
                self._halve(index, node)
            else:
                self._nodes.append(node)
        del proto.node[:]
        proto.node.extend(_needed(self._nodes, self._outputs))
        proto.initializer.extend(self._weights)
        used = {name for node in proto.node for name in node.input}
        kept = [tensor for tensor in proto.initializer if tensor.name in used]
        del proto.initializer[:]
        proto.initializer.extend(kept)

    def _halve(self, index: int, node: Any) -> None:
        from onnx import TensorProto

        skipped = _INDEX_INPUTS.get(node.op_type, ())
        for position, name in enumerate(node.input):
            if name and position not in skipped:
                node.input[position] = self._half_of(name)
        name = node.output[0]
        node.output[0] = self._half[name] = f"{name}.half"
        self._nodes.append(node)
        readers = self._graph.readers.get(name, [])
        if name in self._outputs or any(reader not in self._chosen for reader in readers):
            self._nodes.append(_cast(f"{name}.half", name, TensorProto.FLOAT))

    def _half_of(self, name: str) -> str:
        from onnx import TensorProto

        if name in self._half:
            return self._half[name]
        if name in self._graph.casts:  # a weight that the file keeps in float16 anyway
            self._half[name] = self._graph.casts[name]
        elif name in self._graph.constants:
            self._half[name] = self._weight(name)
        else:
            self._half[name] = f"{name}.half"
            self._nodes.append(_cast(name, f"{name}.half", TensorProto.FLOAT16))
        return self._half[name]

    def _weight(self, name: str) -> str:
        from onnx import numpy_helper

        values = numpy_helper.to_array(self._graph.constants[name])
        if np.abs(values).max(initial=0) > _HALF_LIMIT:
            raise EngineError(f"weight {name!r} is too large for half precision; train it with a decay of weights")
        self._weights.append(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        return f"{name}.half"


def _cast(source: str, target: str, kind: int) -> Any:
    from onnx import helper

    return helper.make_node("Cast", [source], [target], f"cast_{target}", to=kind)


def _needed(nodes: Iterable[Any], outputs: set[str]) -> list[Any]:
    """The nodes that an output depends on, in order."""
    wanted = set(outputs)
    kept = []
    for node in reversed(list(nodes)):
        if any(name in wanted for name in node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]
