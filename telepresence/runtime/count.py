"""What a picture costs, counted from a graph: multiply-adds, learned numbers, bytes that must move. Needs onnx."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

_LEARNED: Final = ("Conv", "ConvTranspose", "Gemm", "InstanceNormalization", "PRelu")
_BILINEAR: Final = 4  # multiply-adds for a value that is looked up between four others


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run of a graph."""

    macs: int
    """Multiply-adds of convolutions, products of matrices, and GridSample."""
    parameters: int
    """Learned numbers: weights of convolutions and of dense layers."""
    moved_bytes: int
    """What those operators read and write, at float32; everything between them could be fused away."""


def cost(model: Any) -> Cost:
    """Count a graph (onnx.ModelProto, static shapes)."""
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim)
    constants = {tensor.name for tensor in graph.initializer}
    sources = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast"}
    macs = moved = 0
    learned: dict[str, int] = {}
    for node in graph.node:
        done = _macs(node, shapes)
        if done:
            macs += done
            moved += 4 * sum(_size(shapes.get(name, ())) for name in (*node.input, *node.output) if name)
        if node.op_type in _LEARNED:
            for name in node.input[1:]:
                name = sources.get(name, name)
                if name in constants:
                    learned[name] = _size(shapes[name])
    return Cost(macs, sum(learned.values()), moved)


def _macs(node: Any, shapes: dict[str, tuple[int, ...]]) -> int:
    made = _size(shapes.get(node.output[0], ()))
    if node.op_type == "Conv":
        return made * _size(shapes[node.input[1]][1:])
    if node.op_type == "ConvTranspose":
        return _size(shapes[node.input[0]]) * _size(shapes[node.input[1]][1:])
    if node.op_type == "Gemm":
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return made * shapes[node.input[0]][0 if transposed else 1]
    if node.op_type == "MatMul":
        return made * shapes[node.input[0]][-1]
    if node.op_type == "GridSample":
        return made * _BILINEAR
    return 0


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))
