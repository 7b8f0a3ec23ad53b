"""The refinement network's learned parts: `Encoder` once per reference, `Trunk` and `Finish` once per picture.

Sizes (multiply-adds at 256x256): encoder 0.5 G, trunk 0.6 G at 64x64 and below, finish 0.2 G at 128x128. There is no
normalisation: convolutions with residuals train without it at this depth, and a picture never depends on its batch.
What is personal comes in as tensors: two maps of features per reference, and a modulation vector (scale and shift
per channel, as AdaIN has them: Huang and Belongie 2017; Zakharov et al. 2019, section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, pixel_shuffle, pixel_unshuffle

from telepresence.generator.placing import DELTA_CHANNELS, TOLD, TOLD_SIGNATURE

SLOPE: Final = 0.1  # of leaky ReLUs: exists as a fused operator in every runtime
COMMON: Final = TOLD
FEATURES: Final = 32
"""Channels of a reference's features at 64x64."""
DETAILS: Final = 8
"""Channels at 128x128."""
WIDTHS: Final = (32, 96, 128)
"""The trunk's channels at 64x64, 32x32, 16x16."""
FINISH: Final = 16
"""Channels at 128x128."""
MODULATED: Final = (32, 96, 96, 128, 128, 96, 32)
"""Channels of the trunk's modulated layers, in order."""
MODULATION: Final = 2 * sum(MODULATED)
"""M, length of a modulation vector."""
FLOW_LIMIT: Final = 0.12  # square coordinates (15 pixels of 256) by which looking-up may be corrected
PER_REFERENCE: Final = FEATURES + DELTA_CHANNELS


@dataclass(frozen=True, slots=True)
class Looked:
    """What the trunk says of one picture; B pictures."""

    shares: Tensor
    """[B, U, 64, 64] of every reference, sum 1."""
    flow: Tensor
    """[B, 2, 64, 64] correction of where to look, square coordinates."""
    hidden: Tensor
    """[B, WIDTHS[0], 64, 64]."""


