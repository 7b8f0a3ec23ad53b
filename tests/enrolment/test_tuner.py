"""Refining as a process of its own: what goes in, what comes out, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from telepresence.avatar.file import pack
from telepresence.avatar.framing import Square
from telepresence.avatar.samples import sample_avatar
from telepresence.enrolment import tuning
from telepresence.enrolment.gathering import Material
from telepresence.enrolment.tuner import read, written
from telepresence.enrolment.tuning import Tuning, why_not
from telepresence.errors import TelepresenceError


def material(count: int = 5) -> Material:
    points = [np.full((478, 3), n, np.float32) for n in range(count)]
    jpegs = tuple(bytes([n]) * (100 + n) for n in range(count))
    return Material(
        jpegs, Square(80, 0, 480), 480, tuple(points), np.arange(count * 2, dtype=np.float32).reshape(count, 2)
    )


def test_what_is_written_is_read() -> None:
    given = material()
    task, avatar, landmarks, apart, jpegs = read(io.BytesIO(written(b"avatar", given, "live", 2.5)))
    assert (task.engine, task.minutes, tuple(task.square), task.side) == ("live", 2.5, (80, 0, 480), 480)
    assert avatar == b"avatar"
    assert np.array_equal(np.stack(landmarks), np.stack(given.landmarks))
    assert np.array_equal(apart, given.from_reference_s)
    assert tuple(jpegs) == given.jpegs


FAKE = """
import json, sys, time
sys.stdin.buffer.readline()
def say(**told): sys.stdout.write(json.dumps(told) + "\\n"); sys.stdout.flush()
say(share=0.5, line="half")
{end}
"""


def run(monkeypatch: pytest.MonkeyPatch, end: str) -> tuple[bytes | None, list[tuple[float, str]]]:
    monkeypatch.setattr(tuning, "COMMAND", (sys.executable, "-c", FAKE.format(end=end)))
    told: list[tuple[float, str]] = []
    made = Tuning(b"avatar", material(), "live", lambda share, line: told.append((share, line)))
    return asyncio.run(made.run()), told


def test_progress_and_the_result_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    end = "say(bytes=5); sys.stdout.buffer.write(b'tuned'); sys.stdout.flush()"
    assert run(monkeypatch, end) == (b"tuned", [(0.5, "half")])
    assert run(monkeypatch, "say(bytes=0)")[0] is None


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("say(failed='the video is too short')", "the video is too short"),
        ("sys.exit(1)", "ended before its time"),
        ("say(bytes=9); sys.stdout.write('cut')", "ended before its time"),
        ("print('nonsense')", "makes no sense"),
        ("say(bytes=10**12)", "something else than an avatar"),
        ("say(bytes=-1)", "something else than an avatar"),
    ],
)
def test_whatever_goes_wrong_is_told_in_words(monkeypatch: pytest.MonkeyPatch, end: str, words: str) -> None:
    with pytest.raises(TelepresenceError, match=words):
        run(monkeypatch, end)


def test_stopped_it_leaves_no_process_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    noted = tmp_path / "pid"
    end = f"import os; open({str(noted)!r}, 'w').write(str(os.getpid())); say(share=0.6, line=''); time.sleep(60)"
    monkeypatch.setattr(tuning, "COMMAND", (sys.executable, "-c", FAKE.format(end=end)))

    async def test() -> None:
        begun = asyncio.Event()
        made = Tuning(b"avatar", material(), "live", lambda share, line: begun.set() if share > 0.5 else None)
        task = asyncio.ensure_future(made.run())
        await asyncio.wait_for(begun.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(test())
    with pytest.raises(ProcessLookupError):
        os.kill(int(noted.read_text()), 0)


def test_without_the_training_extra_the_page_says_so_and_what_would_help(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> Any:
        return None if name == "torch" else find_spec("json")

    monkeypatch.setattr("importlib.util.find_spec", none)
    said = why_not("live")
    assert "torch" in said
    assert "onnx" not in said
    assert "make setup-train" in said
    assert "works without" in said


def test_an_engine_that_learns_nothing_of_a_person_is_not_offered() -> None:
    if find_spec("torch") is None or find_spec("onnx") is None:
        pytest.skip("needs torch")
    assert "not refined" in why_not("prior")
    assert "not refined" in why_not("fewshot")
    assert why_not("live") == ""
    assert "photos" in why_not("live", photos=True)


@pytest.mark.train
def test_the_real_process_learns_and_gives_an_avatar_or_says_that_nothing_helped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sample's picture again and again: there is nothing to learn, but all of the way is gone."""
    pytest.importorskip("torch")
    import cv2

    monkeypatch.setattr(tuning, "MINUTES", 0.02)
    avatar = replace(sample_avatar(), free_for_all=False)
    reference = avatar.references[0]
    _, jpeg = cv2.imencode(".jpg", reference.picture[..., ::-1])
    count = 42
    given = Material(
        (bytes(jpeg),) * count, Square(0, 0, reference.side), reference.side, (reference.landmarks,) * count,
        np.full((count, len(avatar.references)), 5, np.float32),
    )  # fmt: skip
    told: list[float] = []
    made = asyncio.run(Tuning(pack(avatar), given, "live", lambda share, line: told.append(share)).run())
    assert made is None or made.startswith(b"\x89AVATAR")
    assert told[-1] == 1.0
