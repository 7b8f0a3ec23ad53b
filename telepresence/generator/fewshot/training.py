"""Meta-learning of the few-shot networks: one process or several, resumable at any moment.

    telepresence train fewshot --config small --clips PREPARED --out out/train/fewshot

A step is one of embedder and generator, then two of the discriminator on the same pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from telepresence.errors import InputError
from telepresence.generator.batches import drawn_elsewhere
from telepresence.generator.data.clips import Clip
from telepresence.generator.fewshot import losses as own_losses
from telepresence.generator.fewshot.batches import FewShotBatch, check_clips, draw_batches
from telepresence.generator.fewshot.config import Preset, difference
from telepresence.generator.fewshot.drawing import Drawing, Drawn, few_shot_start, signed
from telepresence.generator.fewshot.network import Discriminator, FewShot
from telepresence.generator.fewshot.weights import judge_weights
from telepresence.generator.losses import Perceptual, judge_loss, matching
from telepresence.generator.run import SHEETS, Run
from telepresence.generator.validate import look


class FewShotTrainer(Run):
    """A run of the few-shot networks."""

    drawing: Drawing
    average: FewShot
    judge: Discriminator

    def __init__(
        self,
        folder: Path,
        clips: Sequence[Clip],
        preset: Preset,
        device: str | None = None,
        *,
        validation: Sequence[Clip] = (),
        perceptual: Path | None = None,
    ) -> None:
        """Begin a run, or go on with it.

        Args:
            folder: where checkpoint, weights, log and sheets are; the same for all processes.
            clips: to train on; the discriminator has a column for each, so a run stays with its clips.
            preset: what can be chosen.
            device: "cpu", "cuda", "cuda:1"; None: a GPU if there is one.
            validation: clips of people that training never sees, to look at now and then.
            perceptual: file of a network to compare pictures by, see `losses.Perceptual`.

        Raises:
            InputError: the folder is in use or its checkpoint is not usable, clips are too short, or there is no such
                device.
        """
        check_clips(clips, preset)
        super().__init__(folder, preset.training, device, validation)
        self.preset, self.config, self.shape = preset, preset.training, preset.network
        self._names = [clip.name for clip in clips]
        # Not channels last, as the live engine's: instance norm would have to change it back each time.
        network = FewShot(self.shape).to(self.device)
        self.drawing = Drawing(network).to(self.device)
        self.average = FewShot(self.shape, spectral=False).to(self.device).requires_grad_(False)
        with torch.no_grad():
            for mine, new in self._followed():
                mine.copy_(new)
        self.judge = Discriminator(self.shape, len(clips)).to(self.device)
        betas = (self.config.momentum, 0.999)
        self.optimiser = torch.optim.Adam(network.parameters(), self.config.rate, betas)
        self.judge_optimiser = torch.optim.Adam(self.judge.parameters(), self.config.judge_rate, betas)
        # Only inside these two: embeddings, their mean and what is projected from it stay in float32.
        for part in (network.embedder, network.generator):
            part.forward = self._autocast()(part.forward)  # type: ignore[method-assign]
        self._own()
        self._perceptual = Perceptual(perceptual, self.device) if perceptual else None
        self._batches: Iterator[FewShotBatch] = drawn_elsewhere(
            partial(draw_batches, clips, preset), self.data_seed, self.config.workers
        )

    def step(self, batch: FewShotBatch) -> None:
        """One batch: embedder and generator, then discriminator."""
        self._set_rates()
        judged = self.progress.samples >= self.config.adversarial_after
        real = batch.target.float() / 255
        drawn: Drawn = self._draw(batch)
        parts = own_losses.content(self.config, batch, drawn, real)
        if self._perceptual:
            parts["perceptual"] = self.config.perceptual * self._perceptual(drawn.picture, real)
        if judged:
            parts |= self._adversarial(batch, drawn)
        learned = self._learn(torch.stack(list(parts.values())).sum())
        if learned and judged:
            shown = drawn.picture.detach() * 2 - 1
            for _ in range(self.config.judge_steps):
                parts["judge"] = self._train_judge(batch, shown)
        self._count(parts, learned=learned)

    def _adversarial(self, batch: FewShotBatch, drawn: Drawn) -> dict[str, Tensor]:
        raster, real, shown = signed(batch.raster), signed(batch.target), drawn.picture * 2 - 1
        self.judge.requires_grad_(False)
        with self._autocast():
            scores, features = self.judge(shown, raster, batch.clip)
            with torch.no_grad():
                _, wanted = self.judge(real, raster, batch.clip)
        self.judge.requires_grad_(True)
        parts = {
            "adversarial": -self.config.adversarial * scores.mean(),
            "matching": self.config.matching * matching(wanted, features).float(),
        }
        if self.config.match:
            parts["match"] = self.config.match * own_losses.match(
                drawn.embedding, self.judge.columns(batch.clip).detach()
            )
        return parts

    def _train_judge(self, batch: FewShotBatch, shown: Tensor) -> Tensor:
        raster, real = signed(batch.raster), signed(batch.target)
        with self._autocast():
            scores, _ = self._judge(torch.cat([real, shown]), torch.cat([raster, raster]), batch.clip.repeat(2))
        real_scores, drawn_scores = scores.chunk(2)
        return self._learn_judging(judge_loss(real_scores, drawn_scores))

    def _followed(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Averaged are the weights as they are used: with what spectral norm makes of them."""
        network = self.drawing.network
        for name, mine in self.average.named_parameters():
            path, _, last = name.rpartition(".")
            yield mine, getattr(network.get_submodule(path), last).detach()

    def look(self) -> None:
        """Draw held-out people with the averaged weights: a line in the log and a sheet of pictures."""
        if self.rank:
            return
        path = self.folder / SHEETS / f"{self.progress.samples:08d}.png"
        figures = look(partial(few_shot_start, self.average.eval()), self._validation, path)
        self._log({"validation": figures, "clips": len(self._validation), "sheet": path.name})

    def _state(self) -> dict[str, Any]:
        return super()._state() | {"shape": asdict(self.shape), "clips": self._names}

    def _weights(self) -> dict[str, Any]:
        return {
            "config": asdict(self.shape),
            "samples": self.progress.samples,
            "state": super()._weights(),
            "judge": judge_weights(self.judge),
            "matched": self.config.match > 0,  # whether an embedding may begin as a column in fine-tuning
        }

    def _check(self, state: dict[str, Any], path: Path) -> None:
        shape = state.get("shape")
        if not isinstance(shape, dict):
            raise InputError(f"{path} is not of few-shot networks; train into another folder")
        if unlike := difference(self.shape, shape):
            raise InputError(f"{path} is of other networks ({unlike}); train into another folder, or with its --config")
        if state.get("clips") != self._names:
            raise InputError(
                f"{path} was trained on other clips, and the discriminator knows each of them; give the same clips, or "
                "train into another folder"
            )
