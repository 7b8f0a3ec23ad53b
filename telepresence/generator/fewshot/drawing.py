"""The few-shot networks as training and validation see them: references and landmarks in, pictures over a plate out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from telepresence.generator.data.clips import Clip
from telepresence.generator.fewshot.batches import FewShotBatch, resized
from telepresence.generator.fewshot.network import FewShot, of_person
from telepresence.generator.fewshot.raster import draw_on_host
from telepresence.generator.validate import Draw, Start


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was drawn of a batch; float32."""

    picture: Tensor
    """[B, 3, S, S] over the plate, 0..1."""
    matte: Tensor | None
    """[B, 1, S, S] 0..1; None where the whole picture is drawn."""
    embedding: Tensor
    """[B, N], of each sample's references."""


class Drawing(nn.Module):
    """Wraps the weights, so that they can be trained on several machines."""

    def __init__(self, network: FewShot) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: FewShotBatch) -> Drawn:
        """Draw a batch."""
        network = self.network
        pictures = signed(batch.references)
        if network.config.matte:
            pictures = of_person(pictures, batch.reference_mattes.float() / 255)
        embedding = batch.shares @ network.embedder(pictures, signed(batch.reference_rasters))
        out = network.generator(signed(batch.raster), network.generator.project(embedding))
        picture, matte = composed(out, batch.plate.float() / 255)
        return Drawn(picture, matte, embedding)


def signed(pictures: Tensor) -> Tensor:
    """uint8 -> float32 -1..1."""
    return pictures.float() / 127.5 - 1


def composed(out: Tensor, plate: Tensor) -> tuple[Tensor, Tensor | None]:
    """What a generator drew [B, 3 or 4, S, S], over a plate [B, 3, S, S] 0..1 -> picture 0..1, matte or None."""
    colours = (out[:, :3] + 1) / 2
    if out.shape[1] == 3:
        return colours, None
    matte = out[:, 3:]
    return colours * matte + plate * (1 - matte), matte


def few_shot_start(network: FewShot, shots: int) -> Start:
    """How the few-shot engine draws a clip; `shots` are what it is given."""
    config, device = network.config, next(network.parameters()).device

    def start(clip: Clip, slots: list[int]) -> Draw:
        rows = [_reference(clip, index, config.size, inner=config.inner) for index in slots]
        pictures, mattes, rasters = (torch.from_numpy(np.stack(part)).to(device) for part in zip(*rows, strict=True))
        shown = signed(pictures)
        if config.matte:
            shown = of_person(shown, mattes.float() / 255)
        modulation = network.generator.project(network.embedder(shown, signed(rasters)).mean(0, keepdim=True))

        def draw(points: NDArray[np.float32]) -> NDArray[np.uint8]:
            raster = torch.from_numpy(draw_on_host(np.asarray(points), config.size, config.inner))[None].to(device)
            out = network.generator(signed(raster), modulation)[0].permute(1, 2, 0).cpu().numpy()
            colours = np.asarray(np.rint((out[..., :3] + 1) * 127.5), np.uint8)
            large = resized(colours, clip.side)
            if not config.matte:
                return large
            alpha = resized(np.asarray(np.rint(out[..., 3] * 255), np.uint8), clip.side)[..., None] / 255
            return np.asarray(np.rint(large * alpha + clip.plate * (1 - alpha)), np.uint8)

        return draw

    return start


def _reference(clip: Clip, index: int, size: int, *, inner: bool) -> tuple[NDArray[np.uint8], ...]:
    picture, matte = resized(clip.picture(index), size), resized(clip.matte(index), size)
    raster = draw_on_host(np.asarray(clip.points[index]), size, inner)
    return np.ascontiguousarray(picture.transpose(2, 0, 1)), matte[None], raster
