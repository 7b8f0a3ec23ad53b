"""Mixed precision: what is computed in half, what must not be, and that the pictures stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference

from telepresence.errors import EngineError
from telepresence.runtime.info import find_engine, list_engines
from telepresence.runtime.precision import CONVOLUTIONS, mixed

FLOAT, HALF, BYTE = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8
CASES = [(info.name, size, kind) for info in list_engines() for size in info.sizes for kind in ("encode", "render")]


def model(nodes: Sequence[Any], inputs: dict[str, tuple[int, list[int]]], outputs: dict[str, tuple[int, list[int]]],
          constants: dict[str, np.ndarray]) -> onnx.ModelProto:  # fmt: skip
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(name, *spec) for name, spec in inputs.items()],
        [helper.make_tensor_value_info(name, *spec) for name, spec in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def types(graph_model: onnx.ModelProto) -> dict[str, int]:
    inferred = shape_inference.infer_shapes(graph_model, strict_mode=True, data_prop=True).graph
    known = {v.name: v.type.tensor_type.elem_type for v in (*inferred.input, *inferred.value_info, *inferred.output)}
    return known | {t.name: t.data_type for t in inferred.initializer}


def two_convolutions(weight: np.ndarray | None = None) -> onnx.ModelProto:
    """x -> Conv -> LeakyRelu -> + itself -> Conv -> Tanh -> y; the activation is also an output."""
    weight = np.full((2, 2, 1, 1), 0.5, np.float32) if weight is None else weight
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("LeakyRelu", ["a"], ["b"]),
        helper.make_node("Add", ["b", "b"], ["c"]),
        helper.make_node("Conv", ["c", "w"], ["d"]),
        helper.make_node("Tanh", ["d"], ["y"]),
    ]
    shape = (FLOAT, [1, 2, 4, 4])
    return model(nodes, {"x": shape}, {"y": shape, "b": shape}, {"w": weight})


def test_between_convolutions_everything_is_half_and_behind_the_last_nothing() -> None:
    rewritten = mixed(two_convolutions())
    found = types(rewritten.model)
    assert rewritten.half_nodes == 4
    assert [found[f"{name}.half"] for name in "xabcd"] == [HALF] * 5
    assert found["w.half"] == HALF
    assert [found[name] for name in ("x", "d", "y", "b")] == [FLOAT] * 4  # an output stays what it was
    assert "w" not in found  # nobody needs it in float32 any more
    assert "a" not in found


def test_what_becomes_coordinates_is_float32() -> None:
    """Conv -> Conv -> Resize -> Transpose -> Add -> grid: the last convolution, too, computes in float32."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Conv", ["a", "w"], ["flow"]),
        helper.make_node("Mul", ["flow", "limit"], ["small"]),
        helper.make_node("Transpose", ["small"], ["moved"], perm=[0, 2, 3, 1]),
        helper.make_node("Add", ["moved", "grid"], ["where"]),
        helper.make_node("GridSample", ["x", "where"], ["looked"]),
        helper.make_node("Conv", ["looked", "w"], ["y"]),
    ]
    shape = (FLOAT, [1, 2, 4, 4])
    constants = {
        "w": np.ones((2, 2, 1, 1), np.float32),
        "limit": np.float32(0.1).reshape(()),
        "grid": np.zeros((1, 4, 4, 2), np.float32),
    }
    rewritten = mixed(model(nodes, {"x": shape}, {"y": shape}, constants))
    found = types(rewritten.model)
    assert [found[name] for name in ("flow", "small", "moved", "where", "looked", "y")] == [FLOAT] * 6
    assert "flow.half" not in found
    assert found["a.half"] == found["y.half"] == HALF
    assert found["w"] == FLOAT  # the flow's convolution has it as it was
    assert found["w.half"] == HALF


def test_normalisation_is_float32() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("InstanceNormalization", ["a", "one", "one"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "w"], ["y"]),
    ]
    shape = (FLOAT, [1, 2, 4, 4])
    constants = {"w": np.ones((2, 2, 1, 1), np.float32), "one": np.ones(2, np.float32)}
    found = types(mixed(model(nodes, {"x": shape}, {"y": shape}, constants)).model)
    assert [found[name] for name in ("a", "b", "one")] == [FLOAT] * 3
    assert found["a.half"] == found["c.half"] == found["y.half"] == HALF


def test_weights_that_half_precision_cannot_hold() -> None:
    with pytest.raises(EngineError, match="weight 'w' is too large"):
        mixed(two_convolutions(np.full((2, 2, 1, 1), 1e6, np.float32)))


def test_the_given_model_is_left_alone() -> None:
    given = two_convolutions()
    before = given.SerializeToString()
    mixed(given)
    assert given.SerializeToString() == before


def test_bytes_that_are_more_than_cast() -> None:
    nodes = [
        helper.make_node("Gather", ["p", "i"], ["q"], axis=0),
        helper.make_node("Cast", ["q"], ["r"], to=FLOAT),
        helper.make_node("Cast", ["s"], ["t"], to=FLOAT),
        helper.make_node("Add", ["r", "t"], ["y"]),
    ]
    byte = (BYTE, [3, 4])
    rewritten = mixed(
        model(nodes, {"p": byte, "s": byte}, {"y": (FLOAT, [3, 4])}, {"i": np.array([2, 0, 1])}),
    )
    assert rewritten.half_inputs == ("p",)
    assert types(rewritten.model)["p"] == types(rewritten.model)["q"] == HALF
    assert types(rewritten.model)["s"] == BYTE


@pytest.mark.parametrize(("name", "size", "kind"), CASES)
def test_shipped_engines(name: str, size: int, kind: str) -> None:
    given = onnx.load(str(find_engine(name).graph(kind, size)))
    rewritten = mixed(given).model
    found = types(rewritten)
    makers = {made: node for node in rewritten.graph.node for made in node.output}
    for node in rewritten.graph.node:
        if node.op_type == "GridSample":
            assert found[node.input[1]] == FLOAT
            assert makers[node.input[1]].op_type != "Cast", "coordinates that were half on the way"
    geometry = ("MatMul", "TopK", "ReduceSum", "ReduceMax", "ReduceMin", "ArgMin", "Softmax", "Sqrt", "Pow", "Less")
    for node in rewritten.graph.node:
        if node.op_type in geometry:
            assert all(found[used] != HALF for used in node.input if used), node.op_type
    convolutions = [node for node in rewritten.graph.node if node.op_type in CONVOLUTIONS]
    half = [node for node in convolutions if found[node.input[0]] == HALF]
    assert len(half) >= len(convolutions) - 1
    if name == "live":
        assert len(half) >= 12
    assert {value.name for value in rewritten.graph.input} == {value.name for value in given.graph.input}
