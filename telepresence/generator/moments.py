"""Moments of a person's video, and what fine-tuning draws them from: which references, and where everything lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from telepresence.face.matte import Matter
from telepresence.face.motion import to_square
from telepresence.generator.batches import weights
from telepresence.generator.live import USED, Drawn, drawn_from
from telepresence.generator.placing import Choice, Placing
from telepresence.runtime.engine import resized

SIDE: Final = 256
NEAREST: Final = 3  # of a moment, that teach it: further ones have other things to say

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Moment:
    """One picture of the video, made ready; S is SIDE."""

    picture: Tensor
    """[3, S, S] uint8."""
    matte: Tensor
    """[1, S, S] uint8."""
    weight: Tensor
    """[1, S, S] uint8, what an error counts."""
    keypoints: Tensor
    """[478, 3] square coordinates."""
    signature: Tensor
    """[15]."""
    choice: Choice
    """What a call would draw it from."""
    nearest: tuple[tuple[int, ...], tuple[int, ...]]
    """References for the mouth, and for the eyes, the nearest first; NEAREST of them at most."""


class Places:
    """Where everything lies in the references: K of them.

    Args:
        vertices, expression: [K, V, 3]; signatures: [K, 15]; tones: [K, 9]: as `LiveEncode` gives them.
    """

    def __init__(self, vertices: Tensor, expression: Tensor, signatures: Tensor, tones: Tensor) -> None:
        self.placing = Placing()
        self.vertices, self.expression, self.signatures, self.tones = vertices, expression, signatures, tones

    @torch.no_grad()
    def moment(self, picture: Picture, landmarks: Floats, matter: Matter) -> Moment:
        """Make a picture (S', S', 3) ready, landmarks (478, 3) in its pixels."""
        side = picture.shape[0]
        points = to_square(landmarks, side, side)
        keypoints = torch.from_numpy(points)
        now = self.placing.signature(keypoints)
        orders = [
            ((self.signatures - now) * weight).square().sum(1).argsort()[:NEAREST].tolist()
            for weight in (self.placing.mouth_weights, self.placing.eye_weights)
        ]
        return Moment(
            planes(small(picture)),
            torch.from_numpy(small(matter(picture)))[None],
            torch.from_numpy(weights(points, SIDE))[None],
            keypoints,
            now,
            self.placing.choose(now, self.signatures, USED),
            (tuple(orders[0]), tuple(orders[1])),
        )

    def other(self, moment: Moment, random: np.random.Generator) -> Choice:
        """Other references that a moment may be drawn from: any of the nearest for the mouth, any for the eyes."""
        indices = [order[random.integers(len(order))] for order in moment.nearest]
        return Choice(torch.tensor(indices), moment.choice.mouth, moment.choice.eyes)

    @torch.no_grad()
    def drawn(self, moments: Sequence[Moment], choices: Sequence[Choice]) -> Drawn:
        """The geometry of moments, each drawn from references of its own."""
        each = [self._drawn(moment, choice) for moment, choice in zip(moments, choices, strict=True)]
        return Drawn(*(torch.cat([getattr(one, name) for one in each]) for name in Drawn.__slots__))

    def _drawn(self, moment: Moment, choice: Choice) -> Drawn:
        picked, now = choice.indices, moment.signature
        moved, face = self.placing.vertices(moment.keypoints)
        raster = self.placing.draw(moved, self.vertices[0], self.vertices[picked], face - self.expression[picked])
        shown = self.signatures[picked]
        fill = self.placing.fill(raster, choice, moment.keypoints, now, shown, self.tones[picked])
        return drawn_from(raster, choice, now, shown, fill)


def planes(picture: Picture) -> Tensor:
    """(S, S, C) -> [C, S, S]."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))


def small(picture: Picture) -> Picture:
    """A picture or matte at SIDE."""
    return resized(picture, SIDE).copy()
