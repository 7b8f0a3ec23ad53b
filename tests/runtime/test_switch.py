"""Another runtime takes over in mid-call: a better one without a stall, a stand-in at once when one fails."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from telepresence.errors import EngineError
from telepresence.runtime import engine as engine_module
from telepresence.runtime import golden
from telepresence.runtime.contract import Progress, Runtime, Session
from telepresence.runtime.engine import Engine, open_engine
from telepresence.runtime.graphs import EncodeInput, Graphs
from telepresence.runtime.info import read_info
from telepresence.runtime.onnxruntime import OnnxRuntime
from telepresence.runtime.openvino import OpenVino
from telepresence.runtime.switch import Switch
from tests.runtime import tiny
from tests.runtime.conftest import make_avatar
from tests.runtime.fake_gpu import CudaError, FakeCuda, FakeTensorRt

KEYPOINTS = np.zeros((478, 3), np.float32)
PATIENCE_S = 20.0


def until(condition: Callable[[], bool]) -> None:
    """Wait for another thread."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


class Compiled(OnnxRuntime):
    """A runtime that compiles first, for as long as it is told to."""

    def __init__(self, name: str = "compiled") -> None:
        super().__init__()
        self.name = name
        self.go, self.built = threading.Event(), set[Path]()
        self.problem = ""
        self.started, self.stopped = threading.Event(), False

    def available(self) -> str | None:
        return None

    def ready(self, path: Path) -> bool:
        return path in self.built

    def build(self, path: Path, progress: Progress | None = None) -> None:
        self.started.set()
        while not self.go.wait(0.01):
            if progress and not progress(0.5, "compiling"):
                self.stopped = True
                raise EngineError("the build was stopped")
        if self.problem:
            raise EngineError(self.problem)
        self.built.add(path)


class Spoiled(OnnxRuntime):
    """A runtime that draws something else."""

    name = "spoiled"

    def __init__(self) -> None:
        super().__init__()
        self.name = "spoiled"

    def load(self, path: Path, *, threads: int | None = None) -> Session:
        session = super().load(path, threads=threads)
        if "render" in path.name:
            run = session.run
            session.run = lambda feeds: {name: 255 - array for name, array in run(feeds).items()}  # type: ignore[method-assign]
        return session


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def engine_with_golden(engine_folder: Path) -> Path:
    given = golden.inputs(tiny.SIZE, tiny.REFERENCES)
    graphs = Graphs(read_info(engine_folder), tiny.SIZE, OnnxRuntime(), 1)
    golden.save(engine_folder / "golden-64.npz", given, golden.draw(graphs, given))
    graphs.close()
    return engine_folder


@pytest.fixture
def switch(engine_with_golden: Path, said: list[str]) -> Iterator[Switch]:
    info = read_info(engine_with_golden)

    def load(runtime: Runtime) -> Graphs:
        return Graphs(info, tiny.SIZE, runtime, 1)

    made = Switch(load(OpenVino()), load, [OnnxRuntime(), OpenVino()], [OpenVino(), OnnxRuntime()], said.append)
    yield made
    made.close()


def break_it(graphs: Graphs, error: Exception) -> None:
    def fail() -> None:
        raise error

    graphs._render._execute = fail  # type: ignore[attr-defined]


@pytest.fixture
def drawn(switch: Switch) -> dict[str, Any]:
    given = golden.inputs(tiny.SIZE, tiny.REFERENCES)
    references = [
        EncodeInput(*each) for each in zip(given["picture"], given["matte"], given["reference_keypoints"], strict=True)
    ]
    tensors = switch.tensors(iter(references), given["background"])
    return {"tensors": tensors, "picture": switch.render(tensors, KEYPOINTS).copy()}


