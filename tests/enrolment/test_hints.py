"""What is told of a camera's picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from telepresence.avatar.samples import sample_avatar
from telepresence.enrolment.hints import BLOCKING, Hint, hint
from telepresence.face.landmarks import face_box
from telepresence.face.topology import EYE_LEFT

SIDE = 480
Picture = np.ndarray
Points = np.ndarray


@pytest.fixture(scope="module")
def good() -> tuple[Picture, Points]:
    """A face that fills two fifths of a camera's picture, in its middle."""
    reference = sample_avatar().references[0]
    left, top, right, bottom = face_box(reference.landmarks)
    scale = 0.42 * SIDE / (bottom - top)
    moved = np.array(
        [[scale, 0, 0.5 * SIDE - scale * (left + right) / 2], [0, scale, 0.5 * SIDE - scale * (top + bottom) / 2]]
    )
    picture = cv2.warpAffine(
        reference.picture, moved, (SIDE, SIDE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    points = reference.landmarks * np.float32(scale)
    points[:, :2] += moved[:, 2].astype(np.float32)
    return picture, points


def changed(good: tuple[Picture, Points], scale: float = 1, x: float = 0, y: float = 0) -> tuple[Picture, Points]:
    """The same face, smaller or larger, and moved by parts of the picture."""
    picture, points = good
    half = SIDE / 2
    matrix = np.array([[scale, 0, half - scale * half + x * SIDE], [0, scale, half - scale * half + y * SIDE]])
    out = points * np.float32(scale)
    out[:, :2] += matrix[:, 2].astype(np.float32)
    return cv2.warpAffine(picture, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT), out


def test_a_good_picture_needs_no_hint(good: tuple[Picture, Points]) -> None:
    assert hint(good[0], [good[1]]) is None


def test_nobody_and_somebody_else_are_told_but_not_a_poster_far_behind(good: tuple[Picture, Points]) -> None:
    picture, face = good
    assert hint(picture, []) is Hint.NOBODY
    other = (face - face.mean(0)) * np.float32(0.8) + np.array([80, 100, 0], np.float32)
    assert hint(picture, [face, other]) is Hint.TWO
    poster = (face - face.mean(0)) * np.float32(0.3) + np.array([60, 80, 0], np.float32)
    assert hint(picture, [face, poster]) is None


@pytest.mark.parametrize(
    ("scale", "x", "y", "told"),
    [
        (0.5, 0, 0, Hint.FAR), (2.1, 0, 0, Hint.NEAR), (1, 0.45, 0, Hint.CUT), (1, -0.45, 0, Hint.CUT),
        (1, 0, 0.4, Hint.CUT), (1, 0.27, 0, Hint.ASIDE), (1, 0.1, 0.1, None), (0.8, 0, 0, None),
    ],
)  # fmt: skip
def test_distance_and_place(good: tuple[Picture, Points], scale: float, x: float, y: float, told: Hint | None) -> None:
    picture, face = changed(good, scale, x, y)
    assert hint(picture, [face]) is told


def test_light(good: tuple[Picture, Points]) -> None:
    picture, face = good
    assert hint((picture * 0.15).astype(np.uint8), [face]) is Hint.DARK
    assert hint(np.maximum(picture, 252).astype(np.uint8), [face]) is Hint.BRIGHT
    assert hint((picture * 0.6).astype(np.uint8), [face]) is None


def test_blur(good: tuple[Picture, Points]) -> None:
    picture, face = good
    assert hint(cv2.GaussianBlur(picture, (0, 0), 6), [face]) is Hint.BLURRED


def test_light_in_glasses_is_told_and_the_light_in_an_eye_is_not(good: tuple[Picture, Points]) -> None:
    picture, face = good
    middle = face[list(EYE_LEFT), :2].mean(0).round().astype(int).tolist()
    catchlight = cv2.circle(picture.copy(), middle, 1, (255, 255, 255), -1)
    assert hint(catchlight, [face]) is None
    glare = cv2.rectangle(
        picture.copy(), (middle[0] - 14, middle[1] - 8), (middle[0] + 4, middle[1] + 4), (255, 255, 255), -1
    )
    assert hint(glare, [face]) is Hint.GLARE
    assert Hint.GLARE not in BLOCKING, "it may not go away, and must keep nobody from an avatar"


def test_dark_glasses(good: tuple[Picture, Points]) -> None:
    picture, face = good
    left, top, right, bottom = face_box(face)
    eyes = face[[33, 263], 1].mean()
    dark = picture.copy()
    reach = 0.17 * (bottom - top)
    dark[round(eyes - reach) : round(eyes + reach), round(left) : round(right)] = 12
    assert hint(dark, [face]) is Hint.SHADES
