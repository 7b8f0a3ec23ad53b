"""Colours out of a picture, and enlarging: what `placing` and the network's graphs both need."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from telepresence.generator.prior import CHEEKS

# Where colours are taken from. Above a deep-set eye there is a brow, below another a shadow: the brighter one is skin.
LID_SKIN: Final = (((27, 28), (229, 230)), ((257, 258), (449, 450)))  # right and left eye: above, below


def tones(colour: Tensor, keypoints: Tensor) -> Tensor:
    """A picture [1, 3, S, S], 0..1, and its keypoints [478, 3] -> [9] colours of its cheeks, right and left lid."""

    def mean(places: tuple[int, ...]) -> Tensor:
        return grid_sample(colour, keypoints[None, None, list(places), :2], align_corners=False).mean((0, 2, 3))

    return torch.cat([mean(CHEEKS), *(torch.maximum(mean(above), mean(below)) for above, below in LID_SKIN)])


def resize(small: Tensor, matrix: Tensor) -> Tensor:
    """[..., R, R] by a matrix [S, R] from `bilinear` -> [..., S, S]."""
    # Bilinear, written as two products with a fixed matrix: in CPU runtimes a third of the time of Resize.
    return torch.matmul(matrix, torch.matmul(small, matrix.T))


def bilinear(side: int, raster: int) -> Tensor:
    """[side, raster] from a raster's rows to a picture's."""
    return interpolate(torch.eye(raster)[None, None], size=(side, raster), mode="bilinear")[0, 0]
