from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from telepresence.avatar import scenes
from telepresence.avatar.enrol import enrol
from telepresence.avatar.samples import sample_avatar
from telepresence.avatar.scenes import Candidate, clip_candidates
from telepresence.errors import FaceError
from telepresence.face.landmarks import detect_faces
from telepresence.media import clip_info
from tests.clips import moving_portrait, on_canvas, portrait, write_clip

Picture = np.ndarray
MOVING = moving_portrait(30, width=400)
WIDE = moving_portrait(30, width=400, step=0)
CLOSE = [np.ascontiguousarray(cv2.resize(picture[20:180, 60:260], (400, 320))) for picture in WIDE]
BLACK = [np.zeros((320, 400, 3), np.uint8)] * 20


def candidates(path: Path, pictures: Sequence[Picture]) -> tuple[list[Candidate], list[str]]:
    lines: list[str] = []
    clip = write_clip(path, pictures)
    return clip_candidates(clip, clip_info(clip), lines.append), lines


def test_a_clip_without_cuts_is_used_whole_however_it_moves(tmp_path: Path) -> None:
    found, lines = candidates(tmp_path / "a.mp4", MOVING)
    assert [candidate.index for candidate in found] == list(range(30))
    assert lines == ["a.mp4: 30 pictures with a face"]


def test_of_two_framings_the_longer_is_used_and_said(tmp_path: Path) -> None:
    found, lines = candidates(tmp_path / "a.mp4", [*CLOSE[:12], *WIDE])
    assert {candidate.index for candidate in found} <= set(range(12, 42))
    assert len(found) >= 25
    assert "has cuts or fades; references come from 0.5 to 1.6 s only, the longest part with one person" in lines[-1]


def test_after_a_cut_away_and_back_both_parts_are_used(tmp_path: Path) -> None:
    found, lines = candidates(tmp_path / "a.mp4", [*WIDE[:15], *CLOSE[:12], *WIDE[15:]])
    assert {candidate.index for candidate in found} <= {*range(15), *range(27, 42)}
    assert min(c.index for c in found) < 15
    assert max(c.index for c in found) > 30
    assert "has cuts" in lines[-1]


def test_black_seconds_are_passed_over_and_said(tmp_path: Path) -> None:
    found, lines = candidates(tmp_path / "a.mp4", [*WIDE[:15], *BLACK, *WIDE[15:]])
    assert len(found) == 30
    assert "a.mp4: no face in 40% of the clip; those parts are not used" in lines


def test_no_reference_shows_two_pictures_at_once(tmp_path: Path) -> None:
    dark = [on_canvas(picture // 2, 400, 320, 0, 0) for picture in CLOSE[:20]]
    fade = [cv2.addWeighted(WIDE[-1], 1 - k / 15, dark[0], k / 15, 0) for k in range(15)]
    found, lines = candidates(tmp_path / "a.mp4", [*WIDE, *fade, *dark])
    indices = [candidate.index for candidate in found]
    assert max(indices) < 30 + 5
    assert "has cuts" in lines[-1]


@pytest.mark.parametrize("said", [None, 4, 30])
def test_however_long_a_clip_says_to_be_only_so_many_pictures_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: int | None
) -> None:
    monkeypatch.setattr(scenes, "MAX_CANDIDATES", 12)
    clip = write_clip(tmp_path / "a.mp4", WIDE)
    info = replace(clip_info(clip), frames=said, duration_s=None)  # None: as browsers record
    found = [candidate.index for candidate in clip_candidates(clip, info, print)]
    assert 6 < len(found) <= 12
    assert found == list(range(0, 30, found[1]))


def test_a_clip_in_which_a_smaller_face_is_followed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = sample_avatar().references[0].landmarks
    monkeypatch.setattr(scenes, "detect_faces", lambda picture: [own * 2 - 600, own])
    with pytest.raises(FaceError, match=r"a\.mp4, at 0\.0 s: 2 faces; crop it"):
        candidates(tmp_path / "a.mp4", WIDE[:8])


def test_of_a_two_shot_and_a_close_up_the_close_up_is_used_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faces(picture: Picture) -> list[Picture]:
        found = detect_faces(picture)
        own = found[0][:, :2].max(0) - found[0][:, :2].min(0)
        return found * 2 if own[1] < 120 else found  # two alike in the wide part

    monkeypatch.setattr(scenes, "detect_faces", faces)
    found, lines = candidates(tmp_path / "a.mp4", [*WIDE[:12], *CLOSE])
    assert {candidate.index for candidate in found} <= set(range(12, 42))
    assert len(found) >= 25
    assert "a.mp4, at 0.0 s: 2 faces of about the same size" in lines[0]


def test_who_enters_later_is_noticed_and_who_leaves_again_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def faces(picture: Picture) -> list[Picture]:
        asked.append(picture)
        return detect_faces(picture)[:1] * (2 if len(asked) in (3, 4) else 1)

    monkeypatch.setattr(scenes, "detect_faces", faces)
    monkeypatch.setattr(scenes, "LEAST_APART", 5)
    found, lines = candidates(tmp_path / "a.mp4", WIDE)
    # Asked at 0, 5, 10, 15, 20 and 25: somebody came after 5 and had left at 20.
    assert [candidate.index for candidate in found] == [*range(6), *range(20, 30)]
    assert "references come from where only one is" in lines[0]


def test_a_face_that_only_the_tracker_sees_is_no_reason_to_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenes, "detect_faces", lambda picture: [])
    found, _ = candidates(tmp_path / "a.mp4", WIDE[:8])
    assert len(found) == 8


def test_a_dark_clip_is_refused(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "night.mp4", [picture // 8 for picture in WIDE[:10]])
    with pytest.raises(FaceError, match=r"night\.mp4: even in its best picture the face is too dark; use a clip"):
        enrol([clip], name="Me")


@pytest.mark.parametrize(("turns", "what"), [(1, "lies on its side"), (2, "is upside down"), (3, "lies on its side")])
def test_a_clip_that_lies_is_refused_with_what_sets_it_upright(tmp_path: Path, turns: int, what: str) -> None:
    clip = write_clip(tmp_path / "a.mp4", [np.ascontiguousarray(np.rot90(portrait(), turns))] * 8)
    filters = {1: "transpose=1", 2: "hflip,vflip", 3: "transpose=2"}[turns]
    with pytest.raises(FaceError, match=rf"a\.mp4: {what}; turn it with: ffmpeg -i a\.mp4 -vf {filters} upright"):
        enrol([clip], name="Me")


def test_a_face_that_is_cut_off_all_along_is_refused(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "low.mp4", [portrait()[:144]] * 10)
    with pytest.raises(FaceError, match=r"low\.mp4: .* cut off by the picture's edge; use"):
        enrol([clip], name="Me")
