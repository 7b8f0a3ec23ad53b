"""Several participants in one engine call: a `render` graph for B pictures made from the one for a single picture.

Shapes stay static, and every participant keeps inputs of its own (`pixels.0`, `pixels.1`, ...): avatars need not be put
together in memory. What is learned (convolutions, looking-up, and all that lies between them) is computed for
the whole batch at once, along the first axis; what chooses references and places the mesh is small, and stays one copy
a participant. No engine has to be exported anew. Needs onnx.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from telepresence.errors import EngineError
from telepresence.runtime.machine import write_whole

VERSION: Final = 1  # of what is made here
SIZES: Final = (2, 4, 8)
"""Batches that are made; for three participants, the fourth place draws the third again."""

_SEEDS: Final = ("Conv", "GridSample", "Resize", "AveragePool", "MaxPool", "InstanceNormalization", "DepthToSpace")
_ELEMENTWISE: Final = (
    "Abs", "Add", "Cast", "Ceil", "Clip", "Cos", "Div", "Equal", "Erf", "Exp", "Floor", "Greater", "GreaterOrEqual",
    "Identity", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Min", "Mul", "Neg", "Not", "Pow", "Reciprocal",
    "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sqrt", "Sub", "Tanh", "Where",
)  # fmt: skip
_BYTE: Final = 2  # onnx.TensorProto.UINT8
_REDUCTIONS: Final = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum")


def batched_file(path: Path, count: int, folder: Path) -> Path:
    """The ONNX file of a `render` graph for `count` pictures, made if it is not in `folder` yet.

    Raises:
        EngineError: the graph cannot be read, or the file not be written.
    """
    import onnx

    try:
        data = path.read_bytes()
        digest = hashlib.sha256(data + f"\n{count}\n{VERSION}".encode()).hexdigest()
        target = folder / f"{path.stem}-{count}-{digest[:24]}.onnx"
        made = batched(onnx.load_from_string(data), count).SerializeToString(deterministic=True)
        if not target.exists() or target.read_bytes() != made:
            write_whole(target, made)
    except OSError as error:
        raise EngineError(f"{path.name} for {count} pictures cannot be written to {folder} ({error})") from error
    return target


def batched(model: Any, count: int) -> Any:
    """A graph (onnx.ModelProto, static shapes, no subgraphs) that computes `count` of what `model` computes.

    Input and output NAME become NAME.0 ... NAME.(count - 1), of the same shapes.
    """
    import onnx
    from onnx import shape_inference

    inferred = shape_inference.infer_shapes(model, data_prop=True)
    made = _Batch(inferred.graph, count).build()
    result = onnx.ModelProto()
    result.CopyFrom(model)
    result.graph.CopyFrom(made)
    onnx.checker.check_model(result)
    return result


class _Batch:
    """Walks the graph once. A tensor is one that all share (constants), one for each participant, or joined along its
    first axis; the last two are made from each other where a node needs it."""

    def __init__(self, graph: Any, count: int) -> None:
        from onnx import numpy_helper

        self._graph, self._count = graph, count
        self._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._shared = set(self._constants)
        self._joined: set[str] = set()
        self._split: set[str] = {value.name for value in graph.input}
        self._shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        for value in (*graph.input, *graph.value_info, *graph.output):
            self._shapes[value.name] = tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
        self._nodes: list[Any] = []
        self._more: list[Any] = []  # constants of our own
        self._rules: dict[str, Callable[[Any, dict[str, Any]], bool]] = {
            "Conv": self._weighted, "InstanceNormalization": self._weighted, "GridSample": self._all_vary,
            "AveragePool": self._always, "MaxPool": self._always, "DepthToSpace": self._always, "Resize": self._resize,
            "Concat": self._concat, "Split": self._axis, "Softmax": self._axis, "Transpose": self._transpose,
            "Slice": self._slice, "Unsqueeze": self._axes, "Squeeze": self._axes, "Reshape": self._reshape,
            **dict.fromkeys(_ELEMENTWISE, self._elementwise), **dict.fromkeys(_REDUCTIONS, self._axes),
        }  # fmt: skip

    def build(self) -> Any:
        from onnx import helper

        for node in self._graph.node:
            if all(name in self._shared for name in node.input if name):
                self._nodes.append(node)
                self._shared.update(node.output)
            elif self._joins(node):
                self._join(node)
            else:
                self._copy(node)
        for value in self._graph.output:
            self._need_split(value.name)
        return helper.make_graph(
            self._nodes,
            self._graph.name,
            [self._renamed(value, i) for value in self._graph.input for i in range(self._count)],
            [self._renamed(value, i) for value in self._graph.output for i in range(self._count)],
            [*self._graph.initializer, *self._more],
        )

    def _renamed(self, value: Any, i: int) -> Any:
        from onnx import ValueInfoProto

        own = ValueInfoProto()
        own.CopyFrom(value)
        own.name = f"{value.name}.{i}"
        return own

    # How nodes are written

    def _copy(self, node: Any) -> None:
        for name in node.input:
            if name and name not in self._shared:
                self._need_split(name)
        for i in range(self._count):
            own = self._clone(node)
            own.input[:] = [name if not name or name in self._shared else f"{name}.{i}" for name in node.input]
            own.output[:] = [f"{name}.{i}" if name else "" for name in node.output]
            own.name = f"{node.name}.{i}" if node.name else ""
            self._nodes.append(own)
        self._split.update(node.output)

    def _join(self, node: Any) -> None:
        for name in node.input:
            if name and name not in self._shared:
                self._need_joined(name)
        own = self._clone(node)
        own.input[:] = [name if not name or name in self._shared else f"{name}.all" for name in node.input]
        own.output[:] = [f"{name}.all" if name else "" for name in node.output]
        if node.op_type == "Reshape":
            own.input[1] = self._wider(node)
        self._nodes.append(own)
        self._joined.update(node.output)

    def _wider(self, node: Any) -> str:
        """The target shape of a Reshape, for the whole batch."""
        shape = self._constants[node.input[1]].copy()
        shape[0] = self._count * self._shapes[node.output[0]][0]
        return self._constant(f"{node.output[0]}.shape", shape)

    def _constant(self, name: str, values: Any) -> str:
        from onnx import numpy_helper

        self._more.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def _need_joined(self, name: str) -> None:
        from onnx import helper

        if name not in self._joined:
            parts = [f"{name}.{i}" for i in range(self._count)]
            self._nodes.append(helper.make_node("Concat", parts, [f"{name}.all"], f"join {name}", axis=0))
            self._joined.add(name)

    def _need_split(self, name: str) -> None:
        from onnx import helper

        if name not in self._split:
            parts = [f"{name}.{i}" for i in range(self._count)]
            sizes = self._constant(f"{name}.sizes", np.full(self._count, self._shapes[name][0], np.int64))
            self._nodes.append(helper.make_node("Split", [f"{name}.all", sizes], parts, f"split {name}", axis=0))
            self._split.add(name)

    @staticmethod
    def _clone(node: Any) -> Any:
        from onnx import NodeProto

        own = NodeProto()
        own.CopyFrom(node)
        return own

    # Which nodes treat every row of the first axis alike

    def _joins(self, node: Any) -> bool:
        from onnx import helper

        rule = self._rules.get(node.op_type)
        varying = [name for name in node.input if name and name not in self._shared]
        if rule is None or not (node.op_type in _SEEDS or any(name in self._joined for name in varying)):
            return False
        shapes = [self._shapes.get(name, ()) for name in (*varying, *(name for name in node.output if name))]
        if any(not shape or shape[0] != shapes[0][0] for shape in shapes):
            return False
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        return rule(node, attributes)

    def _always(self, node: Any, attributes: dict[str, Any]) -> bool:
        return True

    def _weighted(self, node: Any, attributes: dict[str, Any]) -> bool:
        return all(name in self._shared for name in node.input[1:] if name)

    def _all_vary(self, node: Any, attributes: dict[str, Any]) -> bool:
        return not any(name in self._shared for name in node.input)

    def _elementwise(self, node: Any, attributes: dict[str, Any]) -> bool:
        if attributes.get("to") == _BYTE:  # TensorRT knows no bytes but at a network's edge, where they are split
            return False
        rank = len(self._shapes[node.output[0]])
        for name in node.input:
            shape = self._shapes.get(name, ()) if name else ()
            if name in self._shared:
                if len(shape) == rank and shape[0] != 1:
                    return False
            elif name and len(shape) != rank:
                return False
        return True

    def _concat(self, node: Any, attributes: dict[str, Any]) -> bool:
        return self._all_vary(node, attributes) and self._axis(node, attributes)

    def _axis(self, node: Any, attributes: dict[str, Any]) -> bool:
        default = -1 if node.op_type == "Softmax" else 0
        return bool(attributes.get("axis", default) % len(self._shapes[node.input[0]]) != 0)

    def _transpose(self, node: Any, attributes: dict[str, Any]) -> bool:
        return bool(attributes.get("perm", [-1])[0] == 0)

    def _resize(self, node: Any, attributes: dict[str, Any]) -> bool:
        scales = self._constants.get(node.input[2]) if len(node.input) > 2 else None
        return scales is not None and scales.size == len(self._shapes[node.input[0]]) and float(scales[0]) == 1.0

    def _slice(self, node: Any, attributes: dict[str, Any]) -> bool:
        return len(node.input) > 3 and self._besides_first(node.input[3], len(self._shapes[node.input[0]]))

    def _axes(self, node: Any, attributes: dict[str, Any]) -> bool:
        kept = node.op_type in ("Unsqueeze", "Squeeze") or attributes.get("keepdims", 1)
        rank = max(len(self._shapes[node.input[0]]), len(self._shapes[node.output[0]]))
        return bool(kept) and len(node.input) > 1 and self._besides_first(node.input[1], rank)

    def _reshape(self, node: Any, attributes: dict[str, Any]) -> bool:
        shape = self._constants.get(node.input[1])
        return shape is not None and not attributes.get("allowzero") and int(shape[0]) != -1

    def _besides_first(self, axes: str, rank: int) -> bool:
        known = self._constants.get(axes)
        return known is not None and all(int(axis) % rank != 0 for axis in known.reshape(-1))
