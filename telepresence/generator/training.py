"""Train the live engine: one process or several, resumable at any moment.

    telepresence train live --clips PREPARED --out out/train/live

Two phases by the number of samples seen: first only what compares pictures with real ones, then the discriminator
joins. The learning rate is constant until `--cool-down`, which lets it fall to nothing over so many samples: what to
give a run at its end, however long it was. Every process writes nothing but the first.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from telepresence.errors import InputError
from telepresence.generator import checkpoint, losses
from telepresence.generator.batches import Batch, loader
from telepresence.generator.data.clips import Clip
from telepresence.generator.drawing import Drawing, Pictures, sort_raster
from telepresence.generator.group import Group, Signals
from telepresence.generator.live import Network
from telepresence.generator.network import COMMON
from telepresence.generator.validate import look

LOG: Final = "log.jsonl"
SHEETS: Final = "sheets"
MOST_SKIPPED: Final = 100  # batches in a row without a finite loss: the run is lost


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


@dataclass
class Progress:
    """Where a run stands."""

    samples: int = 0
    restarts: int = 0
    cooling_from: int | None = None
    cooling_over: int = 0
    skipped: int = 0
    """Batches without a finite loss."""


class Trainer:
    """A run in a folder."""

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
        self.folder, self.config, self._validation = folder, config, validation
        self._group = Group(device)
        self.rank, self.world, self.device = self._group.rank, self._group.world, self._group.device
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = checkpoint.lock(folder) if self.rank == 0 else None
        torch.manual_seed(config.seed)
        last = torch.channels_last
        network: Network = Network().to(self.device, memory_format=last)  # type: ignore[call-overload]
        self.drawing = Drawing(network).to(self.device)
        self.average = Network().to(self.device)
        self.average.load_state_dict(network.state_dict())
        self.judge: losses.Discriminator = losses.Discriminator(COMMON).to(self.device, memory_format=last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.Adam(network.parameters(), config.rate, betas=(0.9, 0.99))
        self.judge_optimiser = torch.optim.Adam(self.judge.parameters(), config.judge_rate, betas=(0.5, 0.99))
        self.progress = Progress()
        self.resume()
        # Only inside these three: bfloat16 would look up pictures a quarter of a pixel beside the place.
        for part in (network.encoder, network.trunk, network.finish):
            part.forward = self._autocast()(part.forward)  # type: ignore[method-assign]
        self._draw: nn.Module = self.drawing
        self._judge: nn.Module = self.judge
        if self.world > 1:
            if not self._group.same(self.progress.samples):
                raise InputError(f"{folder}: not all processes see the same checkpoint there; give a shared folder")
            self._draw = nn.parallel.DistributedDataParallel(self.drawing, forward_sync_buffers=False)
            self._judge = nn.parallel.DistributedDataParallel(self.judge, forward_sync_buffers=False)
        self._perceptual = losses.Perceptual(perceptual, self.device) if perceptual else None
        self.data_seed = (config.seed + self.progress.restarts) * 64 + self.rank
        pairs = config.temporal > 0
        self._batches: Iterator[Batch] = loader(
            clips, config.batch, seed=self.data_seed, workers=config.workers, pairs=pairs
        )
        self._sums: dict[str, tuple[Tensor, int]] = {}
        self._begin = time.monotonic()
        self._skipped_in_a_row = 0

    def begin_from(self, network: Network) -> None:
        """Start with these weights instead of untrained ones; a run that has seen samples goes on with its own."""
        if self.progress.samples == 0:
            for mine in (self.drawing.network, self.average):
                mine.load_state_dict(network.state_dict())

    def run(self, samples: int | None = None, minutes: float | None = None, cool_down: int = 0) -> None:
        """Train until `samples` were seen in all, or for `minutes`; stopping at any moment loses little.

        SIGTERM ends it as if it were done. Both kinds of end, and errors, leave a checkpoint.

        Raises:
            KeyboardInterrupt: after a Ctrl-C, when everything is saved.
            InputError: a clip is damaged, or losses stay infinite.
        """
        if cool_down and self.progress.cooling_from is None:
            self.progress.cooling_from, self.progress.cooling_over = self.progress.samples, cool_down
        if self._cold():
            self._say(f"{self.folder}: this run has cooled down; to train on, begin in another folder")
            return
        begin = saved = looked = self._begin = time.monotonic()
        with Signals(once=self.world == 1) as signals:
            try:
                while (samples is None or self.progress.samples < samples) and not self._cold():
                    self.step(next(self._batches).to(self.device))
                    now = time.monotonic()
                    if now - saved > self.config.save_s:
                        self._report()
                        self.save()
                        saved = now
                    if self._validation and now - looked > self.config.validate_s:
                        self.look()
                        looked = time.monotonic()
                    late = minutes is not None and now - begin > minutes * 60
                    if not self._group.everyone(not late and signals.caught is None):
                        break
            finally:
                self._report()
                self.save()
            if self._validation and signals.caught is None:
                self.look()
        if signals.caught == signal.SIGINT:
            raise KeyboardInterrupt

    def step(self, batch: Batch) -> None:
        """One batch: generator, then discriminator. Without a finite loss nothing is learned and it is counted."""
        config, real = self.config, batch.target.float() / 255
        for group in self.optimiser.param_groups:
            group["lr"] = config.rate * self._factor()
        for group in self.judge_optimiser.param_groups:
            group["lr"] = config.judge_rate * self._factor()
        judged = self.progress.samples >= config.adversarial_after
        pictures: Pictures = self._draw(batch)
        parts = self._parts(batch, pictures, real)
        told = sort_raster(batch).common
        if judged:
            parts |= self._adversarial(pictures.picture[:, :3], real, told)
        learned = self._learn(torch.stack(list(parts.values())).sum())
        if learned and judged:
            parts["judge"] = self._train_judge(pictures.picture[:, :3].detach(), real, told)
        self.progress.samples += config.batch * self.world
        if learned:
            self._follow()
            for name, value in parts.items():
                total, count = self._sums.get(name, (torch.zeros((), device=self.device), 0))
                self._sums[name] = total + value.detach(), count + 1
        self._count_skipped(not learned)

    def _learn(self, loss: Tensor) -> bool:
        self.optimiser.zero_grad(set_to_none=True)
        # All processes or none: one that left gradients out would let the others wait for them.
        if not self._group.everyone(bool(torch.isfinite(loss))):
            return False
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.drawing.parameters(), 1.0)
        if not torch.isfinite(norm):  # the same everywhere: gradients are averaged by now
            return False
        self.optimiser.step()
        return True

    def _count_skipped(self, skipped: bool) -> None:
        self.progress.skipped += skipped
        self._skipped_in_a_row = self._skipped_in_a_row + 1 if skipped else 0
        if self._skipped_in_a_row >= MOST_SKIPPED:
            raise InputError(
                f"{self.folder}: {MOST_SKIPPED} batches in a row without a finite loss; begin in another folder, at a "
                "lower rate"
            )

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
        loss = losses.judge_loss(real_scores, drawn_scores)
        self.judge_optimiser.zero_grad(set_to_none=True)
        if self._group.everyone(bool(torch.isfinite(loss))):
            loss.backward()  # type: ignore[no-untyped-call]
            self.judge_optimiser.step()
        return loss.nan_to_num()

    def _follow(self) -> None:
        keep = max(0.0, 1 - self.config.batch * self.world / self.config.ema_samples)
        keep = min(keep, 1 - 1 / (1 + self.progress.samples / (self.config.batch * self.world)))
        with torch.no_grad():
            theirs = self.drawing.network.parameters()
            for mine, new in zip(self.average.parameters(), theirs, strict=True):
                mine.lerp_(new, 1 - keep)

    def _factor(self) -> float:
        rise = min(1.0, (self.progress.samples + 1) / self.config.warm_up)
        if self.progress.cooling_from is None:
            return rise
        gone = (self.progress.samples - self.progress.cooling_from) / self.progress.cooling_over
        return rise * max(0.02, 1 - gone)

    def _cold(self) -> bool:
        start = self.progress.cooling_from
        return start is not None and self.progress.samples >= start + self.progress.cooling_over

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16)

    def look(self) -> None:
        """Draw held-out people with the averaged weights: a line in the log and a sheet of pictures."""
        if self.rank:
            return
        path = self.folder / SHEETS / f"{self.progress.samples:08d}.png"
        figures = look(self.average, self._validation, path)
        self._log({"validation": figures, "clips": len(self._validation), "sheet": path.name})

    def _report(self) -> None:
        if not self._sums or self.rank:
            return
        means = {name: round(float(total) / count, 5) for name, (total, count) in self._sums.items()}
        skipped = {"skipped": self.progress.skipped} if self.progress.skipped else {}
        self._log({"rate": self._factor(), **means, **skipped})
        self._sums = {}

    def _log(self, figures: dict[str, Any]) -> None:
        seconds = round(time.monotonic() - self._begin)
        row = json.dumps({"samples": self.progress.samples, "seconds": seconds, **figures})
        with (self.folder / LOG).open("a") as log:
            log.write(row + "\n")
        self._say(row)

    def _say(self, line: str) -> None:
        if self.rank == 0:
            print(line, flush=True)

    def save(self) -> None:
        """Write checkpoint and averaged weights, each whole or not at all."""
        if self.rank:
            return
        state = {
            "format": checkpoint.FORMAT,
            "config": asdict(self.config),
            "progress": asdict(self.progress),
            "network": self.drawing.network.state_dict(),
            "average": self.average.state_dict(),
            "judge": self.judge.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "judge_optimiser": self.judge_optimiser.state_dict(),
        }
        checkpoint.write(state, self.folder / checkpoint.CHECKPOINT)
        averaged = {name: value.half() for name, value in self.average.state_dict().items()}
        checkpoint.write(averaged, self.folder / checkpoint.WEIGHTS)

    def resume(self) -> None:
        """Go on where the folder's checkpoint stands, if there is one.

        Raises:
            InputError: the checkpoint is damaged, or of another network.
        """
        path = self.folder / checkpoint.CHECKPOINT
        state = checkpoint.read(path, self.device)
        if state is None:
            return
        try:
            self.drawing.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.judge.load_state_dict(state["judge"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.judge_optimiser.load_state_dict(state["judge_optimiser"])
            self.progress = Progress(**state["progress"])
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            told = str(error).splitlines()[0]
            raise InputError(f"{path} is of another network; train into another folder ({told})") from error
        self.progress.restarts += 1
