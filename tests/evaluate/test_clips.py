from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from telepresence.errors import FaceError, InputError
from telepresence.evaluate.clips import Clip, Footage, find_clips
from telepresence.face.fit import HELD_OUT
from tests.clips import moving_portrait, write_clip


def manifest(folder: Path, items: list[dict[str, Any]]) -> Path:
    (folder / "MANIFEST.json").write_text(json.dumps({"items": items}))
    return folder


def items() -> list[dict[str, Any]]:
    real, restored = "judged real recorded human", "real person, pixels restored upstream"
    return [
        {"file": "a.mp4", "identity": HELD_OUT[0], "real_human": real},
        {"file": "b.mp4", "identity": HELD_OUT[1], "real_human": restored},
        {"file": "c.mp4", "identity": "somebody trained on", "real_human": real},
    ]


def test_only_real_held_out_people_are_judged_on(tmp_path: Path) -> None:
    clips, left_out = find_clips(manifest(tmp_path, items()))
    assert [c.name for c in clips] == ["a"]
    assert [entry["clip"] for entry in left_out] == ["b"]
    everyone, _ = find_clips(tmp_path, everyone=True)
    assert [(c.name, c.held_out) for c in everyone] == [("a", True), ("c", False)]


def test_named_people_and_clips_alone(tmp_path: Path) -> None:
    manifest(tmp_path, items())
    seen, _ = find_clips(tmp_path, only=["somebody trained on"])
    assert [(c.name, c.held_out) for c in seen] == [("c", False)]
    assert [c.name for c in find_clips(tmp_path, only=["a"])[0]] == ["a"]
    with pytest.raises(InputError, match="nobody"):
        find_clips(tmp_path, only=["nobody", "a"])


def test_without_a_manifest_every_video_is_somebody(tmp_path: Path) -> None:
    for name in ("two.mov", "one.mp4", "notes.txt"):
        (tmp_path / name).touch()
    clips, left_out = find_clips(tmp_path)
    assert [(c.name, c.identity, c.held_out) for c in clips] == [("one", "one", None), ("two", "two", None)]
    assert left_out == []


@pytest.mark.parametrize("text", ["", "[]", '{"items": [{"file": "a.mp4"}]}', '{"items": 3}'])
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "MANIFEST.json").write_text(text)
    with pytest.raises(InputError, match="MANIFEST"):
        find_clips(tmp_path)


def test_no_folder_and_no_clip_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        find_clips(tmp_path / "nowhere")
    with pytest.raises(InputError, match="nothing to judge on"):
        find_clips(tmp_path)


def test_pictures_and_landmarks_share_the_framing(tmp_path: Path) -> None:
    clip = Clip(write_clip(tmp_path / "p.mp4", moving_portrait(6)), "somebody")
    footage = Footage(clip, tmp_path / "cache")
    found = dict(footage.pictures([1, 4], 128))
    assert list(found) == [1, 4]
    assert found[4].shape == (128, 128, 3)
    landmarks = footage.landmarks(4, 128)
    assert ((landmarks[:, :2] > 0) & (landmarks[:, :2] < 128)).all()
    np.testing.assert_allclose(footage.landmarks(4, 256)[:, :2], landmarks[:, :2] * 2, rtol=1e-5)
    assert list(footage.pictures([], 128)) == []


def test_landmarks_of_another_clip_are_noticed(tmp_path: Path) -> None:
    write_clip(tmp_path / "p.mp4", moving_portrait(6))
    Footage(Clip(tmp_path / "p.mp4", "p"), tmp_path / "cache")
    write_clip(tmp_path / "p.mp4", moving_portrait(3))
    footage = Footage(Clip(tmp_path / "p.mp4", "p"), tmp_path / "cache")
    with pytest.raises(InputError, match="--landmarks"):
        list(footage.pictures([5], 128))


def test_a_clip_without_a_face_is_refused(tmp_path: Path) -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    write_clip(tmp_path / "grey.mp4", [grey, grey])
    with pytest.raises(FaceError, match="no face"):
        Footage(Clip(tmp_path / "grey.mp4", "grey"), tmp_path / "cache")
