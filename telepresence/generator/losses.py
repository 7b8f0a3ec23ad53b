"""What a generator's picture is judged by, and the discriminator that judges along.

All inputs are [B, C, S, S] float32 in 0..1 unless said otherwise. `weight` [B, 1, S, S] says what an error counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, leaky_relu, pixel_unshuffle, relu
from torch.nn.utils.parametrizations import spectral_norm

from telepresence.errors import InputError
from telepresence.generator.network import SLOPE

SCALES: Final = 4
WINDOW: Final = 7  # pixels of SSIM
GAIN: Final = 8.0  # of the discriminator's scores: with every layer normalised they would hardly leave zero
_C1, _C2 = 0.01**2, 0.03**2


def weighted(error: Tensor, weight: Tensor) -> Tensor:
    """Mean of an error map [B, C, S, S] under a weight."""
    return (error * weight).sum() / (weight.sum() * error.shape[1])


def pyramid_l1(shown: Tensor, real: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference at four scales."""
    total = weighted((shown - real).abs(), weight)
    difference = shown - real
    for _ in range(SCALES - 1):
        difference, weight = avg_pool2d(difference, 2), avg_pool2d(weight, 2)
        total = total + weighted(difference.abs(), weight)
    return total / SCALES


def gradient_l1(shown: Tensor, real: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference of the pictures' gradients."""
    difference = shown - real
    across = (difference[..., 1:] - difference[..., :-1]).abs()
    down = (difference[..., 1:, :] - difference[..., :-1, :]).abs()
    return weighted(across, weight[..., 1:]) + weighted(down, weight[..., 1:, :])


def energy(shown: Tensor, real: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference of how much detail there is around each place, wherever exactly it lies.

    What compares pixel with pixel prefers a blur to a line that is half a pixel off; the eye does not.
    """
    window = 8
    coarse = avg_pool2d(weight, window, window // 2)
    total = torch.zeros((), device=shown.device)
    for axis in (2, 3):
        parts = []
        for picture in (shown, real):
            grey = picture.mean(1, keepdim=True)
            slope = grey.narrow(axis, 1, grey.shape[axis] - 1) - grey.narrow(axis, 0, grey.shape[axis] - 1)
            slope = torch.nn.functional.pad(slope, (0, 1, 0, 0) if axis == 3 else (0, 0, 0, 1))
            parts.append((avg_pool2d(slope * slope, window, window // 2) + 1e-5).sqrt())
        total = total + weighted((parts[0] - parts[1]).abs(), coarse)
    return total


def ssim_map(shown: Tensor, real: Tensor, stride: int = 1) -> Tensor:
    """SSIM (Wang et al. 2004) with a flat window, at every `stride`-th place: [B, 1, S - 6, S - 6] of [B, 1, S, S]."""
    moments = torch.cat([shown, real, shown * shown, real * real, shown * real], 1)
    # Two passes: a 7x7 window in one is three times as slow.
    down = avg_pool2d(moments, (WINDOW, 1), (stride, 1))
    a, b, aa, bb, ab = avg_pool2d(down, (1, WINDOW), (1, stride)).chunk(5, 1)
    return ((2 * a * b + _C1) * (2 * (ab - a * b) + _C2)) / ((a * a + b * b + _C1) * (aa + bb - a * a - b * b + _C2))


def dissimilarity(shown: Tensor, real: Tensor, weight: Tensor) -> Tensor:
    """1 - SSIM of the brightness, at full and at half size."""
    a, b = shown.mean(1, keepdim=True), real.mean(1, keepdim=True)
    full = _unlike(a, b, weight, 2)
    return (full + _unlike(avg_pool2d(a, 2), avg_pool2d(b, 2), avg_pool2d(weight, 2), 1)) / 2


def _unlike(a: Tensor, b: Tensor, weight: Tensor, stride: int) -> Tensor:
    cut = WINDOW // 2
    return weighted(1 - ssim_map(a, b, stride), weight[..., cut:-cut:stride, cut:-cut:stride])


def roughness(flow: Tensor) -> Tensor:
    """Mean absolute difference of neighbours in a flow [B, 2, R, R]: so that it bends and does not tear."""
    return (flow[..., 1:] - flow[..., :-1]).abs().mean() + (flow[..., 1:, :] - flow[..., :-1, :]).abs().mean()


def flicker(shown: Tensor, real: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference of how two neighbouring frames change; all [2, C, S, S], earlier and later."""
    return weighted(((shown[1:] - shown[:1]) - (real[1:] - real[:1])).abs(), weight.mean(0, keepdim=True))


class Perceptual(nn.Module):
    """Compares pictures by the feature maps of a network that is not ours: TorchScript, [B, 3, S, S] -> list of maps.

    Each map counts by its difference over its own mean magnitude, so that no network's scale has to be known.
    As in Johnson et al. 2016, and Zakharov et al. 2019, section 3.2.
    """

    def __init__(self, file: Path, device: torch.device) -> None:
        """Load the network.

        Raises:
            InputError: the file is no such network.
        """
        super().__init__()
        wanted = "a TorchScript module that takes pictures [B, 3, S, S], 0 to 1, and returns a list of feature maps"
        if not file.is_file():
            raise InputError(f"{file}: no such file; --perceptual takes {wanted}")
        try:
            loaded: Any = torch.jit.load(str(file), map_location=device)  # type: ignore[no-untyped-call]
            self.network: nn.Module = loaded.eval()
            for weights in self.network.parameters():  # of a script, only one by one
                weights.requires_grad_(False)
            maps = self.network(torch.zeros(2, 3, 256, 256, device=device))
        except Exception as error:  # whatever is in the file runs here
            told = (str(error).strip().splitlines() or [""])[-1]
            raise InputError(f"{file}: not {wanted} ({type(error).__name__}: {told})") from error
        fine = isinstance(maps, (list, tuple)) and len(maps) > 0
        if not fine or not all(isinstance(m, Tensor) and m.dim() == 4 and m.shape[0] == 2 for m in maps):
            raise InputError(f"{file}: returns something else; --perceptual takes {wanted}, each [B, C, H, W]")

    def forward(self, shown: Tensor, real: Tensor) -> Tensor:
        """How unlike two batches are, 0 if the same."""
        with torch.no_grad():
            wanted = self.network(real)
        gaps = [
            (a - b).abs().mean() / (a.abs().mean() + 1e-6) for a, b in zip(wanted, self.network(shown), strict=True)
        ]
        return torch.stack(gaps).mean()


class Discriminator(nn.Module):
    """Judges patches of about 70 pixels of a 256 picture, told what part of the face each one is.

    Hinge loss and feature matching as in Zakharov et al. 2019, section 3.2; patches as in Isola et al. 2017.
    """

    def __init__(self, told: int, width: int = 32) -> None:
        super().__init__()
        self.enter = spectral_norm(nn.Conv2d(12, width, 4, 2, 1))
        self.told = spectral_norm(nn.Conv2d(told, width, 1))
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4, 2, 1)) for a, b in ((width, 2 * width), (2 * width, 4 * width))
        )
        self.middle = spectral_norm(nn.Conv2d(4 * width, 4 * width, 3, 1, 1))
        self.out = spectral_norm(nn.Conv2d(4 * width, 1, 3, 1, 1))

    def forward(self, picture: Tensor, told: Tensor) -> tuple[Tensor, list[Tensor]]:
        """picture [B, 3, 256, 256], told [B, C, 64, 64] -> scores [B, 1, 16, 16], larger is more real; features."""
        x = leaky_relu(self.enter(pixel_unshuffle(picture - 0.5, 2)) + self.told(told), SLOPE)
        features = [x]
        for layer in self.layers:
            x = leaky_relu(layer(x), SLOPE)
            features.append(x)
        x = leaky_relu(self.middle(x), SLOPE)
        features.append(x)
        scores: Tensor = self.out(x).float() * GAIN
        return scores, features


def judge_loss(real: Tensor, drawn: Tensor) -> Tensor:
    """The discriminator's hinge loss of its scores."""
    return relu(1 - real).mean() + relu(1 + drawn).mean()


def matching(real: list[Tensor], drawn: list[Tensor]) -> Tensor:
    """Mean absolute difference of a discriminator's features."""
    return torch.stack([(a.detach() - b).abs().mean() for a, b in zip(real, drawn, strict=True)]).mean()
