"""Embedder, generator and discriminator of Zakharov et al. 2019: section 4, and code that its group published later.

Residual blocks as in BigGAN (Brock et al. 2019): activation before convolution, average pooling on the way down,
nearest neighbours on the way up. Channels go with the side r of a block's output: 64 at the outermost level, doubled
with each level to 512 at most, times the width. Where the paper puts self-attention at 32x32 and 64x64 of 256 pixels,
other sizes have it at an eighth and a quarter. At full width: 14.9 M weights in the embedder, 38.1 M in the generator,
19.6 M in the discriminator without its columns.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, instance_norm, interpolate, max_pool2d, pixel_shuffle, pixel_unshuffle, relu
from torch.nn.utils.parametrizations import spectral_norm

from telepresence.generator.fewshot.config import FewShotConfig

CHANNELS: Final = (64, 512)
RESIDUAL_BLOCKS: Final = 4
BOTTLENECK: Final = 16  # side of the generator's lowest level
LOWEST: Final = 4  # side of embedder's and discriminator's
ATTENTION_DOWN, ATTENTION_UP = 8, 4  # parts of the picture's side
COLUMN: Final = 0.1  # how large the discriminator's columns are at first
QUIET: Final = 0.3  # of a residual's second convolution at first, where no norm bounds it
GREY: Final = 0.1  # of a drawn picture's contrast at first, likewise
HALF: Final = 0.7  # of the way around a block
FAINT: Final = 0.05  # of a vector at first, likewise: sums over the picture would drown what is projected from them
_EPSILON: Final = 1e-4

L = TypeVar("L", nn.Conv2d, nn.Linear)


def channels(level: int, width: float) -> int:
    """Of the `level`-th halving of the picture, 1 the outermost."""
    low, high = CHANNELS
    return max(8, round(width * min(low << (level - 1), high)))


class Norm:
    """Makes layers: with spectral norm (Miyato et al. 2018), or plain ones that start as quiet as needed."""

    def __init__(self, spectral: bool) -> None:
        self.spectral = spectral

    def __call__(self, layer: L, gain: float = 1.0) -> L:
        """A layer with its weights drawn; `gain` is how loud a plain one is, less than it would be to keep variance."""
        if self.spectral:
            nn.init.xavier_uniform_(layer.weight)
            spectral_norm(layer, eps=_EPSILON)  # in place
            return layer
        nn.init.kaiming_normal_(layer.weight)
        with torch.no_grad():
            layer.weight.mul_(gain)
        return layer


def convolution(inputs: int, outputs: int, kernel: int = 3, *, bias: bool = True) -> nn.Conv2d:
    """A convolution that keeps the side."""
    layer = nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, bias=bias)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class Down(nn.Module):
    """A residual block without normalisation, halving the side or not; the first one of a network has no activation."""

    def __init__(
        self, inputs: int, outputs: int, norm: Norm, *, first: bool = False, halve: bool = True, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.first, self.halve = first, halve
        self.one = norm(convolution(inputs, outputs))
        self.two = norm(convolution(outputs, outputs), gain * QUIET)
        self.skip = norm(convolution(inputs, outputs, 1), gain * HALF) if halve or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, D, H/2, W/2]."""
        y: Tensor = self.two(relu(self.one(x if self.first else relu(x))))
        if self.halve:  # pooling and a 1x1 convolution may change places, and pooled first it costs a quarter
            y, x = avg_pool2d(y, 2), avg_pool2d(x, 2)
        around: Tensor = self.skip(x)
        return y + around


