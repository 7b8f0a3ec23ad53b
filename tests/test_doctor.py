from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from telepresence import doctor
from telepresence.doctor import Check, as_json, as_text, examine, run_doctor
from telepresence.runtime.onnxruntime import OnnxRuntime
from telepresence.runtime.openvino import OpenVino
from tests.runtime import tiny

NAMES = [
    "python", "packages", "engine", "runtimes", "gpu", "browser", "camera", "udp", "port", "hub port",
    "video", "page", "cache", "disk",
]  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def found(name: str, **arguments: Any) -> Check:
    return next(check for check in examine(**arguments) if check.name == name)


def test_examines_everything(tmp_path: Path) -> None:
    tiny.write_engine(tmp_path / "tiny")
    checks = {check.name: check for check in examine(engine=tmp_path / "tiny", size=tiny.SIZE)}
    assert list(checks) == NAMES
    for name in ("python", "packages", "engine", "runtimes", "udp", "video", "cache"):
        assert checks[name].status in ("ok", "warn"), checks[name]
    assert "ms a picture" in checks["engine"].finding
    for check in checks.values():
        assert check.status == "ok" or check.remedy, check


def test_cpu_fallback_is_loud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    check = doctor._gpu()
    assert check.status == "warn"
    assert check.finding.startswith("CPU FALLBACK")


@pytest.mark.parametrize(
    ("status", "output", "finding"),
    [
        (0, "NVIDIA H200, 570.1, 143771 MiB\n", "GPU: NVIDIA H200"),
        (9, "driver mismatch\n", "driver mismatch"),
        (0, "", "status 0"),
    ],
)
def test_gpu_is_named(monkeypatch: pytest.MonkeyPatch, status: int, output: str, finding: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    done = subprocess.CompletedProcess([], status, output, "")
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **keywords: done)
    check = doctor._gpu()
    assert check.finding.startswith("CPU FALLBACK")
    assert finding in check.finding


@pytest.mark.parametrize("usable", [True, False])
def test_gpu_that_is_used_or_could_be(monkeypatch: pytest.MonkeyPatch, usable: bool) -> None:
    class Gpu(OnnxRuntime):
        def available(self) -> str | None:
            return None if usable else "TensorRT is not installed; pip install it"

    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    done = subprocess.CompletedProcess([], 0, "NVIDIA H200, 570.1, 143771 MiB\n", "")
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **keywords: done)
    monkeypatch.setattr(doctor, "accelerated", lambda: [Gpu()])
    check = doctor._gpu()
    if usable:
        assert check.status == "ok"
        assert "NVIDIA H200, 570.1, 143771 MiB; drawn by onnxruntime" in check.finding
    else:
        assert check.status == "warn"
        assert check.remedy == "onnxruntime: TensorRT is not installed; pip install it"


def test_damaged_engine_fails_and_the_rest_is_examined(tmp_path: Path) -> None:
    checks = examine(engine=tmp_path / "nothing")
    assert [check.name for check in checks] == NAMES
    assert checks[2].status == "fail"
    assert "not an engine" in checks[2].finding


def test_missing_runtimes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenVino, "available", lambda self: "pip install openvino")
    assert (doctor._runtimes().status, doctor._runtimes().remedy) == ("warn", "openvino: pip install openvino")
    monkeypatch.setattr(OnnxRuntime, "available", lambda self: "pip install onnxruntime")
    assert doctor._runtimes().status == "fail"


def test_missing_and_unfit_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    versions: dict[str, str | None] = {}
    versions |= dict.fromkeys(doctor.PACKAGES, "1.0")
    versions["mediapipe"] = "0.10.30"
    monkeypatch.setattr(doctor, "package_version", versions.get)
    assert (doctor._packages().status, "mediapipe==0.10.21" in doctor._packages().remedy) == ("fail", True)
    versions["av"] = None
    assert doctor._packages().remedy == "pip install av"


def test_port_in_use() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert doctor._port(port).status == "warn"
    assert doctor._port(port).status == "ok"


def test_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert doctor._cache().status == "warn"
    assert doctor._disk().status == "ok"


def test_a_check_that_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("no sockets today")

    monkeypatch.setattr(socket, "socket", broken)
    check = doctor._safely("udp", doctor._udp)
    assert (check.status, check.finding) == ("fail", "cannot be used or examined: RuntimeError: no sockets today")


CHECKS = [
    Check("python", "ok", "3.11"),
    Check("gpu", "warn", "none\nreally", "buy one"),
    Check("udp", "fail", "no", "x"),
]


def test_text() -> None:
    lines = as_text(CHECKS).splitlines()
    assert lines[1:] == [
        "ok    python    3.11",
        "warn  gpu       none",
        "                really",
        "                -> buy one",
        "fail  udp       no",
        "                -> x",
        "1 ok, 1 to know about, 1 failed",
    ]


def test_json() -> None:
    document = json.loads(as_json(CHECKS))
    assert document["ok"] is False
    assert document["checks"][1] == {"name": "gpu", "status": "warn", "finding": "none\nreally", "remedy": "buy one"}


@pytest.mark.parametrize(("checks", "status"), [(CHECKS, 1), (CHECKS[:2], 0)])
def test_exit_status(
    checks: list[Check],
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: checks)
    assert run_doctor(tmp_path / "doctor.json") == status
    assert json.loads((tmp_path / "doctor.json").read_text())["ok"] is (status == 0)
    assert "gpu" in capsys.readouterr().out
    assert run_doctor(print_json=True) == status
    assert json.loads(capsys.readouterr().out)["ok"] is (status == 0)
    assert run_doctor(tmp_path / "missing" / "doctor.json") == 1


def test_a_page_without_what_comes_from_npm_is_known_to_lack_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "index.html").write_text("")
    monkeypatch.setattr(doctor, "shipped", lambda name: tmp_path)
    assert doctor._page().remedy.startswith("make web")
    (tmp_path / "vendor").mkdir()
    (tmp_path / "vendor" / ".fetched").write_text("")
    assert doctor._page().status == "ok"
