"""The few-shot engine's graphs, in the engine contract's shapes: all that is kept of a reference is a modulation.

The networks draw pictures of their own side; an engine of twice that side draws the same picture and enlarges it.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from telepresence.generator.fewshot.network import FewShot, of_person
from telepresence.generator.fewshot.raster import draw_landmarks

REFERENCES: Final = 32
"""K; what a picture costs does not depend on it."""


def sizes(own: int) -> tuple[int, ...]:
    """Sides of the pictures that an engine with networks of side `own` draws: their own, and 256 if that is smaller."""
    return (own, 256) if own < 256 else (own,)


def seen(network: FewShot, picture: Tensor, matte: Tensor, keypoints: Tensor) -> Tensor:
    """One modulation of each reference.

    Args:
        network: the weights.
        picture: [B, 3, R, R] float32 -1..1, R the networks' side.
        matte: [B, 1, R, R] float32 0..1.
        keypoints: [B, 478, 3] float32, square coordinates.

    Returns:
        [B, M] float32.
    """
    config = network.config
    shown = of_person(picture, matte) if config.matte else picture
    raster = draw_landmarks(keypoints, config.size, config.inner)
    return network.generator.project(network.embedder(shown, raster))


def merged(modulation: Tensor) -> Tensor:
    """Mean over the references that there are: [K, M], free slots repeating the first -> [1, M].

    The projection is linear, so this is the projection of the mean embedding (Zakharov et al. 2019, section 3.3).
    """
    apart = (modulation - modulation[:1]).abs().amax(1, keepdim=True)
    other = torch.lt(torch.zeros_like(apart), apart).to(modulation.dtype)
    weight = torch.cat([torch.ones_like(other[:1]), other[1:]])
    return (modulation * weight).sum(0, keepdim=True) / weight.sum()


class FewShotEncode(nn.Module):
    """Once per reference."""

    outputs = ("modulation",)

    def __init__(self, network: FewShot, size: int) -> None:
        super().__init__()
        self.network, self.shrink = network, size // network.config.size

    def forward(self, picture: Tensor, matte: Tensor, keypoints: Tensor) -> tuple[Tensor]:
        """Encode one reference.

        Args:
            picture: [1, S, S, 3] uint8 RGB.
            matte: [1, S, S, 1] uint8, 255 is person.
            keypoints: [1, 478, 3] float32, square coordinates.

        Returns:
            modulation [1, M]: scales and shifts of every adaptive norm.
        """
        colour = picture.float().permute(0, 3, 1, 2) / 127.5 - 1
        alpha = matte.float().permute(0, 3, 1, 2) / 255
        if self.shrink > 1:
            colour, alpha = avg_pool2d(colour, self.shrink), avg_pool2d(alpha, self.shrink)
        return (seen(self.network, colour, alpha, keypoints),)


class FewShotRender(nn.Module):
    """Per picture."""

    def __init__(self, network: FewShot, size: int) -> None:
        super().__init__()
        self.network, self.size = network, size

    def forward(self, keypoints: Tensor, modulation: Tensor, background: Tensor) -> Tensor:
        """Draw one picture.

        Args:
            keypoints: [1, 478, 3] float32, square coordinates.
            modulation: [K, M], from `FewShotEncode`, or what fine-tuning made of it.
            background: [1, S, S, 3] uint8 RGB, the background plate.

        Returns:
            [1, S, S, 4] uint8 RGBA; RGB is already composed over the background, A is the matte. A network without
            a matte draws whole pictures: the plate is not looked at, and A is 255.
        """
        config = self.network.config
        raster = draw_landmarks(keypoints, config.size, config.inner)
        drawn = self.network.generator(raster, merged(modulation))
        if self.size != config.size:
            drawn = interpolate(drawn, size=(self.size, self.size), mode="bilinear", align_corners=False)
        plate = background.float().permute(0, 3, 1, 2) / 127.5 - 1
        picture = composed(drawn, plate)
        return (picture * 255 + 0.5).clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8)


def composed(drawn: Tensor, plate: Tensor) -> Tensor:
    """What the generator drew, [B, 3 or 4, S, S], over a plate [B, 3, S, S] of -1..1 -> RGBA [B, 4, S, S], 0..1."""
    colour = drawn[:, :3]
    alpha = drawn[:, 3:] if drawn.shape[1] == 4 else torch.ones_like(drawn[:, :1])
    shown = colour * alpha + plate * (1 - alpha) if drawn.shape[1] == 4 else colour + 0 * plate
    return torch.cat([(shown + 1) / 2, alpha], 1)
