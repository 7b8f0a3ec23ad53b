"""Nothing that a command reads is written over, and what cannot be written is said before the work starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from telepresence.cli import main
from telepresence.errors import InputError
from telepresence.paths import refuse_overwriting, require_suffix
from telepresence.runtime.info import find_engine


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in.mp4").write_bytes(b"precious")
    return tmp_path / "in.mp4"


def test_an_input_is_never_written_over(source: Path, tmp_path: Path) -> None:
    (tmp_path / "soft.mp4").symlink_to(source)
    os.link(source, tmp_path / "hard.mp4")
    for out in (source, tmp_path / "soft.mp4", tmp_path / "hard.mp4", tmp_path / "." / "in.mp4"):
        with pytest.raises(InputError, match=r"--out .*to be read here; choose another name"):
            refuse_overwriting({"--out": out}, (None, tmp_path / "other", source))


def test_two_outputs_are_two_files(source: Path, tmp_path: Path) -> None:
    (tmp_path / "there").symlink_to(tmp_path)
    for same in (tmp_path / "new", tmp_path / "there" / "new"):
        with pytest.raises(InputError, match=r"--json .*--out is to be written there"):
            refuse_overwriting({"--out": tmp_path / "new", "--json": same}, (source,))


def test_earlier_files_and_what_was_not_given_are_no_reason_to_refuse(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out.mp4").touch()
    refuse_overwriting({"--out": tmp_path / "out.mp4", "--json": None}, (source, None))
    refuse_overwriting({"--json": Path("/dev/null")}, (source,))


def test_a_place_that_cannot_be_written_is_said(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"the folder .*nowhere does not exist"):
        refuse_overwriting({"--out": tmp_path / "nowhere" / "out.mp4"}, (source,))
    with pytest.raises(InputError, match="that is a folder"):
        refuse_overwriting({"--out": tmp_path}, (source,))
    monkeypatch.setattr(os, "access", lambda *arguments: False)  # root may write anywhere
    with pytest.raises(InputError, match="may not be written to"):
        refuse_overwriting({"--out": tmp_path / "out.mp4"}, (source,))


@pytest.mark.parametrize(("given", "better"), [("x.txt", "x.avatar"), ("x", "x.avatar"), ("..", "NAME.avatar")])
def test_the_name_says_what_it_is(given: str, better: str) -> None:
    require_suffix("--out", Path("me.AVATAR"), ".avatar")
    with pytest.raises(InputError, match=rf"name it {better}$"):
        require_suffix("--out", Path(given), ".avatar")


REFUSALS = ("to be read here", "to be written there", "does not exist", "ends in .avatar")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    "line",
    [
        "enrol in.jpg --out in.jpg",
        "enrol in.avatar --out in.avatar",
        "enrol in.jpg --out new.txt",
        "render --drive in.mp4 --out new.mp4 --json in.mp4",
        "render --drive in.mp4 --out new.mp4 --json new.mp4",
        "render --drive in.mp4 --out in.mp4",
        "render --drive in.mp4 --out nowhere/new.mp4",
        "render --avatar other.mp4 --drive in.mp4 --out other.mp4",
        "join http://127.0.0.1:1/room/x?token=y --camera in.mp4 --sink in.mp4",
        "join http://127.0.0.1:1/room/x?token=y --camera none --sink nowhere/new.mp4",
    ],
)
def test_commands_refuse_in_one_line_and_touch_nothing(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("in.jpg", "in.avatar", "in.mp4", "other.mp4"):
        Path(name).write_bytes(b"precious")
    result = run(*line.split())
    assert result.exit_code == 2
    assert len(result.output.splitlines()) == 1
    assert any(words in result.output for words in REFUSALS), result.output
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == dict.fromkeys(
        ("in.jpg", "in.avatar", "in.mp4", "other.mp4"), b"precious"
    )


def test_bench_does_not_write_over_an_engine() -> None:
    result = run("engines", "bench", "prior", "--json", find_engine("prior").folder / "engine.toml")
    assert (result.exit_code, "to be read here" in result.output) == (2, True)
