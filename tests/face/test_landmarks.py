from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from telepresence.avatar.samples import sample_avatar
from telepresence.face.landmarks import LandmarkTracker, detect_faces, face_area, face_box
from telepresence.face.matte import Matter, only_person
from tests.clips import moving_portrait, on_canvas, portrait


def test_a_face_is_found_where_it_is() -> None:
    reference = sample_avatar().references[0]
    with LandmarkTracker(still=True) as tracker:
        found = tracker(reference.picture)
    assert found is not None
    assert (found.shape, found.dtype) == ((478, 3), np.float32)
    assert np.abs(found - reference.landmarks)[:, :2].max() < 6


def test_landmarks_are_isotropic_pixels_whatever_the_frame() -> None:
    still = detect_faces(portrait())[0]
    wide = detect_faces(on_canvas(portrait(), 501, 333, 151, 7))[0]
    assert np.abs(wide[:, :2] - still[:, :2] - [151, 7]).max() < 8


def test_a_tracker_follows_and_loses_and_finds_again() -> None:
    pictures = moving_portrait(8)
    pictures[4] = pictures[5] = np.zeros_like(pictures[0])
    with LandmarkTracker() as tracker:
        found = [tracker(picture) for picture in pictures]
    assert [f is None for f in found] == [False] * 4 + [True] * 2 + [False] * 2
    assert found[0] is not None
    assert found[3] is not None
    assert np.median((found[3] - found[0])[:, 0]) == pytest.approx(6, abs=1.5)


@pytest.mark.parametrize("shape", [(1, 1, 3), (15, 400, 3), (33, 17, 3), (240, 320, 3)])
def test_a_frame_of_any_size_without_a_face_gives_none(shape: tuple[int, int, int]) -> None:
    with LandmarkTracker() as tracker:
        assert tracker(np.zeros(shape, np.uint8)) is None
    assert detect_faces(np.zeros(shape, np.uint8)) == []


def test_what_is_not_a_picture_is_a_mistake_of_the_caller() -> None:
    with LandmarkTracker() as tracker, pytest.raises(ValueError, match=r"\(H, W, 3\) uint8"):
        tracker(np.zeros((64, 64), np.uint8))


def test_closing_twice_is_fine() -> None:
    tracker = LandmarkTracker()
    tracker.close()
    tracker.close()


def test_several_faces_come_largest_first() -> None:
    import cv2

    small = cv2.resize(portrait(), (200, 200), interpolation=cv2.INTER_AREA)
    canvas = on_canvas(portrait(), 540, 320, 220, 0)
    canvas[60:260, 10:210] = small
    faces = detect_faces(canvas)
    assert len(faces) == 2
    assert face_area(faces[0]) > 2 * face_area(faces[1])
    assert face_box(faces[0])[0] > 220 > face_box(faces[1])[2]


def test_a_small_face_is_searched_for_in_parts_of_the_picture() -> None:
    faces = detect_faces(on_canvas(portrait(), 1600, 1200, 900, 500))
    assert len(faces) == 1
    left, top, right, bottom = face_box(faces[0])
    assert 900 < left < right < 1220
    assert 500 < top < bottom < 820


def python(*lines: str) -> subprocess.CompletedProcess[str]:
    code = "\n".join(lines)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)


def test_nothing_is_written_to_stderr() -> None:
    done = python(
        "from tests.clips import portrait; from telepresence.face.landmarks import detect_faces",
        "print(len(detect_faces(portrait())))",
    )
    assert done.stdout.strip() == "1"
    assert done.stderr == ""


def test_importing_the_adapters_does_not_import_mediapipe() -> None:
    done = python(
        "import sys, telepresence.face.landmarks, telepresence.face.matte",
        "print('mediapipe' in sys.modules, 'cv2' in sys.modules)",
    )
    assert done.stdout.split() == ["False", "False"]


def test_a_matte_holds_the_person_and_nothing_else() -> None:
    with Matter() as matter:
        matte = matter(portrait())
    assert (matte.shape, matte.dtype) == ((320, 320), np.uint8)
    assert matte[120, 160] == 255  # face
    assert matte[30:60, 130:190].mean() > 200  # hair
    assert matte[20, 20] == matte[20, 300] == 0  # wall


def test_other_people_are_dropped_from_a_matte() -> None:
    landmarks = sample_avatar().references[0].landmarks
    matte = np.zeros((320, 320), np.uint8)
    matte[20:320, 80:240] = 255
    matte[100:320, 280:320] = 255
    matte[100:120, 150:170] = 0  # a hole in the face
    own = only_person(matte, landmarks)
    assert own[200, 160] == 255
    assert own[110, 160] == 255
    assert own[200, 300] == 0
