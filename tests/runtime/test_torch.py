"""torch as a runtime, on the CPU: the same session, memory and graph as on a GPU, without a stream."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("torch", reason="torch is not installed: make setup-train")

import torch

from telepresence.avatar.samples import sample_avatar, sample_motion
from telepresence.errors import EngineError
from telepresence.face.motion import keypoints
from telepresence.runtime import golden
from telepresence.runtime.engine import open_engine
from telepresence.runtime.graphs import Graphs
from telepresence.runtime.info import list_engines, read_info
from telepresence.runtime.onnxruntime import OnnxRuntime
from telepresence.runtime.torch import runtime as module
from telepresence.runtime.torch.operators import OPERATORS
from telepresence.runtime.torch.program import Program
from telepresence.runtime.torch.runtime import Torch
from tests.runtime import tiny

pytestmark = pytest.mark.train


@pytest.fixture(autouse=True)
def own_threads() -> object:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_float32_is_what_the_golden_vectors_say() -> None:
    for info in list_engines():
        graphs = Graphs(info, 256, Torch("cpu"), 1)
        assert golden.check(graphs, info.folder / "golden-256.npz").fits
        graphs.close()


@pytest.mark.parametrize("info", list_engines(), ids=lambda info: info.name)
def test_half_precision_really_computed_keeps_the_pictures(info: object) -> None:
    """onnxruntime computes half as float32 on a CPU, and torch does not: this is the rounding that a GPU does."""
    graphs = Graphs(info, 256, Torch("cpu", half=True), 1)  # type: ignore[arg-type]
    assert golden.check(graphs, info.folder / "golden-256.npz").psnr >= 45  # type: ignore[attr-defined]
    graphs.close()


def test_half_precision_on_a_portrait() -> None:
    avatar = sample_avatar()
    points = keypoints(sample_motion()[40].motion, avatar.neutral)
    with open_engine("live", runtime="onnxruntime", threads=1) as engine:
        prepared = engine.prepare(avatar)
        exact = engine.render(prepared, points).copy()
        info = engine.info
    graphs = Graphs(info, 256, Torch("cpu", half=True), 1)
    there = graphs.render(prepared.tensors, points)
    assert golden.compare(there[None], exact[None]).psnr >= 45
    graphs.close()


def test_every_operator_of_every_engine_is_known() -> None:
    for info in list_engines():
        for size in info.sizes:
            for kind in ("encode", "render"):
                graph = onnx.load(str(info.graph(kind, size))).graph
                assert {node.op_type for node in graph.node} <= OPERATORS.keys()


def test_on_a_machine_without_a_gpu(monkeypatch: pytest.MonkeyPatch, engine_folder: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.setattr(module, "nvidia_driver", lambda: None)
    assert "no NVIDIA driver" in str(Torch().available())
    monkeypatch.setattr(module, "nvidia_driver", lambda: "580.1")
    monkeypatch.setattr(module, "package_version", lambda name: "2.13.0")
    assert Torch().available() is None
    with pytest.raises(
        EngineError, match=r"torch cannot load render-64.onnx: (this torch was built without|torch finds)"
    ):
        Torch().load(engine_folder / "render-64.onnx")


def test_a_torch_for_the_cpu_is_not_imported_to_find_that_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "nvidia_driver", lambda: "580.1")
    monkeypatch.setattr(module, "package_version", lambda name: "2.13.0+cpu")
    assert "this torch was built without CUDA; pip install torch" in str(Torch().available())
    assert Torch("cpu").available() is None
    monkeypatch.setattr(module, "package_version", lambda name: "2.13.0+cu130")
    assert Torch().available() is None


class Stream:
    """A stream that does everything at once."""

    def synchronize(self) -> None:
        pass


@pytest.mark.parametrize("where", ["begin", "end", None])
def test_recording_on_a_stream_that_is_made_up(
    engine_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str | None
) -> None:
    """A CUDA graph that cannot be recorded costs speed, and not the runtime."""
    replays: list[None] = []
    current: list[object] = []

    class Graph:
        def replay(self) -> None:
            replays.append(None)

    @contextlib.contextmanager
    def recording(graph: Graph, stream: object, capture_error_mode: str) -> Iterator[None]:
        current.append(stream)
        if where == "begin":
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        yield
        if where == "end":
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
        current.pop()

    @contextlib.contextmanager
    def on_stream(stream: object) -> Iterator[None]:
        before = list(current)
        try:
            yield
        finally:
            current[:] = before

    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", recording)
    monkeypatch.setattr(torch.cuda, "stream", on_stream)
    given = golden.inputs(tiny.SIZE, tiny.REFERENCES)
    graphs = Graphs(read_info(engine_folder), tiny.SIZE, Torch("cpu"), 1)
    for session in (graphs._encode, graphs._render):
        session._memory.stream = Stream()  # type: ignore[attr-defined]
    drawn = golden.draw(graphs, given)
    if where is not None:  # or nothing is really recorded here
        wanted = golden.draw(Graphs(read_info(engine_folder), tiny.SIZE, OnnxRuntime(), 1), given)
        assert golden.compare(drawn, wanted).fits
    assert bool(replays) == (where is None)
    assert ("without a CUDA graph" in caplog.text) == (where is not None)
    assert current == []  # whoever draws next in this thread is not on our stream


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.util, "find_spec", lambda name: None if name == "onnx" else object())
    assert Torch("cpu").available() == "onnx is not installed; get it with: pip install torch onnx"


def test_a_graph_it_does_not_know(engine_folder: Path) -> None:
    path = engine_folder / "render-64.onnx"
    model = onnx.load(str(path))
    model.graph.node[-1].op_type = "Hardmax"
    onnx.save(model, str(path))
    with pytest.raises(EngineError, match=r"torch-cpu cannot load render-64.onnx: torch cannot execute the operator"):
        Torch("cpu").load(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(EngineError, match=r"torch-cpu cannot load render-64.onnx: "):
        Torch("cpu").load(path)


def test_draws_what_others_draw(engine_folder: Path) -> None:
    given = golden.inputs(tiny.SIZE, tiny.REFERENCES)
    info = read_info(engine_folder)
    drawn = [golden.draw(Graphs(info, tiny.SIZE, runtime, 1), given) for runtime in (Torch("cpu"), OnnxRuntime())]
    assert golden.compare(drawn[0], drawn[1]).fits


RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 6, 5, 4)).astype(np.float32)
SQUARE = RNG.standard_normal((1, 4, 6, 6)).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


OPERATOR_CASES: dict[str, tuple[str, dict[str, np.ndarray], dict[str, object]]] = {
    "slice backwards": ("Slice", {"x": X, "a": ints(-1), "b": ints(-100), "c": ints(1), "d": ints(-2)}, {}),
    "slice steps": ("Slice", {"x": X, "a": ints(1, 0), "b": ints(100, -1), "c": ints(1, 3), "d": ints(2, 2)}, {}),
    "slice without axes": ("Slice", {"x": X, "a": ints(0, 1), "b": ints(1, 3)}, {}),
    "reshape": ("Reshape", {"x": X, "a": ints(0, -1, 4)}, {}),
    "gather negative": ("Gather", {"x": X, "a": ints(-1, 0, 2)}, {"axis": 1}),
    "gather to a scalar": ("Gather", {"x": X, "a": np.array(1)}, {"axis": 0}),
    "gather nd": ("GatherND", {"x": X, "a": RNG.integers(0, 4, (3, 2))[:, :2] % 2}, {}),
    "gather nd in batches": ("GatherND", {"x": X, "a": RNG.integers(0, 4, (2, 3, 2))}, {"batch_dims": 1}),
    "gather elements": ("GatherElements", {"x": X, "a": RNG.integers(-5, 5, (2, 6, 3, 4))}, {"axis": 2}),
    "split evenly": ("Split", {"x": X}, {"axis": 2, "num_outputs": 2}),
    "split": ("Split", {"x": X, "a": ints(1, 5)}, {"axis": 1}),
    "depth to space": ("DepthToSpace", {"x": SQUARE}, {"blocksize": 2}),
    "depth to space CRD": ("DepthToSpace", {"x": SQUARE}, {"blocksize": 2, "mode": "CRD"}),
    "pad": ("Pad", {"x": X, "a": ints(0, 1, 0, 2, 0, 0, 1, 3), "b": np.float32(0.5)}, {}),
    "pad edge": ("Pad", {"x": X, "a": ints(0, 0, 1, 2, 0, 0, 3, 1)}, {"mode": "edge"}),
    "pad reflect": ("Pad", {"x": X, "a": ints(0, 0, 1, 2, 0, 0, 3, 1)}, {"mode": "reflect"}),
    "reduce": ("ReduceMean", {"x": X, "a": ints(1, -1)}, {"keepdims": 0}),
    "reduce all": ("ReduceMax", {"x": X}, {"keepdims": 0}),
    "resize": ("Resize", {"x": SQUARE, "": SQUARE, "c": np.array([1, 1, 2, 2], np.float32)}, {"mode": "linear"}),
    "resize nearest": ("Resize", {"x": SQUARE, "": SQUARE, "c": np.array([1, 1, 2, 2], np.float32)},
                       {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
    "grid sample": ("GridSample", {"x": SQUARE, "g": RNG.uniform(-1.2, 1.2, (1, 3, 3, 2)).astype(np.float32)},
                    {"padding_mode": "border", "align_corners": 0}),
    "gemm": ("Gemm", {"x": X[0, 0], "a": X[0, 1], "b": X[0, 0, 0, :1]}, {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    "integer division": ("Div", {"x": ints(-7, 7, 9), "a": ints(2, -2, 3)}, {}),
    "min of three": ("Min", {"x": X, "a": X * 0.5, "b": X[:1, :1]}, {}),
    "clip from above": ("Clip", {"x": X, "": X, "b": np.float32(0.2)}, {}),
    "topk smallest": ("TopK", {"x": X, "a": ints(2)}, {"axis": 1, "largest": 0}),
    "argmin": ("ArgMin", {"x": X}, {"axis": 2, "keepdims": 0}),
    "uneven convolution": ("Conv", {"x": SQUARE, "w": RNG.standard_normal((3, 4, 2, 2)).astype(np.float32)},
                           {"pads": [1, 0, 0, 1]}),
    "max pool": ("MaxPool", {"x": SQUARE}, {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "average pool": ("AveragePool", {"x": SQUARE}, {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "expand": ("Expand", {"x": X[:, :1], "a": ints(2, 6, 1, 4)}, {}),
    "instance norm": ("InstanceNormalization", {"x": SQUARE, "a": X[0, :4, 0, 0], "b": X[0, :4, 1, 1]}, {}),
}  # fmt: skip


@pytest.mark.parametrize("case", OPERATOR_CASES)
def test_operators_are_those_of_onnx(case: str) -> None:
    from onnx.reference import ReferenceEvaluator

    kind, given, attributes = OPERATOR_CASES[case]
    count = {"split evenly": 2, "split": 2, "topk smallest": 2}.get(case, 1)
    names = [f"y{number}" for number in range(count)]
    node = helper.make_node(kind, list(given), names, **attributes)
    data = {name: array for name, array in given.items() if name == "x"}
    constants = {name: array for name, array in given.items() if name not in ("", "x")}
    graph = helper.make_graph(
        [node],
        "test",
        [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(data["x"].dtype), data["x"].shape)],
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in names],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    expected = ReferenceEvaluator(model).run(None, data)
    made = Program(model, torch.device("cpu")).run({"x": torch.from_numpy(data["x"])})
    for name, array in zip(names, expected, strict=True):
        np.testing.assert_allclose(made[name].numpy(), array, atol=1e-5)


def test_constants_are_folded_and_shapes_must_be_constants() -> None:
    def program(nodes: list[onnx.NodeProto]) -> Callable[[], Program]:
        graph = helper.make_graph(
            nodes,
            "test",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(ints(2), "two")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
        return lambda: Program(model, torch.device("cpu"))

    folded = program(
        [
            helper.make_node("Concat", ["two", "two"], ["shape"], axis=0),
            helper.make_node("Reshape", ["x", "shape"], ["y"]),
        ]
    )()
    assert [step.name for step in folded._steps] == ["Reshape"]
    assert folded.run({"x": torch.arange(4.0)})["y"].shape == (2, 2)
    from_data = [helper.make_node("Cast", ["x"], ["shape"], to=7), helper.make_node("Reshape", ["x", "shape"], ["y"])]
    with pytest.raises(EngineError, match="'shape' is not a constant"):
        program(from_data)()


def test_constants_are_on_the_gpu_before_another_stream_reads_them(
    monkeypatch: pytest.MonkeyPatch, engine_folder: Path
) -> None:
    waited: list[object] = []
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *where, **how: self)
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    Program(onnx.load(str(engine_folder / "render-64.onnx")), torch.device("cuda"))
    assert waited == [torch.device("cuda")]
