"""Enrolment: photos or a clip of a person -> an avatar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.background import background_plate
from telepresence.avatar.choose import Look, choose, describe, least_useful, look_at, missing
from telepresence.avatar.flaws import FRONTAL, flaw, turn_degrees
from telepresence.avatar.framing import Square, choose_square
from telepresence.avatar.model import MAX_REFERENCES, MAX_SIDE, Avatar, Reference
from telepresence.avatar.photos import lying, usable_photos
from telepresence.avatar.scenes import MAX_CANDIDATES as MAX_CANDIDATES
from telepresence.avatar.scenes import clip_candidates
from telepresence.errors import FaceError, InputError, MediaError
from telepresence.face.identity import neutral_shape
from telepresence.face.matte import Matter, only_person
from telepresence.face.motion import to_square
from telepresence.media import clip_info, is_photo, read_frames

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]
Progress = Callable[[str], None]

REFERENCES: Final = 8
MAX_PHOTOS: Final = 64
PLATE_PICTURES: Final = 24
NEUTRAL_PICTURES: Final = 300
_TURNING: Final = {1: "transpose=2", 2: "hflip,vflip", 3: "transpose=1"}  # ffmpeg's filters, by quarter turns


@dataclass(frozen=True, slots=True, eq=False)
class Footage:
    """The pictures of a clip that show the person, in the avatar's framing: what fine-tuning learns from."""

    path: Path
    square: Square
    side: int
    """Pixels of a picture."""
    indices: tuple[int, ...]
    """Frames of the clip, in order of time."""
    landmarks: tuple[Floats, ...]
    """(478, 3) float32 each, pixels of the picture."""
    from_reference_s: Floats
    """(T, K) seconds from each picture to each reference; 0 for itself."""

    def pictures(self) -> list[Picture]:
        """Read them: (S, S, 3) uint8 each.

        Raises:
            MediaError: the clip can no longer be read.
        """
        found = _pictures(self.path, set(self.indices), self.square, self.side)
        return [found[index] for index in self.indices]


def enrol(sources: Sequence[Path], **options: Any) -> Avatar:
    """`enrol_with_footage` without the footage."""
    return enrol_with_footage(sources, **options)[0]


def enrol_with_footage(
    sources: Sequence[Path],
    *,
    name: str,
    references: int = REFERENCES,
    engine: str | None = None,
    free_for_all: bool = False,
    progress: Progress | None = None,
) -> tuple[Avatar, Footage | None]:
    """Make an avatar from photos of one person, or from one clip.

    Args:
        sources: paths of 1 to 64 photos, or of one clip.
        name: shown to others.
        references: how many pictures to keep at most, 1 to 32.
        engine: name of the engine that it is meant for; None leaves the choice to the receiver.
        free_for_all: mark it so that anyone may be shown as this avatar.
        progress: called with a line of text now and then, and with what is still missing at the end.

    Photos that cannot be used are left out as long as one is left; `progress` hears which, and why. docs/enrolment.md.

    Returns:
        The avatar, and of a clip what it was made from.

    Raises:
        MediaError: the clip, or the only photo, cannot be read.
        FaceError: no source shows a usable face.
        InputError: the sources do not go together.
    """
    say = progress or (lambda line: None)
    if not 1 <= references <= MAX_REFERENCES:
        raise InputError(f"{references} references asked for; an avatar has 1 to {MAX_REFERENCES}")
    photos = all_photos(sources)
    found = _from_photos(sources, references, say) if photos else _from_clip(sources[0], references, say)
    _advise(found, say)
    avatar = Avatar(
        name=name,
        references=found.references,
        neutral=found.neutral,
        background=found.background,
        free_for_all=free_for_all,
        engine=engine,
    )
    return avatar, found.footage


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    references: tuple[Reference, ...]
    looks: list[Look]
    neutral: Floats
    background: Picture
    replace: str | None = None
    """The photo that adds least, where no more than these are used."""
    footage: Footage | None = None


