"""Weights in an engine's folder: out again unchanged, refused when they are another's."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from telepresence.errors import EngineError, InputError
from telepresence.generator.export import HALF
from telepresence.generator.fewshot.described import described
from telepresence.generator.fewshot.export import export_fewshot
from telepresence.generator.fewshot.stored import (
    JUDGE,
    judge_of_engine,
    require_new,
    weights_of_engine,
    write_judge,
    write_own_engine,
)
from telepresence.generator.fewshot.weights import read_judge
from telepresence.resources import shipped
from telepresence.runtime import golden
from telepresence.runtime.graphs import Graphs
from telepresence.runtime.info import read_info
from telepresence.runtime.onnxruntime import OnnxRuntime
from tests.generator.fewshot.tiny import TINY, judge, network, write_weights


def edited(folder: Path, old: str, new: str) -> Path:
    path = folder / "engine.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return folder


def test_weights_come_out_as_they_went_in(exported: Path) -> None:
    wanted = network().state_dict()
    found = weights_of_engine(exported).state_dict()
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.allclose(found[name], value, rtol=1e-3, atol=1e-7), name


def test_the_description_says_what_networks_they_are(exported: Path) -> None:
    assert described(exported) == TINY
    assert described(shipped("engines") / "live") is None


def test_other_engines_are_refused() -> None:
    with pytest.raises(EngineError, match="'live' is not a few-shot engine"):
        weights_of_engine(shipped("engines") / "live")


def test_another_width_is_a_clear_error(engine: Path) -> None:
    with pytest.raises(EngineError, match=r"hold other networks than its engine\.toml describes, of width 0\.5"):
        weights_of_engine(edited(engine, "\nwidth = 0.0625", "\nwidth = 0.5"))


@pytest.mark.parametrize("new", ["\nwidth = 77", '\nwidth = "a"', "\nwidths = 1"])
def test_a_description_that_cannot_be_is_a_clear_error(engine: Path, new: str) -> None:
    with pytest.raises(EngineError, match=r"engine\.toml.*restore the engine's folder|restore the engine's folder"):
        weights_of_engine(edited(engine, "\nwidth = 0.0625", new))


def test_a_graph_that_is_none_is_a_clear_error(engine: Path) -> None:
    (engine / "render-32.onnx").write_bytes(b"no graph")
    with pytest.raises(EngineError, match=r"render-32\.onnx cannot be read"):
        weights_of_engine(engine)


def test_the_judge_comes_along_rounded(exported: Path) -> None:
    found = judge_of_engine(read_info(exported))
    assert found is not None
    own, matched = found
    assert not matched
    made = judge()
    assert torch.allclose(own.columns.weight, made.columns.weight.mean(0, keepdim=True), atol=2e-3)
    picture, raster = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    made.columns.weight.data[:] = made.columns.weight.data.mean(0)
    which = torch.zeros(2, dtype=torch.long)
    with torch.no_grad():
        wanted, got = (module.eval()(picture, raster, which) for module in (made, own))
    for one, other in zip(wanted[1], got[1], strict=True):
        assert torch.allclose(one, other, atol=0.15 * float(one.std()))


@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "foreign"])
def test_a_damaged_judge_is_a_clear_error(engine: Path, damage: str) -> None:
    path = engine / JUDGE
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "foreign":
        np.savez(path, matched=np.array(False))
        old, new = hashlib.sha256(data).hexdigest(), hashlib.sha256(path.read_bytes()).hexdigest()
        edited(engine, old, new)
    else:
        path.write_bytes(data[:-50] if damage == "cut" else data[:200] + b"x" + data[201:])
    with pytest.raises(EngineError, match=r"judge\.npz.*restore the engine's folder"):
        judge_of_engine(read_info(engine))


def test_an_engine_without_a_judge_has_none(engine: Path) -> None:
    line = next(line for line in (engine / "engine.toml").read_text().splitlines() if JUDGE in line)
    assert judge_of_engine(read_info(edited(engine, line, ""))) is None


def test_exporting_again_changes_no_graph_and_leaves_out_what_has_no_room(engine: Path) -> None:
    before = read_info(engine).files
    said = export_fewshot(engine, None, limit=1)
    assert "without the discriminator" in said
    assert not (engine / JUDGE).exists()
    info = read_info(engine)
    assert info.files == {name: digest for name, digest in before.items() if name != JUDGE}
    assert judge_of_engine(info) is None


def test_whether_columns_were_matched_is_kept(engine: Path) -> None:
    old = (engine / JUDGE).read_bytes()
    write_judge(engine / JUDGE, read_judge(write_weights(engine / "weights.pt")), matched=True)
    new = (engine / JUDGE).read_bytes()
    edited(engine, hashlib.sha256(old).hexdigest(), hashlib.sha256(new).hexdigest())
    found = judge_of_engine(read_info(engine))
    assert found is not None
    assert found[1]


def test_a_persons_own_engine_has_the_new_weights_and_golden_vectors(exported: Path, tmp_path: Path) -> None:
    changed = network()
    changed.generator.leave.bias.data += 0.5
    info = write_own_engine(read_info(exported), changed, tmp_path / "own")
    assert info.name == "fewshot-own"
    assert info.digest != read_info(exported).digest
    assert JUDGE not in info.files
    found = weights_of_engine(info.folder)
    assert torch.allclose(found.generator.leave.bias, changed.generator.leave.bias, atol=1e-3)
    for size in info.sizes:
        graphs = Graphs(info, size, OnnxRuntime(), 1)
        assert golden.check(graphs, info.folder / f"golden-{size}.npz").fits
        graphs.close()
    halves = [t for t in onnx.load(info.graph("render", 32)).graph.initializer if t.name.endswith(HALF)]
    assert {t.data_type for t in halves} == {onnx.TensorProto.FLOAT16}


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    require_new(tmp_path / "new")
    require_new(tmp_path)
    (tmp_path / "a").write_text("mine")
    for path in (tmp_path, tmp_path / "a"):
        with pytest.raises(InputError, match="a new or empty folder is needed"):
            require_new(path)