def test_swapping_there_and_back_loses_no_picture(switch: Switch, drawn: dict[str, Any], said: list[str]) -> None:
    """Pictures are drawn without a pause while runtimes change; each is whole, and right."""
    problems: list[str] = []
    count = 0
    done = threading.Event()

    def draw() -> None:
        nonlocal count
        while not done.is_set():
            try:
                picture = switch.render(drawn["tensors"], KEYPOINTS)
                worst = int(np.abs(picture.astype(int) - drawn["picture"]).max())
            except Exception as error:
                problems.append(repr(error))
                return
            count += 1
            if worst > 1:
                problems.append(f"picture {count} is off by {worst}")

    thread = threading.Thread(target=draw)
    thread.start()
    names = []
    for runtime in (OnnxRuntime(), OpenVino()) * 4:
        before = count
        switch.change_to(runtime)
        names.append(switch.current.runtime.name)
        until(lambda before=before: count > before + 3 or bool(problems))  # type: ignore[misc]
    done.set()
    thread.join(PATIENCE_S)
    assert problems == []
    assert names == ["onnxruntime", "openvino"] * 4
    assert len(said) == 8
    assert said[0].startswith("pictures are drawn by onnxruntime ")


def test_the_new_one_is_warm_before_it_takes_over(switch: Switch, drawn: dict[str, Any]) -> None:
    runs: list[str] = []

    class Counting(OnnxRuntime):
        def load(self, path: Path, *, threads: int | None = None) -> Session:
            session = super().load(path, threads=threads)
            run = session.run
            session.run = lambda feeds: (runs.append(switch.current.runtime.name), run(feeds))[1]  # type: ignore
            return session

    switch.change_to(Counting())
    assert len(runs) > 5
    assert set(runs) == {"openvino"}  # all of that while the old one was in its place


def test_compiles_in_the_background_and_takes_over(switch: Switch, drawn: dict[str, Any], said: list[str]) -> None:
    better = Compiled()
    switch.improve(better)
    for _ in range(5):
        np.testing.assert_array_equal(switch.render(drawn["tensors"], KEYPOINTS), drawn["picture"])
    assert switch.current.runtime.name == "openvino"
    until(lambda: bool(said))
    better.go.set()
    until(lambda: switch.current.runtime is better)
    assert np.abs(switch.render(drawn["tensors"], KEYPOINTS).astype(int) - drawn["picture"]).max() <= 1
    until(lambda: any(line.startswith("pictures are drawn by compiled") for line in said))
    assert said[0] == "compiled compiles encode-64:  50%"  # how far it is, whoever waits for it


def test_a_build_that_fails_changes_nothing(switch: Switch, drawn: dict[str, Any], said: list[str]) -> None:
    better = Compiled()
    better.problem = "not enough GPU memory"
    better.go.set()
    switch.improve(better)
    until(lambda: len(said) == 1)
    assert said == ["compiled does not take over: not enough GPU memory"]
    np.testing.assert_array_equal(switch.render(drawn["tensors"], KEYPOINTS), drawn["picture"])


def test_closing_stops_a_build(switch: Switch) -> None:
    better = Compiled()
    switch.improve(better)
    better.started.wait(PATIENCE_S)
    switch.close()
    until(lambda: better.stopped)


def test_who_draws_something_else_does_not_take_over(switch: Switch) -> None:
    with pytest.raises(EngineError, match=r"its pictures are not those of the engine .* engines verify"):
        switch.change_to(Spoiled())
    assert switch.current.runtime.name == "openvino"


def test_a_stand_in_draws_the_picture_at_hand(switch: Switch, drawn: dict[str, Any], said: list[str]) -> None:
    failed = switch.current
    break_it(failed, MemoryError("the machine ran out"))
    picture = switch.render(drawn["tensors"], KEYPOINTS)
    assert np.abs(picture.astype(int) - drawn["picture"]).max() <= 1
    assert switch.current.runtime.name == "onnxruntime"
    assert len(said) == 1
    assert "openvino failed while computing: the machine ran out; pictures are drawn by onnxruntime" in said[0]
    until(lambda: failed._render._closed)  # type: ignore[attr-defined]


