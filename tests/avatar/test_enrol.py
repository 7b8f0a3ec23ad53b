from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from telepresence.avatar.enrol import enrol, enrol_with_footage
from telepresence.avatar.file import pack, unpack
from telepresence.errors import FaceError, InputError, MediaError
from telepresence.face.landmarks import LandmarkTracker, face_box
from tests.clips import moving_portrait, on_canvas, portrait, write_clip


def photo(path: Path, picture: np.ndarray, **options: object) -> Path:
    Image.fromarray(picture).save(path, **options)  # type: ignore[arg-type]
    return path


def face_height(avatar_picture: np.ndarray, landmarks: np.ndarray) -> float:
    _, top, _, bottom = face_box(landmarks)
    return (bottom - top) / len(avatar_picture)


def test_one_photo(tmp_path: Path) -> None:
    lines: list[str] = []
    avatar = enrol([photo(tmp_path / "a.png", portrait())], name="Me", progress=lines.append)
    reference = avatar.references[0]
    assert np.array_equal(reference.picture, portrait())
    assert (avatar.name, len(avatar.references), avatar.free_for_all) == ("Me", 1, False)
    assert reference.matte[120, 160] == 255
    assert avatar.background.shape == (320, 320, 3)
    suit = avatar.background[280:, 60:260].astype(int)
    assert (suit[..., 0] - suit[..., 2]).mean() < 60  # the orange suit is not on the wall behind her
    assert any("a.png" in line for line in lines)
    assert any("the eyes shut" in line for line in lines)
    assert unpack(pack(avatar)).name == "Me"


def test_a_photo_that_lies_on_its_side_by_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8  # to be shown a quarter turn counter-clockwise
    lying = np.ascontiguousarray(np.rot90(portrait(), -1))
    avatar = enrol([photo(tmp_path / "a.jpg", lying, exif=exif, quality=95)], name="Me")
    assert np.abs(avatar.references[0].picture.astype(int) - portrait()).mean() < 4


def test_grey_and_transparent_photos(tmp_path: Path) -> None:
    grey = cv2.cvtColor(portrait(), cv2.COLOR_RGB2GRAY)
    clear = np.dstack([portrait(), np.full((320, 320), 255, np.uint8)])
    for index, picture in enumerate((grey, clear)):
        assert len(enrol([photo(tmp_path / f"{index}.png", picture)], name="Me").references) == 1


def test_a_large_face_is_never_cropped_to(tmp_path: Path) -> None:
    wide = on_canvas(portrait(), 481, 321, 80, 0)
    avatar = enrol([photo(tmp_path / "a.png", wide)], name="Me")
    assert np.array_equal(avatar.references[0].picture, wide[:, 80:401])


def test_a_small_face_is_cropped_to(tmp_path: Path) -> None:
    avatar = enrol([photo(tmp_path / "a.png", on_canvas(portrait(), 1600, 1200, 100, 500))], name="Me")
    reference = avatar.references[0]
    assert face_height(reference.picture, reference.landmarks) > 0.3


def test_a_face_beside_the_central_square_is_brought_in(tmp_path: Path) -> None:
    avatar = enrol([photo(tmp_path / "a.png", on_canvas(portrait(), 1000, 320, 0, 0))], name="Me")
    left, _, right, _ = face_box(avatar.references[0].landmarks)
    assert 0 < left < right < avatar.references[0].side


def test_large_photos_give_references_of_512(tmp_path: Path) -> None:
    large = cv2.resize(portrait(), (900, 900), interpolation=cv2.INTER_CUBIC)
    assert enrol([photo(tmp_path / "a.jpg", large)], name="Me").references[0].side == 512


def test_several_photos_of_different_sizes(tmp_path: Path) -> None:
    turned = cv2.warpAffine(portrait(), cv2.getRotationMatrix2D((160, 120), 25, 1), (320, 320), borderValue=(128,) * 3)
    sources = [
        photo(tmp_path / "a.png", turned),
        photo(tmp_path / "b.png", cv2.resize(portrait(), (512, 512))),
        photo(tmp_path / "c.png", portrait()),
    ]
    avatar = enrol(sources, name="Me")
    assert avatar.references[0].side in (320, 512)  # the upright one comes first
    assert 2 <= len(avatar.references) <= 3


def test_a_photo_without_a_face_is_named(tmp_path: Path) -> None:
    empty = photo(tmp_path / "wall.png", np.full((200, 300, 3), 99, np.uint8))
    with pytest.raises(FaceError, match=r"wall\.png: no face found; use a picture"):
        enrol([empty], name="Me")


def test_one_bad_photo_among_good_ones_is_left_out_loudly(tmp_path: Path) -> None:
    empty = photo(tmp_path / "wall.png", np.full((200, 300, 3), 99, np.uint8))
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff torn")
    (tmp_path / "nothing.jpg").touch()
    sources = [empty, tmp_path / "torn.jpg", photo(tmp_path / "a.png", portrait()), tmp_path / "nothing.jpg"]
    lines: list[str] = []
    avatar = enrol(sources, name="Me", progress=lines.append)
    assert len(avatar.references) == 1
    out = [line for line in lines if line.startswith("left out: ")]
    assert len(out) == 3
    assert "wall.png: no face found; use" in out[0]
    assert "torn.jpg: not a photo" in out[1]
    assert "nothing.jpg: an empty file" in out[2]


