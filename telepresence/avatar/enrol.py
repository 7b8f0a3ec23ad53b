"""Enrolment: photos or a clip of a person -> an avatar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.background import background_plate
from telepresence.avatar.choose import Look, bright_mouth, choose, describe, look_at, missing, sharpness
from telepresence.avatar.framing import Square, choose_square
from telepresence.avatar.model import MAX_REFERENCES, MAX_SIDE, Avatar, Reference
from telepresence.errors import FaceError, InputError
from telepresence.face.identity import neutral_shape
from telepresence.face.landmarks import LandmarkTracker, detect_faces, face_area
from telepresence.face.matte import Matter, only_person
from telepresence.face.motion import to_square
from telepresence.media import ClipInfo, clip_info, ended_early, is_photo, read_frames, read_photo

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]
Progress = Callable[[str], None]

REFERENCES: Final = 8
CLEARLY_LARGER: Final = 2.0  # areas: the largest face is meant when it is this much larger than the next
MAX_PHOTOS: Final = 64
MAX_CANDIDATES: Final = 400  # pictures of a clip that are looked at, evenly over its first MAX_FRAMES
MAX_FRAMES: Final = 7200  # four minutes at 30 fps; the rest of a longer clip is not read
MIN_CANDIDATES: Final = 5  # a face seen less often than this in a clip was hardly in it
PLATE_PICTURES: Final = 24
NEUTRAL_PICTURES: Final = 300


def enrol(
    sources: Sequence[Path],
    *,
    name: str,
    references: int = REFERENCES,
    engine: str | None = None,
    free_for_all: bool = False,
    progress: Progress | None = None,
) -> Avatar:
    """Make an avatar from photos of one person, or from one clip.

    Args:
        sources: paths of 1 to 64 photos, or of one clip.
        name: shown to others.
        references: how many pictures to keep at most, 1 to 32.
        engine: name of the engine that it is meant for; None leaves the choice to the receiver.
        free_for_all: mark it so that anyone may be shown as this avatar.
        progress: called with a line of text now and then, and with what is still missing at the end.

    Raises:
        MediaError: a source cannot be read.
        FaceError: a source shows no face, no clearly largest face, or too small a face.
        InputError: the sources do not go together.
    """
    say = progress or (lambda line: None)
    if not 1 <= references <= MAX_REFERENCES:
        raise InputError(f"{references} references asked for; an avatar has 1 to {MAX_REFERENCES}")
    photos = [is_photo(path) for path in sources]
    if not sources or len(sources) > MAX_PHOTOS or (len(sources) > 1 and not all(photos)):
        raise InputError(f"enrol takes 1 to {MAX_PHOTOS} photos, or exactly one clip; not these {len(sources)} files")
    found = _from_photos(sources, references, say) if photos[0] else _from_clip(sources[0], references, say)
    lacking = missing(found.looks)
    if lacking:
        say("what the avatar has not seen it must invent; pictures would help that show " + ", ".join(lacking))
    return Avatar(
        name=name,
        references=found.references,
        neutral=found.neutral,
        background=found.background,
        free_for_all=free_for_all,
        engine=engine,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    references: tuple[Reference, ...]
    looks: list[Look]
    neutral: Floats
    background: Picture


def _from_photos(paths: Sequence[Path], count: int, say: Progress) -> _Found:
    pictures: list[Picture] = []
    landmarks: list[Floats] = []
    for path in paths:
        photo = read_photo(path)
        face = the_face(photo, str(path))
        square = choose_square(photo.shape[1], photo.shape[0], [face], str(path))
        side = min(MAX_SIDE, square.side)
        pictures.append(square.cut(photo, side))
        landmarks.append(square.landmarks(face, side))
        say(f"{path.name}: face found")
    neutral = neutral_shape([to_square(p, len(i), len(i)) for p, i in zip(landmarks, pictures, strict=True)])
    looks = [look_at(i, p, neutral) for i, p in zip(pictures, landmarks, strict=True)]
    chosen = choose(looks, count)
    with Matter() as matter:
        references = [_reference(pictures[i], landmarks[i], matter) for i in chosen]
    plate = background_plate([references[0].picture], [references[0].matte])
    return _Found(tuple(references), [looks[i] for i in chosen], neutral, plate)


def the_face(photo: Picture, where: str) -> Floats:
    """Landmarks (478, 3) of the one face that a photo is of.

    Raises:
        FaceError: there is none, or two are about the same size.
    """
    faces = detect_faces(photo)
    if not faces:
        raise FaceError(
            f"{where}: no face found; use a picture that shows one face from the front, well lit and not covered"
        )
    if len(faces) > 1 and face_area(faces[0]) < CLEARLY_LARGER * face_area(faces[1]):
        raise FaceError(
            f"{where}: {len(faces)} faces of about the same size; crop it so that only the person to enrol is left"
        )
    return faces[0]


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    index: int
    landmarks: Floats
    sharp: float
    bright: float


def _from_clip(path: Path, count: int, say: Progress) -> _Found:
    info = clip_info(path)
    candidates = _candidates(path, info, say)
    if len(candidates) < MIN_CANDIDATES:
        raise FaceError(
            f"{path}: a face was found in only {len(candidates)} pictures; use a clip of a few seconds that shows one "
            "face from the front, well lit and not covered"
        )
    say(f"{path.name}: {len(candidates)} pictures with a face")
    size = (info.width, info.height)
    square = choose_square(*size, [c.landmarks for c in candidates], str(path))
    side = min(MAX_SIDE, square.side)
    # In the square's own coordinates, which are the picture's from here on.
    placed = [square.landmarks(c.landmarks, side) for c in candidates]
    stride = -(-len(placed) // NEUTRAL_PICTURES)
    neutral = neutral_shape([to_square(points, side, side) for points in placed[::stride]])
    looks = [describe(p, neutral, side, side, c.sharp, c.bright) for p, c in zip(placed, candidates, strict=True)]
    chosen = choose(looks, count)
    for_plate = [int(i) for i in np.linspace(0, len(candidates) - 1, min(PLATE_PICTURES, len(candidates)))]
    wanted = {candidates[i].index for i in (*chosen, *for_plate)}
    pictures = _pictures(path, wanted, square, side)
    with Matter() as matter:
        references = [_reference(pictures[candidates[i].index], placed[i], matter) for i in chosen]
        plates = [pictures[candidates[i].index] for i in for_plate]
        plate = background_plate(plates, [matter(picture) for picture in plates])
    return _Found(tuple(references), [looks[i] for i in chosen], neutral, plate)


def _candidates(path: Path, info: ClipInfo, say: Progress) -> list[_Candidate]:
    """Landmarks of evenly chosen pictures, measured at once so that no picture is kept."""
    stride = -(-min(info.frames or MAX_FRAMES // 4, MAX_FRAMES) // MAX_CANDIDATES)
    candidates: list[_Candidate] = []
    index, end_us = -1, 0.0
    with LandmarkTracker() as tracker:
        for index, frame in enumerate(islice(read_frames(path), MAX_FRAMES)):
            end_us = frame.time_us + 1e6 / info.fps
            if index % stride or frame.picture.shape[:2] != (info.height, info.width):
                continue  # a stream may change its size midway; one framing holds for all references
            landmarks = tracker(frame.picture)
            if landmarks is None:
                continue
            if not candidates:
                the_face(frame.picture, f"{path}, picture {index}")
            sharp, bright = sharpness(frame.picture, landmarks), bright_mouth(frame.picture, landmarks)
            candidates.append(_Candidate(index, landmarks, sharp, bright))
    early = ended_early(path, info, index + 1, end_us / 1e6)
    if early and index + 1 < MAX_FRAMES:
        say(early)
    return candidates


def _pictures(path: Path, wanted: set[int], square: Square, side: int) -> dict[int, Picture]:
    frames = enumerate(islice(read_frames(path), max(wanted) + 1))
    return {index: square.cut(frame.picture, side) for index, frame in frames if index in wanted}


def _reference(picture: Picture, landmarks: Floats, matter: Matter) -> Reference:
    return Reference(picture, landmarks, only_person(matter(picture), landmarks))