def test_after_the_stand_in_the_best_of_the_others_follows(switch: Switch, drawn: dict[str, Any]) -> None:
    better = Compiled("best")
    better.go.set()
    switch.preferred = [OpenVino(), better, OnnxRuntime()]
    break_it(switch.current, RuntimeError("lost"))
    switch.render(drawn["tensors"], KEYPOINTS)
    until(lambda: switch.current.runtime.name == "best")  # not openvino, which failed
    np.testing.assert_array_equal(switch.render(drawn["tensors"], KEYPOINTS), drawn["picture"])


@pytest.mark.parametrize("error", [RuntimeError("the GPU went away"), EngineError("not enough GPU memory")], ids=repr)
@pytest.mark.parametrize("where", ["_attach_input", "_allocate", "_execute"])
def test_failing_anywhere_in_a_picture(
    switch: Switch, drawn: dict[str, Any], said: list[str], where: str, error: Exception
) -> None:
    """Another avatar than before is bound, uploaded and drawn."""

    def fail(*arguments: object) -> None:
        raise error

    session: Any = switch.current._render
    session._own.clear()  # as before the first picture
    setattr(session, where, fail)
    other = dict(drawn["tensors"])
    picture = switch.render(other, KEYPOINTS)
    assert np.abs(picture.astype(int) - drawn["picture"]).max() <= 1
    assert switch.current.runtime.name == "onnxruntime"
    assert said[0].startswith("openvino failed while ")
    assert f": {error}; pictures are drawn by onnxruntime" in said[0]


@pytest.mark.parametrize("where", ["_attach_input", "_allocate"])
def test_failing_before_an_avatar_is_encoded(switch: Switch, drawn: dict[str, Any], where: str) -> None:
    def fail(*arguments: object) -> None:
        raise MemoryError

    session: Any = switch.current._encode
    session._own.clear()
    setattr(session, where, fail)
    given = golden.inputs(tiny.SIZE, tiny.REFERENCES)
    references = map(EncodeInput, given["picture"], given["matte"], given["reference_keypoints"])
    tensors = switch.tensors(references, given["background"])
    assert switch.current.runtime.name == "onnxruntime"
    np.testing.assert_allclose(tensors["colour"], drawn["tensors"]["colour"], atol=1e-5)


def test_a_runtime_that_hangs_when_it_is_freed_holds_up_nobody(switch: Switch, drawn: dict[str, Any]) -> None:
    failed, free = switch.current, threading.Event()
    break_it(failed, RuntimeError("lost"))
    close = failed.close
    failed.close = lambda: (free.wait(PATIENCE_S), close())[1]  # type: ignore[method-assign]
    began = time.monotonic()
    assert switch.render(drawn["tensors"], KEYPOINTS).any()
    assert time.monotonic() - began < PATIENCE_S / 2
    free.set()
    until(lambda: failed._render._closed)  # type: ignore[attr-defined]


def test_what_is_asked_for_meanwhile_is_not_forgotten(switch: Switch, drawn: dict[str, Any]) -> None:
    """The runtime fails while a better one is still being compiled, and another is to follow."""
    slow, best = Compiled("slow"), Compiled("best")
    best.go.set()
    slow.problem = "it does not fit"
    switch.preferred = [best]
    switch.improve(slow)
    slow.started.wait(PATIENCE_S)
    break_it(switch.current, RuntimeError("lost"))
    switch.render(drawn["tensors"], KEYPOINTS)
    assert switch.current.runtime.name == "onnxruntime"
    slow.go.set()
    until(lambda: switch.current.runtime is best)


def test_nothing_slower_takes_over(switch: Switch, drawn: dict[str, Any], said: list[str]) -> None:
    """The stand-in is the second best: when the best cannot be had, it stays."""
    best, last = Compiled("best"), Compiled("last")
    best.problem = "it does not fit"
    best.go.set()
    last.go.set()
    switch.preferred = [best, OnnxRuntime(), last]
    break_it(switch.current, RuntimeError("lost"))
    switch.render(drawn["tensors"], KEYPOINTS)
    switch._background.wait(PATIENCE_S)
    assert said[-1] == "best does not take over: it does not fit"
    assert switch.current.runtime.name == "onnxruntime"


