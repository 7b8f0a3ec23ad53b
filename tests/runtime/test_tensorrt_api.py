"""The stand-in for TensorRT takes what the real bindings take, in every version that was looked at."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest

from tests.runtime.fake_gpu import FakeCuda, FakeTensorRt
from tests.runtime.tensorrt_api import METHODS, RECORD, record, recorded

VERSIONS = sorted(recorded())
# TensorRT calls these, and we write them.
OURS = ("IProgressMonitor.phase_start", "IProgressMonitor.step_complete", "IProgressMonitor.phase_finish")


def fake(version: str) -> FakeTensorRt:
    return FakeTensorRt(FakeCuda(), version)


def find(root: Any, path: str) -> Any:
    for part in path.split("."):
        root = getattr(root, part)
    return root


def test_both_majors_are_recorded() -> None:
    assert {version.partition(".")[0] for version in VERSIONS} == {"10", "11"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("method", [name for name in METHODS if name not in OURS])
def test_the_fake_takes_what_the_real_one_takes(version: str, method: str) -> None:
    parameters = list(inspect.signature(find(fake(version), method)).parameters.values())[1:]
    ours = [p.name + ("=" if p.default is not inspect.Parameter.empty else "") for p in parameters]
    assert ours in recorded()[version]["methods"][method]


@pytest.mark.parametrize("version", VERSIONS)
def test_members_have_the_real_values(version: str) -> None:
    for name, value in recorded()[version]["members"].items():
        found = find(fake(version), name)
        assert int(getattr(found, "value", found)) == value, name


@pytest.mark.parametrize("version", VERSIONS)
def test_properties_exist(version: str) -> None:
    trt = fake(version)
    assert len(recorded()[version]["properties"]) == 6
    config = trt.Builder(None).create_builder_config()  # type: ignore[attr-defined]
    for name in recorded()[version]["properties"]:
        if name.startswith("IBuilderConfig."):
            assert hasattr(config, name.partition(".")[2])


@pytest.mark.parametrize("version", VERSIONS)
def test_our_monitor_and_logger_take_what_tensorrt_gives(version: str) -> None:
    from telepresence.runtime.tensorrt.build import Messages, _monitor, make_logger

    trt = fake(version)
    overridden = {
        "IProgressMonitor": _monitor(trt, lambda share, what: True),
        "ILogger": make_logger(trt, Messages()),
    }
    for method in (*OURS, "ILogger.log"):
        owner, _, name = method.partition(".")
        (arguments,) = recorded()[version]["methods"][method]
        assert len(inspect.signature(getattr(overridden[owner], name)).parameters) == len(arguments), method


def test_record_is_that_of_the_installed_bindings() -> None:
    for module in ("tensorrt", "tensorrt_bindings"):
        try:
            real = importlib.import_module(module)
        except Exception:  # not installed, or without its libraries
            continue
        if real.__version__ in VERSIONS:
            assert record(real) == recorded()[real.__version__]
            return
    pytest.skip(f"no TensorRT bindings of a version in {RECORD.name} can be imported")


CUDA = (
    "cudaDriverGetVersion", "cudaFree", "cudaFreeHost", "cudaGetDeviceCount", "cudaGetDeviceProperties",
    "cudaGetErrorString", "cudaGetLastError", "cudaGraphDestroy", "cudaGraphExecDestroy", "cudaGraphInstantiate",
    "cudaGraphLaunch", "cudaHostAlloc", "cudaMalloc", "cudaMemGetInfo", "cudaMemcpyAsync", "cudaSetDevice",
    "cudaStreamBeginCapture", "cudaStreamCreateWithFlags", "cudaStreamDestroy", "cudaStreamEndCapture",
    "cudaStreamSynchronize",
)  # fmt: skip


def test_cuda_calls_are_those_of_the_installed_bindings() -> None:
    real: Any = pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    for name in CUDA:
        line = (getattr(real, name).__doc__ or "").splitlines()[0]
        inside = line.partition("(")[2].rpartition(")")[0]
        count = len([part for part in inside.split(",") if part.strip()])
        assert count == len(inspect.signature(getattr(FakeCuda(), name)).parameters), line


def test_without_a_driver_the_real_bindings_say_so() -> None:
    from telepresence.errors import EngineError
    from telepresence.runtime.machine import nvidia_driver
    from telepresence.runtime.tensorrt.cuda import Cuda

    pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    if nvidia_driver() is not None:
        pytest.skip("there is a driver")
    with pytest.raises(EngineError, match="driver is missing or too old"):
        Cuda().gpu()


def test_the_real_lean_runtime_without_a_driver_does_not_end_the_process() -> None:
    """11.4 gives a runtime, logs that the driver is missing, and crashes when it is asked to read a plan."""
    from telepresence.errors import EngineError
    from telepresence.runtime.machine import nvidia_driver
    from telepresence.runtime.tensorrt.session import TensorRtSession

    pytest.importorskip("tensorrt_lean_libs", reason="TensorRT's lean runtime is not installed")
    lean: Any = pytest.importorskip("tensorrt_lean_bindings")
    if nvidia_driver() is not None:
        pytest.skip("there is a driver")
    nothing: Any = None
    with pytest.raises(EngineError, match="TensorRT cannot use the GPU: the NVIDIA driver is too old"):
        TensorRtSession(lean, nothing, b"nonsense" * 100, {}, {}, {})