class NormedDown(nn.Module):
    """The generator's: with instance norm and its own scale and shift."""

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.before = nn.InstanceNorm2d(inputs, _EPSILON, affine=True)
        self.between = nn.InstanceNorm2d(outputs, _EPSILON, affine=True)
        self.one = norm(convolution(inputs, outputs, bias=False))
        self.two = norm(convolution(outputs, outputs, bias=False), QUIET)
        self.skip = norm(convolution(inputs, outputs, 1), HALF)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, D, H/2, W/2]."""
        y: Tensor = self.two(relu(self.between(self.one(relu(self.before(x))))))
        around: Tensor = self.skip(avg_pool2d(x, 2))
        return avg_pool2d(y, 2) + around


class Modulated(nn.Module):
    """A residual block with adaptive instance norm, doubling the side or not."""

    def __init__(self, inputs: int, outputs: int, norm: Norm, *, double: bool) -> None:
        super().__init__()
        self.larger = double
        self.parts = [2 * inputs, 2 * outputs]
        self.one = norm(convolution(inputs, outputs, bias=False))
        self.two = norm(convolution(outputs, outputs, bias=False), QUIET)
        self.skip = norm(convolution(inputs, outputs, 1), HALF) if double or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """[B, C, H, W], [B, 2C + 2D] -> [B, D, 2H, 2W] or [B, D, H, W]."""
        before, between = torch.split(modulation, self.parts, 1)
        y = relu(adaptive(x, before))
        around: Tensor = self.skip(x)
        if self.larger:
            y, around = _double(y), _double(around)
        drawn: Tensor = self.two(relu(adaptive(self.one(y), between)))
        return drawn + around


class Attention(nn.Module):
    """Self-attention (Zhang et al. 2019) over a map, keys and values at half its side as in BigGAN; silent at first."""

    def __init__(self, inner: int, norm: Norm) -> None:
        super().__init__()
        self.asked = norm(convolution(inner, inner // 8, 1, bias=False))
        self.told = norm(convolution(inner, inner // 8, 1, bias=False))
        self.value = norm(convolution(inner, inner // 2, 1, bias=False))
        self.out = norm(convolution(inner // 2, inner, 1, bias=False))
        self.share = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> the same."""
        asked, told = self.asked(x).flatten(2), max_pool2d(self.told(x), 2).flatten(2)
        value = max_pool2d(self.value(x), 2).flatten(2)
        shares = torch.softmax(asked.transpose(1, 2) @ told, -1)
        looked = (value @ shares.to(value.dtype).transpose(1, 2)).reshape(x.shape[0], -1, *x.shape[2:])
        added: Tensor = self.share * self.out(looked)
        return x + added


