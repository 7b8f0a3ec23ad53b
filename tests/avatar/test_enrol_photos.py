from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from telepresence.avatar.photos import Photo, one_person, read, usable_photos
from telepresence.avatar.samples import sample_avatar
from telepresence.errors import FaceError
from telepresence.face.basis import default_basis
from telepresence.face.identity import difference
from telepresence.face.landmarks import detect_faces, face_box
from telepresence.media import read_frames
from tests.clips import on_canvas, portrait

IDENTITY = default_basis().identity


def saved(path: Path, picture: np.ndarray) -> Path:
    Image.fromarray(np.ascontiguousarray(picture)).save(path)
    return path


def shaped(name: str, identity: int | None, *, turn: float = 0.0, noise: int = 0) -> Photo:
    """A photo of the mean face, or of somebody four deviations from it."""
    neutral = default_basis().mean + np.random.default_rng(noise).normal(0, 0.003, (478, 3)).astype(np.float32)
    if identity is not None:
        neutral[:468] += 4 * IDENTITY[identity]
    return Photo(Path(name), portrait(), sample_avatar().references[0].landmarks, neutral, turn, 10.0)


@pytest.mark.parametrize(("turns", "what"), [(1, "lying on its side"), (2, "upside down"), (3, "lying on its side")])
def test_a_turned_photo_is_set_upright_and_that_is_said(tmp_path: Path, turns: int, what: str) -> None:
    lines: list[str] = []
    found = read(saved(tmp_path / "a.png", np.rot90(portrait(), turns)), lines.append)
    assert np.array_equal(found.picture, portrait())
    assert lines == [f"a.png: was {what}; read as turned upright"]


def test_an_upright_photo_is_left_alone(tmp_path: Path) -> None:
    lines: list[str] = []
    assert np.array_equal(read(saved(tmp_path / "a.png", portrait()), lines.append).picture, portrait())
    assert lines == []


def test_a_tiny_face_in_a_huge_picture_is_found(tmp_path: Path) -> None:
    huge = on_canvas(portrait(), 4000, 3000, 2500, 1000)
    found = read(saved(tmp_path / "a.png", huge), print)
    left, top, right, bottom = face_box(found.landmarks)
    assert 0 < left < right < len(found.picture)
    assert (bottom - top) / len(found.picture) > 0.25


def test_of_two_faces_none_is_taken_however_they_had_to_be_searched_for(tmp_path: Path) -> None:
    pair = np.hstack([portrait(), portrait()])
    far = on_canvas(portrait(), 4000, 3000, 2500, 1000)
    far[300:620, 400:720] = portrait()
    for name, picture in (("lying.png", np.rot90(pair)), ("far.png", far)):
        with pytest.raises(FaceError, match=rf"{name}: 2 faces of about the same size; crop"):
            read(saved(tmp_path / name, picture), print)


BLUR = cv2.GaussianBlur(portrait(), (0, 0), 4)
BRIGHT = np.clip(portrait().astype(int) * 2 + 10, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (BLUR, "the face is blurred; use one"),
        (portrait() // 8, "the face is too dark; use one"),
        (BRIGHT, "the face is overexposed to white; use one"),
        (portrait()[:145], "the face is cut off at the bottom edge; use one"),
    ],
)
def test_a_photo_that_will_not_do_is_refused_with_what_to_do(tmp_path: Path, picture: np.ndarray, reason: str) -> None:
    with pytest.raises(FaceError, match=rf"a\.png: {reason}"):
        read(saved(tmp_path / "a.png", picture), print)


def test_dark_glasses_are_refused(tmp_path: Path) -> None:
    picture, landmarks = portrait().copy(), sample_avatar().references[0].landmarks
    wide = float(landmarks[454, 0] - landmarks[234, 0])
    for corners in ([33, 133], [263, 362]):
        x, y = landmarks[corners, :2].mean(0)
        cv2.ellipse(
            picture, (round(x), round(y)), (round(0.22 * wide), round(0.16 * wide)), 0, 0, 360, (15, 15, 15), -1
        )
    with pytest.raises(FaceError, match=r"a\.png: dark glasses.*where the eyes are seen"):
        read(saved(tmp_path / "a.png", picture), print)


