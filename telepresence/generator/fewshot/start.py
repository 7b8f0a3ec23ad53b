"""Begin the few-shot training as the command asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from telepresence.generator.fewshot.config import read_preset
from telepresence.generator.fewshot.training import FewShotTrainer
from telepresence.generator.start import LiveOptions, begin, go


def train_few_shot(config: str, options: LiveOptions, chosen: Mapping[str, Any]) -> None:
    """Train the few-shot networks.

    Args:
        config: name of a preset, or a TOML file.
        options: what is trained on, where, how long.
        chosen: fields of `FewShotTraining` that are not to be the preset's.

    Raises:
        InputError: something given cannot be used.
    """
    preset = read_preset(config)
    preset = replace(preset, training=replace(preset.training, **chosen))
    clips, seen = begin(options)
    trainer = FewShotTrainer(options.out, clips, preset, options.device, validation=seen, perceptual=options.perceptual)
    go(trainer, options, clips, seen)
