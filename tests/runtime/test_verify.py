from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from telepresence.cli import main
from telepresence.errors import EngineError
from telepresence.runtime import commands, golden
from telepresence.runtime.commands import build_plans, verify_engines
from telepresence.runtime.contract import Array
from telepresence.runtime.graphs import Graphs
from telepresence.runtime.info import cases, list_engines, read_info
from telepresence.runtime.many import Batch, Pair, Picture
from telepresence.runtime.onnxruntime import OnnxRuntime
from telepresence.runtime.openvino import OpenVino
from telepresence.runtime.tensorrt.runtime import TensorRt
from telepresence.runtime.verify import HALF, as_rows, text, tolerance, verify
from tests.runtime import tiny
from tests.runtime.fake_gpu import FakeCuda, FakeTensorRt


@pytest.fixture
def engine(engine_folder: Path) -> Path:
    given = golden.inputs(tiny.SIZE, tiny.REFERENCES)
    graphs = Graphs(read_info(engine_folder), tiny.SIZE, OnnxRuntime(), 1)
    golden.save(engine_folder / "golden-64.npz", given, golden.draw(graphs, given))
    graphs.close()
    return engine_folder


def gpu(trt: FakeTensorRt | None = None) -> TensorRt:
    trt = trt or FakeTensorRt(FakeCuda())
    return TensorRt(trt=trt, cuda=trt.cuda)


@pytest.mark.parametrize("runtime", [OpenVino(), OnnxRuntime(), gpu()], ids=lambda runtime: runtime.name)
def test_what_is_right(engine: Path, runtime: OnnxRuntime) -> None:
    findings = verify(read_info(engine), tiny.SIZE, runtime, threads=1)
    together = ["2 in a call", "4 in a call", "8 in a call"] if runtime.name == "tensorrt" else []
    assert [finding.what for finding in findings] == ["golden", "colour", "alpha", "picture", *together]
    assert all(finding.ok for finding in findings)
    assert tolerance(runtime) == (HALF if runtime.name == "tensorrt" else tolerance(OnnxRuntime()))
    assert "as it should be" in text({"tiny": findings})


@pytest.mark.parametrize(
    ("graph", "wrong"), [("encode", {"golden", "colour"}), ("render", {"golden", "picture"})], ids=str
)
def test_what_is_wrong_is_named(engine: Path, monkeypatch: pytest.MonkeyPatch, graph: str, wrong: set[str]) -> None:
    """Nudges one output of one graph by a hundredth."""
    load = Graphs.__init__

    def nudged(self: Graphs, info: object, size: int, runtime: object, threads: int | None) -> None:
        load(self, info, size, runtime, threads)  # type: ignore[arg-type]
        if isinstance(runtime, OpenVino):
            session = getattr(self, f"_{graph}")
            run = session.run
            session.run = lambda feeds: change(dict(run(feeds)))

    def change(outputs: dict[str, Array]) -> dict[str, Array]:
        name = "colour" if graph == "encode" else "picture"
        outputs[name] = outputs[name] * np.float32(0.95) if graph == "encode" else np.maximum(outputs[name], 3) - 3
        return outputs

    monkeypatch.setattr(Graphs, "__init__", nudged)
    findings = verify(read_info(engine), tiny.SIZE, OpenVino(), threads=1)
    assert {finding.what for finding in findings if not finding.ok} == wrong
    shown = text({"tiny 64 openvino": findings})
    assert shown.splitlines()[0] == "tiny 64 openvino: WRONG"
    assert shown.count("WRONG") == 3


