"""TensorRT's adapter on stand-ins for its bindings and CUDA's: everything but the GPU itself."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from telepresence.errors import EngineError, RuntimeLostError
from telepresence.runtime import golden
from telepresence.runtime.contract import Compiling
from telepresence.runtime.graphs import Graphs
from telepresence.runtime.info import find_engine, read_info
from telepresence.runtime.onnxruntime import OnnxRuntime
from telepresence.runtime.switch import compiled
from telepresence.runtime.tensorrt.build import Messages
from telepresence.runtime.tensorrt.plans import PlanCache
from telepresence.runtime.tensorrt.runtime import TensorRt
from tests.runtime import tiny
from tests.runtime.fake_gpu import CudaError, FakeCuda, FakeTensorRt

KEYPOINTS = np.zeros((478, 3), np.float32)


class Machine:
    """A machine with a GPU."""

    def __init__(self, version: str = "10.16.1.11", **gpu: Any) -> None:
        self.cuda = FakeCuda(**gpu)
        self.trt = FakeTensorRt(self.cuda, version)

    def runtime(self, precision: str = "mixed", compatibility: str | None = None) -> TensorRt:
        return TensorRt(precision, compatibility, trt=self.trt, cuda=self.cuda)


@pytest.fixture(params=["10.16.1.11", "11.4.0.106"])
def machine(request: pytest.FixtureRequest) -> Machine:
    return Machine(request.param)


@pytest.fixture
def render(engine_folder: Path) -> Path:
    return engine_folder / f"render-{tiny.SIZE}.onnx"


def tiny_graphs(runtime: Any, folder: Path) -> Graphs:
    return Graphs(read_info(folder), tiny.SIZE, runtime, 1)


def plans(cache: Path) -> list[Path]:
    return sorted((cache / "telepresence" / "plans").glob("*.plan"))


def test_draws_what_others_draw(machine: Machine, engine_folder: Path) -> None:
    assert isinstance(machine.runtime(), Compiling)
    given = golden.inputs(tiny.SIZE, tiny.REFERENCES)
    there, reference = tiny_graphs(machine.runtime(), engine_folder), tiny_graphs(OnnxRuntime(), engine_folder)
    assert golden.compare(golden.draw(there, given), golden.draw(reference, given)).fits


def test_the_shipped_engine_is_true_to_its_golden_vectors() -> None:
    info = find_engine("live")
    graphs = Graphs(info, 256, Machine().runtime(), 1)
    assert golden.check(graphs, info.folder / "golden-256.npz").psnr >= 45


def test_half_precision_only_where_asked(machine: Machine, engine_folder: Path) -> None:
    for precision in ("mixed", "float32"):
        assert machine.runtime(precision).name == ("tensorrt" if precision == "mixed" else "tensorrt-float32")
        tiny_graphs(machine.runtime(precision), engine_folder).close()
    assert machine.trt.builds == 4  # two graphs each, under keys of their own


def test_what_the_builder_is_told(machine: Machine, render: Path) -> None:
    machine.runtime().load(render)
    (config,) = machine.trt.configs
    assert config.flags == set()  # no TF32: coordinates would err
    assert list(config.pools.values()) == [1024**3]
    assert config.hardware_compatibility_level == 0
    for compatibility, level, flags in (("capability", 2, 0), ("ampere", 1, 0), ("version", 0, 1)):
        machine.runtime(compatibility=compatibility).load(render)
        assert machine.trt.configs[-1].hardware_compatibility_level == level
        assert len(machine.trt.configs[-1].flags) == flags  # VERSION_COMPATIBLE and nothing else


@pytest.mark.parametrize(
    ("compatibility", "fits", "does_not_fit"),
    [
        ("none", Machine(), Machine("10.99.0.1")),
        ("version", Machine("10.99.0.1"), Machine(name="Fake L4", capability=(8, 9))),
        ("version", Machine("10.99.0.1"), Machine("11.4.0.106")),
        ("capability", Machine(name="Fake H100"), Machine(name="Fake L4", capability=(8, 9))),
        ("ampere", Machine(name="Fake L4", capability=(8, 9)), Machine(name="Fake T4", capability=(7, 5))),
    ],
)
def test_a_call_takes_a_plan_that_was_built_for_several(
    render: Path, compatibility: str, fits: Machine, does_not_fit: Machine
) -> None:
    Machine().runtime(compatibility=compatibility).build(render)
    assert fits.runtime().ready(render)
    fits.runtime().load(render).close()
    assert fits.trt.builds == 0
    assert not does_not_fit.runtime().ready(render)
    does_not_fit.runtime().load(render).close()
    assert does_not_fit.trt.builds == 1


def test_what_is_built_for_exactly_this_gpu_comes_first(machine: Machine, render: Path, cache: Path) -> None:
    machine.runtime(compatibility="ampere").build(render)
    machine.runtime(compatibility="none").build(render)
    assert machine.trt.builds == 2
    machine.trt.broken["deserialize"] = "this plan is bad"
    (ampere, exact) = sorted(plans(cache), key=lambda path: b'"none"' in path.read_bytes())
    with pytest.raises(EngineError):
        machine.runtime().load(render)
    machine.trt.broken.clear()
    assert not ampere.exists()  # both were tried, and removed
    assert exact.exists()  # built anew


def test_an_old_gpu_is_told_so(render: Path) -> None:
    with pytest.raises(EngineError, match="Fake T4 is older than Ampere; build for it without"):
        Machine(name="Fake T4", capability=(7, 5)).runtime(compatibility="ampere").build(render)


def test_a_warm_start_reads_the_graph_once_and_does_not_rewrite_it(
    machine: Machine, render: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    from telepresence.runtime import precision

    machine.runtime().build(render)
    read: list[str] = []
    load = onnx.load
    monkeypatch.setattr(onnx, "load", lambda path: (read.append(path), load(path))[1])
    monkeypatch.setattr(precision, "mixed", lambda model: pytest.fail("rewritten for nothing"))
    session = machine.runtime().load(render)
    assert read == [str(render)]
    assert session.inputs["background"].dtype == np.uint8  # as the engine has it, not as the plan takes it
    session.close()


def test_a_plan_is_built_once(machine: Machine, render: Path, cache: Path) -> None:
    runtime = machine.runtime()
    assert not runtime.ready(render)
    assert not compiled(runtime, [render])
    runtime.build(render)
    assert runtime.ready(render)
    assert compiled(runtime, [render])
    runtime.build(render)
    runtime.load(render).close()
    machine.runtime().load(render).close()
    assert machine.trt.builds == 1
    assert len(plans(cache)) == 1


def test_timings_go_from_build_to_build(machine: Machine, engine_folder: Path) -> None:
    for kind in ("encode", "render"):
        machine.runtime().build(engine_folder / f"{kind}-{tiny.SIZE}.onnx")
    assert [config.cache.data for config in machine.trt.configs] == [b"", b"+"]


def test_foreign_timings_are_left_out(machine: Machine, render: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PlanCache, "timings", lambda self, key: b"foreign")
    machine.runtime().build(render)
    assert machine.trt.configs[0].cache.data == b""


def test_another_gpu_or_version_builds_its_own(render: Path, cache: Path) -> None:
    for machine in (Machine(), Machine("11.4.0.106"), Machine(name="Fake L4", capability=(8, 9))):
        machine.runtime().load(render).close()
        assert machine.trt.builds == 1
    assert len(plans(cache)) == 3


def test_progress_and_stopping(machine: Machine, render: Path) -> None:
    seen: list[tuple[float, str]] = []

    def note(share: float, what: str) -> bool:
        seen.append((share, what))
        return True

    machine.runtime().build(render, note)
    shares = [share for share, _ in seen]
    assert shares == sorted(shares)
    assert seen[0] == (0.125, "Tactics")
    assert shares[-1] == 0.5
    other = Machine(name="another")
    with pytest.raises(EngineError, match="the build was stopped"):
        other.runtime().build(render, lambda share, what: False)


@pytest.mark.parametrize("how", ["damaged", "foreign", "of another graph", "not TensorRT's"])
def test_a_bad_plan_is_built_anew(machine: Machine, engine_folder: Path, cache: Path, how: str) -> None:
    encode, render = (engine_folder / f"{kind}-{tiny.SIZE}.onnx" for kind in ("encode", "render"))
    runtime = machine.runtime()
    runtime.build(render)
    (path,) = plans(cache)
    if how == "damaged":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "foreign":
        path.chmod(0o666)
    else:  # it carries the right key and hash, so only TensorRT or its tensors can tell
        folder = PlanCache(cache / "telepresence" / "plans")
        from telepresence.runtime.tensorrt.cuda import Cuda

        key = runtime._keys(render, Cuda(machine.cuda).gpu())[0]
        other = runtime._keys(encode, Cuda(machine.cuda).gpu())[0]
        runtime.build(encode)
        folder.write(key, folder.read(other) or b"" if how == "of another graph" else b"nonsense")
    before = machine.trt.builds
    session = runtime.load(render)
    assert machine.trt.builds == before + 1
    assert "background" in session.inputs
    session.close()
    assert runtime.ready(render)


def test_one_synchronisation_a_picture_and_nothing_uploaded_twice(machine: Machine, engine_folder: Path) -> None:
    graphs = tiny_graphs(machine.runtime(), engine_folder)
    given = golden.inputs(tiny.SIZE, tiny.REFERENCES)
    avatars = [
        graphs.tensors(map_inputs(given), background) for background in (given["background"], given["background"] // 2)
    ]
    alone = [graphs.render(tensors, KEYPOINTS).copy() for tensors in avatars]
    calls = machine.cuda.calls
    graphs.render(avatars[0], KEYPOINTS)
    calls.clear()
    for _ in range(5):
        assert np.array_equal(graphs.render(avatars[0], KEYPOINTS), alone[0])
    assert calls["cudaStreamSynchronize"] == calls["cudaGraphLaunch"] == calls["computed"] == 5
    assert calls["cudaMalloc"] == calls["cudaMemcpyAsync"] == calls["execute"] == 0  # all of it is in the graph
    calls.clear()
    assert np.array_equal(graphs.render(avatars[1], KEYPOINTS), alone[1])
    assert calls["cudaMalloc"] == 0  # its tensors are there already
    assert calls["cudaMemcpyAsync"] == len(avatars[1])
    assert not np.array_equal(alone[0], alone[1])


def map_inputs(given: dict[str, Any]) -> Any:
    from telepresence.runtime.graphs import EncodeInput

    return map(EncodeInput, given["picture"], given["matte"], given["reference_keypoints"])


def test_memory_comes_back(machine: Machine, engine_folder: Path) -> None:
    graphs = tiny_graphs(machine.runtime(), engine_folder)
    graphs.trial()
    picture = graphs.render(graphs._trial or {}, KEYPOINTS)
    before = picture.copy()
    there = len(machine.cuda.blocks)
    graphs.close()
    assert len(machine.cuda.blocks) < there
    np.testing.assert_array_equal(picture, before)  # whoever holds a picture may go on reading it
    del picture, graphs
    gc.collect()
    assert machine.cuda.blocks == {}


def test_an_avatar_that_is_gone_frees_its_memory(machine: Machine, engine_folder: Path) -> None:
    graphs = tiny_graphs(machine.runtime(), engine_folder)
    given = golden.inputs(tiny.SIZE, tiny.REFERENCES)
    kept = graphs.tensors(map_inputs(given), given["background"])
    graphs.render(kept, KEYPOINTS)
    there = len(machine.cuda.blocks)
    for _ in range(3):
        graphs.render(graphs.tensors(map_inputs(given), given["background"]), KEYPOINTS)
        graphs.render(kept, KEYPOINTS)
    gc.collect()
    assert len(machine.cuda.blocks) == there


def test_drawing_without_a_cuda_graph(machine: Machine, engine_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    machine.cuda.failing["cudaGraphInstantiate"] = CudaError.cudaErrorIllegalAddress
    graphs = tiny_graphs(machine.runtime(), engine_folder)
    graphs.trial()
    machine.cuda.calls.clear()
    graphs.trial()
    assert machine.cuda.calls["execute"] == 1
    assert "without a CUDA graph" in caplog.text


@pytest.mark.parametrize("what", ["cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate", "execute"])
def test_a_recording_that_fails_leaves_nothing_behind(machine: Machine, engine_folder: Path, what: str) -> None:
    graphs = tiny_graphs(machine.runtime(), engine_folder)
    given = golden.inputs(tiny.SIZE, tiny.REFERENCES)
    if what == "execute":
        session: Any = graphs._encode
        compute, rounds = session._compute, list[None]()

        def fail_when_recorded() -> None:
            rounds.append(None)
            if len(rounds) == 3:  # after two to warm up
                raise EngineError("this cannot be recorded")
            compute()

        session._compute = fail_when_recorded
    else:
        machine.cuda.failing[what] = CudaError.cudaErrorIllegalAddress
    picture = golden.draw(graphs, given)
    machine.cuda.failing.clear()
    assert machine.cuda.calls["cudaGetLastError"] >= 1  # or TensorRT would take it for an error of its own
    assert (machine.cuda.graphs, machine.cuda.recording) == (0, {})
    assert golden.compare(picture, golden.draw(tiny_graphs(OnnxRuntime(), engine_folder), given)).fits
    graphs.close()


def test_memory_is_not_freed_when_the_process_ends(render: Path, cache: Path) -> None:
    """CUDA is being taken down by then, and may crash."""
    script = (
        "import sys; from pathlib import Path; from tests.runtime.test_tensorrt import Machine, FakeCuda\n"
        "machine = Machine(); session = machine.runtime().load(Path(sys.argv[1]))\n"
        "FakeCuda._free = lambda self, name, address: print('too late', name)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(render)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_bindings_that_cannot_load_cuda(machine: Machine, render: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: FakeCuda) -> None:
        raise RuntimeError("Failed to dlopen libcudart.so.13")

    monkeypatch.setattr(FakeCuda, "cudaGetDeviceCount", broken)
    assert not machine.runtime().ready(render)
    for call in (machine.runtime().load, machine.runtime().build):
        with pytest.raises(EngineError, match=r"CUDA cannot be used \(cudaGetDeviceCount: Failed to dlopen"):
            call(render)


def test_asking_whether_it_is_ready_never_raises(
    machine: Machine, render: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: object, key: object) -> bool:
        raise AttributeError("nobody has thought of this")

    monkeypatch.setattr(PlanCache, "has", broken)
    assert not machine.runtime().ready(render)


def test_an_error_that_is_over_explains_nothing(machine: Machine, render: Path) -> None:
    """TensorRT logs an error when kept timings do not fit, and goes on."""
    attach = machine.trt.IBuilderConfig.set_timing_cache  # type: ignore[attr-defined]

    def logged(self: Any, cache: Any, ignore_mismatch: bool) -> bool:
        loggers[0].log(machine.trt.ILogger.Severity.ERROR, "the timing cache does not fit")  # type: ignore[attr-defined]
        return bool(attach(self, cache, ignore_mismatch))

    loggers: list[Any] = []
    builder = machine.trt.Builder.__init__  # type: ignore[attr-defined]
    machine.trt.Builder.__init__ = lambda self, logger: (loggers.append(logger), builder(self, logger))[1]  # type: ignore
    machine.trt.IBuilderConfig.set_timing_cache = logged  # type: ignore[attr-defined]
    machine.trt.broken["build"] = "Error Code 10: no implementation"
    with pytest.raises(EngineError, match="cannot compile the graph: Error Code 10"):
        machine.runtime().build(render)


def test_chatter_is_not_kept() -> None:
    messages = Messages()
    for severity in ("VERBOSE", "INFO", "WARNING", "ERROR"):
        messages.add(severity, f"{severity} out of memory")
    assert messages.errors == ["ERROR out of memory"]


@pytest.mark.parametrize("missing", ["cuda", "cuda.bindings"])
def test_the_bindings_of_cuda_are_missing(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Another package may have made the folder `cuda`."""
    from telepresence.runtime.tensorrt import runtime as module

    def find_spec(name: str) -> object:
        if name == "cuda.bindings":
            if missing == "cuda":
                raise ModuleNotFoundError("No module named 'cuda'")
            return None
        return object()

    monkeypatch.setattr(module, "nvidia_driver", lambda: "580.1")
    monkeypatch.setattr(module.util, "find_spec", find_spec)
    assert "cuda-bindings is not installed; get it with: pip install" in str(TensorRt().available())


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (CudaError.cudaErrorInsufficientDriver, "missing or too old.*update the NVIDIA driver"),
        (CudaError.cudaErrorNoDevice, "no NVIDIA GPU is visible"),
        (CudaError.cudaErrorDevicesUnavailable, "taken by another program"),
    ],
)
def test_a_gpu_that_cannot_be_used(machine: Machine, render: Path, error: CudaError, message: str) -> None:
    machine.cuda.failing["cudaGetDeviceCount"] = error
    assert not machine.runtime().ready(render)
    with pytest.raises(EngineError, match=rf"tensorrt cannot load render-64.onnx: .*{message}"):
        machine.runtime().load(render)


