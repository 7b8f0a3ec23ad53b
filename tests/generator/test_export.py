from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from telepresence.generator.export import OPSET, SIZES, describe, export_graphs
from telepresence.generator.prior import REFERENCES, PriorEncode, PriorRender
from telepresence.resources import shipped
from telepresence.runtime import golden
from telepresence.runtime.info import read_info

SIZE = 256

# Of the operators that "Supported ONNX Operators" (onnx-tensorrt, docs/operators.md, for TensorRT 10.15) lists, those
# that may be used here. What it restricts is tested below. Add to the list only after looking there.
TENSORRT = {
    *(
        "Abs",
        "Add",
        "ArgMin",
        "Cast",
        "Clip",
        "Concat",
        "Div",
        "Expand",
        "Gather",
        "GatherElements",
        "GatherND",
        "GreaterOrEqual",
    ),
    *(
        "GridSample",
        "Less",
        "MatMul",
        "Max",
        "Min",
        "Mul",
        "Neg",
        "Pad",
        "Pow",
        "Reciprocal",
        "ReduceMax",
        "ReduceMean",
    ),
    *(
        "ReduceMin",
        "ReduceSum",
        "Reshape",
        "Slice",
        "Softmax",
        "Split",
        "Sqrt",
        "Squeeze",
        "Sub",
        "Tile",
        "TopK",
        "Transpose",
        "Unsqueeze",
    ),
    "Where",
}


@pytest.fixture(scope="module")
def modules() -> tuple[PriorEncode, PriorRender]:
    return PriorEncode().eval(), PriorRender(SIZE).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, modules: tuple[PriorEncode, PriorRender]) -> Path:
    out = tmp_path_factory.mktemp("engine")
    export_graphs(out, SIZE, REFERENCES, *modules)
    return out


@pytest.fixture(params=["encode", "render"])
def graph(request: pytest.FixtureRequest, folder: Path) -> Any:
    return onnx.load(folder / f"{request.param}-{SIZE}.onnx")


def given() -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in golden.inputs(SIZE, REFERENCES).items()}


