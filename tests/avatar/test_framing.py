from __future__ import annotations

import numpy as np
import pytest

from telepresence.avatar.framing import Square, central_square, choose_square
from telepresence.errors import FaceError
from telepresence.face.basis import default_basis
from telepresence.face.landmarks import face_box


def face(x: float, y: float, height: float) -> np.ndarray:
    """Landmarks of the mean face with the centre of its box at x, y."""
    mean = default_basis().mean
    left, top, right, bottom = face_box(mean)
    middle = np.array([(left + right) / 2, (top + bottom) / 2, 0])
    return ((mean - middle) * height / (bottom - top) + np.array([x, y, 0])).astype(np.float32)


@pytest.mark.parametrize("height", [120, 200, 400])
def test_the_central_square_is_kept_however_large_the_face(height: int) -> None:
    assert choose_square(640, 480, [face(300, 240, height)], "x") == central_square(640, 480) == Square(80, 0, 480)


def test_a_small_face_is_cropped_to_with_room_for_head_and_shoulders() -> None:
    square = choose_square(1920, 1080, [face(1400, 300, 200)], "x")
    assert square.side == 560
    assert square.left < 1400 < square.left + square.side
    assert square.top < 300 - 100 - 0.5 * 200
    assert square.top + square.side > 300 + 100 + 200


def test_a_crop_stays_inside_the_frame() -> None:
    square = choose_square(1000, 1000, [face(60, 80, 100)], "x")
    assert (square.left, square.top) == (0, 0)


def test_a_face_outside_the_central_square_moves_it_as_little_as_it_takes() -> None:
    square = choose_square(1280, 480, [face(150, 240, 200)], "x")
    assert square.side == 480
    box = face_box(face(150, 240, 200))
    assert 0 <= square.left <= box[0]
    assert square.left > box[0] - 40
    tall = choose_square(480, 900, [face(240, 200, 200)], "x")
    assert (tall.left, tall.side) == (0, 480)
    assert tall.top == 40  # a crown above the forehead that a central square would cut


def test_a_clip_gets_one_square_that_holds_every_place_of_the_face() -> None:
    square = choose_square(1280, 480, [face(x, 240, 200) for x in range(380, 620, 10)], "x")
    assert square.left < 320
    assert square.left + square.side > 690


def test_a_face_of_a_few_pixels_is_refused() -> None:
    with pytest.raises(FaceError, match=r"photo\.jpg.*30 pixels high.*move closer"):
        choose_square(640, 480, [face(320, 240, 30)], "photo.jpg")


def test_cut_and_landmarks_go_together() -> None:
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[40:44, 120:124] = 255
    square = Square(100, 20, 50)
    cut = square.cut(picture, 100)
    moved = square.landmarks(np.full((478, 3), (122, 42, 5), np.float32), 100)
    assert cut.shape == (100, 100, 3)
    assert cut[round(float(moved[0, 1])), round(float(moved[0, 0]))].min() > 200
    assert moved[0, 2] == 10
