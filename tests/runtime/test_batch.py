"""Several participants in one call draw what each alone draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from telepresence.errors import EngineError
from telepresence.runtime import engine as engine_module
from telepresence.runtime.batch import SIZES, batched, batched_file
from telepresence.runtime.engine import open_engine
from telepresence.runtime.graphs import Graphs
from telepresence.runtime.info import list_engines, read_info
from telepresence.runtime.many import Many, Pair
from telepresence.runtime.onnxruntime import OnnxRuntime
from telepresence.runtime.precision import mixed
from telepresence.runtime.tensorrt.operators import problems
from telepresence.runtime.tensorrt.runtime import TensorRt
from telepresence.runtime.verify import _random_avatar, _random_keypoints
from tests.runtime import tiny
from tests.runtime.conftest import make_avatar
from tests.runtime.fake_gpu import CudaError, FakeCuda, FakeTensorRt

KEYPOINTS = np.zeros((478, 3), np.float32)


def people(graphs: Graphs, count: int) -> list[Pair]:
    rng = np.random.default_rng(count)
    found = []
    for _ in range(count):
        references, background = _random_avatar(rng, graphs.size, 2)
        found.append((graphs.tensors(iter(references), background), _random_keypoints(rng)))
    return found


@pytest.mark.parametrize("info", list_engines(), ids=lambda info: info.name)
def test_shipped_engines(info: Any, tmp_path: Path) -> None:
    graphs = Graphs(info, 256, OnnxRuntime(), 1)
    pairs = people(graphs, 2)
    alone = [graphs.render(*pair).copy() for pair in pairs]
    many = Many(graphs, lambda work: work())
    assert many.render(pairs) is None  # it is compiled first
    together = many.render(pairs)
    assert together is not None
    for one, other in zip(alone, together, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1
    assert not np.array_equal(alone[0], alone[1])
    many.close()
    graphs.close()


@pytest.mark.parametrize("info", list_engines(), ids=lambda info: info.name)
def test_what_is_learned_is_computed_once_and_could_be_compiled(info: Any) -> None:
    single = onnx.load(str(info.graph("render", 256)))
    for count in SIZES:
        made = batched(single, count)
        assert problems(mixed(made).model) == []
        for kind in ("Conv", "GridSample"):
            assert kinds(made).count(kind) == kinds(single).count(kind)
        # Enlarging the finished picture may stay one each.
        assert kinds(made).count("Resize") <= kinds(single).count("Resize") + count - 1


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.fixture
def graphs(engine_folder: Path) -> Graphs:
    return Graphs(read_info(engine_folder), tiny.SIZE, OnnxRuntime(), 1)


@pytest.mark.parametrize("count", [2, 3, 8, 11])
def test_any_number_of_participants(graphs: Graphs, count: int) -> None:
    pairs = people(graphs, count)
    alone = [graphs.render(*pair).copy() for pair in pairs]
    many = Many(graphs, lambda work: work())
    for _ in range(2):  # one for each size of batch
        many.render(pairs)
    together = many.render(pairs)
    assert together is not None
    assert len(together) == count
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
    swapped = many.render([pairs[1], pairs[0], *pairs[2:]])
    assert swapped is not None
    np.testing.assert_array_equal(swapped[0], alone[1])


def test_the_file_is_made_once_and_again_when_damaged(engine_folder: Path, tmp_path: Path) -> None:
    path = engine_folder / "render-64.onnx"
    first = batched_file(path, 2, tmp_path / "graphs")
    whole = first.read_bytes()
    first.write_bytes(b"damaged")
    assert batched_file(path, 2, tmp_path / "graphs") == first
    assert first.read_bytes() == whole
    assert batched_file(path, 4, tmp_path / "graphs") != first
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match="cannot be written"):
        batched_file(path, 2, tmp_path / "file")


def test_a_batch_that_cannot_be_had_is_asked_for_once(graphs: Graphs, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: object, path: Path, *, threads: int | None = None) -> None:
        raise EngineError("not enough GPU memory")

    monkeypatch.setattr(OnnxRuntime, "load", refuse)
    said: list[str] = []
    many = Many(graphs, lambda work: work(), said.append)
    pairs = [({}, KEYPOINTS)] * 2
    assert many.render(pairs) is None
    assert many.render(pairs) is None
    assert said == ["participants are drawn one by one: not enough GPU memory"]


def test_on_a_cpu_each_is_drawn_by_itself(engine_folder: Path) -> None:
    with open_engine(engine_folder, tiny.SIZE, runtime="openvino", threads=1) as engine:
        each = [(engine.prepare(make_avatar(seed=seed)), KEYPOINTS) for seed in (0, 1)]
        alone = [engine.render(*one).copy() for one in each]
        together = engine.render_many(each)
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one, other)
        with pytest.raises(EngineError, match="finite"):
            engine.render_many([*each, (each[0][0], KEYPOINTS * np.nan)])


def test_on_a_gpu_one_call_draws_all(engine_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trt = FakeTensorRt(FakeCuda())
    monkeypatch.setattr(engine_module, "accelerated", lambda: [TensorRt(trt=trt, cuda=trt.cuda)])
    for kind in ("encode", "render"):
        TensorRt(trt=trt, cuda=trt.cuda).build(engine_folder / f"{kind}-{tiny.SIZE}.onnx")
    with open_engine(engine_folder, tiny.SIZE, threads=1) as engine:
        assert engine.runtime_name == "tensorrt"
        each = [(engine.prepare(make_avatar(seed=seed)), KEYPOINTS) for seed in range(4)]
        alone = [engine.render(*one).copy() for one in each]
        engine.render_many(each)
        worker = engine._graphs._worker
        assert worker is not None
        worker.join(20)
        engine.render_many(each)
        trt.cuda.calls.clear()
        together = engine.render_many(each)
        assert trt.cuda.calls["computed"] == trt.cuda.calls["cudaStreamSynchronize"] == 1
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one, other)
        trt.cuda.failing["cudaGraphLaunch"] = CudaError.cudaErrorIllegalAddress
        for one, other in zip(alone, engine.render_many(each), strict=True):
            assert np.abs(one.astype(int) - other).max() <= 2
        assert engine.runtime_name in ("openvino", "onnxruntime")
