"""The pictures of a guided enrolment, kept as they came; and the avatar that is made of them.

They are kept in memory alone, as JPEG, and never written to disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.background import background_plate
from telepresence.avatar.choose import Look, bright_mouth, choose, describe, missing, sharpness
from telepresence.avatar.enrol import NEUTRAL_PICTURES, REFERENCES, from_reference_s
from telepresence.avatar.flaws import flaw
from telepresence.avatar.framing import Square, choose_square
from telepresence.avatar.model import MAX_SIDE, Avatar, Reference
from telepresence.avatar.photos import OTHER_PERSON
from telepresence.enrolment.looking import Seen, decoded
from telepresence.enrolment.steps import Step
from telepresence.errors import FaceError
from telepresence.face.identity import difference, neutral_shape
from telepresence.face.matte import Matter, only_person
from telepresence.face.motion import to_square

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

MAX_KEPT: Final = 400  # pictures, as of a clip; 640x480 take some 30 MB
PLATE_PICTURES: Final = 12  # each costs a matte, while somebody waits
APART_US: Final = 60_000  # between two that are kept
FRONTAL: Final = (Step.REST, Step.SMILE, Step.OPEN, Step.BLINK, Step.SPEAK)  # steps in which one looks ahead
SHAPE_PICTURES: Final = 30
SHOWS: Final = 0.5  # of a step's progress: from here on a picture shows it
PER_STEP: Final = 14  # pictures that are chosen from
FEWEST: Final = 5  # pictures of a step that are enough to tell whose face it is


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """A picture that may become a reference."""

    jpeg: bytes
    at_us: int
    step: Step
    size: tuple[int, int]
    """Width and height, pixels."""
    landmarks: Floats
    """(478, 3), pixels."""
    sharp: float
    bright: float
    progress: float
    """How far the step had come, 0..1."""


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What fine-tuning learns from: the pictures in the avatar's framing, in order of time."""

    jpegs: tuple[bytes, ...]
    """As the camera gave them."""
    square: Square
    side: int
    landmarks: tuple[Floats, ...]
    """(478, 3) each, pixels of the square at that side."""
    from_reference_s: Floats
    """(T, K) seconds from each picture to each reference."""


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """An avatar, and what is to be said of it."""

    avatar: Avatar
    material: Material | None
    lacking: tuple[str, ...] = ()
    """What it has not seen and must invent."""


