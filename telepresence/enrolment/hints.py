"""What is wrong with the picture before it is an avatar's: light, distance, blur, glare, and who is in it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.choose import sharpness
from telepresence.avatar.flaws import MIN_DETAIL, WHITE, covered_eyes, face_part
from telepresence.face.landmarks import face_area, face_box
from telepresence.face.topology import EYE_LEFT, EYE_RIGHT

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

DARK: Final = 60  # of 255, 95th percentile of the face: enrolment of photos refuses only under 40
FAR: Final = 0.27  # of the picture's shorter side: a smaller face makes a coarse avatar
NEAR: Final = 0.8
EDGE: Final = 0.02  # of the face beyond the picture's edge
ASIDE: Final = 0.24  # of the shorter side, from the middle to the face's
GLARE: Final = 248  # of 255
GLARE_PART: Final = 0.045  # of an eye and what is around it; the light that every eye reflects is far smaller
OTHER: Final = 0.3  # of one's own face's area: a smaller one is a poster, or far behind


class Hint(StrEnum):
    """What to tell the person, the most important first."""

    NOBODY = "nobody"
    TWO = "two"
    DARK = "dark"
    BRIGHT = "bright"
    FAR = "far"
    NEAR = "near"
    CUT = "cut"
    SHADES = "shades"
    BLURRED = "blurred"
    ASIDE = "aside"
    GLARE = "glare"


BLOCKING: Final = frozenset({Hint.NOBODY, Hint.TWO, Hint.DARK, Hint.BRIGHT, Hint.FAR, Hint.NEAR, Hint.CUT, Hint.SHADES})
"""No picture counts while one of these is so; of the others it is only told."""


def hint(picture: Picture, faces: list[Floats]) -> Hint | None:
    """The most important thing that is wrong with a picture (H, W, 3); None: nothing.

    Args:
        picture: as the camera sees it.
        faces: landmarks (478, 3) of those in it, pixels; the one who enrols first.
    """
    if not faces:
        return Hint.NOBODY
    face = faces[0]
    if any(face_area(other) >= OTHER * face_area(face) for other in faces[1:]):
        return Hint.TWO
    return _light(picture, face) or _place(picture, face) or _detail(picture, face)


def _light(picture: Picture, face: Floats) -> Hint | None:
    part = face_part(picture, face)[::2, ::2]
    if min(part.shape[:2]) < 4:
        return Hint.CUT
    luma = part.mean(-1)
    if float(np.percentile(luma, 95)) < DARK:
        return Hint.DARK
    return Hint.BRIGHT if float(np.median(luma)) > WHITE else None


def _place(picture: Picture, face: Floats) -> Hint | None:
    height, width = picture.shape[:2]
    side = min(width, height)
    left, top, right, bottom = face_box(face)
    if bottom - top < FAR * side:
        return Hint.FAR
    if bottom - top > NEAR * side:
        return Hint.NEAR
    beyond = max(-left, right - width, -top, bottom - height)
    return Hint.CUT if beyond > EDGE * (bottom - top) else None


def _detail(picture: Picture, face: Floats) -> Hint | None:
    if covered_eyes(picture, face) is not None:
        return Hint.SHADES
    luma = face_part(picture, face)[::2, ::2].mean(-1)
    low, high = np.percentile(luma, [5, 95])
    if sharpness(picture, face) < MIN_DETAIL * max(float(high - low), 1.0) ** 2:
        return Hint.BLURRED
    height, width = picture.shape[:2]
    left, top, right, bottom = face_box(face)
    off = max(abs(left + right - width), abs(top + bottom - height)) / 2
    if off > ASIDE * min(width, height):
        return Hint.ASIDE
    return Hint.GLARE if max(_glare(picture, face, eye) for eye in (EYE_RIGHT, EYE_LEFT)) > GLARE_PART else None


def _glare(picture: Picture, face: Floats, eye: tuple[int, ...]) -> float:
    """Which part of an eye and its surroundings is white: light in a pair of glasses."""
    points = face[list(eye), :2]
    reach = np.array([0.25, 1.0], np.float32) * np.ptp(points, 0)
    low = np.clip(np.floor(points.min(0) - reach), 0, None).astype(int)
    high = np.ceil(points.max(0) + reach).astype(int)
    part = picture[low[1] : high[1], low[0] : high[0]]
    return float((part.min(-1) >= GLARE).mean()) if part.size else 0.0
