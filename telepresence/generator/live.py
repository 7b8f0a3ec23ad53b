"""The live engine's graphs: geometry of `placing`, learned parts of `network`, in the engine contract's shapes.

One look-up per reference at 64x64 (features), 128x128 (details) and S x S (pixels), the last two after the trunk has
said where to look; then what `Finish` adds. At 512 the same network runs at 256 and corrects the 512 pixels. At 128 the
pixels are looked up at 128, and `Finish` is told of each as if it were four alike: two thirds of the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, interpolate

from telepresence.generator.network import DETAILS, FEATURES, Encoder, Finish, Looked, SmallFinish, Trunk
from telepresence.generator.placing import (
    COMMON_CHANNELS,
    FILL,
    RASTER,
    TOLD,
    TOLD_SIGNATURE,
    Choice,
    Placing,
)
from telepresence.generator.sampling import bilinear, resize, tones

REFERENCES: Final = 32
"""K; what a picture costs does not depend on it."""
USED: Final = 2
"""U of the shipped graph: one for the mouth, one for the eyes and the rest. Two of each, crossfaded, were no better
where compared (engines/LOG.md), and a third slower."""
FINE: Final = 128  # side of the detail maps
NETWORK_SIDE: Final = 256  # pixels that the network sees; larger pictures are corrected at this size


class Network(nn.Module):
    """All learned weights."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.trunk, self.finish = Encoder(), Trunk(), Finish()


@dataclass(frozen=True, slots=True)
class Drawn:
    """Geometry of B pictures; all float32."""

    flow: Tensor
    """[B, U, 2, R, R] where to look in each reference."""
    change: Tensor
    """[B, U, 3, R, R] of expression."""
    common: Tensor
    """[B, 7, R, R]."""
    prior: Tensor
    """[B, U, R, R] shares by geometry alone."""
    signatures: Tensor
    """[B, 24]."""
    fill: Tensor
    """[B, 4, FILL, FILL] what is drawn by rule: colour times share, share."""


def drawn_from(raster: Tensor, choice: Choice, now: Tensor, signatures: Tensor, fill: Tensor) -> Drawn:
    """Sort one picture's raster [U * 5 + 9, R, R]; `signatures` [U, 15] are of the used references."""
    used = choice.indices.shape[0]
    own = raster[: used * 5].reshape(1, used, 5, *raster.shape[1:])
    lower = raster[-2].clamp(0, 1)[None, None]  # a raster oversteps its corners a little
    mouth, eyes = choice.mouth[None, :, None, None], choice.eyes[None, :, None, None]
    shown = ((choice.mouth + choice.eyes)[:, None] * signatures).sum(0) / 2
    return Drawn(
        own[:, :, :2],
        own[:, :, 2:],
        raster[None, used * 5 : used * 5 + TOLD],
        mouth * lower + eyes * (1 - lower),
        torch.cat([now[:TOLD_SIGNATURE], shown[:TOLD_SIGNATURE]])[None],
        fill[None],
    )


class Scales(nn.Module):
    """Matrices that enlarge bilinearly."""

    picture: Tensor
    """[S, R]."""
    fine: Tensor
    """[FINE, R]."""
    fill: Tensor
    """[S, FILL]."""

    def __init__(self, size: int) -> None:
        super().__init__()
        for name, matrix in (
            ("picture", bilinear(size, RASTER)),
            ("fine", bilinear(FINE, RASTER)),
            ("fill", bilinear(size, FILL)),
        ):
            self.register_buffer(name, matrix, persistent=False)


