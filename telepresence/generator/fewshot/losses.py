"""The few-shot method's losses (Zakharov et al. 2019, section 3.2), from those that the live engine has.

The published content loss compares feature maps of VGG19 and VGGFace, which are not shipped. What stands for it are
differences at four scales, SSIM, gradients and amount of detail, each where it counts; `--perceptual` adds a network.
"""

from __future__ import annotations

from torch import Tensor

from telepresence.generator import losses
from telepresence.generator.fewshot.batches import FewShotBatch
from telepresence.generator.fewshot.config import FewShotTraining
from telepresence.generator.fewshot.drawing import Drawn


def content(config: FewShotTraining, batch: FewShotBatch, drawn: Drawn, real: Tensor) -> dict[str, Tensor]:
    """What compares with the real picture [B, 3, S, S] 0..1: weighted losses by name."""
    weight, shown = batch.weight.float() / 255, drawn.picture
    parts = {
        "l1": config.content * losses.pyramid_l1(shown, real, weight),
        "ssim": config.content * config.ssim * losses.dissimilarity(shown, real, weight),
        "gradient": config.content * config.gradient * losses.gradient_l1(shown, real, weight),
        "energy": config.content * config.energy * losses.energy(shown, real, weight),
    }
    if drawn.matte is not None:
        parts["matte"] = config.matte * (drawn.matte - batch.matte.float() / 255).abs().mean()
    return parts


def match(embedding: Tensor, column: Tensor) -> Tensor:
    """How far the embeddings [B, N] are from their clips' columns W_i [B, N]: mean absolute difference."""
    return (embedding - column).abs().mean()