def test_when_no_photo_is_usable_each_reason_is_given(tmp_path: Path) -> None:
    wall = photo(tmp_path / "wall.png", np.full((200, 300, 3), 99, np.uint8))
    dark = photo(tmp_path / "night.png", portrait() // 10)
    with pytest.raises(FaceError, match=r"(?s)no usable photo:.*wall\.png: no face.*night\.png: the face is too dark"):
        enrol([wall, dark], name="Me")


def test_with_as_many_photos_as_fit_the_one_to_replace_is_named(tmp_path: Path) -> None:
    turned = cv2.warpAffine(portrait(), cv2.getRotationMatrix2D((160, 120), 25, 1), (320, 320), borderValue=(128,) * 3)
    sources = [photo(tmp_path / f"{n}.png", p) for n, p in (("a", portrait()), ("b", turned), ("c", portrait()))]
    lines: list[str] = []
    enrol(sources, name="Me", references=3, progress=lines.append)
    assert re.search(r"the eyes shut.*; [ac]\.png adds least, so replace it first", lines[-1])
    lines.clear()
    enrol(sources, name="Me", references=8, progress=lines.append)
    assert "replace" not in lines[-1]


def test_two_alike_faces_in_a_photo_ask_for_a_crop(tmp_path: Path) -> None:
    twice = np.hstack([portrait(), portrait()])
    with pytest.raises(FaceError, match=r"pair\.png: 2 faces of about the same size; crop"):
        enrol([photo(tmp_path / "pair.png", twice)], name="Me")


def test_the_clearly_larger_of_two_is_meant(tmp_path: Path) -> None:
    canvas = on_canvas(portrait(), 520, 320, 200, 0)
    canvas[80:260, 10:190] = cv2.resize(portrait(), (180, 180), interpolation=cv2.INTER_AREA)
    avatar = enrol([photo(tmp_path / "a.png", canvas)], name="Me")
    reference = avatar.references[0]
    assert face_height(reference.picture, reference.landmarks) > 0.3
    left, _, right, _ = face_box(reference.landmarks)
    assert 0 < left < right < 320


def test_sources_that_do_not_go_together(tmp_path: Path) -> None:
    still = photo(tmp_path / "a.png", portrait())
    clip = write_clip(tmp_path / "a.mp4", [portrait()] * 3)
    for sources in ([], [still, clip], [clip, clip], [still] * 65):
        with pytest.raises(InputError, match="1 to 64 photos, or exactly one clip"):
            enrol(sources, name="Me")
    with pytest.raises(InputError, match="1 to 32"):
        enrol([still], name="Me", references=33)
    with pytest.raises(MediaError, match="check the path"):
        enrol([tmp_path / "nobody.jpg"], name="Me")


def test_a_clip_gives_one_framing_and_a_seen_background(tmp_path: Path) -> None:
    pictures = moving_portrait(60, width=420)
    avatar = enrol([write_clip(tmp_path / "me.mp4", pictures)], name="Me")
    reference = avatar.references[0]
    assert reference.side == 320
    errors = [np.abs(reference.picture.astype(int) - picture[:, 50:370]).mean() for picture in pictures]
    assert min(errors) < 3  # the central square of some frame, not a crop of its own
    with LandmarkTracker(still=True) as tracker:
        again = tracker(reference.picture)
    assert again is not None
    assert np.abs(again - reference.landmarks)[:, :2].mean() < 3


def test_footage_knows_which_of_its_pictures_are_references(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", moving_portrait(12))
    avatar, footage = enrol_with_footage([clip], name="Me", references=2)
    assert footage is not None
    assert footage.from_reference_s.shape == (len(footage.indices), len(avatar.references))
    own = np.argwhere(footage.from_reference_s == 0)
    assert sorted(own[:, 1]) == list(range(len(avatar.references)))
    assert all(np.array_equal(footage.landmarks[i], avatar.references[k].landmarks) for i, k in own)
    assert footage.from_reference_s.max() > 1 / 25


def test_a_clip_without_a_face(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "wall.mp4", [np.full((120, 160, 3), 99, np.uint8)] * 10)
    with pytest.raises(FaceError, match=r"wall\.mp4.*only 0 pictures"):
        enrol([clip], name="Me")


def test_a_clip_of_two_people(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "pair.mp4", [np.hstack([portrait(), portrait()])] * 8)
    with pytest.raises(FaceError, match=r"pair\.mp4, at 0\.0 s: 2 faces"):
        enrol([clip], name="Me")


def test_every_real_photo_can_be_enrolled(faces: Path) -> None:
    for path in sorted((faces / "photos").glob("*.jpg"))[::5]:
        avatar = enrol([path], name="Someone")
        assert len(pack(avatar)) < 150_000
        assert face_height(avatar.references[0].picture, avatar.references[0].landmarks) >= 0.25
