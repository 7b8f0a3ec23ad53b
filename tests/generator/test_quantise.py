"""Graphs in 8 bits: which convolutions, what numbers, and that the shipped ones are of the shipped engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from telepresence.generator.quantise import WIDER, quantisable, quantised, ranges
from telepresence.generator.splitting import joined, parts_of, split
from telepresence.resources import shipped
from telepresence.runtime import golden
from telepresence.runtime.graphs import Graphs
from telepresence.runtime.info import find_engine
from telepresence.runtime.openvino import OpenVino

SIDE = 16
LIVE = find_engine("live")


def small() -> onnx.ModelProto:
    """keypoints, x -> enter -> body (half weights) -> to colours; to coordinates; to one number; of a Concat."""
    rng = np.random.default_rng(3)
    weights = {
        "enter": (16, 8, 3, 3),
        "body": (16, 16, 3, 3),
        "where": (16, 16, 3, 3),
        "few": (2, 16, 3, 3),
        "both": (8, 32, 3, 3),
    }
    constants = {f"{name}.weight": rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in weights.items()}
    constants["body.weight.half"] = constants.pop("body.weight").astype(np.float16)

    def conv(name: str, given: str, made: str) -> Any:
        return helper.make_node("Conv", [given, f"{name}.weight"], [made], name, pads=[1, 1, 1, 1])

    nodes = [
        helper.make_node("Cast", ["body.weight.half"], ["body.weight"], "cast", to=TensorProto.FLOAT),
        conv("enter", "x", "a"),
        helper.make_node("LeakyRelu", ["a"], ["b"], "act", alpha=0.1),
        conv("body", "b", "c"),
        conv("where", "b", "d"),
        helper.make_node("Slice", ["d", "zero", "two", "one"], ["e"], "slice"),
        helper.make_node("Transpose", ["e"], ["grid"], "turn", perm=[0, 2, 3, 1]),
        helper.make_node("GridSample", ["c", "grid"], ["looked"], "look"),
        conv("few", "b", "f"),
        helper.make_node("Concat", ["b", "looked"], ["g"], "join", axis=1),
        conv("both", "g", "picture"),
        helper.make_node("ReduceMean", ["keypoints"], ["k"], "mean", keepdims=0),
        helper.make_node("Add", ["f", "k"], ["flow"], "add"),
    ]
    constants |= {"zero": np.array([0]), "two": np.array([2]), "one": np.array([1])}
    graph = helper.make_graph(
        nodes, "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, SIDE, SIDE]),
         helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, [1, 478, 3])],
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 8, SIDE, SIDE]),
         helper.make_tensor_value_info("flow", TensorProto.FLOAT, [1, 2, SIDE, SIDE])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def feeds() -> list[tuple[dict[str, np.ndarray], np.ndarray]]:
    rng = np.random.default_rng(4)
    return [
        ({"x": rng.normal(0, 1, (1, 8, SIDE, SIDE)).astype(np.float32)}, np.zeros((478, 3), np.float32))
        for _ in range(3)
    ]


def run(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    arrays: list[np.ndarray] = session.run(None, {"x": x, "keypoints": np.zeros((1, 478, 3), np.float32)})
    return arrays


def test_colours_and_not_coordinates() -> None:
    """`enter` reads what is given, `where` becomes coordinates, `few` has two channels, `both` reads a Concat."""
    assert quantisable(small()) == ["body"]


def test_what_reads_a_concat_is_split_into_a_sum_of_the_same() -> None:
    model = small()
    assert joined(model) == ["both"]
    assert parts_of(model) == {"both": ["both.part0", "both.part1"]}
    apart = split(model, ["both"])
    assert quantisable(apart) == ["body", "both.part0", "both.part1"]
    assert not [node for node in apart.graph.node if node.op_type == "Concat"]
    assert "both.weight" not in {tensor.name for tensor in apart.graph.initializer}
    assert joined(model) == ["both"]  # the model itself stays
    x = feeds()[0][0]["x"]
    for wanted, got in zip(run(model, x), run(apart, x), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-5)
    made = quantised(apart, ["both.part1"], ranges(apart, ["both.part1"], feeds()))
    assert 0 < np.abs(run(made, x)[0] - run(model, x)[0]).max() < 0.05 * np.abs(run(model, x)[0]).max()


def test_a_bias_is_added_once() -> None:
    model = small()
    both = next(node for node in model.graph.node if node.name == "both")
    both.input.append("both.bias")
    model.graph.initializer.append(numpy_helper.from_array(np.full(8, 7, np.float32), "both.bias"))
    x = feeds()[0][0]["x"]
    np.testing.assert_allclose(run(split(model, ["both"]), x)[0], run(model, x)[0], atol=1e-5)


def test_groups_and_other_axes_are_not_split_and_unknown_shapes_refused() -> None:
    model = small()
    join = next(node for node in model.graph.node if node.name == "join")
    join.attribute[0].i = 2
    assert joined(model) == []
    join.attribute[0].i = 1
    next(value for value in model.graph.input if value.name == "x").type.tensor_type.ClearField("shape")
    with pytest.raises(ValueError, match="both: the shapes"):
        split(model, ["both"])


def test_ranges_are_those_seen_and_wider() -> None:
    model = small()
    seen = [(tensors["x"], run(_telling(model, "b"), tensors["x"])[-1]) for tensors, _ in feeds()]
    low, high = ranges(model, ["body"], feeds())["b"]
    assert low == pytest.approx(WIDER * min(b.min() for _, b in seen))
    assert high == pytest.approx(WIDER * max(b.max() for _, b in seen))
    assert low < 0 < high


def test_the_result_is_near_and_smaller() -> None:
    model = small()
    between = ranges(model, ["body"], feeds())
    made = quantised(model, ["body"], between)
    kinds = {tensor.name: tensor.data_type for tensor in made.graph.initializer}
    assert kinds["body.weight.int8"] == TensorProto.INT8
    assert "body.weight.half" not in kinds  # nor is it cast any more
    assert not [node for node in made.graph.node if node.op_type == "Cast"]
    assert len(made.SerializeToString()) < len(model.SerializeToString())
    assert [node.name for node in model.graph.node if node.op_type == "QuantizeLinear"] == []  # the model itself stays
    x = feeds()[0][0]["x"]
    wanted, got = run(_telling(model, "c"), x)[-1], run(_telling(made, "c"), x)[-1]
    assert 0 < np.abs(got - wanted).max() < 0.05 * np.abs(wanted).max()


def test_a_channel_without_weights_stays_silent() -> None:
    model = small()
    half = next(tensor for tensor in model.graph.initializer if tensor.name == "body.weight.half")
    values = numpy_helper.to_array(half).copy()
    values[5] = 0
    half.CopyFrom(numpy_helper.from_array(values, half.name))
    made = quantised(model, ["body"], ranges(model, ["body"], feeds()))
    assert (run(_telling(made, "c"), feeds()[0][0]["x"])[-1][:, 5] == 0).all()


@pytest.mark.parametrize("size", LIVE.sizes)
def test_the_shipped_graphs_are_of_the_shipped_engine(size: int) -> None:
    """If not: python -m telepresence.generator.quantise live."""
    assert LIVE.has_int8(size)
    whole, made = (onnx.load(str(LIVE.graph("render", size, int8=int8))) for int8 in (False, True))
    have = {t.name for t in made.graph.initializer}
    parted = [name for name, parts in parts_of(whole).items() if f"{parts[0]}.weight.int8" in have]
    assert parted, "the finish reads a Concat, and has 8 bits all the same"
    whole = split(whole, parted)
    values = {t.name: numpy_helper.to_array(t) for t in whole.graph.initializer}
    small_ones = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    names = [name.removesuffix(".int8") for name in small_ones if name.endswith(".int8")]
    assert len(names) >= 12
    for name in names:
        weights = values.get(f"{name}.half", values.get(name)).astype(np.float32)  # at 128 some are folded anew
        scale = small_ones[f"{name}.scale"].reshape(-1, 1, 1, 1)
        assert np.abs(small_ones[f"{name}.int8"] * scale - weights).max() <= 0.51 * scale.max()
    others = {name for name in values.keys() & small_ones.keys() if values[name].dtype == np.float32}
    assert others
    for name in others:
        np.testing.assert_array_equal(values[name], small_ones[name])


@pytest.mark.parametrize("size", LIVE.sizes)
def test_the_shipped_graphs_draw_what_float32_draws(size: int) -> None:
    runtime = OpenVino(int8=True)
    why_not = runtime.available()
    if why_not is not None:
        pytest.skip(why_not)
    graphs = Graphs(LIVE, size, runtime, 1)
    difference = golden.check(graphs, Path(shipped("engines")) / "live" / f"golden-{size}.npz")
    graphs.close()
    assert difference.psnr >= golden.MIN_INT8_PSNR
    assert not difference.fits  # it is not the float32 graph under another name


def _telling(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """A copy whose last output is a tensor of the graph."""
    told = onnx.ModelProto()
    told.CopyFrom(model)
    told.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return told