def test_a_driver_that_is_too_old_for_tensorrt(machine: Machine, render: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from telepresence.runtime.tensorrt import runtime as module

    installed = {"tensorrt-cu13-bindings": "11.4.0.106"}
    monkeypatch.setattr(module, "package_version", installed.get)
    monkeypatch.setattr(machine.cuda, "cudaDriverGetVersion", lambda: (CudaError.cudaSuccess, 12040))
    for call in (machine.runtime().load, machine.runtime().build):
        with pytest.raises(
            EngineError, match=r"for CUDA 13 is installed, and the NVIDIA driver is for CUDA 12.4: .*cu12"
        ):
            call(render)
    assert machine.trt.builds == 0
    installed.clear()
    installed["tensorrt-cu12-bindings"] = "11.4.0.106"
    machine.runtime().build(render)


@pytest.mark.parametrize("call", ["cudaMalloc", "cudaHostAlloc"])
def test_out_of_gpu_memory(machine: Machine, render: Path, call: str) -> None:
    machine.runtime().build(render)
    machine.cuda.failing[call] = CudaError.cudaErrorMemoryAllocation
    with pytest.raises(EngineError, match="not enough GPU memory; end other programs"):
        machine.runtime().load(render)
    machine.cuda.failing.clear()
    gc.collect()
    assert machine.cuda.blocks == {}
    assert machine.runtime().ready(render)  # the plan is not to blame
    machine.runtime().load(render).close()
    assert machine.trt.builds == 1


@pytest.mark.parametrize(
    ("what", "log", "message"),
    [
        ("parse", "In node 12 (importGridSample): UNSUPPORTED_NODE", "cannot read the graph: In node 12"),
        ("build", "Error Code 10: Could not find any implementation for node", "cannot compile .*Error Code 10"),
        ("build", "[defaultAllocator] Error: Out of memory (cudaMalloc)", "cannot compile .*not enough GPU memory"),
        ("builder", "factory: CUDA driver version is insufficient for CUDA runtime version", "driver is too old for"),
        ("builder", "CUDA initialization failure with error: 100", "cannot use the GPU: CUDA initialization failure"),
        ("runtime", "cudaError 35: CUDA driver version is insufficient for CUDA runtime version", "driver is too old"),
        ("context", "Error Code 2: OutOfMemory (Requested size was 1234)", "not enough GPU memory"),
    ],
)
def test_failures_of_tensorrt(machine: Machine, render: Path, cache: Path, what: str, log: str, message: str) -> None:
    machine.trt.broken[what] = log
    with pytest.raises(EngineError, match=rf"tensorrt cannot load render-64.onnx: .*{message}"):
        machine.runtime().load(render)
    assert len(plans(cache)) == (what in ("context", "runtime"))


def test_the_gpu_is_lost_in_mid_call(machine: Machine, engine_folder: Path) -> None:
    graphs = tiny_graphs(machine.runtime(), engine_folder)
    graphs.trial()
    machine.cuda.failing["cudaStreamSynchronize"] = CudaError.cudaErrorIllegalAddress
    with pytest.raises(RuntimeLostError, match=r"tensorrt failed while computing: CUDA: an illegal memory access"):
        graphs.trial()
    graphs.close()  # says nothing, although the GPU reports errors


def test_the_first_run_fails(machine: Machine, engine_folder: Path) -> None:
    graphs = tiny_graphs(machine.runtime(), engine_folder)
    machine.trt.broken["execute"] = "Error Code 1: Cuda Runtime (an illegal memory access was encountered)"
    with pytest.raises(RuntimeLostError, match="Error Code 1"):
        graphs.trial()


@pytest.mark.parametrize("version", ["8.6.1", "9.3.0", "12.0.0.1", "nonsense"])
def test_a_version_that_is_not_supported(render: Path, version: str) -> None:
    machine = Machine(version)
    assert f"TensorRT {version} is not supported; get 10 or 11" in str(machine.runtime().available())
    with pytest.raises(EngineError, match="is not supported"):
        machine.runtime().load(render)


def test_not_installed(render: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from telepresence.runtime.tensorrt import runtime as module

    monkeypatch.setattr(module, "nvidia_driver", lambda: None)
    assert "no NVIDIA driver found" in str(TensorRt().available())
    monkeypatch.setattr(module, "nvidia_driver", lambda: "580.1")
    monkeypatch.setattr(module.util, "find_spec", lambda name: None)
    assert "TensorRT is not installed; get it with: pip install" in str(TensorRt().available())


def test_not_a_graph(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "render-64.onnx").write_bytes(b"nonsense")
    with pytest.raises(EngineError, match=r"tensorrt cannot load render-64.onnx: "):
        machine.runtime().load(tmp_path / "render-64.onnx")
    with pytest.raises(EngineError, match="cannot be read"):
        machine.runtime().build(tmp_path / "missing.onnx")