def test_a_stand_in_whose_installation_is_broken(switch: Switch, drawn: dict[str, Any]) -> None:
    class Broken(OnnxRuntime):
        def available(self) -> str | None:
            raise OSError("libcudart.so is damaged")

    class Worse(OnnxRuntime):
        def load(self, path: Path, *, threads: int | None = None) -> Session:
            raise TypeError("a damaged library")

    broken, worse = Broken(), Worse()
    broken.name, worse.name = "broken", "worse"
    switch.stand_ins = [broken, worse, OnnxRuntime()]
    break_it(switch.current, RuntimeError("lost"))
    assert switch.render(drawn["tensors"], KEYPOINTS).any()
    assert switch.broken == {
        "openvino": "openvino failed while computing: lost",
        "broken": "libcudart.so is damaged",
        "worse": "a damaged library",
    }


def test_failing_while_an_avatar_is_prepared(switch: Switch, drawn: dict[str, Any]) -> None:
    given = golden.inputs(tiny.SIZE, tiny.REFERENCES)
    calls = 0

    def fail_at_the_second() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RuntimeError("lost")
        execute()

    session: Any = switch.current._encode
    execute, session._execute = session._execute, fail_at_the_second
    references = map(EncodeInput, given["picture"], given["matte"], given["reference_keypoints"])
    tensors = switch.tensors(references, given["background"])
    assert switch.current.runtime.name == "onnxruntime"
    for name, array in drawn["tensors"].items():
        np.testing.assert_allclose(tensors[name], array, atol=1e-5)


def test_when_all_have_failed_the_error_says_so_and_the_last_is_kept(switch: Switch, drawn: dict[str, Any]) -> None:
    switch.preferred = []
    break_it(switch.current, RuntimeError("lost"))
    switch.render(drawn["tensors"], KEYPOINTS)
    last = switch.current
    session: Any = last._render
    execute = session._execute
    break_it(last, RuntimeError("lost too"))
    with pytest.raises(EngineError, match="onnxruntime failed while computing: lost too"):
        switch.render(drawn["tensors"], KEYPOINTS)
    assert switch.current is last
    session._execute = execute
    assert switch.render(drawn["tensors"], KEYPOINTS).any()  # the next picture may succeed


