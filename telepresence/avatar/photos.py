"""Photos given for enrolment: each is read, its face found and judged; the unusable ones are left out, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.choose import describe
from telepresence.avatar.flaws import COLOUR, GREY, colourfulness, flaw, touches_edge, turn_degrees
from telepresence.avatar.framing import MIN_FACE_PX, choose_square
from telepresence.avatar.model import MAX_SIDE
from telepresence.errors import FaceError, InputError
from telepresence.face.basis import default_basis
from telepresence.face.identity import difference, neutral_shape
from telepresence.face.landmarks import LandmarkTracker, detect_faces, face_area, same_face
from telepresence.face.motion import fit_pose, to_square
from telepresence.media import read_photo

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]
Progress = Callable[[str], None]

CLEARLY_LARGER: Final = 2.0  # areas: the largest face is meant when it is this much larger than the next
LARGE: Final = 2560  # pixels of the longer side; more is scaled down before anything else
CLOSE_PARTS: Final = (4, 8)  # a picture without a face is searched in parts of a quarter of its size, then an eighth
LYING: Final = 60.0  # degrees of roll: nobody tilts the head so far, the photo lies on its side
STRANGE: Final = 0.035  # canonical units: a face so unlike the mean, or so ill fitting, may be an inverted one
CLEARLY_LESS: Final = 0.8  # 27 portraits: turned upright, the strangeness of an inverted one falls below 0.7 of itself

# Of `difference`, against the mean shape of the others. Tried on frames of 64 people, one of somebody else among three
# of a person: 47 % left out, 26 % named as doubtful, 27 % not noticed; 0.7 % of the person's own wrongly left out.
OTHER_PERSON: Final = 0.021
DOUBTFUL: Final = 0.016
TURNED_SHAPE: Final = 25.0  # degrees: the shape of a head turned further is too rough to call it somebody else's


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A usable photo, cut to the avatar's framing."""

    path: Path
    picture: Picture
    """(S, S, 3) uint8."""
    landmarks: Floats
    """(478, 3), pixels of `picture`."""
    neutral: Floats
    """(478, 3), the neutral shape that this photo alone suggests."""
    turn: float
    """Degrees past the camera."""
    colour: float
    """`colourfulness` of the face."""


def usable_photos(paths: Sequence[Path], say: Progress) -> list[Photo]:
    """Read photos of one person and leave out what cannot be used, telling which and why.

    Raises:
        MediaError: the only photo cannot be read.
        FaceError: no photo is usable; the message gives the reason for each.
    """
    good: list[Photo] = []
    problems: list[InputError] = []
    for path in paths:
        try:
            good.append(read(path, say))
            say(f"{path.name}: face found")
        except InputError as error:
            problems.append(error)
    if not good:
        raise problems[0] if len(problems) == 1 else FaceError("no usable photo:\n" + "\n".join(map(str, problems)))
    for problem in problems:
        say(f"left out: {problem}")
    return one_person(_one_colouring(good, say), say)


def read(path: Path, say: Progress) -> Photo:
    """Read one photo, find the face that it is of, and cut it to the avatar's framing.

    Raises:
        MediaError: it cannot be read.
        FaceError: no face, several alike, too small, or a picture that `flaws` refuses.
    """
    photo = _not_too_large(read_photo(path))
    turns, face = upright(photo, str(path))
    if turns:
        photo = np.ascontiguousarray(np.rot90(photo, turns))
        say(f"{path.name}: was {'upside down' if turns == 2 else 'lying on its side'}; read as turned upright")
    square = choose_square(photo.shape[1], photo.shape[0], [face], str(path))
    reason = flaw(photo, face)
    if reason is not None:
        raise FaceError(f"{path}: {reason}")
    lacking = touches_edge(photo, face)
    if lacking is not None:
        say(f"{path.name}: {lacking}")
    side = min(MAX_SIDE, square.side)
    picture, landmarks = square.cut(photo, side), square.landmarks(face, side)
    neutral = neutral_shape([to_square(landmarks, side, side)])
    return Photo(path, picture, landmarks, neutral, turn_degrees(photo, face), colourfulness(photo, face))


def the_one(faces: Sequence[Floats], where: str) -> Floats:
    """Landmarks (478, 3) of the one face that a picture is of, among those found in it, largest first.

    Raises:
        FaceError: there is none, or two are about the same size.
    """
    if not faces:
        raise FaceError(
            f"{where}: no face found; use a picture that shows one whole face from the front, well lit and not covered"
        )
    if len(faces) > 1 and face_area(faces[0]) < CLEARLY_LARGER * face_area(faces[1]):
        raise FaceError(
            f"{where}: {len(faces)} faces of about the same size; crop it so that only the person to enrol is left"
        )
    return faces[0]


def upright(photo: Picture, where: str) -> tuple[int, Floats]:
    """Quarter turns counter-clockwise that set a photo upright, 0 for nearly all, and the face in it once turned.

    Raises:
        FaceError: as `the_one`, whichever way it is turned.
    """
    faces = detect_faces(photo)
    if not faces:
        return _hidden(photo, where)
    turns, faces = lying(photo, the_one(faces, where))
    return turns, the_one(faces, where)


