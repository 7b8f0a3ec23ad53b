from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from telepresence.errors import EngineError
from telepresence.runtime import engine, machine, offered, openvino
from telepresence.runtime import onnxruntime as module
from telepresence.runtime.onnxruntime import OnnxRuntime
from telepresence.runtime.openvino import OpenVino

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
    monkeypatch.setattr(offered, "nvidia_driver", lambda: driver)
    first = [runtime.name for runtime in engine.accelerated()]
    assert first == ([] if driver is None else ["tensorrt", "torch"])
    _, extra = engine.runtimes()
    assert ("tensorrt" in [runtime.name for runtime in extra]) == (driver is None)  # by name it can always be asked for


X86 = "processor\t: 0\nmodel name\t: some CPU\nflags\t\t: fpu sse4_2 avx2{}\n\nprocessor\t: 1\n"


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (X86.format(" avx512_vnni"), True),
        (X86.format(" avx_vnni"), True),
        (X86.format(""), False),
        ("processor\t: 0\nFeatures\t: fp asimd asimddp\n", True),
        ("processor\t: 0\nFeatures\t: fp asimd\n", False),
        ("nothing of the kind\n", None),
        (None, None),
    ],
)
def test_instructions_for_8_bits(monkeypatch: pytest.MonkeyPatch, text: str | None, known: bool | None) -> None:
    def read(self: Path, **_: object) -> str:
        if text is None:
            raise FileNotFoundError(self)
        return text

    monkeypatch.setattr(Path, "read_text", read)
    assert machine.int8_instructions() is known
    monkeypatch.setattr(openvino, "int8_instructions", lambda: known)
    why_not = OpenVino(int8=True).available()
    assert (why_not is None) == (known is not False)
    assert OpenVino().available() is None


def test_cpu_time_says_nothing_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary = [OpenVino(), OnnxRuntime()]
    monkeypatch.setattr(offered.sys, "platform", "linux")
    assert offered.cost_of(ordinary) is time.process_time
    assert offered.cost_of([*ordinary, OnnxRuntime("cuda")]) is None
    monkeypatch.setattr(offered.sys, "platform", "win32")
    assert offered.cost_of(ordinary) is None


@pytest.mark.parametrize(("wanted", "threads"), [("3", 3), ("", None), ("0", None), ("many", None), ("-1", None)])
def test_threads_by_the_environment(monkeypatch: pytest.MonkeyPatch, wanted: str, threads: int | None) -> None:
    monkeypatch.delenv(machine.THREADS, raising=False)
    usual = machine.default_threads()
    monkeypatch.setenv(machine.THREADS, wanted)
    assert machine.default_threads() == (threads or usual)


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
