"""A convolution that reads a Concat, as a sum of convolutions, one for each part: the same numbers, and each part may
then have 8 bits of its own.

Joined, parts of different ranges would share one scale; and OpenVINO brings them into one order first, which costs as
much as 8 bits gain.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

PART: Final = "{}.part{}"
"""Name of a convolution's part: the convolution's, and its place in the Concat."""


def joined(model: Any) -> list[str]:
    """Names of the convolutions of a graph (onnx.ModelProto) that read a Concat of channels."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and _is_of_channels(made_by.get(node.input[0])) and _groups(node) == 1
    ]


def parts_of(model: Any) -> dict[str, list[str]]:
    """Of each of `joined` the names that its parts get."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    names = set(joined(model))
    return {
        node.name: [PART.format(node.name, place) for place in range(len(made_by[node.input[0]].input))]
        for node in model.graph.node
        if node.name in names
    }


def split(model: Any, names: Collection[str]) -> Any:
    """A copy of a graph in which these convolutions, of `joined`, are sums of `PART`s.

    Raises:
        ValueError: the shape of a Concat's part cannot be told.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if not names:
        return copy
    channels = _channels(model)
    made_by = {name: node for node in copy.graph.node for name in node.output}
    weights = _weights(copy.graph)
    nodes: list[Any] = []
    for node in copy.graph.node:
        if node.name not in names:
            nodes.append(node)
            continue
        parts = made_by[node.input[0]].input
        widths = [channels.get(part, 0) for part in parts]
        if not all(widths) or sum(widths) != weights[node.input[1]].shape[1]:
            raise ValueError(f"{node.name}: the shapes of what it reads are not known")
        nodes += _parts(copy.graph, node, parts, widths, weights[node.input[1]])
    replace(copy.graph, nodes)
    onnx.checker.check_model(copy)
    return copy


def _parts(graph: Any, node: Any, parts: Any, widths: list[int], weights: NDArray[np.float32]) -> Iterator[Any]:
    from onnx import helper, numpy_helper

    total, before = "", 0
    for place, (part, width) in enumerate(zip(parts, widths, strict=True)):
        name = PART.format(node.name, place)
        own = np.ascontiguousarray(weights[:, before : before + width], np.float32)
        before += width
        graph.initializer.append(numpy_helper.from_array(own, f"{name}.weight"))
        bias = list(node.input[2:]) if place == 0 else []
        made = helper.make_node("Conv", [part, f"{name}.weight", *bias], [f"{name}.out"], name)
        made.attribute.extend(node.attribute)
        yield made
        if place:
            last = place == len(widths) - 1
            added = node.output[0] if last else f"{name}.sum"
            yield helper.make_node("Add", [total, f"{name}.out"], [added], f"{name}.add")
            total = added
        else:
            total = f"{name}.out"


def _is_of_channels(node: Any) -> bool:
    if node is None or node.op_type != "Concat" or len(node.input) < 2:
        return False
    return any(attribute.name == "axis" and attribute.i == 1 for attribute in node.attribute)


def _groups(node: Any) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)


def _weights(graph: Any) -> dict[str, NDArray[np.float32]]:
    """Constants by name, and those that are only cast."""
    from onnx import numpy_helper

    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    casts = {n.output[0]: values[n.input[0]] for n in graph.node if n.op_type == "Cast" and n.input[0] in values}
    return values | casts


def _channels(model: Any) -> dict[str, int]:
    """Of every tensor whose shape can be told: its second dimension."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    known = {}
    for value in (*graph.value_info, *graph.input):
        shape = value.type.tensor_type.shape.dim
        if len(shape) == 4 and shape[1].dim_value > 0:
            known[value.name] = shape[1].dim_value
    return known


def replace(graph: Any, nodes: list[Any]) -> None:
    """Put nodes in place of the graph's, without those, and without constants, that nobody reads any more."""
    read = {name for node in nodes for name in node.input} | {value.name for value in graph.output}
    nodes = [node for node in nodes if read.intersection(node.output)]
    read = {name for node in nodes for name in node.input}
    constants = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
