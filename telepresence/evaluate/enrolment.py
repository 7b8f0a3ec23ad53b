"""An avatar from part of a clip, with the product's own choice of references. `avatar.enrol` takes whole files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from telepresence.avatar.background import background_plate
from telepresence.avatar.choose import Look, bright_mouth, choose, describe, sharpness
from telepresence.avatar.enrol import MAX_CANDIDATES, NEUTRAL_PICTURES, PLATE_PICTURES
from telepresence.avatar.model import Avatar, Reference
from telepresence.evaluate.clips import Footage
from telepresence.face.identity import neutral_shape
from telepresence.face.matte import Matter, only_person


class Enrolment:
    """Candidates of one clip, looked at once; avatars of any number of references come from them."""

    def __init__(self, footage: Footage, candidates: Sequence[int], matter: Matter) -> None:
        """Look at the candidates, frames with a face."""
        self._footage, self._matter = footage, matter
        self._candidates = list(candidates[:: -(-len(candidates) // MAX_CANDIDATES)])
        stride = -(-len(self._candidates) // NEUTRAL_PICTURES)
        self.neutral = neutral_shape([footage.points[i] for i in self._candidates[::stride]])
        self._looks = self._look()

    def avatar(self, count: int) -> tuple[Avatar, list[int]]:
        """An avatar with up to `count` references, and their frames; fewer where more would add nothing."""
        frames = [self._candidates[i] for i in choose(self._looks, count)]
        # One reference stands for one photo: its plate knows no other picture either.
        spread = np.linspace(0, len(self._candidates) - 1, min(PLATE_PICTURES, len(self._candidates)))
        plate_frames = frames if count == 1 else [self._candidates[int(i)] for i in spread]
        side = self._footage.reference_side
        pictures = dict(self._footage.pictures(sorted({*frames, *plate_frames}), side))
        mattes = {i: self._matter(pictures[i]) for i in pictures}
        references = []
        for i in frames:
            landmarks = self._footage.landmarks(i, side)
            references.append(Reference(pictures[i], landmarks, only_person(mattes[i], landmarks)))
        if count == 1:
            plate = background_plate([references[0].picture], [references[0].matte])
        else:
            plate = background_plate([pictures[i] for i in plate_frames], [mattes[i] for i in plate_frames])
        return Avatar(self._footage.clip.name, tuple(references), self.neutral, plate), frames

    def _look(self) -> list[Look]:
        side, looks = self._footage.reference_side, []
        if len(self._candidates) == 1:  # nothing to choose from: what it looks like does not matter
            landmarks = self._footage.landmarks(self._candidates[0], side)
            return [describe(landmarks, self.neutral, side, side, 1.0, 0.0)]
        for i, picture in self._footage.pictures(self._candidates, side):
            landmarks = self._footage.landmarks(i, side)
            sharp, bright = sharpness(picture, landmarks), bright_mouth(picture, landmarks)
            looks.append(describe(landmarks, self.neutral, side, side, sharp, bright))
        return looks
