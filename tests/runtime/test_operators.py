"""Every node of every shipped engine is one that TensorRT documents; and the check itself notices what is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from telepresence.runtime.info import list_engines
from telepresence.runtime.precision import mixed
from telepresence.runtime.tensorrt.operators import documented, problems

FLOAT, HALF, BYTE, INT = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8, TensorProto.INT64
CASES = [(info, size, kind) for info in list_engines() for size in info.sizes for kind in ("encode", "render")]


@pytest.mark.parametrize(("info", "size", "kind"), CASES, ids=lambda value: getattr(value, "name", str(value)))
def test_shipped_engines_could_be_compiled(info: Any, size: int, kind: str) -> None:
    model = onnx.load(str(info.graph(kind, size)))
    assert problems(mixed(model).model) == []


def test_the_table_says_where_it_is_from() -> None:
    table = documented()
    assert table.tensorrt == "10.0"
    assert "onnx-tensorrt" in table.source
    assert "commit" in table.source
    assert len(table.types) > 100
    assert table.types["GridSample"] == ("FP32", "FP16")
    assert "NonZero" in table.types
    assert "Bernoulli" not in table.types


def one(kind: str, inputs: dict[str, tuple[int, list[int]]], output: int = FLOAT, *, opset: int = 18,
        constants: dict[str, np.ndarray] | None = None, **attributes: Any) -> onnx.ModelProto:  # fmt: skip
    constants = constants or {}
    graph = helper.make_graph(
        [helper.make_node(kind, [*inputs, *constants], ["y", "z"][: 1 + (kind == "TopK")], "it", **attributes)],
        "test",
        [helper.make_tensor_value_info(name, *spec) for name, spec in inputs.items()],
        [helper.make_tensor_value_info("y", output, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


X = {"x": (FLOAT, [1, 2, 4, 4])}
BAD = {
    "an operator": (one("Det", X), "Det 'it': TensorRT 10.0 does not list this operator"),
    "bytes that are gathered": (
        one("Gather", {"x": (BYTE, [4, 4])}, BYTE, constants={"i": np.array([1])}),
        "Gather 'it': input 'x' is UINT8; it takes FP32",
    ),
    "a type": (one("GridSample", {"x": (FLOAT, [1, 2, 4, 4]), "g": (TensorProto.DOUBLE, [1, 3, 3, 2])}), "'g' is FP64"),
    "five axes": (
        one("GridSample", {"x": (FLOAT, [1, 2, 4, 4, 4]), "g": (FLOAT, [1, 3, 3, 3, 3])}, opset=20), "four axes",
    ),
    "many of a list": (
        one("TopK", {"x": (FLOAT, [9999])}, constants={"k": np.array([4000])}), "K must be less than 3840",
    ),
    "unsorted": (one("TopK", {"x": (FLOAT, [99])}, constants={"k": np.array([4])}, sorted=0), "sorted must be 1"),
    "axes from data": (one("ReduceMax", {**X, "a": (INT, [1])}), "input 1 must be a constant"),
    "cubic": (
        one("Resize", X, constants={"r": np.zeros(0, np.float32), "s": np.float32([1, 1, 2, 2])}, mode="cubic"),
        "mode 'cubic' is not supported",
    ),
    "spread pooling": (one("MaxPool", X, kernel_shape=[2, 2], dilations=[2, 2]), "dilations must be 1"),
    "a new opset": (one("Abs", X, opset=21), "opset 21: TensorRT 10.0 reads 9 to 20"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_notices(case: str) -> None:
    model, text = BAD[case]
    found = problems(model)
    assert len(found) == 1
    assert text in found[0]


def test_bytes_within_the_network() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["b"], "first", to=BYTE),
        helper.make_node("Cast", ["b"], ["y"], "second", to=FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", FLOAT, [4])],
        [helper.make_tensor_value_info("y", FLOAT, [4])],
    )
    found = problems(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))
    assert len(found) == 2
    assert all("UINT8 within the network" in problem for problem in found)


def test_a_foreign_domain() -> None:
    model = one("Abs", X)
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    assert len(problems(model)) == 2


def test_why_engines_are_rewritten_before_they_are_compiled() -> None:
    """As shipped, the live engine gathers bytes, which TensorRT does not."""
    (info,) = (info for info in list_engines() if info.name == "live")
    found = problems(onnx.load(str(info.graph("render", 256))))
    assert found
    assert all("UINT8" in problem for problem in found)
