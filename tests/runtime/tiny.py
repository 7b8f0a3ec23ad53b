"""A tiny engine that follows the contract: it shifts the references by how far the keypoints' mean has moved."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIZE = 64
REFERENCES = 3
FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8


def encode_model(size: int = SIZE) -> onnx.ModelProto:
    """Feature `colour`: the picture times its matte, 0-1; feature `alpha`: the matte, 0-1."""
    nodes = [
        helper.make_node("Cast", ["picture"], ["p"], to=FLOAT),
        helper.make_node("Cast", ["matte"], ["m"], to=FLOAT),
        helper.make_node("Div", ["p", "full"], ["p1"]),
        helper.make_node("Div", ["m", "full"], ["m1"]),
        helper.make_node("Mul", ["p1", "m1"], ["pm"]),
        # the keypoints must reach the graph, or exporters drop the input
        helper.make_node("ReduceMean", ["keypoints"], ["k"], keepdims=0),
        helper.make_node("Mul", ["k", "zero"], ["k0"]),
        helper.make_node("Add", ["pm", "k0"], ["pmk"]),
        helper.make_node("Transpose", ["pmk"], ["colour"], perm=[0, 3, 1, 2]),
        helper.make_node("Transpose", ["m1"], ["alpha"], perm=[0, 3, 1, 2]),
    ]
    inputs = [
        helper.make_tensor_value_info("picture", UINT8, [1, size, size, 3]),
        helper.make_tensor_value_info("matte", UINT8, [1, size, size, 1]),
        helper.make_tensor_value_info("keypoints", FLOAT, [1, 478, 3]),
    ]
    outputs = [
        helper.make_tensor_value_info("colour", FLOAT, [1, 3, size, size]),
        helper.make_tensor_value_info("alpha", FLOAT, [1, 1, size, size]),
    ]
    return _model(nodes, inputs, outputs, {"full": np.float32(255), "zero": np.float32(0)})


def render_model(size: int = SIZE, references: int = REFERENCES) -> onnx.ModelProto:
    """Mean of the references, sampled (GridSample) where the keypoints came from, composed over the background."""
    line = (np.arange(size, dtype=np.float32) * 2 + 1) / size - 1
    grid = np.stack(np.meshgrid(line, line), -1)[None].astype(np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["reference_keypoints"], ["from"], axes=[0, 1], keepdims=1),
        helper.make_node("ReduceMean", ["keypoints"], ["to"], axes=[0, 1], keepdims=1),
        helper.make_node("Sub", ["from", "to"], ["shift3"]),
        helper.make_node("Slice", ["shift3", "begin", "end", "axis"], ["shift"]),
        helper.make_node("Reshape", ["shift", "shift_shape"], ["shift4"]),
        helper.make_node("Add", ["grid", "shift4"], ["where"]),
        helper.make_node("ReduceMean", ["colour"], ["colour1"], axes=[0], keepdims=1),
        helper.make_node("ReduceMean", ["alpha"], ["alpha1"], axes=[0], keepdims=1),
        helper.make_node("Concat", ["colour1", "alpha1"], ["layer"], axis=1),
        helper.make_node("GridSample", ["layer", "where"], ["warped"], align_corners=0, padding_mode="zeros"),
        helper.make_node("Transpose", ["warped"], ["rgba"], perm=[0, 2, 3, 1]),
        helper.make_node("Split", ["rgba", "parts"], ["rgb", "a"], axis=3),
        helper.make_node("Cast", ["background"], ["b"], to=FLOAT),
        helper.make_node("Sub", ["one", "a"], ["rest"]),
        helper.make_node("Mul", ["b", "rest"], ["behind"]),
        helper.make_node("Mul", ["rgb", "full"], ["front"]),
        helper.make_node("Add", ["front", "behind"], ["composed"]),
        helper.make_node("Mul", ["a", "full"], ["a255"]),
        helper.make_node("Concat", ["composed", "a255"], ["whole"], axis=3),
        helper.make_node("Clip", ["whole", "low", "full"], ["clipped"]),
        helper.make_node("Round", ["clipped"], ["rounded"]),
        helper.make_node("Cast", ["rounded"], ["picture"], to=UINT8),
    ]
    inputs = [
        helper.make_tensor_value_info("keypoints", FLOAT, [1, 478, 3]),
        helper.make_tensor_value_info("colour", FLOAT, [references, 3, size, size]),
        helper.make_tensor_value_info("alpha", FLOAT, [references, 1, size, size]),
        helper.make_tensor_value_info("reference_keypoints", FLOAT, [references, 478, 3]),
        helper.make_tensor_value_info("background", UINT8, [1, size, size, 3]),
    ]
    outputs = [helper.make_tensor_value_info("picture", UINT8, [1, size, size, 4])]
    constants = {
        "grid": grid,
        "begin": np.array([0]),
        "end": np.array([2]),
        "axis": np.array([2]),
        "shift_shape": np.array([1, 1, 1, 2]),
        "parts": np.array([3, 1]),
        "one": np.float32(1),
        "low": np.float32(0),
        "full": np.float32(255),
    }
    return _model(nodes, inputs, outputs, constants)


def without_reference_keypoints(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph, taking zeros in place of that input."""
    (lost,) = (given for given in model.graph.input if given.name == "reference_keypoints")
    shape = [axis.dim_value for axis in lost.type.tensor_type.shape.dim]
    model.graph.input.remove(lost)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.float32), "reference_keypoints"))
    onnx.checker.check_model(model)
    return model


