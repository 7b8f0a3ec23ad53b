from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from telepresence.errors import InputError
from telepresence.generator.curves import main, read_curves
from telepresence.generator.run import LOG

ROWS = (
    {"samples": 8, "seconds": 1, "rate": 0.5, "l1": 0.2},
    {"samples": 16, "seconds": 2, "rate": 1.0, "l1": 0.1, "judge": 2.0, "skipped": 3},
    {"samples": 16, "seconds": 3, "validation": {"8": {"gap_closed": 0.3, "psnr_gain": 1.0}}, "clips": 1, "sheet": "s"},
)


def log(folder: Path, text: str) -> Path:
    (folder / LOG).write_text(text)
    return folder


def test_losses_and_gaps_are_read_from_a_log(tmp_path: Path) -> None:
    losses, gaps = read_curves(log(tmp_path, "\n".join(map(json.dumps, ROWS))))
    assert losses == {"l1": [(8, 0.2), (16, 0.1)], "judge": [(16, 2.0)]}
    assert gaps == {"8": [(16, 0.3)]}


@pytest.mark.parametrize(
    ("text", "told"), [("", "no losses yet"), ("{", "not a log"), ("[1]", "not a log"), ('{"l1": 1}', "not a log")]
)
def test_what_is_no_log_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_curves(log(tmp_path, text))


def test_the_command_draws_or_tells_why_not(tmp_path: Path) -> None:
    log(tmp_path, json.dumps(ROWS[0]))
    missing = CliRunner().invoke(main, [str(tmp_path / "none"), "--out", str(tmp_path / "a.png")])
    assert (missing.exit_code, "cannot be read" in missing.output) == (2, True)
    assert CliRunner().invoke(main, [str(tmp_path), "--out", str(tmp_path / "a.txt")]).exit_code == 2
    pytest.importorskip("matplotlib")
    assert CliRunner().invoke(main, [str(tmp_path), "--out", str(tmp_path / "a.png")]).exit_code == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