class Pyramid(nn.Module):
    """The residual down blocks of embedder and discriminator: pictures and landmarks -> a vector and all features."""

    def __init__(self, config: FewShotConfig, width: float, norm: Norm, *, extra: bool) -> None:
        super().__init__()
        fold = config.fold
        sides = [config.size // fold >> n for n in range(1, 16) if config.size // fold >> n >= LOWEST]
        blocks: list[nn.Module] = []
        inputs = 6 * fold * fold
        for number, side in enumerate(sides):
            last = number == len(sides) - 1
            outputs = config.embedding if last else channels(number + fold, width)
            blocks.append(Down(inputs, outputs, norm, first=not number, gain=FAINT if last else 1))
            if side * ATTENTION_DOWN == config.size and not last:
                blocks.append(Attention(outputs, norm))
            inputs = outputs
        if extra:
            blocks.append(Down(inputs, inputs, norm, halve=False))
        self.blocks = nn.ModuleList(blocks)
        self.fold = fold

    def forward(self, picture: Tensor, raster: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[B, 3, S, S] twice, -1..1 -> vector [B, N] float32, features after each residual block."""
        x = torch.cat([picture, raster], 1)
        if self.fold > 1:
            x = pixel_unshuffle(x, self.fold)
        features = []
        for block in self.blocks:
            x = block(x)
            if not isinstance(block, Attention):
                features.append(x)
        return relu(x.float().sum((2, 3))), features


class Embedder(nn.Module):
    """A picture of a person and its landmarks -> who it is; the mean over several pictures is the person's."""

    def __init__(self, config: FewShotConfig, *, spectral: bool | None = None) -> None:
        super().__init__()
        self.pyramid = Pyramid(
            config, config.embedder_width, Norm(config.normalised if spectral is None else spectral), extra=False
        )

    def forward(self, picture: Tensor, raster: Tensor) -> Tensor:
        """picture and raster [B, 3, S, S] float32 -1..1 -> [B, N] float32, not negative."""
        vector: Tensor = self.pyramid(picture, raster)[0]
        return vector


class Generator(nn.Module):
    """Landmarks and a person's modulation -> their picture. No pixel of a reference reaches it: it draws everything."""

    def __init__(self, config: FewShotConfig, *, spectral: bool | None = None) -> None:
        super().__init__()
        norm = Norm(config.normalised if spectral is None else spectral)
        self.fold, self.matte = config.fold, config.matte
        levels = int(math.log2(max(config.size // BOTTLENECK, 4)))  # halvings down to the bottleneck, folding included
        width, skipped = config.width, config.fold - 1
        widths = [channels(level + 1, width) for level in range(skipped, levels)]
        self.enter = Down(3 * config.fold**2, widths[0], norm, first=True)
        down: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(pairwise(widths)):
            down += self._attention(number + skipped + 1, ATTENTION_DOWN, inputs, norm)
            down.append(NormedDown(inputs, outputs, norm))
        lowest = widths[-1]
        up: list[nn.Module] = [Modulated(lowest, lowest, norm, double=False) for _ in range(RESIDUAL_BLOCKS)]
        inputs = lowest
        for level in range(levels - 1, skipped - 1, -1):
            outputs = min(channels(level + 1, width), lowest)
            up.append(Modulated(inputs, outputs, norm, double=True))
            up += self._attention(level, ATTENTION_UP, outputs, norm)
            inputs = outputs
        self.down, self.up = nn.Sequential(*down), nn.ModuleList(up)
        self.parts = [sum(block.parts) for block in up if isinstance(block, Modulated)] + [2 * inputs]
        self.leave = norm(convolution(inputs, (4 if config.matte else 3) * config.fold**2), GREY)
        self.projection = self._projection(config.embedding, norm)

    def _attention(self, level: int, part: int, inner: int, norm: Norm) -> list[nn.Module]:
        return [Attention(inner, norm)] if 1 << level == part else []

    def _projection(self, embedding: int, norm: Norm) -> nn.Linear:
        """P: at first everybody's scales are about 1 and shifts about 0."""
        layer = nn.Linear(embedding, sum(self.parts))
        with torch.no_grad():
            layer.bias.zero_()
            for part in torch.split(layer.bias, [size for pair in self._pairs() for size in pair])[::2]:
                part.fill_(1)
        return norm(layer, 0.1)

    def _pairs(self) -> list[tuple[int, int]]:
        """Scales and shifts of every adaptive norm, in order."""
        sizes = [size // 2 for block in self.up if isinstance(block, Modulated) for size in block.parts]
        return [(size, size) for size in [*sizes, self.parts[-1] // 2]]

    @property
    def modulation(self) -> int:
        """M, length of a modulation."""
        return sum(self.parts)

    def project(self, embedding: Tensor) -> Tensor:
        """[B, N] -> [B, M] float32, all scales and shifts: linear, so a mean over references may be taken after it."""
        modulation: Tensor = self.projection(embedding)
        return modulation.float()

    def forward(self, raster: Tensor, modulation: Tensor) -> Tensor:
        """Draw B pictures.

        Args:
            raster: [B, 3, S, S] float32, of `draw_landmarks`.
            modulation: [B, M] float32.

        Returns:
            [B, 3 or 4, S, S] float32: RGB -1..1 and, if the configuration says so, a matte 0..1.
        """
        x = pixel_unshuffle(raster, self.fold) if self.fold > 1 else raster
        x = self.down(self.enter(x))
        parts = iter(torch.split(modulation, self.parts, 1))
        for block in self.up:
            x = block(x, next(parts)) if isinstance(block, Modulated) else block(x)
        x = self.leave(relu(adaptive(x, next(parts)))).float()
        if self.fold > 1:
            x = pixel_shuffle(x, self.fold)
        colours = torch.tanh(x[:, :3])
        return torch.cat([colours, torch.sigmoid(x[:, 3:])], 1) if self.matte else colours


class FewShot(nn.Module):
    """Embedder and generator: what is shipped. `spectral=False` makes the same networks of plain weights."""

    def __init__(self, config: FewShotConfig, *, spectral: bool | None = None) -> None:
        super().__init__()
        self.config = config
        self.embedder = Embedder(config, spectral=spectral)
        self.generator = Generator(config, spectral=spectral)


class Discriminator(nn.Module):
    """Whether a picture is real, is of these landmarks and of this clip: V(x, y)^T (W_i + w0) + b."""

    def __init__(self, config: FewShotConfig, videos: int, *, spectral: bool = True) -> None:
        super().__init__()
        norm = Norm(spectral)
        self.pyramid = Pyramid(config, config.judge_width, norm, extra=True)
        self.columns = nn.Embedding(videos, config.embedding)
        nn.init.uniform_(self.columns.weight, -COLUMN, COLUMN)
        self.common = norm(nn.Linear(config.embedding, 1))

    def forward(self, picture: Tensor, raster: Tensor, clip: Tensor) -> tuple[Tensor, list[Tensor]]:
        """picture, raster [B, 3, S, S] -1..1; clip [B] int64, its column's number -> scores [B] float32; features."""
        vector, features = self.pyramid(picture, raster)
        scores: Tensor = (vector * self.columns(clip)).sum(1) + self.common(vector)[:, 0].float()
        return scores, features


def adaptive(x: Tensor, modulation: Tensor) -> Tensor:
    """Adaptive instance norm (Huang and Belongie 2017): x [B, C, H, W], modulation [B, 2C] scales, then shifts."""
    scale, shift = modulation.to(x.dtype)[:, :, None, None].chunk(2, 1)
    return instance_norm(x, eps=_EPSILON) * scale + shift


def of_person(picture: Tensor, matte: Tensor) -> Tensor:
    """What an embedder with `matte` sees: picture [B, 3, S, S] -1..1 over mid-grey by its matte [B, 1, S, S] 0..1."""
    return picture * matte


def _double(x: Tensor) -> Tensor:
    return interpolate(x, scale_factor=2.0, mode="nearest")
