"""What makes a picture of a face useless as a reference, and what to do instead. docs/enrolment.md lists the bounds."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.choose import sharpness
from telepresence.face.basis import default_basis
from telepresence.face.landmarks import face_box
from telepresence.face.motion import fit_pose, rotation_matrix, to_square
from telepresence.face.topology import EYE_LEFT, EYE_RIGHT, LIPS_OUTER

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

MAX_TURN: Final = 45.0  # degrees off the camera: beyond it half the face is guessed by the landmark network
FRONTAL: Final = 30.0  # degrees: an avatar whose first reference is turned further will not look ahead well
MAX_OUTSIDE: Final = 0.12  # of the face's height or width beyond the picture's edge
SOME_OUTSIDE: Final = 0.02  # from here on it is said
DARK: Final = 40  # of 255: even the brightest parts of the face are darker (skin of any colour has highlights)
WHITE: Final = 250  # of 255: half of the face is brighter
MIN_DETAIL: Final = 0.0012  # sharpness over contrast squared; photos have 0.004 to 0.05, 1 % of the face's height in
# blur brings them below
SHADES: Final = 0.3  # of the cheeks' brightness: eyes and all around them are darker behind sunglasses
# Of 100. 33 portraits and 328 frames of 82 clips, bearded ones too, have 13 to 92 and 1.7 to 40; of 330 such portraits
# with a plain or grainy slab of five colours over the mouth all but one have under 6 and under 1.2.
PLAIN: Final = 8.0  # within the lips
SEAMLESS: Final = 1.5  # from the lips to around them, in Lab
LIPS_FACE_PX: Final = 192  # height at which a face is judged
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
        or covered_eyes(picture, landmarks)
        or _covered_mouth(picture, landmarks)
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
    edge, share = _outside(picture, landmarks)
    if share <= MAX_OUTSIDE:
        return None
    return f"the face is cut off at the {edge} edge; use one that shows the whole head and the shoulders"


def touches_edge(picture: Picture, landmarks: Floats) -> str | None:
    """What an avatar of a face that just reaches beyond the picture's edge lacks; None where it does not."""
    edge, share = _outside(picture, landmarks)
    if share <= SOME_OUTSIDE:
        return None
    return f"the face reaches beyond the {edge} edge, and what is out there the avatar lacks; show the whole head"


def _outside(picture: Picture, landmarks: Floats) -> tuple[str, float]:
    """Beyond which edge most of the face is, and how much: of its height or width."""
    height, width = picture.shape[:2]
    left, top, right, bottom = face_box(landmarks)
    outside = {
        "left": -left / (right - left), "right": (right - width) / (right - left),
        "top": -top / (bottom - top), "bottom": (bottom - height) / (bottom - top),
    }  # fmt: skip
    edge = max(outside, key=lambda name: outside[name])
    return edge, outside[edge]


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


def covered_eyes(picture: Picture, landmarks: Floats) -> str | None:
    """The flaw of eyes that are, with what is around them, much darker than the cheeks: sunglasses; None of others.

    A shadow spares the lower rim.
    """
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


def _covered_mouth(picture: Picture, landmarks: Floats) -> str | None:
    """Where the lips should be is nothing but what is around them. A beard has lips in it."""
    import cv2

    _, top, _, bottom = face_box(landmarks)
    scale = LIPS_FACE_PX / (bottom - top)
    shrinks = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=shrinks)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    outline = landmarks[list(LIPS_OUTER), :2] * scale
    lips, near, far = (_hull(small, outline, *grown) for grown in ((1.0, 1.0), (1.1, 1.25), (1.25, 1.7)))
    around = far & ~near
    if not (lips.any() and around.any()):
        return None
    low, high = np.percentile(lab[lips][:, 0], [5, 95])
    apart = float(np.linalg.norm(np.median(lab[lips], 0) - np.median(lab[around], 0)))
    if high - low >= PLAIN or apart >= SEAMLESS:
        return None
    return "something plain covers the mouth; use one where the whole face is seen"


def _hull(picture: Picture, points: Floats, wide: float, high: float) -> NDArray[np.bool_]:
    """What lies within points, (H, W), when they are stretched about their middle."""
    import cv2

    middle = points.mean(0)
    grown = np.rint((points - middle) * np.array([wide, high], np.float32) + middle).astype(np.int32)
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(grown), 1)
    return np.asarray(mask > 0)


def _at(luma: NDArray[np.float64], point: Floats) -> float:
    x, y = np.clip(np.rint(point[:2]).astype(int), 0, [luma.shape[1] - 1, luma.shape[0] - 1])
    return float(luma[y, x])
