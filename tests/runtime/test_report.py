from __future__ import annotations

import json
from pathlib import Path

import pytest

from telepresence.errors import EngineError, InputError
from telepresence.runtime import bench as bench_module
from telepresence.runtime import info, openvino
from telepresence.runtime.bench import bench
from telepresence.runtime.contract import Progress
from telepresence.runtime.graphs import Graphs
from telepresence.runtime.onnxruntime import OnnxRuntime
from telepresence.runtime.openvino import OpenVino
from telepresence.runtime.report import bench_text, every_runtime, list_engines_text, write_bench
from telepresence.runtime.tensorrt.runtime import TensorRt
from tests.runtime import tiny
from tests.runtime.fake_gpu import FakeCuda, FakeTensorRt


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
    in_8_bits = table["openvino-int8"]
    assert in_8_bits.endswith("; of engines that have graphs in 8 bits") or "VNNI" in in_8_bits
    assert table["torch-cpu"].endswith("only with --runtime") or "not installed" in table["torch-cpu"]


def test_lists_nothing(shipped: Path) -> None:
    assert list_engines_text().splitlines()[:2] == ["engines", "  none"]


def test_bench(engine_folder: Path, tmp_path: Path) -> None:
    figures = bench([engine_folder], threads=[1], pictures=3)
    names = [runtime.name for runtime in every_runtime() if runtime.name not in ("torch-cpu", "openvino-int8")]
    assert [row["runtime"] for row in figures["rows"]] == names
    for row in figures["rows"]:
        assert (row["engine"], row["size"], row["threads"]) == ("tiny", tiny.SIZE, 1)
        assert row["gmacs"] == round(4 * tiny.SIZE**2 * 4 / 1e9, 4)  # GridSample: four channels between four values
        assert row["params_m"] == 0
        if row["runtime"] in ("openvino", "onnxruntime"):
            assert row["pictures"] == 3
            assert row["floor_ms"] > 0
            for stage in ("render", "encode", "change"):
                assert 0 <= row[f"{stage}_ms_median"] <= row[f"{stage}_ms_p95"]
            assert row["load_ms"] > 0
            assert row["first_picture_ms"] > 0
    assert figures["measured"]["1"]["gflops"] > 0
    write_bench(figures, tmp_path / "bench.json")
    assert json.loads((tmp_path / "bench.json").read_text()) == figures
    assert len(bench_text(figures).splitlines()) == 3 + len(figures["rows"])


def test_bench_of_8_bits(engine_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "int8_instructions", lambda: True)
    (row,) = bench([engine_folder], threads=[1], pictures=1, only=["openvino-int8"])["rows"]
    assert row["error"] == "engine 'tiny' has no int8 graph for pictures of size 64"
    tiny.add_int8(engine_folder)
    rows = bench([engine_folder], threads=[1], pictures=1)["rows"]
    (row,) = [row for row in rows if row["runtime"] == "openvino-int8"]
    assert row["render_ms_median"] > 0


def test_bench_of_several_in_one_call(engine_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trt = FakeTensorRt(FakeCuda())
    runtime = TensorRt(trt=trt, cuda=trt.cuda)
    monkeypatch.setattr(bench_module, "every_runtime", lambda: [runtime, OnnxRuntime()])
    monkeypatch.setattr(bench_module, "accelerated", lambda: [runtime])
    figures = bench([engine_folder], threads=[1], pictures=2)
    gpu, cpu = figures["rows"]
    assert list(gpu["batches"]) == ["2", "4", "8"]
    for count, batch in gpu["batches"].items():
        assert 0 < batch["render_ms_median"] <= batch["render_ms_p95"]
        assert batch["throughput"] == pytest.approx(
            int(count) * gpu["render_ms_median"] / batch["render_ms_median"], abs=0.01
        )
    assert "batches" not in cpu  # which gains nothing by it
    assert "8 in one call: " in bench_text(figures)


def test_several_in_one_call_do_not_fit_into_the_gpu(engine_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trt = FakeTensorRt(FakeCuda())
    runtime = TensorRt(trt=trt, cuda=trt.cuda)
    build = TensorRt.build

    def refuse(self: TensorRt, path: Path, progress: Progress | None = None) -> None:
        if "render-64-8" in path.name:
            raise EngineError("not enough GPU memory")
        build(self, path, progress)

    monkeypatch.setattr(TensorRt, "build", refuse)
    monkeypatch.setattr(bench_module, "every_runtime", lambda: [runtime])
    figures = bench([engine_folder], threads=[1], pictures=1)
    (row,) = figures["rows"]
    assert row["render_ms_median"] > 0
    assert row["batches"]["4"]["throughput"] > 0
    assert row["batches"]["8"] == {"error": "not enough GPU memory"}
    assert "8 in one call: not enough GPU memory" in bench_text(figures)


def test_bench_says_what_is_missing(engine_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenVino, "available", lambda self: "pip install openvino")
    figures = bench([engine_folder], threads=[1], pictures=1)
    errors = {row["runtime"]: row.get("error") for row in figures["rows"]}
    assert errors["openvino"] == "pip install openvino"
    assert errors["onnxruntime"] is None
    assert "pip install openvino" in bench_text(figures)


def test_bench_of_all_shipped_engines(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        tiny.write_engine(shipped / name, name=f'"{name}"')
    monkeypatch.setattr(bench_module, "every_runtime", lambda: [OnnxRuntime()])
    said: list[str] = []
    figures = bench([], threads=[1, 2], pictures=1, say=said.append)
    assert [(row["engine"], row["threads"]) for row in figures["rows"]] == [
        ("one", 1), ("one", 2), ("two", 1), ("two", 2),
    ]  # fmt: skip
    assert said == ["one at 64", "two at 64"]


def test_a_runtime_that_fails_while_it_is_measured(engine_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, *arguments: object) -> None:
        raise EngineError("lost")

    monkeypatch.setattr(Graphs, "render", fail)
    figures = bench([engine_folder], threads=[1], pictures=1)
    assert {row["error"] for row in figures["rows"] if row["runtime"] in ("openvino", "onnxruntime")} == {"lost"}


def test_bench_of_chosen_runtimes(engine_folder: Path) -> None:
    figures = bench([engine_folder], threads=[1], pictures=1, only=["onnxruntime"])
    assert [row["runtime"] for row in figures["rows"]] == ["onnxruntime"]
    with pytest.raises(EngineError, match="no runtime 'abacus'"):
        bench([engine_folder], only=["abacus"])


def test_bench_of_nothing(engine_folder: Path) -> None:
    with pytest.raises(EngineError, match="size 999"):
        bench([engine_folder], [999])


def test_bench_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose another place"):
        write_bench({}, tmp_path / "missing" / "bench.json")