def test_a_place_of_a_batch_that_is_wrong(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = Batch.draw

    def twice_the_first(self: Batch, pairs: Sequence[Pair]) -> list[Picture]:
        drawn = draw(self, pairs)
        return [*drawn[:-1], drawn[0]] if self.count == 4 else drawn

    monkeypatch.setattr(Batch, "draw", twice_the_first)
    findings = verify(read_info(engine), tiny.SIZE, gpu(), threads=1)
    assert [finding.what for finding in findings if not finding.ok] == ["4 in a call"]


def test_of_all_runtimes(engine: Path, tmp_path: Path) -> None:
    shown, fine = verify_engines([str(engine)], [], [], tmp_path / "out.json")
    assert fine  # what cannot be used here is no fault of the engine's
    assert "tiny 64 openvino: as it should be" in shown
    assert '"picture"' in (tmp_path / "out.json").read_text()


def test_who_is_asked_for_must_be_there(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenVino, "available", lambda self: "not installed")
    shown, fine = verify_engines([str(engine)], [], ["openvino"])
    assert not fine
    assert shown == "tiny 64 openvino: not run: not installed"
    assert as_rows({"tiny": "not installed"}) == [{"case": "tiny", "not_run": "not installed"}]
    with pytest.raises(EngineError, match="no runtime 'abacus'"):
        verify_engines([str(engine)], [], ["abacus"])


def test_a_runtime_that_fails_is_a_finding(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, path: Path, *, threads: int | None = None) -> None:
        raise EngineError("not enough GPU memory")

    monkeypatch.setattr(OpenVino, "load", fail)
    shown, fine = verify_engines([str(engine)], [tiny.SIZE], ["openvino", "onnxruntime"])
    assert not fine
    assert "tiny 64 openvino: FAILED: not enough GPU memory" in shown
    assert as_rows({"tiny": EngineError("lost")}) == [{"case": "tiny", "failed": "lost"}]


def test_a_damaged_engine_is_not_as_it_should_be(engine: Path) -> None:
    """Also when no runtime was named: it is not that they are missing."""
    path = engine / "render-64.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    result = CliRunner().invoke(main, ["engines", "verify", str(engine)])
    assert result.exit_code == 1
    assert "tiny 64 openvino: FAILED: " in result.output
    assert "is damaged or was changed" in result.output


@pytest.mark.parametrize("command", ["verify", "bench", "build"])
def test_a_size_that_an_engine_does_not_have(engine: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setattr(TensorRt, "available", lambda self: None)
    result = CliRunner().invoke(main, ["engines", command, str(engine), "--size", "256"])
    assert result.exit_code == 2
    assert "engine 'tiny' draws no pictures of size 256; choose one of: 64" in result.output
    shipped = list_engines()
    for size in {size for info in shipped for size in info.sizes}:  # of the shipped, who has it
        assert [info.name for info, _ in cases([], [size])] == [info.name for info in shipped if size in info.sizes]
    with pytest.raises(EngineError, match="no engine has that size"):
        cases([], [999])


def test_building_plans(engine: Path) -> None:
    trt = FakeTensorRt(FakeCuda())
    graphs = ["encode-64", "render-64", "render-64 for 2", "render-64 for 4", "render-64 for 8"]
    assert list(build_plans([str(engine)], [], "none", gpu(trt))) == [f"tiny {graph}: built" for graph in graphs]
    again = list(build_plans([str(engine)], [], "none", gpu(trt)))
    assert again == [f"tiny {graph}: there already" for graph in graphs]
    assert trt.builds == 5


def test_building_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TensorRt, "available", lambda self: "no NVIDIA driver found")
    result = CliRunner().invoke(main, ["engines", "build", "live"])
    assert result.exit_code == 2
    assert "tensorrt cannot be used: no NVIDIA driver found" in result.output


def test_the_commands(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "every_runtime", lambda: [OnnxRuntime()])
    result = CliRunner().invoke(main, ["engines", "verify", str(engine), "--runtime", "onnxruntime"])
    assert result.exit_code == 0, result.output
    assert "tiny 64 onnxruntime: as it should be" in result.output
    golden_file = engine / "golden-64.npz"
    given = golden.inputs(tiny.SIZE, tiny.REFERENCES)
    golden.save(golden_file, given, np.zeros((3, 64, 64, 4), np.uint8))
    result = CliRunner().invoke(main, ["engines", "verify", str(engine)])
    assert result.exit_code == 1
    assert "WRONG golden" in result.output