def write_engine(folder: Path, *, size: int = SIZE, references: int = REFERENCES, **fields: object) -> Path:
    """Write a whole engine folder; `fields` replace or add lines of engine.toml (a value of None removes the line)."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(encode_model(size), str(folder / f"encode-{size}.onnx"))
    onnx.save(render_model(size, references), str(folder / f"render-{size}.onnx"))
    return write_toml(folder, size=size, references=references, **fields)


def add_int8(folder: Path, model: onnx.ModelProto | None = None, *, size: int = SIZE) -> None:
    """Give an engine a graph in 8 bits, with golden vectors of the one in float32; without `model` it is the same."""
    from telepresence.runtime import golden
    from telepresence.runtime.graphs import Graphs
    from telepresence.runtime.info import read_info
    from telepresence.runtime.onnxruntime import OnnxRuntime

    given = golden.inputs(size, REFERENCES)
    graphs = Graphs(read_info(folder), size, OnnxRuntime(), 1)
    golden.save(folder / f"golden-{size}.npz", given, golden.draw(graphs, given))
    graphs.close()
    onnx.save(model or render_model(size), str(folder / f"render-{size}.int8.onnx"))
    write_toml(folder, size=size)


def write_toml(folder: Path, *, size: int = SIZE, references: int = REFERENCES, **fields: object) -> Path:
    """Describe the graphs that lie in `folder` as they are now."""
    head: dict[str, object] = {
        "name": '"tiny"',
        "version": '"1"',
        "motion_schema": 1,
        "references": references,
        "sizes": [size],
        "description": '"shifts a picture"',
        "licence": '"Apache-2.0"',
    } | fields
    lines = [f"{key} = {value}" for key, value in head.items() if value is not None]
    graphs = sorted(folder.glob("*.onnx"))
    for table in ("files", "int8"):
        listed = [path for path in graphs if path.name.endswith(".int8.onnx") == (table == "int8")]
        if listed:
            lines.append(f"[{table}]" if table == "files" else f"\n[{table}]")
        for path in listed:
            lines.append(f'"{path.name}" = "{hashlib.sha256(path.read_bytes()).hexdigest()}"')
    (folder / "engine.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: Mapping[str, NDArray[Any] | np.float32],
) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model
