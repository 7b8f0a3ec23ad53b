"""The few-shot engine is judged as it is: references alone, their modulation fine-tuned, the whole generator."""

from __future__ import annotations

from pathlib import Path

import pytest

from telepresence.errors import InputError
from telepresence.evaluate.options import Options
from telepresence.evaluate.run import _prior_size, evaluate
from tests.clips import moving_portrait, write_clip


def test_every_way_of_making_its_avatar_has_figures(exported: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "clips.mp4", moving_portrait(40, step=2))
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips.mp4").rename(tmp_path / "clips" / "one.mp4")
    options = Options(
        tmp_path / "clips", engine=str(exported), shots="1,2", fine_tune=True, whole=True, minutes=0.02, frames=10,
        pairs=0, runtime="onnxruntime", landmarks=tmp_path / "landmarks", sheet=tmp_path / "sheet.png",
    )  # fmt: skip
    report = evaluate(options, lambda line: None)
    rows = {row["shots"]: row for row in report.clips}
    assert list(rows) == ["1", "2", "1+ft", "2+ft", "1+whole", "2+whole"], report.left_out
    assert report.engine["name"] == "fewshot"
    assert rows["2"]["prior"] == rows["2+whole"]["prior"]  # the same frames
    assert len({row["ssim"] for row in rows.values()}) > 3
    assert (tmp_path / "sheet-2+ft.png").is_file()


def test_whole_is_for_engines_that_can(exported: Path, tmp_path: Path) -> None:
    options = Options(tmp_path, engine="live", fine_tune=True, whole=True)
    with pytest.raises(InputError, match="engine 'live' keeps its weights"):
        evaluate(options, lambda line: None)
    with pytest.raises(InputError, match="give that too"):
        evaluate(Options(tmp_path, engine=str(exported), whole=True), lambda line: None)


def test_the_prior_is_drawn_larger_where_it_has_no_such_size() -> None:
    assert _prior_size(Options(Path(), size=128)) == 256
    assert _prior_size(Options(Path(), size=512)) == 512