@pytest.mark.parametrize("colour", [(128, 128, 128), (235, 235, 235), (120, 170, 210), (20, 20, 20)])
def test_a_covered_mouth_is_refused(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    covered = portrait()
    face = detect_faces(covered)[0]
    left, _, right, bottom = (round(v) for v in face_box(face))
    grain = np.random.default_rng(0).normal(0, 6, (*covered.shape[:2], 1))
    slab = np.clip(np.array(colour) + grain, 0, 255).astype(np.uint8)
    part = slice(round(float(face[[4, 164], 1].mean())), bottom + 4), slice(left, right)
    covered[part] = slab[part]
    with pytest.raises(FaceError, match="covers the mouth; use one where"):
        read(saved(tmp_path / "a.png", covered), print)


def test_a_face_a_little_beyond_the_edge_is_used_and_said(tmp_path: Path) -> None:
    lines: list[str] = []
    bottom = face_box(detect_faces(portrait())[0])[3]
    read(saved(tmp_path / "a.png", portrait()[: round(bottom) - 6]), lines.append)
    assert any("a.png: the face reaches beyond the bottom edge" in line for line in lines)


def test_a_grey_photo_among_coloured_ones_is_left_out(tmp_path: Path) -> None:
    grey = cv2.cvtColor(portrait(), cv2.COLOR_RGB2GRAY)
    paths = [saved(tmp_path / "grey.png", grey), saved(tmp_path / "a.png", portrait())]
    lines: list[str] = []
    assert [photo.path.name for photo in usable_photos(paths, lines.append)] == ["a.png"]
    assert "grey.png: black and white, unlike the others; replace" in lines[-1]
    assert len(usable_photos(paths[:1], lines.append)) == 1  # alone it will do


def test_somebody_else_among_a_persons_photos_is_left_out_by_name() -> None:
    photos = [shaped("a.jpg", None), shaped("other.jpg", 0, noise=1), shaped("b.jpg", None, noise=2)]
    assert difference(photos[0].neutral, photos[1].neutral) > 0.03
    lines: list[str] = []
    assert [photo.path.name for photo in one_person(photos, lines.append)] == ["a.jpg", "b.jpg"]
    assert len(lines) == 1
    assert lines[0].startswith("left out: other.jpg: looks like somebody else than in a.jpg, b.jpg; replace it")


def test_of_two_people_the_first_given_counts() -> None:
    photos = [shaped("other.jpg", 0), shaped("a.jpg", None)]
    lines: list[str] = []
    assert [photo.path.name for photo in one_person(photos, lines.append)] == ["other.jpg"]


def test_a_turned_head_is_only_doubted() -> None:
    photos = [shaped("a.jpg", None), shaped("turned.jpg", 0, turn=35.0), shaped("b.jpg", None, noise=2)]
    lines: list[str] = []
    assert len(one_person(photos, lines.append)) == 3
    assert lines[0].startswith("turned.jpg: may be somebody else")


def test_photos_of_one_person_raise_no_doubt() -> None:
    lines: list[str] = []
    assert len(one_person([shaped(f"{n}.jpg", 0, noise=n) for n in range(6)], lines.append)) == 6
    assert lines == []


def test_real_people_in_all_sorts_of_portraits(faces: Path) -> None:
    one = usable_photos([faces / "photos" / "obama.jpg", faces / "photos" / "obama_2009.jpg"], print)
    assert len(one) == 2
    lines: list[str] = []
    pair = [faces / "photos" / "obama.jpg", faces / "photos" / "obama_2009.jpg", faces / "photos" / "yann_lecun.jpg"]
    assert len(usable_photos(pair, lines.append)) == 2
    assert "yann_lecun.jpg: looks like somebody else" in lines[-1]
    for painted in sorted((faces / "photos" / "robustness").glob("*.jpg")):
        assert len(usable_photos([painted], print)) == 1


def test_a_real_profile_is_refused(faces: Path, tmp_path: Path) -> None:
    frame = next(islice(read_frames(faces / "dev" / "nice_man.mp4"), 60, None))
    with pytest.raises(FaceError, match=r"profile\.png: the head is turned away by 5\d degrees; use one"):
        read(saved(tmp_path / "profile.png", frame.picture), print)