class Gathered:
    """The pictures so far. Belongs to one thread."""

    def __init__(self) -> None:
        self._kept: list[Kept] = []
        self._last_us: int | None = None

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the pictures; None: there are none."""
        return self._kept[0].size if self._kept else None

    def keep(self, jpeg: bytes, seen: Seen, step: Step, progress: float) -> None:
        """Keep a usable picture of a step; many of the same step are thinned out."""
        if seen.landmarks is None or (self._last_us is not None and seen.at_us - self._last_us < APART_US):
            return
        self._last_us = seen.at_us
        height, width = seen.picture.shape[:2]
        sharp, bright = sharpness(seen.picture, seen.landmarks), bright_mouth(seen.picture, seen.landmarks)
        self._kept.append(Kept(jpeg, seen.at_us, step, (width, height), seen.landmarks, sharp, bright, progress))
        if len(self._kept) > MAX_KEPT:
            most = Counter(one.step for one in self._kept).most_common(1)[0][0]
            of_it = [one for one in self._kept if one.step is most]
            dropped = {id(one) for one in of_it[1::2]}
            self._kept = [one for one in self._kept if id(one) not in dropped]

    def drop(self, step: Step) -> None:
        """Forget the pictures of a step, which is taken anew."""
        self._kept = [one for one in self._kept if one.step is not step]

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()

    def counts(self) -> dict[Step, int]:
        """How many there are of each step."""
        return dict(Counter(one.step for one in self._kept))

    def make(self, name: str, matter: Matter) -> Made:
        """Make the avatar; takes about a second.

        Raises:
            FaceError: somebody else is in some of the pictures, or even the best of them cannot be used.
        """
        kept = sorted(self._kept, key=lambda one: one.at_us)
        if len(kept) < FEWEST:
            raise FaceError("the camera gave hardly any picture; begin again, nearer to the lamp and the camera")
        _one_person(kept)
        width, height = kept[0].size
        square = choose_square(width, height, [one.landmarks for one in kept], "the camera's picture")
        side = min(MAX_SIDE, square.side)
        placed = [square.landmarks(one.landmarks, side) for one in kept]
        stride = -(-len(placed) // NEUTRAL_PICTURES)
        neutral = neutral_shape([to_square(points, side, side) for points in placed[::stride]])
        looks = [describe(p, neutral, side, side, o.sharp, o.bright) for p, o in zip(placed, kept, strict=True)]
        chosen = _chosen(kept, looks)
        return _made(name, kept, placed, square, side, neutral, looks, chosen, matter)


def _made(
    name: str, kept: Sequence[Kept], placed: Sequence[Floats], square: Square, side: int, neutral: Floats,
    looks: Sequence[Look], chosen: Sequence[int], matter: Matter,
) -> Made:  # fmt: skip
    for_plate = [int(i) for i in np.linspace(0, len(kept) - 1, min(PLATE_PICTURES, len(kept)))]
    pictures = {i: square.cut(decoded(kept[i].jpeg), side) for i in {*chosen, *for_plate}}
    reason = flaw(pictures[chosen[0]], placed[chosen[0]])
    if reason is not None:
        raise FaceError(f"even in the best picture {reason}")
    mattes = {i: matter(picture) for i, picture in pictures.items()}
    references = [Reference(pictures[i], placed[i], only_person(mattes[i], placed[i])) for i in chosen]
    plate = background_plate([pictures[i] for i in for_plate], [mattes[i] for i in for_plate])
    apart = from_reference_s([one.at_us / 1e6 for one in kept], chosen)
    material = Material(tuple(one.jpeg for one in kept), square, side, tuple(placed), apart)
    avatar = Avatar(name=name, references=tuple(references), neutral=neutral, background=plate)
    turned = {one.step for one in kept if one.progress >= SHOWS} >= {Step.LEFT, Step.RIGHT}
    lacking = [what for what in missing([looks[i] for i in chosen]) if not (turned and what.startswith("the head"))]
    return Made(avatar, material, tuple(lacking))


def _chosen(kept: Sequence[Kept], looks: Sequence[Look]) -> list[int]:
    """Which pictures become references: of each step some that show it.

    Most pictures show a face at rest. A head that is turned fits worse than those, and a mouth that moves is less
    sharp: each is compared with its own step alone.
    """
    some: list[int] = []
    even: list[Look] = []
    for step in Step:
        of_it = [i for i, one in enumerate(kept) if one.step is step and (step is Step.REST or one.progress >= SHOWS)]
        of_it = of_it[:: max(1, -(-len(of_it) // PER_STEP))]
        if not of_it:
            continue
        misfit = max(1e-6, float(np.median([looks[i].misfit for i in of_it])))
        sharp = max(1e-6, float(np.median([looks[i].sharpness for i in of_it])))
        some += of_it
        own = [looks[i] for i in of_it]
        even += [replace(look, misfit=look.misfit / misfit, sharpness=look.sharpness / sharp) for look in own]
    return [some[i] for i in choose(even, REFERENCES)]


def _one_person(kept: Sequence[Kept]) -> None:
    """Refuse pictures of two people: whoever is in the middle of it must not change.

    Raises:
        FaceError: the message names the step.
    """
    by_step = {step: [one for one in kept if one.step is step][:: _stride(kept, step)] for step in FRONTAL}
    shapes = {
        step: neutral_shape([to_square(one.landmarks, *one.size) for one in some])
        for step, some in by_step.items()
        if len(some) >= FEWEST
    }
    first = shapes.get(Step.REST)
    for step, shape in shapes.items():
        if first is not None and difference(first, shape) > OTHER_PERSON:
            raise FaceError(f"somebody else seems to be in the pictures of one step: {step.value}; take it again")


def _stride(kept: Sequence[Kept], step: Step) -> int:
    return max(1, -(-sum(one.step is step for one in kept) // SHAPE_PICTURES))
