"""The live engine as training sees it: batches in, pictures out, with gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from telepresence.generator.batches import Batch
from telepresence.generator.live import Drawn, Network, Scales, compose, refine
from telepresence.generator.placing import TOLD


@dataclass(frozen=True, slots=True)
class Pictures:
    """What was drawn of a batch; float32, 0..1 where sane."""

    picture: Tensor
    """[B, 4, S, S] RGBA over the plate."""
    blend: Tensor
    """[B, 4, S, S] the same before anything was added to what was looked up."""
    flow: Tensor
    """[B, 2, R, R] correction of where to look."""


class Drawing(nn.Module):
    """Wraps the weights, so that they can be trained on several machines."""

    def __init__(self, network: Network, size: int = 256) -> None:
        super().__init__()
        self.network = network
        self.scales = Scales(size)

    def forward(self, batch: Batch) -> Pictures:
        """Draw a batch."""
        raw = batch.references.float() / 255
        pixels = torch.cat([raw[:, :3] * raw[:, 3:], raw[:, 3:]], 1)
        last = torch.channels_last
        encoded = self.network.encoder(pixels.contiguous(memory_format=last), batch.placed)
        features, details, modulation = (part[batch.which] for part in encoded)
        layer, blend, flow = refine(
            self.network,
            sort_raster(batch),
            pixels[batch.which],
            features,
            details,
            modulation.mean(1),
            self.scales,
        )
        plate = batch.plate.float() / 255
        return Pictures(compose(layer, plate), compose(blend, plate), flow)


def sort_raster(batch: Batch) -> Drawn:
    """A batch's rasters by meaning."""
    used = batch.mouth.shape[1]
    own = batch.raster[:, : used * 5].reshape(-1, used, 5, *batch.raster.shape[2:])
    lower = batch.raster[:, -2:-1].clamp(0, 1)
    prior = batch.mouth[:, :, None, None] * lower + batch.eyes[:, :, None, None] * (1 - lower)
    told = batch.raster[:, used * 5 : used * 5 + TOLD]
    return Drawn(own[:, :, :2], own[:, :, 2:], told, prior, batch.signatures, batch.fill)
