"""Train the live engine: one process or several, resumable at any moment.

    telepresence train live --clips PREPARED --out out/train/live

Two phases by the number of samples seen: first only what compares pictures with real ones, then the discriminator
joins. `Run` is what all training has in common: folder, checkpoint, log, cooling down.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from telepresence.generator import losses
from telepresence.generator.batches import Batch, loader
from telepresence.generator.data.clips import Clip
from telepresence.generator.drawing import Drawing, Pictures, sort_raster
from telepresence.generator.live import Network
from telepresence.generator.network import COMMON
from telepresence.generator.run import SHEETS, Run
from telepresence.generator.validate import live_start, look


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """What can be chosen; kept in the checkpoint for the record."""

    batch: int = 5
    rate: float = 8e-4
    judge_rate: float = 4e-4
    adversarial_after: int = 8_000
    """Samples before the discriminator joins."""
    adversarial: float = 0.02
    matching: float = 1.0
    ssim: float = 0.25
    gradient: float = 0.5
    energy: float = 2.0
    """Detail, wherever exactly it lies: against blur."""
    matte: float = 0.3
    blend: float = 0.3
    """What the blend itself is worth: teaches where to look."""
    rough: float = 0.02
    temporal: float = 0.5
    """What the change between neighbouring frames is worth; with 0 none are drawn."""
    perceptual: float = 0.1
    """What the network of `--perceptual` is worth."""
    ema_samples: int = 4000
    """Over how many samples the shipped weights average."""
    warm_up: int = 3000
    """Samples over which the learning rate rises."""
    seed: int = 0
    workers: int = 1
    save_s: float = 120.0
    validate_s: float = 900.0


class Trainer(Run):
    """A run of the live engine."""

    drawing: Drawing
    average: Network
    judge: losses.Discriminator

    def __init__(
        self,
        folder: Path,
        clips: Sequence[Clip],
        config: TrainingConfig,
        device: str | None = None,
        *,
        validation: Sequence[Clip] = (),
        perceptual: Path | None = None,
    ) -> None:
        """Begin a run, or go on with it.

        Args:
            folder: where checkpoint, weights, log and sheets are; the same for all processes.
            clips: to train on.
            config: what can be chosen.
            device: "cpu", "cuda", "cuda:1"; None: a GPU if there is one.
            validation: clips of people that training never sees, to look at now and then.
            perceptual: file of a network to compare pictures by, see `losses.Perceptual`.

        Raises:
            InputError: the folder is in use or its checkpoint is not usable, or there is no such device.
        """
        super().__init__(folder, config, device, validation)
        self.config = config
        last = torch.channels_last
        network: Network = Network().to(self.device, memory_format=last)  # type: ignore[call-overload]
        self.drawing = Drawing(network).to(self.device)
        self.average = Network().to(self.device)
        self.average.load_state_dict(network.state_dict())
        self.judge = losses.Discriminator(COMMON).to(self.device, memory_format=last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.Adam(network.parameters(), config.rate, betas=(0.9, 0.99))
        self.judge_optimiser = torch.optim.Adam(self.judge.parameters(), config.judge_rate, betas=(0.5, 0.99))
        # Only inside these three: bfloat16 would look up pictures a quarter of a pixel beside the place.
        for part in (network.encoder, network.trunk, network.finish):
            part.forward = self._autocast()(part.forward)  # type: ignore[method-assign]
        self._own()
        self._perceptual = losses.Perceptual(perceptual, self.device) if perceptual else None
        pairs = config.temporal > 0
        self._batches: Iterator[Batch] = loader(
            clips, config.batch, seed=self.data_seed, workers=config.workers, pairs=pairs
        )

    def begin_from(self, network: Network) -> None:
        """Start with these weights instead of untrained ones; a run that has seen samples goes on with its own."""
        if self.progress.samples == 0:
            for mine in (self.drawing.network, self.average):
                mine.load_state_dict(network.state_dict())

    def step(self, batch: Batch) -> None:
        """One batch: generator, then discriminator. Without a finite loss nothing is learned and it is counted."""
        config, real = self.config, batch.target.float() / 255
        self._set_rates()
        judged = self.progress.samples >= config.adversarial_after
        pictures: Pictures = self._draw(batch)
        parts = self._parts(batch, pictures, real)
        told = sort_raster(batch).common
        if judged:
            parts |= self._adversarial(pictures.picture[:, :3], real, told)
        learned = self._learn(torch.stack(list(parts.values())).sum())
        if learned and judged:
            parts["judge"] = self._train_judge(pictures.picture[:, :3].detach(), real, told)
        self._count(parts, learned=learned)

    def _parts(self, batch: Batch, pictures: Pictures, real: Tensor) -> dict[str, Tensor]:
        config, weight = self.config, batch.weight.float() / 255
        shown, blend = pictures.picture[:, :3], pictures.blend[:, :3]
        parts = {
            "l1": losses.pyramid_l1(shown, real, weight),
            "ssim": config.ssim * losses.dissimilarity(shown, real, weight),
            "gradient": config.gradient * losses.gradient_l1(shown, real, weight),
            "energy": config.energy * losses.energy(shown, real, weight),
            "matte": config.matte * (pictures.picture[:, 3:] - batch.matte.float() / 255).abs().mean(),
            "blend": config.blend * (losses.pyramid_l1(blend, real, weight) + losses.gradient_l1(blend, real, weight)),
            "rough": config.rough * losses.roughness(pictures.flow),
        }
        if batch.paired and config.temporal:
            parts["temporal"] = config.temporal * losses.flicker(shown[-2:], real[-2:], weight[-2:])
        if self._perceptual:
            parts["perceptual"] = config.perceptual * self._perceptual(shown, real)
        return parts

    def _adversarial(self, shown: Tensor, real: Tensor, told: Tensor) -> dict[str, Tensor]:
        self.judge.requires_grad_(False)
        with self._autocast():
            score, features = self.judge(shown, told)
            with torch.no_grad():
                _, wanted = self.judge(real, told)
        self.judge.requires_grad_(True)
        return {
            "adversarial": -self.config.adversarial * score.mean(),
            "matching": self.config.matching * losses.matching(wanted, features).float(),
        }

    def _train_judge(self, shown: Tensor, real: Tensor, told: Tensor) -> Tensor:
        with self._autocast():
            scores, _ = self._judge(torch.cat([real, shown]), torch.cat([told, told]))
        real_scores, drawn_scores = scores.chunk(2)
        return self._learn_judging(losses.judge_loss(real_scores, drawn_scores))

    def look(self) -> None:
        """Draw held-out people with the averaged weights: a line in the log and a sheet of pictures."""
        if self.rank:
            return
        path = self.folder / SHEETS / f"{self.progress.samples:08d}.png"
        figures = look(partial(live_start, self.average), self._validation, path)
        self._log({"validation": figures, "clips": len(self._validation), "sheet": path.name})