def all_photos(sources: Sequence[Path]) -> bool:
    """True for photos, False for one clip.

    Raises:
        MediaError: a path leads to no file, or the only one is neither.
        InputError: the sources do not go together.
    """
    if len(sources) == 1:
        return is_photo(sources[0])
    clips = [path.name for path in sources if not _maybe_photo(path)]
    if sources and len(sources) <= MAX_PHOTOS and not clips:
        return True
    raise InputError(
        f"enrol takes 1 to {MAX_PHOTOS} photos, or exactly one clip; not these {len(sources)} files"
        + (
            f", of which {', '.join(clips[:3])} {'is no photo' if len(clips) == 1 else 'are no photos'}"
            if clips
            else ""
        )
    )


def _maybe_photo(path: Path) -> bool:
    """Whether to try it as one of several photos: an empty file is left out later, a wrong path is told at once."""
    try:
        return is_photo(path)
    except MediaError:
        if not path.is_file():
            raise
        return True


def _advise(found: _Found, say: Progress) -> None:
    say("a hand or a mask before the face may go unnoticed: look at the avatar with telepresence render --avatar")
    lacking = missing(found.looks)
    if lacking:
        instead = f"; {found.replace} adds least, so replace it first" if found.replace else ""
        say(f"what the avatar has not seen it must invent; pictures would help that show {', '.join(lacking)}{instead}")


def _from_photos(paths: Sequence[Path], count: int, say: Progress) -> _Found:
    photos = usable_photos(paths, say)
    neutral = neutral_shape([to_square(p.landmarks, len(p.picture), len(p.picture)) for p in photos])
    looks = [look_at(photo.picture, photo.landmarks, neutral) for photo in photos]
    chosen = choose(looks, count)
    first = photos[chosen[0]]
    if first.turn > FRONTAL:
        say(
            f"{first.path.name}: turned away by {first.turn:.0f} degrees, and no photo is closer to the front; "
            "add one that looks into the camera"
        )
    with Matter() as matter:
        references = [_reference(photos[i].picture, photos[i].landmarks, matter) for i in chosen]
    plate = background_plate([references[0].picture], [references[0].matte])
    weakest = photos[least_useful(looks, chosen)].path.name if len(photos) >= count and len(photos) > 1 else None
    return _Found(tuple(references), [looks[i] for i in chosen], neutral, plate, weakest)


def _from_clip(path: Path, count: int, say: Progress) -> _Found:
    info = clip_info(path)
    candidates = clip_candidates(path, info, say)
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
    _check_clip(path, pictures[candidates[chosen[0]].index], placed[chosen[0]], say)
    with Matter() as matter:
        references = [_reference(pictures[candidates[i].index], placed[i], matter) for i in chosen]
        plates = [pictures[candidates[i].index] for i in for_plate]
        plate = background_plate(plates, [matter(picture) for picture in plates])
    apart = from_reference_s([c.seconds for c in candidates], chosen)
    footage = Footage(path, square, side, tuple(c.index for c in candidates), tuple(placed), apart)
    return _Found(tuple(references), [looks[i] for i in chosen], neutral, plate, footage=footage)


def from_reference_s(seconds: Sequence[float], references: Sequence[int]) -> Floats:
    """From pictures' times, (T, K) how long each is from each of those at the positions `references`."""
    times = np.asarray(seconds, np.float32)
    return np.abs(times[:, None] - times[None, list(references)])


def _check_clip(path: Path, picture: Picture, landmarks: Floats, say: Progress) -> None:
    """Judge a clip by its best picture: if that will not do, none will."""
    reason = flaw(picture, landmarks)
    if reason is not None:
        raise FaceError(f"{path}: even in its best picture {reason.replace('use one', 'use a clip')}")
    turns, _ = lying(picture, landmarks)
    if turns:
        raise FaceError(
            f"{path}: {'is upside down' if turns == 2 else 'lies on its side'}; turn it with: "
            f"ffmpeg -i {path.name} -vf {_TURNING[turns]} upright.mp4"
        )
    degrees = turn_degrees(picture, landmarks)
    if degrees > FRONTAL:
        say(f"{path.name}: the head is always turned away, by {degrees:.0f} degrees at least; look into the camera")


def _pictures(path: Path, wanted: set[int], square: Square, side: int) -> dict[int, Picture]:
    frames = enumerate(islice(read_frames(path), max(wanted) + 1))
    return {index: square.cut(frame.picture, side) for index, frame in frames if index in wanted}


def _reference(picture: Picture, landmarks: Floats, matter: Matter) -> Reference:
    return Reference(picture, landmarks, only_person(matter(picture), landmarks))
