"""Landmarks are cached by a clip's name, and never another clip's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from telepresence import media
from telepresence.face import landmarks
from telepresence.face.fit import clip_landmarks


class Tracker:
    """Finds a face whose every coordinate is the picture's first value."""

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *_: object) -> None: ...

    def __call__(self, picture: Any) -> Any:
        return np.full((478, 3), picture, np.float32)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Clips that were read; each byte of a file is a picture."""
    seen: list[Path] = []

    def read_frames(path: Path) -> Iterator[SimpleNamespace]:
        seen.append(path)
        return (SimpleNamespace(picture=value) for value in path.read_bytes())

    monkeypatch.setattr(media, "read_frames", read_frames)
    monkeypatch.setattr(landmarks, "LandmarkTracker", Tracker)
    return seen


def clip(folder: Path, data: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "x.mp4"
    path.write_bytes(data)
    return path


def test_a_second_time_nothing_is_read(tmp_path: Path, read: list[Path]) -> None:
    path = clip(tmp_path / "a", b"ab")
    found = [clip_landmarks(path, tmp_path / "cache") for _ in range(2)]
    assert np.array_equal(*found)
    assert len(read) == 1
    assert clip_landmarks(clip(tmp_path / "copy", b"ab"), tmp_path / "cache")[1, 0, 0] == ord("b")
    assert len(read) == 1


@pytest.mark.parametrize("other", [b"ac", b"abc"])
def test_another_clip_of_the_same_name_gets_its_own(tmp_path: Path, read: list[Path], other: bytes) -> None:
    clip_landmarks(clip(tmp_path / "a", b"ab"), tmp_path / "cache")
    another = clip(tmp_path / "b", other)
    for _ in range(2):
        assert clip_landmarks(another, tmp_path / "cache")[:, 0, 0].tolist() == list(other)
    assert len(read) == 2


@pytest.mark.parametrize("said", [None, "", "[]", "{}", '{"bytes": 2}'])
def test_landmarks_of_which_nothing_is_said_are_taken(tmp_path: Path, read: list[Path], said: str | None) -> None:
    stored = np.zeros((7, 478, 3), np.float32)
    np.save(tmp_path / "x.npy", stored)
    if said is not None:
        (tmp_path / "x.json").write_text(said)
    assert np.array_equal(clip_landmarks(clip(tmp_path / "a", b"ab"), tmp_path), stored)
    assert not read
