"""Several participants in one call draw what each alone draws."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from telepresence.errors import EngineError
from telepresence.runtime import engine as engine_module
from telepresence.runtime.batch import SIZES, batched, batched_file
from telepresence.runtime.contract import Runtime, Session
from telepresence.runtime.engine import open_engine
from telepresence.runtime.graphs import Graphs
from telepresence.runtime.info import list_engines, read_info
from telepresence.runtime.many import Many, Pair
from telepresence.runtime.onnxruntime import OnnxRuntime
from telepresence.runtime.precision import mixed
from telepresence.runtime.switch import Switch
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
    many.missed(pairs, alone)
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
    assert many.render(pairs) is None
    many.missed(pairs, alone)
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


@pytest.mark.parametrize("error", [EngineError("not enough GPU memory"), TypeError("not enough GPU memory")], ids=repr)
def test_a_batch_that_cannot_be_had_is_asked_for_once(
    graphs: Graphs, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(self: object, path: Path, *, threads: int | None = None) -> None:
        raise error

    pairs = people(graphs, 2)
    alone = [graphs.render(*pair).copy() for pair in pairs]
    monkeypatch.setattr(OnnxRuntime, "load", refuse)
    said: list[str] = []
    many = Many(graphs, lambda work: work(), said.append)
    for _ in range(3):
        assert many.render(pairs) is None
        many.missed(pairs, alone)
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
        engine._graphs._background.wait(20)
        trt.cuda.calls.clear()
        together = engine.render_many(each)  # the first is as fast as all others: recorded already, tensors in place
        assert trt.cuda.calls["computed"] == trt.cuda.calls["cudaStreamSynchronize"] == 1
        assert trt.cuda.calls["execute"] == trt.cuda.calls["cudaMalloc"] == trt.cuda.calls["cudaMemcpyAsync"] == 0
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one, other)
        trt.cuda.failing["cudaGraphLaunch"] = CudaError.cudaErrorIllegalAddress
        for one, other in zip(alone, engine.render_many(each), strict=True):
            assert np.abs(one.astype(int) - other).max() <= 2
        assert engine.runtime_name in ("openvino", "onnxruntime")


class Mistaken(OnnxRuntime):
    """A GPU of which the graph for several participants mixes up two of them, or fails."""

    batches = True

    def __init__(self, problem: str) -> None:
        super().__init__()
        self.name, self.problem = "mistaken", problem
        self.loads: list[str] = []

    def load(self, path: Path, *, threads: int | None = None) -> Session:
        self.loads.append(path.name)
        session = super().load(path, threads=threads)
        if path.name.startswith(f"render-{tiny.SIZE}-"):
            run = session.run

            def wrong(feeds: Any) -> Any:
                if self.problem == "fails":
                    raise RuntimeError("lost")
                made = dict(run(feeds))
                made["picture.0"], made["picture.1"] = made["picture.1"], made["picture.0"]
                return made

            session.run = wrong  # type: ignore[method-assign]
        return session


@pytest.mark.parametrize(
    ("problem", "why"), [("mixes", "2 in one call are not drawn as each alone"), ("fails", "lost")]
)
def test_a_batch_that_draws_something_else_does_not_come_in(engine_folder: Path, problem: str, why: str) -> None:
    runtime, said = Mistaken(problem), list[str]()
    graphs = Graphs(read_info(engine_folder), tiny.SIZE, runtime, 1)
    pairs = people(graphs, 2)
    switch = Switch(graphs, lambda other: graphs, say=said.append)
    alone = [switch.render(*pair).copy() for pair in pairs]
    for _ in range(3):
        for one, other in zip(alone, switch.render_many(pairs), strict=True):
            np.testing.assert_array_equal(one, other)
        switch._background.wait(20)
    assert len(said) == 1
    assert said[0].startswith(f"participants are drawn one by one: {why}")
    assert len(runtime.loads) == 3  # encode, render, and the batch: once
    switch.close()


@pytest.mark.parametrize("how", ["another takes over", "it fails"])
def test_batches_go_with_their_runtime(engine_folder: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    trt = FakeTensorRt(FakeCuda())
    info = read_info(engine_folder)

    def load(runtime: Runtime) -> Graphs:
        return Graphs(info, tiny.SIZE, runtime, 1)

    switch = Switch(load(TensorRt(trt=trt, cuda=trt.cuda)), load, [OnnxRuntime()])
    pairs = people(switch.current, 2)
    switch.render_many(pairs)
    switch._background.wait(20)
    assert len(trt.cuda.blocks) > 20
    if how == "it fails":
        trt.cuda.failing["cudaGraphLaunch"] = CudaError.cudaErrorIllegalAddress
        switch.render_many(pairs)
        switch._background.wait(20)
    else:
        switch.change_to(OnnxRuntime())
    assert switch.current.runtime.name == "onnxruntime"
    trt.configs.clear()  # what this stand-in keeps
    gc.collect()
    assert trt.cuda.blocks == {}  # nothing of it is left on the GPU, nor pinned
    switch.close()