def convolution(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Conv2d:
    """A convolution that keeps the variance of what passes leaky ReLUs."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
    nn.init.kaiming_normal_(layer.weight, SLOPE)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def silent(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    """Make a layer say nothing at first, so that training starts from the prior."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def act(x: Tensor) -> Tensor:
    """The activation."""
    return leaky_relu(x, SLOPE)


class Residual(nn.Module):
    """x + a convolution of the activated x, scaled and shifted per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = convolution(channels, channels)
        nn.init.normal_(self.conv.weight, std=0.3 * (2 / (9 * channels)) ** 0.5)

    def forward(self, x: Tensor, modulation: Tensor | None = None) -> Tensor:
        """x [B, C, H, W]; modulation [B, 2C] scale and shift of the residual."""
        y: Tensor = self.conv(act(x))
        if modulation is not None:
            scale, shift = modulation[:, :, None, None].chunk(2, 1)
            y = y * (1 + scale) + shift
        return x + y


class Encoder(nn.Module):
    """One reference -> its features, once per avatar."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(convolution(16, 16), nn.LeakyReLU(SLOPE))
        self.details = convolution(16, DETAILS)
        self.down = convolution(16, 48, 2)
        self.placed = convolution(48 + COMMON, 48)
        self.fine = Residual(48)
        self.coarse = convolution(48, 96, 2)
        self.context = nn.Sequential(Residual(96), Residual(96))
        self.lowest = nn.Sequential(nn.LeakyReLU(SLOPE), convolution(96, 128, 2), Residual(128), nn.LeakyReLU(SLOPE))
        self.modulation = silent(nn.Linear(128, MODULATION))
        self.up = convolution(96, 48, kernel=1)
        self.features = convolution(48, FEATURES)

    def forward(self, pixels: Tensor, placed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode N references.

        Args:
            pixels: [N, 4, 256, 256] RGB premultiplied and matte, 0..1.
            placed: [N, 7, 64, 64] the constant attributes of each reference's own raster.

        Returns:
            features [N, 32, 64, 64], details [N, 8, 128, 128], modulation [N, M].
        """
        x = self.stem(pixel_unshuffle(pixels - 0.5, 2))
        details = self.details(x)
        fine = self.fine(self.placed(torch.cat([act(self.down(x)), placed.to(x.dtype)], 1)))
        coarse = self.context(self.coarse(act(fine)))
        modulation = self.modulation(self.lowest(coarse).mean((2, 3)))
        both = fine + self.up(act(interpolate(coarse, scale_factor=2.0, mode="nearest")))
        return self.features(act(both)), details, modulation


class Trunk(nn.Module):
    """At 64x64 and below: which reference to believe where, where to look in it, and what to draw."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third = WIDTHS
        self.believe = nn.Sequential(
            convolution(PER_REFERENCE + COMMON, 24, kernel=1), nn.LeakyReLU(SLOPE), convolution(24, 1, kernel=1)
        )
        silent(self.believe[2])  # type: ignore[arg-type]
        self.pose = nn.Sequential(nn.Linear(2 * TOLD_SIGNATURE, 64), nn.LeakyReLU(SLOPE), nn.Linear(64, MODULATION))
        silent(self.pose[2])  # type: ignore[arg-type]
        self.enter = convolution(PER_REFERENCE + COMMON, first)
        self.fine_in = Residual(first)
        self.down = convolution(first, second, 2)
        self.middle_in = nn.ModuleList([Residual(second), Residual(second)])
        self.lower = convolution(second, third, 2)
        self.lowest = nn.ModuleList([Residual(third), Residual(third)])
        self.upper = convolution(third, second, kernel=1)
        self.middle_out = Residual(second)
        self.up = convolution(second, first, kernel=1)
        self.fine_out = Residual(first)
        self.flow = silent(convolution(first, 2))

    def forward(self, looked: Tensor, common: Tensor, prior: Tensor, modulation: Tensor, signatures: Tensor) -> Looked:
        """Refine B pictures of U references.

        Args:
            looked: [B, U, 35, 64, 64] features of each reference, looked up, and the change of expression.
            common: [B, 7, 64, 64] constant attributes of the raster.
            prior: [B, U, 64, 64] shares that geometry alone would give, sum 1.
            modulation: [B, M] the person's.
            signatures: [B, 24] of the new picture and of what is shown of the references.
        """
        b, u = looked.shape[:2]
        again = common[:, None].expand(-1, u, -1, -1, -1)
        logit = self.believe(torch.cat([looked, again], 2).flatten(0, 1)).reshape(b, u, *looked.shape[3:])
        shares = torch.softmax(torch.log(prior + 1e-4) + logit.float(), 1)
        mixed = (looked * shares[:, :, None].to(looked.dtype)).sum(1)
        parts = (modulation + self.pose(signatures)).split([2 * c for c in MODULATED], 1)
        fine = self.fine_in(self.enter(torch.cat([mixed, common.to(mixed.dtype)], 1)), parts[0])
        middle = self.down(act(fine))
        for block, part in zip(self.middle_in, parts[1:3], strict=True):
            middle = block(middle, part)
        low = self.lower(act(middle))
        for block, part in zip(self.lowest, parts[3:5], strict=True):
            low = block(low, part)
        middle = self.middle_out(middle + self._double(self.upper(act(low))), parts[5])
        fine = self.fine_out(fine + self._double(self.up(act(middle))), parts[6])
        return Looked(shares, torch.tanh(self.flow(act(fine)).float()) * FLOW_LIMIT, fine)

    @staticmethod
    def _double(x: Tensor) -> Tensor:
        return interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class Finish(nn.Module):
    """At 128x128: what is added to the looked-up pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.up = convolution(WIDTHS[0], 4 * 16, kernel=1)
        self.enter = convolution(16 + 16 + DETAILS, FINISH)
        self.refine = Residual(FINISH)
        self.out = silent(convolution(FINISH, 16))

    def forward(self, hidden: Tensor, blend: Tensor, details: Tensor) -> Tensor:
        """hidden [B, 32, 64, 64], blend [B, 4, 256, 256] premultiplied RGBA, details [B, 8, 128, 128] ->
        [B, 4, 256, 256] to be added to the blend."""
        up = act(pixel_shuffle(self.up(act(hidden)), 2))
        x = self.enter(torch.cat([up, pixel_unshuffle(blend - 0.5, 2).to(up.dtype), details], 1))
        return pixel_shuffle(self.out(act(self.refine(x))), 2)


class SmallFinish(nn.Module):
    """`Finish` for pictures of half the side: what it adds to the blend with every pixel doubled, shrunk again.

    Doubling and shrinking are folded into its weights: two thirds of the work, and the same picture.
    """

    def __init__(self, whole: Finish) -> None:
        super().__init__()
        self.up, self.refine = whole.up, whole.refine
        self.enter = nn.Conv2d(16 + 4 + DETAILS, FINISH, 3, padding=1)
        self.out = nn.Conv2d(FINISH, 4, 3, padding=1)
        told, seen, detailed = torch.split(whole.enter.weight.detach(), [16, 16, DETAILS], 1)
        alike = seen.reshape(FINISH, 4, 4, 3, 3).sum(2)  # as pixel_unshuffle has them: colours, then places
        self.enter.weight = nn.Parameter(torch.cat([told, alike, detailed], 1))
        self.enter.bias = whole.enter.bias
        self.out.weight = nn.Parameter(whole.out.weight.detach().reshape(4, 4, FINISH, 3, 3).mean(1))
        if whole.out.bias is not None:
            self.out.bias = nn.Parameter(whole.out.bias.detach().reshape(4, 4).mean(1))

    def forward(self, hidden: Tensor, blend: Tensor, details: Tensor) -> Tensor:
        """hidden [B, 32, 64, 64], blend [B, 4, 128, 128] premultiplied RGBA, details [B, 8, 128, 128] ->
        [B, 4, 128, 128] to be added to the blend."""
        up = act(pixel_shuffle(self.up(act(hidden)), 2))
        x = self.enter(torch.cat([up, (blend - 0.5).to(up.dtype), details], 1))
        added: Tensor = self.out(act(self.refine(x)))
        return added
