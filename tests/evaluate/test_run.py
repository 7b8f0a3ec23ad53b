from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from telepresence.cli import main
from telepresence.errors import InputError
from telepresence.evaluate import run
from telepresence.evaluate.clips import Clip
from telepresence.evaluate.options import Options
from telepresence.evaluate.run import evaluate
from tests.clips import moving_portrait, write_clip


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def wandering(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder / "wandering.mp4", moving_portrait(50, step=2))
    return folder


def test_a_folder_of_anybody_s_videos_end_to_end(wandering: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    arguments = ["evaluate", "--clips", str(wandering), "--shots", "1,32", "--frames", "20", "--json", str(out),
                 "--engine", "prior", "--landmarks", str(tmp_path), "--sheet", str(tmp_path / "sheet.png")]  # fmt: skip
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())
    (row,) = found["clips"]
    assert row["shots"] == "1"
    assert row["held_out"] is None
    assert row["gap_closed"] > 0.3  # a head that only wanders is easy
    assert row["still"]["gap_closed"] == 0
    assert row["prior"]["gap_closed"] == row["gap_closed"]  # the engine is the prior
    assert row["nme_mean"] < row["still"]["nme_mean"]
    assert found["summary"]["1"]["gap_closed"] == row["gap_closed"]
    assert {entry["shots"] for entry in found["left_out"]} == {"32"}
    assert {entry["figure"] for entry in found["missing"]} == {"lpips", "csim", "fid"}
    assert np.asarray(Image.open(tmp_path / "sheet.png")).ndim == 3
    assert "wandering" in result.output


def test_one_clip_s_trouble_costs_no_other_and_what_is_known_is_written_at_once(
    wandering: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        shutil.copy(wandering / "wandering.mp4", tmp_path / f"{name}.mp4")
    judge, out = run._clip, tmp_path / "figures.json"

    def trouble(state: run._Run, clip: Clip, label: str) -> None:
        if clip.name == "b":
            raise InputError("landmarks of another clip")
        if clip.name == "c":
            raise KeyboardInterrupt
        judge(state, clip, label)

    monkeypatch.setattr(run, "_clip", trouble)
    options = Options(tmp_path, engine="prior", shots="1", frames=20, landmarks=tmp_path / "lm", json=out)
    with pytest.raises(KeyboardInterrupt):
        evaluate(options, quiet)
    found = json.loads(out.read_text())
    assert [row["clip"] for row in found["clips"]] == ["a"]
    assert found["summary"]["1"]["clips"] == 1
    assert found["left_out"] == [{"clip": "b", "reason": "landmarks of another clip"}]


def test_what_cannot_be_done_is_said_before_anything_is_read(wandering: Path, tmp_path: Path) -> None:
    options = Options(wandering, landmarks=tmp_path / "none")
    for wrong, match in (
        (replace(options, shots="many"), "--shots"),
        (replace(options, frames=2), "--frames"),
        (replace(options, engine="nowhere"), "nowhere"),
        (replace(options, sheet=tmp_path / "sheet.jpg"), "--sheet"),
        (replace(options, blind=wandering), "--blind"),
        (replace(options, weights=tmp_path / "nothing"), "--weights"),
    ):
        with pytest.raises(InputError, match=match):
            evaluate(wrong, quiet)
    assert not (tmp_path / "none").exists()


def test_two_people_whom_training_never_saw(faces: Path, tmp_path: Path) -> None:
    options = Options(
        faces / "dev", shots="1,8,32", only=("grid_e", "grid_f"), frames=20, landmarks=tmp_path,
        json=tmp_path / "figures.json", sheet=tmp_path / "sheet.png", blind=tmp_path / "blind",
    )  # fmt: skip
    report = evaluate(options, quiet)
    assert [(row["identity"], row["shots"]) for row in report.clips] == [
        ("grid_e", "1"), ("grid_e", "8"), ("grid_f", "1"), ("grid_f", "8"),
    ]  # fmt: skip
    for row in report.clips:
        assert 0.2 < row["gap_closed"] < 0.9
        assert 0.6 < row["sharpness"] < 1.2
        assert row["nme_lips"] < 0.05
        assert row["nme_lips"] < row["still"]["nme_lips"]
        assert row["mouth_corr"] > 0.8
        assert all(frame < 15 for frame in row["reference_frames"])
    assert len(report.clips[0]["reference_frames"]) == 1
    assert [(pair["target"], pair["driver"]) for pair in report.cross] == [
        ("grid_lrwp9a", "grid_lwbsza"), ("grid_lwbsza", "grid_lrwp9a"),
    ]  # fmt: skip
    assert all(pair["kept"] > 0.5 for pair in report.cross)
    assert {entry["shots"] for entry in report.left_out} == {"32"}
    assert {path.name for path in tmp_path.glob("sheet*.png")} == {"sheet-1.png", "sheet-8.png"}
    assert len(json.loads((tmp_path / "blind" / "key.json").read_text())) == len(
        list((tmp_path / "blind").glob("*.png"))
    )
    again = evaluate(replace(options, shots="1", only=("grid_e",), blind=None, json=None, sheet=None), quiet)
    assert again.clips == report.clips[:1]
