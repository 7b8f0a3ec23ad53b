"""What makes a picture of a face useless as a reference, and what to do instead. docs/enrolment.md lists the bounds."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.choose import sharpness
from telepresence.face.basis import default_basis
from telepresence.face.landmarks import face_box
from telepresence.face.motion import fit_pose, rotation_matrix, to_square
from telepresence.face.topology import EYE_LEFT, EYE_RIGHT

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

MAX_TURN: Final = 45.0  # degrees off the camera: beyond it half the face is guessed by the landmark network
FRONTAL: Final = 30.0  # degrees: an avatar whose first reference is turned further will not look ahead well
MAX_OUTSIDE: Final = 0.12  # of the face's height or width beyond the picture's edge
DARK: Final = 40  # of 255: even the brightest parts of the face are darker (skin of any colour has highlights)
WHITE: Final = 250  # of 255: half of the face is brighter
MIN_DETAIL: Final = 0.0012  # sharpness over contrast squared; photos have 0.004 to 0.05, 1 % of the face's height in
# blur brings them below
SHADES: Final = 0.3  # of the cheeks' brightness: eyes and all around them are darker behind sunglasses
GREY: Final = 2.0  # of 255, mean distance of a face's channels from their mean: below it black and white
COLOUR: Final = 6.0


def flaw(picture: Picture, landmarks: Floats) -> str | None:
    """Why this picture (H, W, 3) of a face (478, 3) cannot be a reference, with what to use instead; None if it can."""
    face = face_part(picture, landmarks)
    if min(face.shape[:2]) < 8:
        return "the face is outside the picture; use one that shows the whole head"
    return (
        cut_off(picture, landmarks)
        or _turned(picture, landmarks)
        or _badly_lit(face)
        or _blurred(picture, face, landmarks)
        or _covered_eyes(picture, landmarks)
    )


def turn_degrees(picture: Picture, landmarks: Floats) -> float:
    """How far the head looks past the camera, degrees; tilting it to a shoulder does not count."""
    height, width = picture.shape[:2]
    pose = fit_pose(to_square(landmarks, width, height), default_basis().mean)
    return float(np.degrees(np.arccos(np.clip(rotation_matrix(pose.rotation)[2, 2], -1, 1))))


def face_part(picture: Picture, landmarks: Floats) -> Picture:
    """The face's box, as far as it is inside the picture."""
    left, top, right, bottom = (max(0, round(v)) for v in face_box(landmarks))
    return picture[top : bottom + 1, left : right + 1]


def colourfulness(picture: Picture, landmarks: Floats) -> float:
    """Mean distance of the face's channels from their mean, of 255: 0 for black and white."""
    face = face_part(picture, landmarks).astype(np.float32)
    return float(np.abs(face - face.mean(-1, keepdims=True)).mean())


def cut_off(picture: Picture, landmarks: Floats) -> str | None:
    """The flaw of a face that reaches beyond the picture's edge; None where it does not."""
    height, width = picture.shape[:2]
    left, top, right, bottom = face_box(landmarks)
    outside = {
        "left": -left / (right - left), "right": (right - width) / (right - left),
        "top": -top / (bottom - top), "bottom": (bottom - height) / (bottom - top),
    }  # fmt: skip
    edge = max(outside, key=lambda name: outside[name])
    if outside[edge] <= MAX_OUTSIDE:
        return None
    return f"the face is cut off at the {edge} edge; use one that shows the whole head and the shoulders"


def _turned(picture: Picture, landmarks: Floats) -> str | None:
    degrees = turn_degrees(picture, landmarks)
    if degrees <= MAX_TURN:
        return None
    return (
        f"the head is turned away by {degrees:.0f} degrees; use one where both eyes are seen, turned by at most "
        f"{MAX_TURN:.0f}"
    )


def _badly_lit(face: Picture) -> str | None:
    luma = face.mean(-1)
    if float(np.percentile(luma, 95)) < DARK:
        return "the face is too dark; use one taken in more light, with a window or a lamp in front of the person"
    if float(np.median(luma)) > WHITE:
        return "the face is overexposed to white; use one taken in softer light or with a shorter exposure"
    return None


def _blurred(picture: Picture, face: Picture, landmarks: Floats) -> str | None:
    low, high = np.percentile(face.mean(-1), [5, 95])
    detail = sharpness(picture, landmarks) / max(float(high - low), 1.0) ** 2
    return (
        "the face is blurred; use one that is in focus and where the head holds still" if detail < MIN_DETAIL else None
    )


def _covered_eyes(picture: Picture, landmarks: Floats) -> str | None:
    """Both eyes with their surroundings much darker than the cheeks: sunglasses. A shadow spares the lower rim."""
    import cv2

    luma = picture.mean(-1)
    cheek = float(np.median([_at(luma, landmarks[i]) for i in (50, 280, 205, 425)]))
    dark = []
    for eye in (EYE_RIGHT, EYE_LEFT):
        points = landmarks[list(eye), :2]
        grown = (points - points.mean(0)) * np.array([1.2, 2.6], np.float32) + points.mean(0)
        mask = np.zeros(luma.shape, np.uint8)
        cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(grown).astype(np.int32)), 1)
        inside = luma[mask > 0]
        dark.append(float(np.percentile(inside, 80)) if inside.size else cheek)
    if max(dark) >= SHADES * cheek:
        return None
    return "dark glasses, or something else dark, cover the eyes; use one where the eyes are seen"


def _at(luma: NDArray[np.float64], point: Floats) -> float:
    x, y = np.clip(np.rint(point[:2]).astype(int), 0, [luma.shape[1] - 1, luma.shape[0] - 1])
    return float(luma[y, x])
