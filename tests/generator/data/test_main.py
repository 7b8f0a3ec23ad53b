from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from telepresence.generator.data.__main__ import main
from telepresence.generator.data.clips import load_clip
from tests.clips import moving_portrait, write_clip
from tests.generator.data.made import write_clips


def test_from_clips_to_shards_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    items = []
    for name in ("one", "two", "three"):
        write_clip(clips / f"{name}.mp4", moving_portrait(20, step=1))
        items.append({"file": f"{name}.mp4", "identity": "ann", "rights_tier": "A", "real_human": "judged real"})
    (clips / "MANIFEST.json").write_text(json.dumps({"items": items}))
    prepare = ["prepare", str(clips), "--out", str(tmp_path / "cache"), "--size", "96"]
    assert main([*prepare, "--only", "one", "two"]) == 0
    assert main([*prepare, "--per-person", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"1 of 1 clips in {tmp_path / 'cache'}"
    assert main(["pack", str(tmp_path / "cache"), "--out", str(tmp_path / "shards"), "--train-only"]) == 0
    assert "2 clips in 1 shards" in capsys.readouterr().out
    assert main(["unpack", str(tmp_path / "shards"), "--out", str(tmp_path / "again")]) == 0
    before, after = (
        [load_clip(path) for path in sorted((tmp_path / name).glob("*.clip"))] for name in ("cache", "again")
    )
    assert [c.name for c in after] == ["one", "two"]
    assert np.array_equal(before[0].picture(3), after[0].picture(3))


def test_errors_are_a_line_and_a_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert main(["pack", str(tmp_path), "--out", str(tmp_path / "out")]) == 1


@pytest.mark.parametrize(
    "bad", [["--size", "9"], ["--size", "9999"], ["--jobs", "0"], ["--every", "x"], ["--per-person", "-1"]]
)
def test_numbers_out_of_range_are_refused(tmp_path: Path, bad: list[str]) -> None:
    with pytest.raises(SystemExit):
        main(["prepare", str(tmp_path), "--out", str(tmp_path), *bad])


def test_packing_needs_neither_mediapipe_nor_torch(tmp_path: Path) -> None:
    """So that shards can be made and unpacked on any machine."""
    folder = write_clips(tmp_path / "clips", {"name": "a"})
    code = (
        "import sys; from telepresence.generator.data.__main__ import main; "
        f"assert main(['pack', {str(folder)!r}, '--out', {str(tmp_path / 'shards')!r}]) == 0; "
        "assert not {'mediapipe', 'torch', 'av'} & set(sys.modules), 'imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
