"""The command's side of fine-tuning: what is refused when, and a bar that nobody watches."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import click
import cv2
import pytest
from click.testing import CliRunner

from telepresence import tuning
from telepresence.avatar.samples import sample_avatar
from telepresence.cli import main
from telepresence.errors import InputError
from tests.clips import portrait

_WITHOUT = """
import importlib.machinery, sys
missing = sys.argv.pop(1)
find = importlib.machinery.PathFinder.find_spec
class Blocked(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] == missing else find(name, path, target)
sys.meta_path = [Blocked if finder is importlib.machinery.PathFinder else finder for finder in sys.meta_path]
from telepresence.cli import main
main()
"""


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "me.png"
    cv2.imwrite(str(path), cv2.cvtColor(portrait(), cv2.COLOR_RGB2BGR))
    return path


@pytest.mark.parametrize("engine", [[], ["--engine", "live"]])
def test_photos_for_an_engine_that_learns_from_videos_are_refused_first(
    photo: Path, tmp_path: Path, engine: list[str]
) -> None:
    pytest.importorskip("torch", reason="fine-tuning needs torch; make setup-train")
    out = tmp_path / "me.avatar"
    result = CliRunner().invoke(main, ["enrol", str(photo), "--out", str(out), "--fine-tune", "1", *engine])
    assert result.exit_code == 2
    assert "engine 'live' learns from a video, and these are photos" in result.stderr
    assert not out.exists()
    assert result.stdout == ""


def test_an_engine_that_cannot_be_tuned_is_refused_before_anything_is_written(photo: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="fine-tuning needs torch; make setup-train")
    out = tmp_path / "me.avatar"
    result = CliRunner().invoke(main, ["enrol", str(photo), "--out", str(out), "--fine-tune", "1", "--engine", "prior"])
    assert result.exit_code == 2
    assert "'prior' cannot be fine-tuned" in result.stderr
    assert not out.exists()


def test_an_own_engine_goes_with_fine_tuning_and_with_the_few_shot_engine(photo: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="fine-tuning needs torch; make setup-train")
    given = ["enrol", str(photo), "--out", str(tmp_path / "me.avatar"), "--whole", str(tmp_path / "own")]
    for more, told in (([], "give that too"), (["--fine-tune", "1"], "engine 'live' keeps its weights")):
        result = CliRunner().invoke(main, [*given, *more])
        assert result.exit_code == 2
        assert told in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"me.png"}


@pytest.mark.parametrize("missing", ["torch", "onnx"])
def test_what_is_missing_is_said_at_once(photo: Path, tmp_path: Path, missing: str) -> None:
    out = tmp_path / "me.avatar"
    ended = subprocess.run(
        [sys.executable, "-c", _WITHOUT, missing, "enrol", str(photo), "--out", str(out), "--fine-tune", "1"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert f"--fine-tune needs {missing}, which is not installed: make setup-train" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not out.exists()


def test_minutes_are_more_than_none(photo: Path, tmp_path: Path) -> None:
    for minutes in ("0", "-1", "soon"):
        result = CliRunner().invoke(
            main, ["enrol", str(photo), "--out", str(tmp_path / "a.avatar"), "--fine-tune", minutes]
        )
        assert result.exit_code == 2
        assert "--fine-tune" in result.stderr
    assert not (tmp_path / "a.avatar").exists()


def tune(monkeypatch: pytest.MonkeyPatch, fine_tune: Callable[..., Any]) -> Any:
    """Run the command's part with another fine-tuning in the place of ours, not on a terminal."""
    own = {"fine_tune": fine_tune, "require_room": lambda avatar: None}
    for name, function in (("finetune", own), ("start", {"settle": lambda: None})):
        module = ModuleType(f"telepresence.generator.{name}")
        vars(module).update(function)
        monkeypatch.setitem(sys.modules, module.__name__, module)

    @click.command()
    def command() -> None:
        footage: Any = SimpleNamespace(pictures=lambda: ["picture"], landmarks=("points",), from_reference_s=(0,))
        tuned = tuning.tune_with_bar(sample_avatar(), footage, "live", 0.5)
        click.echo(f"tuned: {tuned}")

    return CliRunner().invoke(command, [])


def test_the_bar_needs_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def fine_tune(avatar: Any, pictures: Any, landmarks: Any, *, progress: Any, **how: Any) -> str:
        asked.update(how, pictures=pictures, landmarks=landmarks)
        for share, line in ((0.0, "looking"), (0.5, "3 % better"), (0.4, "3 % better"), (1.0, "4 % better in 9 s")):
            progress(share, line)
        return "another avatar"

    result = tune(monkeypatch, fine_tune)
    assert result.exit_code == 0, result.output
    pictures = {"pictures": ["picture"], "landmarks": ("points",), "from_reference_s": (0,)}
    assert asked == pictures | {"engine": "live", "minutes": 0.5}
    assert "4 % better in 9 s" in result.stderr
    assert "tuned: another avatar" in result.stdout


def test_errors_pass_through_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    def fine_tune(*given: Any, **how: Any) -> None:
        raise InputError("too short")

    result = tune(monkeypatch, fine_tune)
    assert isinstance(result.exception, InputError)
