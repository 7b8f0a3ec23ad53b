"""A report's figures as Markdown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from telepresence.bench.table import markdown
from tests.bench.test_results import report


def test_every_table_is_whole_and_says_what_shares_the_cores() -> None:
    text = markdown([report()])
    assert "share the cores" in text
    assert "| captured" not in text
    blocks = [block.splitlines() for block in text.split("\n\n")[1:]]
    assert len(blocks) == 3  # paths, steps, the bad link; nothing of lips
    for lines in blocks:
        assert len({line.count("|") for line in lines}) == 1
        assert lines[1].startswith("| --- |")
    assert any(line.startswith("| until shown, median, ms | 103 ") for line in blocks[0])


def test_two_runs_stand_side_by_side(tmp_path: Path) -> None:
    paths = []
    for name, display in (("a", 100.0), ("b", 110.0)):
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps(report(display)))
    command = [sys.executable, "-m", "telepresence.bench.table"]
    done = subprocess.run([*command, *map(str, paths)], capture_output=True, text=True, timeout=60, check=True)
    assert "; 113" in next(line for line in done.stdout.splitlines() if line.startswith("| until shown, median"))
    for wrong in ([], [str(tmp_path / "none.json")]):
        refused = subprocess.run([*command, *wrong], capture_output=True, text=True, timeout=60, check=False)
        assert refused.returncode == 1
        assert "Traceback" not in refused.stderr