def test_wrong_arguments_are_not_the_runtimes_fault(switch: Switch, drawn: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(EngineError, match="but the engine's graph takes"):
        switch.render(drawn["tensors"], KEYPOINTS[:10])
    assert switch.current.runtime.name == "openvino"
    assert said == []


def test_two_threads_that_see_the_same_failure(switch: Switch, drawn: dict[str, Any], said: list[str]) -> None:
    break_it(switch.current, RuntimeError("lost"))
    pictures: list[Any] = []
    threads = [
        threading.Thread(target=lambda: pictures.append(switch.render(drawn["tensors"], KEYPOINTS))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(pictures) == 4
    assert len(said) == 1


# The same with a whole engine, as a call has it.


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeTensorRt:
    """A machine with a GPU and TensorRT, whose plans are not built yet."""
    trt = FakeTensorRt(FakeCuda())
    from telepresence.runtime.tensorrt.runtime import TensorRt

    monkeypatch.setattr(engine_module, "accelerated", lambda: [TensorRt(trt=trt, cuda=trt.cuda)])
    return trt


def test_a_call_begins_on_the_cpu_while_tensorrt_builds(engine_with_golden: Path, gpu: FakeTensorRt) -> None:
    with open_engine(engine_with_golden, tiny.SIZE, threads=1) as engine:
        assert "tensorrt 10.16.1.11 compiles the engine meanwhile" in engine.reason
        prepared = engine.prepare(make_avatar())
        before = engine.render(prepared, KEYPOINTS).copy()
        until(lambda: engine.runtime_name == "tensorrt")
        assert np.abs(engine.render(prepared, KEYPOINTS).astype(int) - before).max() <= 2
        assert gpu.builds == 2
    with open_engine(engine_with_golden, tiny.SIZE, threads=1) as engine:  # the next call has it from the start
        assert engine.runtime_name == "tensorrt"
        assert "tensorrt 10.16.1.11 on the GPU: the best for a GPU that can be used here" in engine.reason
        assert engine.render(engine.prepare(make_avatar()), KEYPOINTS).any()
    assert gpu.builds == 2


def test_the_gpu_is_lost_in_mid_call(engine_with_golden: Path, gpu: FakeTensorRt) -> None:
    with open_engine(engine_with_golden, tiny.SIZE, threads=1) as engine:
        until(lambda: engine.runtime_name == "tensorrt")
        prepared = engine.prepare(make_avatar())
        before = engine.render(prepared, KEYPOINTS).copy()
        gpu.cuda.failing["cudaGraphLaunch"] = CudaError.cudaErrorIllegalAddress
        after = engine.render(prepared, KEYPOINTS)
        assert np.abs(after.astype(int) - before).max() <= 2
        assert engine.runtime_name in ("onnxruntime", "openvino")
        other = engine.prepare(make_avatar(seed=1))  # who arrives now is prepared there, too
        assert not np.array_equal(engine.render(other, KEYPOINTS), before)


def test_the_gpu_has_no_room_for_one_more_avatar(
    engine_with_golden: Path, gpu: FakeTensorRt, caplog: pytest.LogCaptureFixture
) -> None:
    with open_engine(engine_with_golden, tiny.SIZE, threads=1) as engine:
        until(lambda: engine.runtime_name == "tensorrt")
        engine.render(engine.prepare(make_avatar()), KEYPOINTS)
        other = engine.prepare(make_avatar(seed=1))
        gpu.cuda.failing["cudaMalloc"] = CudaError.cudaErrorMemoryAllocation
        assert engine.render(other, KEYPOINTS).any()
        assert engine.runtime_name in ("onnxruntime", "openvino")
    assert re.search(r"tensorrt failed while taking '\w+': not enough GPU memory; end other programs", caplog.text)


def test_a_gpu_without_memory_leaves_the_call_on_the_cpu(
    engine_with_golden: Path, gpu: FakeTensorRt, caplog: pytest.LogCaptureFixture
) -> None:
    gpu.broken["build"] = "Error: Out of memory"
    with open_engine(engine_with_golden, tiny.SIZE, threads=1) as engine:
        until(lambda: "does not take over" in caplog.text)
        assert engine.runtime_name in ("onnxruntime", "openvino")
        assert engine.render(engine.prepare(make_avatar()), KEYPOINTS).any()
    assert "tensorrt does not take over: TensorRT cannot compile the graph: not enough GPU memory" in caplog.text


def test_tensorrt_that_cannot_be_used_is_said_loudly(engine_with_golden: Path, gpu: FakeTensorRt) -> None:
    gpu.__version__ = "8.6.1"
    with open_engine(engine_with_golden, tiny.SIZE, threads=1) as engine:
        (warning,) = engine.warnings
        assert "tensorrt cannot be used: TensorRT 8.6.1 is not supported" in warning
        assert engine.runtime_name in ("onnxruntime", "openvino")


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_a_broken_runtime_of_a_running_engine(engine_folder: Path, name: str) -> None:
    with open_engine(engine_folder, tiny.SIZE, runtime=name) as engine:
        prepared = engine.prepare(make_avatar())
        before = engine.render(prepared, KEYPOINTS).copy()
        break_it(engine_graphs(engine), MemoryError("the machine ran out"))
        assert np.abs(engine.render(prepared, KEYPOINTS).astype(int) - before).max() <= 1
        assert engine.runtime_name != name


def engine_graphs(engine: Engine) -> Graphs:
    return engine._graphs.current
