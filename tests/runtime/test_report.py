from __future__ import annotations

import json
from pathlib import Path

import pytest

from telepresence.errors import EngineError, InputError
from telepresence.runtime import info
from telepresence.runtime.onnxruntime import OnnxRuntime
from telepresence.runtime.openvino import OpenVino
from telepresence.runtime.report import bench_engine, bench_text, list_engines_text, write_bench
from tests.runtime import tiny


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(info, "shipped", lambda name: tmp_path / name)
    (tmp_path / "engines").mkdir()
    return tmp_path / "engines"


def test_lists_engines_and_runtimes(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.write_engine(shipped / "tiny")
    (shipped / "torn").mkdir()
    (shipped / "torn" / "engine.toml").write_text("name =")
    monkeypatch.setattr(OnnxRuntime, "available", lambda self: "not installed; pip install onnxruntime")
    lines = [line.split(maxsplit=1) for line in list_engines_text().splitlines()]
    table = {line[0]: line[-1] for line in lines}
    assert table["tiny"] == "1        sizes 64; 3 reference(s); Apache-2.0"
    assert table["torn"].startswith("damaged: ")
    assert table["onnxruntime"] == "not installed; pip install onnxruntime"
    assert table["openvino-bf16"].endswith("only with --runtime")


def test_lists_nothing(shipped: Path) -> None:
    assert list_engines_text().splitlines()[:2] == ["engines", "  none"]


def test_bench(engine_folder: Path, tmp_path: Path) -> None:
    figures = bench_engine(engine_folder, tiny.SIZE, threads=[1], pictures=3)
    assert [result["runtime"] for result in figures["results"]] == ["openvino", "onnxruntime", "openvino-bf16"]
    for result in figures["results"]:
        assert 0 < result["median_ms"] <= result["p95_ms"]
    write_bench(figures, tmp_path / "bench.json")
    assert json.loads((tmp_path / "bench.json").read_text()) == figures
    assert len(bench_text(figures).splitlines()) == 6


def test_bench_says_what_is_missing(engine_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenVino, "available", lambda self: "pip install openvino")
    figures = bench_engine(engine_folder, tiny.SIZE, threads=[1], pictures=1)
    errors = {result["runtime"]: result.get("error") for result in figures["results"]}
    assert errors == {"openvino": "pip install openvino", "onnxruntime": None, "openvino-bf16": "pip install openvino"}
    assert "pip install openvino" in bench_text(figures)


def test_bench_of_nothing(engine_folder: Path) -> None:
    with pytest.raises(EngineError, match="size 999"):
        bench_engine(engine_folder, 999)


def test_bench_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose another place"):
        write_bench({}, tmp_path / "missing" / "bench.json")