def refine(
    network: Network,
    drawn: Drawn,
    pixels: Tensor,
    features: Tensor,
    details: Tensor,
    modulation: Tensor,
    scales: Scales,
    small_finish: SmallFinish | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw B pictures, without their background.

    Args:
        network: the weights.
        drawn: the geometry.
        pixels: [B, U, 4, S, S] premultiplied; features [B, U, 32, 64, 64]; details [B, U, 8, 128, 128]: of the used.
        modulation: [B, M].
        scales: for pictures of side S.
        small_finish: takes the place of the network's own if S is 128.

    Returns:
        picture [B, 4, S, S] premultiplied, not clamped; the blend before anything was added, likewise; and the trunk's
        correction of where to look [B, 2, R, R].
    """
    b, u = pixels.shape[:2]
    looked = _look(features.flatten(0, 1), drawn.flow.flatten(0, 1)).reshape(b, u, FEATURES, *drawn.flow.shape[3:])
    seen: Looked = network.trunk(
        torch.cat([looked, drawn.change.to(looked.dtype)], 2),
        drawn.common,
        drawn.prior,
        modulation,
        drawn.signatures,
    )
    where = (drawn.flow + seen.flow[:, None]).flatten(0, 1)
    fine = _look(details.flatten(0, 1), resize(where, scales.fine)).reshape(b, u, DETAILS, *[FINE] * 2)
    fine = (fine * resize(seen.shares, scales.fine)[:, :, None].to(fine.dtype)).sum(1)
    sharp = _look(pixels.flatten(0, 1), resize(where, scales.picture)).reshape(pixels.shape)
    blend = (sharp * resize(seen.shares, scales.picture)[:, :, None].to(sharp.dtype)).sum(1)
    fill = resize(drawn.fill, scales.fill)
    colour = blend[:, :3] * (1 - fill[:, 3:]) + fill[:, :3] * blend[:, 3:]
    blend = torch.cat([colour, blend[:, 3:]], 1)
    side = blend.shape[-1]
    if small_finish is not None:
        return blend + small_finish(seen.hidden, blend, fine).float(), blend, seen.flow
    small = blend if side == NETWORK_SIDE else nn.functional.avg_pool2d(blend, side // NETWORK_SIDE)
    added = network.finish(seen.hidden, small, fine).float()
    if side != NETWORK_SIDE:
        added = interpolate(added, size=(side, side), mode="bilinear", align_corners=False)
    return blend + added, blend, seen.flow


def _for_network(pixels: Tensor) -> Tensor:
    """[1, 4, S, S] -> [1, 4, 256, 256]; S is 128, 256 or 512."""
    side = pixels.shape[-1]
    if side < NETWORK_SIDE:
        return interpolate(pixels, scale_factor=NETWORK_SIDE / side, mode="bilinear", align_corners=False)
    return pixels if side == NETWORK_SIDE else nn.functional.avg_pool2d(pixels, side // NETWORK_SIDE)


def _look(maps: Tensor, where: Tensor) -> Tensor:
    """maps [N, C, H, W] at [N, 2, h, w] square coordinates -> [N, C, h, w]; coordinates stay in float32."""
    grid = where.permute(0, 2, 3, 1).to(maps.dtype if maps.dtype == torch.float64 else torch.float32)
    return grid_sample(maps.to(grid.dtype), grid, mode="bilinear", padding_mode="border", align_corners=False)


class LiveEncode(nn.Module):
    """Once per reference."""

    outputs = ("pixels", "vertices", "expression", "signature", "tone", "features", "details", "modulation")

    def __init__(self, network: Network, size: int) -> None:
        super().__init__()
        self.encoder, self.placing, self.size = network.encoder, Placing(), size

    def forward(self, picture: Tensor, matte: Tensor, keypoints: Tensor) -> tuple[Tensor, ...]:
        """Encode one reference.

        Args:
            picture: [1, S, S, 3] uint8 RGB.
            matte: [1, S, S, 1] uint8, 255 is person.
            keypoints: [1, 478, 3] float32, square coordinates.

        Returns:
            pixels [1, 4, S, S] uint8 premultiplied, a quarter of the memory for a rounding error; vertices and
            expression [1, V, 3]; signature [1, 15]; tone [1, 9]; features [1, 32, 64, 64]; details [1, 8, 128, 128];
            modulation [1, M].
        """
        alpha = matte.float().permute(0, 3, 1, 2) / 255
        colour = picture.float().permute(0, 3, 1, 2) / 255
        pixels = torch.cat([colour * alpha, alpha], 1)
        vertices, expression = self.placing.vertices(keypoints[0])
        raster = self.placing.draw(vertices, vertices, vertices[None], torch.zeros_like(expression)[None])
        learned = self.encoder(_for_network(pixels), raster[None, -COMMON_CHANNELS:][:, :TOLD])
        tone = tones(colour, keypoints[0])
        kept = (pixels * 255 + 0.5).to(torch.uint8)
        return kept, vertices[None], expression[None], self.placing.signature(keypoints[0])[None], tone[None], *learned


class LiveRender(nn.Module):
    """Per picture."""

    def __init__(self, network: Network, size: int, used: int = USED) -> None:
        super().__init__()
        self.network, self.placing, self.used = network, Placing(), used
        self.scales = Scales(size)
        self.small_finish = SmallFinish(network.finish) if size < NETWORK_SIDE else None

    def forward(
        self,
        keypoints: Tensor,
        pixels: Tensor,
        vertices: Tensor,
        expression: Tensor,
        signature: Tensor,
        tone: Tensor,
        features: Tensor,
        details: Tensor,
        modulation: Tensor,
        background: Tensor,
    ) -> Tensor:
        """Draw one picture.

        Args:
            keypoints: [1, 478, 3] float32, square coordinates.
            pixels ... modulation: from `LiveEncode`, stacked to K.
            background: [1, S, S, 3] uint8 RGB, the background plate.

        Returns:
            [1, S, S, 4] uint8 RGBA; RGB is already composed over the background, A is the matte.
        """
        points = keypoints[0]
        now = self.placing.signature(points)
        choice = self.placing.choose(now, signature, self.used)
        picked = choice.indices
        moved, face = self.placing.vertices(points)
        raster = self.placing.draw(moved, vertices[0], vertices[picked], face - expression[picked])
        fill = self.placing.fill(raster, choice, points, now, signature[picked], tone[picked])
        drawn = drawn_from(raster, choice, now, signature[picked], fill)
        layer, _, _ = refine(
            self.network,
            drawn,
            pixels[picked][None].float() / 255,
            features[picked][None],
            details[picked][None],
            ((choice.mouth + choice.eyes)[:, None] / 2 * modulation[picked]).sum(0, keepdim=True),
            self.scales,
            self.small_finish,
        )
        plate = background.float().permute(0, 3, 1, 2) / 255
        picture = compose(layer, plate)
        return (picture * 255 + 0.5).clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8)


def compose(layer: Tensor, plate: Tensor) -> Tensor:
    """Premultiplied [B, 4, S, S] over a plate [B, 3, S, S] -> RGBA [B, 4, S, S], 0..1 where the layer is sane."""
    alpha = layer[:, 3:].clamp(0, 1)
    return torch.cat([layer[:, :3] + plate * (1 - alpha), alpha], 1)
