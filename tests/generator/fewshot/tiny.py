"""Few-shot networks small enough for tests, with weights that nobody trained."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch

from telepresence.generator.fewshot.config import FewShotConfig
from telepresence.generator.fewshot.network import Discriminator, FewShot
from telepresence.generator.fewshot.weights import judge_weights

TINY = FewShotConfig(
    size=32, width=1 / 16, embedder_width=1 / 16, judge_width=1 / 16, embedding=16, matte=True, inner=True,
    normalised=False,
)  # fmt: skip


def network(config: FewShotConfig = TINY) -> FewShot:
    """Of plain weights as float16 can hold. Two biases are equal, as those become whose results are added."""
    torch.manual_seed(0)
    made = FewShot(config, spectral=False).eval().requires_grad_(False)
    for value in made.parameters():
        value.copy_((value + 0.05 * torch.randn_like(value)).half().float())
    last = made.embedder.pyramid.blocks[-1]
    last.skip.bias.copy_(last.two.bias)
    return made


def judge(config: FewShotConfig = TINY) -> Discriminator:
    torch.manual_seed(1)
    made = Discriminator(config, 3)
    for name, value in made.named_parameters():
        if name.endswith(".share"):
            value.data.fill_(0.1)
    return made


def write_weights(path: Path, config: FewShotConfig = TINY, **more: object) -> Path:
    """As training writes them."""
    state = {name: value.half() for name, value in network(config).state_dict().items()}
    torch.save({"config": asdict(config), "state": state, "judge": judge_weights(judge(config)), **more}, path)
    return path