def lying(photo: Picture, face: Floats) -> tuple[int, list[Floats]]:
    """Quarter turns counter-clockwise that set a picture of a face upright, 0 for nearly all; the faces in it then."""
    roll, strangeness = _roll_and_strangeness(photo, face)
    if abs(roll) <= LYING and strangeness <= STRANGE:
        return 0, [face]
    # Positive roll is clockwise on the picture; over an inverted face the network may draw an upright, strange one.
    turns = 2 if not LYING < abs(roll) < 180 - LYING else 1 if roll > 0 else 3
    turned = _plausible(photo, turns, 2 * STRANGE if abs(roll) > LYING else CLEARLY_LESS * strangeness)
    return (turns, turned) if turned else (0, [face])


def _hidden(photo: Picture, where: str) -> tuple[int, Floats]:
    """`upright` of a photo in which no face is seen as it is: it may be a small one, or lie."""
    close = _search_closely(photo)
    if close:
        return 0, the_one(close, where)
    for turns in (1, 3, 2):
        turned = _plausible(photo, turns, STRANGE)
        if turned:
            return turns, the_one(turned, where)
    return 0, the_one((), where)


def _plausible(photo: Picture, turns: int, limit: float) -> list[Floats]:
    """The faces in a turned photo, if the largest is upright there and no stranger than `limit`; else none."""
    turned = np.ascontiguousarray(np.rot90(photo, turns))
    faces = detect_faces(turned)
    if not faces:
        return []
    roll, strangeness = _roll_and_strangeness(turned, faces[0])
    return faces if abs(roll) < LYING and strangeness < limit else []


def _roll_and_strangeness(photo: Picture, face: Floats) -> tuple[float, float]:
    """Degrees; and how far the face is from the mean one, plus how ill its bones fit its own neutral shape."""
    height, width = photo.shape[:2]
    points, mean = to_square(face, width, height), default_basis().mean
    neutral = neutral_shape([points])
    misfit = describe(face, neutral, width, height, 0.0, 0.0).misfit
    return float(np.degrees(fit_pose(points, mean).rotation[2])), difference(neutral, mean) + misfit


def _search_closely(photo: Picture) -> list[Floats]:
    """Faces in overlapping parts of a quarter of the picture's size, or else of an eighth; largest first."""
    height, width = photo.shape[:2]
    for parts in CLOSE_PARTS:
        high, wide = -(-height // parts), -(-width // parts)
        if min(high, wide) < 2 * MIN_FACE_PX:
            break  # a face in there is too small to be of use
        found: list[Floats] = []
        with LandmarkTracker(still=True) as tracker:
            for top in range(0, height - high + 1, high // 2):
                for left in range(0, width - wide + 1, wide // 2):
                    part = photo[top : top + high, left : left + wide]
                    if tracker(part) is not None:
                        found += [face + np.array([left, top, 0], np.float32) for face in detect_faces(part)]
        if found:
            return _distinct(found)
    return []


def _distinct(faces: Sequence[Floats]) -> list[Floats]:
    """Largest first; of those that lie in each other, as one face found in two parts does, the largest."""
    kept: list[Floats] = []
    for face in sorted(faces, key=face_area, reverse=True):
        if not any(same_face(face, other) for other in kept):
            kept.append(face)
    return kept


def _not_too_large(photo: Picture) -> Picture:
    import cv2

    scale = LARGE / max(photo.shape[:2])
    if scale >= 1:
        return photo
    size = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)


def _one_colouring(photos: list[Photo], say: Progress) -> list[Photo]:
    """Leave out black-and-white photos among coloured ones, or the other way round: the avatar would flicker."""
    grey = [photo for photo in photos if photo.colour < GREY]
    coloured = [photo for photo in photos if photo.colour > COLOUR]
    few, what = (grey, "black and white") if len(grey) <= len(coloured) else (coloured, "in colour")
    if not grey or not coloured:
        return photos
    for photo in few:
        say(f"left out: {photo.path}: {what}, unlike the others; replace it with one like them")
    return [photo for photo in photos if photo not in few]


def one_person(photos: list[Photo], say: Progress) -> list[Photo]:
    """Leave out photos of somebody else than most are of; of two alike in number, whoever was given first counts."""
    shapes = [photo.neutral for photo in photos]
    alike = np.array([[difference(one, other) < DOUBTFUL for other in shapes] for one in shapes])
    group = np.flatnonzero(alike[int(alike.sum(1).argmax())])
    kept = []
    for index, photo in enumerate(photos):
        rest = [shapes[i] for i in group if i != index] or [shapes[int(group[0])]]
        apart = difference(photo.neutral, np.mean(rest, 0).astype(np.float32))
        others = ", ".join(photos[i].path.name for i in group[:3] if i != index)
        if index in group or apart < DOUBTFUL:
            kept.append(photo)
        elif apart < OTHER_PERSON or photo.turn > TURNED_SHAPE:
            say(f"{photo.path}: may be somebody else than in {others}; look at it, and replace it if so")
            kept.append(photo)
        else:
            say(f"left out: {photo.path}: looks like somebody else than in {others}; replace it with one of the same "
                "person, seen from about the same distance")  # fmt: skip
    return kept
