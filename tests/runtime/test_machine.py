from __future__ import annotations

import sys
from pathlib import Path

import pytest

from telepresence.errors import EngineError
from telepresence.runtime import engine, machine
from telepresence.runtime import onnxruntime as module
from telepresence.runtime.onnxruntime import OnnxRuntime

DRIVER = """NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build  (dvs-builder)  Mon
GCC version:  gcc version 13.3.0
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has the driver elsewhere")
@pytest.mark.parametrize(("text", "version"), [(DRIVER, "580.159.04"), ("something new\n", "there"), (None, None)])
def test_the_driver(monkeypatch: pytest.MonkeyPatch, text: str | None, version: str | None) -> None:
    def read(self: Path, **_: object) -> str:
        if text is None:
            raise FileNotFoundError(self)
        return text

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(Path, "exists", lambda self: False)
    assert machine.nvidia_driver() == version
    monkeypatch.setattr(Path, "exists", lambda self: str(self) == "/dev/nvidiactl")
    assert machine.nvidia_driver() == (version or "there")


@pytest.mark.parametrize("driver", [None, "580.1"])
def test_a_gpu_is_chosen_from_only_where_there_is_one(monkeypatch: pytest.MonkeyPatch, driver: str | None) -> None:
    monkeypatch.setattr(engine, "nvidia_driver", lambda: driver)
    first = [runtime.name for runtime in engine.accelerated()]
    assert first == ([] if driver is None else ["tensorrt", "torch"])
    _, extra = engine.runtimes()
    assert ("tensorrt" in [runtime.name for runtime in extra]) == (driver is None)  # by name it can always be asked for


def test_providers_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.setattr(module, "package_version", {"onnxruntime": "1.32.0"}.get)
    assert OnnxRuntime("cuda").available() == "its package is not installed; get it with: pip install onnxruntime-gpu"
    assert OnnxRuntime("dml").available() == "it is not for this system (linux)"
    monkeypatch.setattr(module, "package_version", {"onnxruntime-gpu": "1.32.0"}.get)
    assert (OnnxRuntime("cuda").available(), OnnxRuntime("cuda").version) == (None, "1.32.0")
    assert OnnxRuntime("cuda").name == "onnxruntime-cuda"


def test_a_provider_never_falls_back_to_the_cpu_unnoticed(engine_folder: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(EngineError, match=r"onnxruntime-cuda cannot load .*: CUDAExecutionProvider cannot be"):
        OnnxRuntime("cuda").load(engine_folder / "render-64.onnx")
