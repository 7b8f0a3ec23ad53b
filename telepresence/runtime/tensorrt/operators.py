"""Whether TensorRT can compile a graph, as far as its documentation tells: needs neither TensorRT nor a GPU.

`operators.json` is what TensorRT's ONNX parser documents as supported (source and version are in the file): operators,
types, and below its restrictions on those operators that engines are made of.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

MAX_TOPK: Final = 3840
CAST_ONLY: Final = "UINT8"  # a type of a network's inputs and outputs alone

# Which inputs have the type that the table speaks of; all, if an operator is not here. The others are indices, shapes
# and conditions, of types that every TensorRT takes there.
_DATA_INPUTS: Final = {
    "Expand": (0,), "Gather": (0,), "GatherElements": (0,), "GatherND": (0,), "Pad": (0,), "ReduceMax": (0,),
    "ReduceMean": (0,), "ReduceMin": (0,), "ReduceSum": (0,), "Reshape": (0,), "Resize": (0,), "Slice": (0,),
    "Split": (0,), "Squeeze": (0,), "Tile": (0,), "TopK": (0,), "Unsqueeze": (0,), "Where": (1, 2),
}  # fmt: skip
_INDICES: Final = ("INT32", "INT64", "BOOL")
_CONSTANT_INPUTS: Final = {
    "Pad": (3,), "ReduceMax": (1,), "ReduceMean": (1,), "ReduceMin": (1,), "ReduceSum": (1,), "Slice": (3,),
    "Squeeze": (1,), "Unsqueeze": (1,),
}  # fmt: skip
_RESIZE: Final = {
    "coordinate_transformation_mode": (
        "half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners",
    ),
    "mode": ("nearest", "linear"),
    "nearest_mode": ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
    "keep_aspect_ratio_policy": ("stretch",),
    "antialias": (0,),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Table:
    """What is documented."""

    tensorrt: str
    """The version that the document speaks of."""
    source: str
    opsets: tuple[int, int]
    """Lowest and highest opset."""
    types: Mapping[str, tuple[str, ...]]
    """Operator -> types, as the document names them; those that are not in it are not supported."""


def documented() -> Table:
    """The checked-in table."""
    text = resources.files("telepresence.runtime.tensorrt").joinpath("operators.json").read_text("utf-8")
    raw = json.loads(text)
    low, high = raw["opsets"]
    types = {name: tuple(kinds.split()) for name, kinds in raw["operators"].items()}
    return Table(raw["tensorrt"], raw["source"], (low, high), types)


def problems(model: Any, table: Table | None = None) -> list[str]:
    """What TensorRT's documentation says against a graph, a line each; empty if nothing.

    Args:
        model: onnx.ModelProto as it would be compiled: after `precision.mixed`.
        table: for tests; None for the checked-in one.
    """
    from onnx import shape_inference

    table = table or documented()
    found = [problem for opset in model.opset_import if (problem := _opset(opset, table))]
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    checker = _Checker(graph, table)
    for node in graph.node:
        found.extend(f"{node.op_type} {node.name!r}: {problem}" for problem in checker.node(node))
    return found


def _opset(opset: Any, table: Table) -> str:
    if opset.domain not in ("", "ai.onnx"):
        return f"{opset.domain} is not a domain that TensorRT knows"
    low, high = table.opsets
    if low <= opset.version <= high:
        return ""
    return f"opset {opset.version}: TensorRT {table.tensorrt} reads {low} to {high}"


class _Checker:
    def __init__(self, graph: Any, table: Table) -> None:
        from onnx import TensorProto

        self._table = table
        self._named = {
            TensorProto.FLOAT: "FP32", TensorProto.FLOAT16: "FP16", TensorProto.BFLOAT16: "BF16",
            TensorProto.INT32: "INT32", TensorProto.INT64: "INT64", TensorProto.UINT8: "UINT8",
            TensorProto.BOOL: "BOOL", TensorProto.DOUBLE: "FP64", TensorProto.INT8: "INT8",
        }  # fmt: skip
        self._kinds: dict[str, int] = {tensor.name: tensor.data_type for tensor in graph.initializer}
        self._ranks: dict[str, int] = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        for value in (*graph.input, *graph.value_info, *graph.output):
            self._kinds[value.name] = value.type.tensor_type.elem_type
            self._ranks[value.name] = len(value.type.tensor_type.shape.dim)
        self._edge = {value.name for value in (*graph.input, *graph.output)}

    def node(self, node: Any) -> Iterator[str]:
        if node.op_type not in self._table.types or node.domain not in ("", "ai.onnx"):
            yield f"TensorRT {self._table.tensorrt} does not list this operator"
            return
        yield from self._types(node)
        for position in _CONSTANT_INPUTS.get(node.op_type, ()):
            if position < len(node.input) and node.input[position] and node.input[position] not in self._constants:
                yield f"input {position} must be a constant"
        special = getattr(self, f"_{node.op_type.lower()}", None)
        if special is not None:
            yield from special(node, _attributes(node))

    def _types(self, node: Any) -> Iterator[str]:
        allowed = self._table.types[node.op_type]
        data = _DATA_INPUTS.get(node.op_type, range(len(node.input)))
        for position, name in enumerate(node.input):
            kind = self._kind(name) if name else None
            if kind is None:
                continue
            if position not in data:
                if kind not in (*_INDICES, "FP32"):
                    yield f"input {position} is {kind}, which is not one for indices or shapes"
            elif kind not in allowed:
                yield f"input {name!r} is {kind}; it takes {', '.join(allowed)}"
            elif kind == CAST_ONLY and name not in self._edge:
                yield f"input {name!r} is {kind} within the network; only inputs and outputs may be"
        for name in node.output:
            if name and self._kind(name) == CAST_ONLY and name not in self._edge:
                yield f"output {name!r} is {CAST_ONLY} within the network; only inputs and outputs may be"

    def _kind(self, name: str) -> str:
        kind = self._kinds.get(name, 0)
        return self._named.get(kind, f"of an unknown type ({kind})")

    def _gridsample(self, node: Any, attributes: Mapping[str, Any]) -> Iterator[str]:
        if self._ranks.get(node.input[0]) != 4:
            yield "its input must have four axes"
        if attributes.get("mode", "linear") not in ("linear", "bilinear", "nearest", "cubic", "bicubic"):
            yield f"mode {attributes['mode']!r} is not supported"

    def _topk(self, node: Any, attributes: Mapping[str, Any]) -> Iterator[str]:
        from onnx import numpy_helper

        if not attributes.get("sorted", 1):
            yield "sorted must be 1"
        count = self._constants.get(node.input[1])
        if count is None:
            yield "K must be a constant in an engine's graph"
        elif int(numpy_helper.to_array(count).reshape(-1)[0]) >= MAX_TOPK:
            yield f"K must be less than {MAX_TOPK}"

    def _resize(self, node: Any, attributes: Mapping[str, Any]) -> Iterator[str]:
        for name, allowed in _RESIZE.items():
            if name in attributes and attributes[name] not in allowed:
                yield f"{name} {attributes[name]!r} is not supported"

    def _pool(self, node: Any, attributes: Mapping[str, Any]) -> Iterator[str]:
        if self._ranks.get(node.input[0]) not in (4, 5):
            yield "only pooling over two or three axes is supported"
        if any(step != 1 for step in attributes.get("dilations", ())):
            yield "dilations must be 1"
        if len(node.output) > 1 and node.output[1]:
            yield "its second output is not supported"

    _averagepool = _maxpool = _pool


def _attributes(node: Any) -> dict[str, Any]:
    from onnx import helper

    values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}