def run(path: Path, feeds: dict[str, Any]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    wanted = {i.name for i in session.get_inputs()}
    arrays: list[np.ndarray] = session.run(None, {k: np.asarray(v) for k, v in feeds.items() if k in wanted})
    return arrays


def drawn(folder: Path) -> np.ndarray:
    """What the graphs in a folder draw of the golden inputs, (N, S, S, 4)."""
    inputs = given()
    slots = [i % len(inputs["picture"]) for i in range(REFERENCES)]
    encoded = [
        run(
            folder / f"encode-{SIZE}.onnx",
            {
                "picture": inputs["picture"][i][None],
                "matte": inputs["matte"][i][None, ..., None],
                "keypoints": inputs["reference_keypoints"][i][None],
            },
        )
        for i in slots
    ]
    features = dict(zip(PriorEncode.outputs, map(np.concatenate, zip(*encoded, strict=True)), strict=True))
    feeds = features | {"background": inputs["background"][None]}
    path = folder / f"render-{SIZE}.onnx"
    return np.concatenate([run(path, feeds | {"keypoints": k[None]})[0] for k in inputs["keypoints"]])


@pytest.fixture(scope="module")
def by_torch(modules: tuple[PriorEncode, PriorRender]) -> np.ndarray:
    encode, render = modules
    inputs = given()
    slots = [i % len(inputs["picture"]) for i in range(REFERENCES)]
    with torch.no_grad():
        encoded = [
            encode(
                inputs["picture"][i][None], inputs["matte"][i][None, ..., None], inputs["reference_keypoints"][i][None]
            )
            for i in slots
        ]
        features = [torch.cat(column) for column in zip(*encoded, strict=True)]
        pictures = [render(k[None], *features, inputs["background"][None]) for k in inputs["keypoints"]]
    out: np.ndarray = torch.cat(pictures).numpy()
    return out


def assert_same_pictures(one: np.ndarray, other: np.ndarray) -> None:
    assert one.shape == other.shape
    gap = np.abs(one.astype(int) - other)
    assert gap.mean() < 0.02
    assert (gap > 2).mean() < 1e-3  # where two triangles are equally near, either may win


def test_the_exported_graphs_draw_what_torch_draws(folder: Path, by_torch: np.ndarray) -> None:
    assert by_torch.std() > 20  # there is something to see
    assert_same_pictures(drawn(folder), by_torch)


def test_the_shipped_engine_is_what_the_code_draws(by_torch: np.ndarray) -> None:
    """If not: python -m telepresence.generator.export prior."""
    assert_same_pictures(drawn(shipped("engines") / "prior"), by_torch)


def test_every_operator_is_one_that_tensorrt_lists(graph: Any) -> None:
    assert {(o.domain, o.version) for o in graph.opset_import} == {("", OPSET)}
    assert {node.op_type for node in graph.graph.node} <= TENSORRT
    assert not graph.functions


def test_what_tensorrt_restricts(graph: Any) -> None:
    """uint8 only at the graph's ends, axes and K constant, GridSample on four dimensions."""
    constants = {i.name for i in graph.graph.initializer}
    ends = {v.name: v.type.tensor_type for v in [*graph.graph.input, *graph.graph.output]}
    bytes_in = {v.name for v in graph.graph.input if ends[v.name].elem_type == onnx.TensorProto.UINT8}
    bytes_out = {v.name for v in graph.graph.output if ends[v.name].elem_type == onnx.TensorProto.UINT8}
    for node in graph.graph.node:
        if bytes_in & set(node.input) or bytes_out & set(node.output):
            assert node.op_type == "Cast"
        if node.op_type.startswith("Reduce") or node.op_type == "TopK":
            assert constants.issuperset(node.input[1:])
    sampled = onnx.shape_inference.infer_shapes(graph)
    rank = {v.name: len(v.type.tensor_type.shape.dim) for v in [*sampled.graph.value_info, *sampled.graph.input]}
    for node in graph.graph.node:
        if node.op_type == "GridSample":
            assert [rank.get(name, 4) for name in node.input] == [4, 4]


def test_shapes_are_static_and_names_as_the_contract_says(folder: Path) -> None:
    def spec(values: Any) -> dict[str, tuple[int, tuple[int, ...]]]:
        return {
            v.name: (v.type.tensor_type.elem_type, tuple(d.dim_value for d in v.type.tensor_type.shape.dim))
            for v in values
        }

    byte, real = onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT
    encode, render = (onnx.load(folder / f"{kind}-{SIZE}.onnx").graph for kind in ("encode", "render"))
    assert spec(encode.input) == {
        "picture": (byte, (1, SIZE, SIZE, 3)),
        "matte": (byte, (1, SIZE, SIZE, 1)),
        "keypoints": (real, (1, 478, 3)),
    }
    features = spec(encode.output)
    assert tuple(features) == PriorEncode.outputs
    assert {shape[0] for _, shape in features.values()} == {1}
    stacked = {name: (kind, (REFERENCES, *shape[1:])) for name, (kind, shape) in features.items()}
    assert spec(render.input) == {
        "keypoints": (real, (1, 478, 3)),
        "background": (byte, (1, SIZE, SIZE, 3)),
        **stacked,
    }
    assert spec(render.output) == {"picture": (byte, (1, SIZE, SIZE, 4))}


def test_nothing_of_the_machine_that_exported_is_in_the_file(folder: Path) -> None:
    for path in folder.glob("*.onnx"):
        data = path.read_bytes()
        assert str(Path(torch.__file__).parent).encode() not in data
        assert str(Path(__file__).resolve().parents[2]).encode() not in data
        assert not any(i.external_data for i in onnx.load_from_string(data).graph.initializer)


def test_describe_writes_what_the_runtime_reads(tmp_path: Path) -> None:
    out = tmp_path / "prior"
    out.mkdir()
    for size in SIZES:
        for kind in ("encode", "render"):
            (out / f"{kind}-{size}.onnx").write_bytes(f"{kind} {size}".encode())
    describe(out, "prior", REFERENCES, "A test.")
    info = read_info(out)
    assert (info.name, info.references, tuple(info.sizes)) == ("prior", REFERENCES, SIZES)
    info.graph("render", SIZE)
