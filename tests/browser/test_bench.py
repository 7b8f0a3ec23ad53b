"""The benchmark for real, as short as it goes: two Chromiums, two edges, an ordinary call beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from telepresence.bench.compare import load_report
from telepresence.render import render_files
from tests.browser.conftest import processes

pytestmark = pytest.mark.browser

RUN_S = 180  # at most; about 40 on an idle machine
MOST_DISPLAY_MS = 3000  # a machine that does other things too; what was measured is in the report


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the camera sees, drawn once: the sample avatar, moved."""
    out = tmp_path_factory.mktemp("bench") / "sample.mp4"
    render_files(None, None, out, engine="prior", size=256)
    return out


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "telepresence", "bench", *map(str, arguments)]


def test_a_short_run_measures_the_avatar_and_an_ordinary_call(chromium: str, source: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "call.json", tmp_path / "call.html"
    paths = [word for name in ("avatar", "ordinary_direct") for word in ("--path", name)]
    arguments = command("call", "--seconds", 5, "--engine", "prior", "--headless", "--json", out, "--html", page)
    arguments += ["--clip", str(source)]
    done = subprocess.run([*arguments, *paths], capture_output=True, text=True, timeout=RUN_S)
    assert done.returncode == 0, done.stderr
    report = load_report(out)
    assert report["complete"]
    assert report["problems"] == report["page_problems"] == []
    avatar, direct = report["avatar"], report["ordinary_direct"]
    assert avatar["edge_ms_p50"] < avatar["display_ms_p50"] < MOST_DISPLAY_MS
    assert direct["display_ms_p50"] < MOST_DISPLAY_MS
    assert avatar["kbps"] * 5 < direct["kbps"]
    assert avatar["payload_kbps"] < avatar["kbps"]
    assert avatar["steps_ms"]["landmarks"]["count"] > 20
    assert avatar["steps_ms"]["decode, present"]["count"] > 10
    assert direct["edge_ms_p50"] is None
    assert "<svg" in page.read_text()
    assert "avatar" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nobody_behind(
    number: signal.Signals, chromium: str, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "call.json"
    arguments = command(
        "call", "--seconds", 5, "--path", "ordinary_direct", "--path", "link", "--headless", "--json", out
    )
    arguments += ["--clip", str(source)]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if line.startswith("ordinary_direct: display"):
                break
        children = {pid for pid, parent, _ in processes() if parent == running.pid}
        running.send_signal(number)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in said
    found = json.loads(out.read_text())
    assert (found["complete"], found["interrupted"]) == (False, "interrupted")
    assert found["ordinary_direct"]["display_ms_p50"] > 0
    end = time.monotonic() + 10
    while children & {pid for pid, _, _ in processes()} and time.monotonic() < end:
        time.sleep(0.2)
    assert not children & {pid for pid, _, _ in processes()}


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["--clip", "missing.mp4"], {}, "no such file"),
        ([], {"TELEPRESENCE_CHROMIUM": "/no/such/browser"}, "TELEPRESENCE_CHROMIUM"),
    ],
)
def test_what_is_missing_is_said_in_one_line(arguments: list[str], environment: dict[str, str], said: str) -> None:
    done = subprocess.run(
        command("call", *arguments), capture_output=True, text=True, timeout=RUN_S, env={**os.environ, **environment}
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
