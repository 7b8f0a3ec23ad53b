"""What every training run has: a folder, a checkpoint, a log, sheets, an average of the weights, and good ends.

A run is one process or several, resumable at any moment. The learning rate is constant until `--cool-down`, which lets
it fall to nothing over so many samples: what to give a run at its end, however long it was. Of all processes the first
alone writes.
"""

from __future__ import annotations

import json
import math
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol, cast

import torch
from torch import Tensor, nn

from telepresence.errors import InputError
from telepresence.generator import checkpoint
from telepresence.generator.data.clips import Clip
from telepresence.generator.group import Group, Signals

LOG: Final = "log.jsonl"
SHEETS: Final = "sheets"
MOST_SKIPPED: Final = 100  # batches in a row without a finite loss: the run is lost


class Settings(Protocol):
    """What every run's choices hold; they are a dataclass, kept in the checkpoint for the record."""

    @property
    def batch(self) -> int:
        """Samples a step and process."""

    @property
    def rate(self) -> float:
        """Learning rate of what draws."""

    @property
    def judge_rate(self) -> float:
        """Of what judges."""

    @property
    def ema_samples(self) -> int:
        """Over how many samples the shipped weights average."""

    @property
    def warm_up(self) -> int:
        """Samples over which the learning rates rise."""

    @property
    def seed(self) -> int:
        """Of weights and data."""

    @property
    def save_s(self) -> float:
        """Seconds from one checkpoint to the next."""

    @property
    def validate_s(self) -> float:
        """Seconds from one look to the next."""


@dataclass
class Progress:
    """Where a run stands."""

    samples: int = 0
    restarts: int = 0
    cooling_from: int | None = None
    cooling_over: int = 0
    skipped: int = 0
    """Batches without a finite loss."""


class Run(ABC):
    """A run in a folder; whoever derives from it builds the networks, calls `_own`, and says what a step is."""

    drawing: nn.Module
    """Batches in, pictures out; its `network` is what is trained."""
    average: nn.Module
    """The averaged weights."""
    judge: nn.Module
    optimiser: torch.optim.Optimizer
    judge_optimiser: torch.optim.Optimizer
    _batches: Iterator[Any]

    def __init__(self, folder: Path, config: Settings, device: str | None, validation: Sequence[Clip]) -> None:
        self.folder, self._settings, self._validation = folder, config, validation
        self._group = Group(device)
        self.rank, self.world, self.device = self._group.rank, self._group.world, self._group.device
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = checkpoint.lock(folder) if self.rank == 0 else None
        torch.manual_seed(config.seed)
        self.progress = Progress()
        self._sums: dict[str, tuple[Tensor, int]] = {}
        self._begin = time.monotonic()
        self._skipped_in_a_row = 0

    def _own(self) -> None:
        """Go on where the folder stands, once networks and optimisers are there."""
        self.resume()
        self._draw: nn.Module = self.drawing
        self._judge: nn.Module = self.judge
        if self.world > 1:
            if not self._group.same(self.progress.samples):
                raise InputError(
                    f"{self.folder}: not all processes see the same checkpoint there; give a shared folder"
                )
            self._draw = nn.parallel.DistributedDataParallel(self.drawing, forward_sync_buffers=False)
            self._judge = nn.parallel.DistributedDataParallel(self.judge, forward_sync_buffers=False)
        self.data_seed = (self._settings.seed + self.progress.restarts) * 64 + self.rank

    def _network(self) -> nn.Module:
        """What is trained."""
        network: Any = self.drawing.network
        return cast(nn.Module, network)

    @abstractmethod
    def step(self, batch: Any) -> None:
        """One batch. Without a finite loss nothing is learned and it is counted."""

    @abstractmethod
    def look(self) -> None:
        """Draw held-out people with the averaged weights: a line in the log and a sheet of pictures."""

    def run(self, samples: int | None = None, minutes: float | None = None, cool_down: int = 0) -> None:
        """Train until `samples` were seen in all, or for `minutes`; stopping at any moment loses little.

        SIGTERM ends it as if it were done. Both kinds of end, and errors, leave a checkpoint; a run that is lost leaves
        the one of before.

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
                    if now - saved > self._settings.save_s and not self._skipped_in_a_row:
                        self._report()
                        self.save()
                        saved = now
                    if self._validation and now - looked > self._settings.validate_s:
                        self.look()
                        looked = time.monotonic()
                    late = minutes is not None and now - begin > minutes * 60
                    if not self._group.everyone(not late and signals.caught is None):
                        break
            finally:
                self._report()
                if self._skipped_in_a_row < MOST_SKIPPED:  # else the checkpoint of before is the better one
                    self.save()
            if self._validation and signals.caught is None:
                self.look()
        if signals.caught == signal.SIGINT:
            raise KeyboardInterrupt

    def _set_rates(self) -> None:
        for optimiser, rate in (
            (self.optimiser, self._settings.rate),
            (self.judge_optimiser, self._settings.judge_rate),
        ):
            for group in optimiser.param_groups:
                group["lr"] = rate * self._factor()

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

    def _learn_judging(self, loss: Tensor) -> Tensor:
        self.judge_optimiser.zero_grad(set_to_none=True)
        if self._group.everyone(bool(torch.isfinite(loss))):
            loss.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(self.judge.parameters(), math.inf)  # only measured
            if torch.isfinite(norm):  # a finite loss may have infinite gradients, and they would spoil it for good
                self.judge_optimiser.step()
        return loss.nan_to_num()

    def _count(self, parts: dict[str, Tensor], *, learned: bool) -> None:
        """Note a step's losses; follow it if it was one."""
        self.progress.samples += self._settings.batch * self.world
        if learned:
            self._follow()
            for name, value in parts.items():
                total, count = self._sums.get(name, (torch.zeros((), device=self.device), 0))
                self._sums[name] = total + value.detach(), count + 1
        self._count_skipped(not learned)

    def _count_skipped(self, skipped: bool) -> None:
        self.progress.skipped += skipped
        self._skipped_in_a_row = self._skipped_in_a_row + 1 if skipped else 0
        if self._skipped_in_a_row >= MOST_SKIPPED:
            raise InputError(
                f"{self.folder}: {MOST_SKIPPED} batches in a row without a finite loss; begin in another folder, at a "
                "lower rate"
            )

    def _follow(self) -> None:
        step = self._settings.batch * self.world
        keep = max(0.0, 1 - step / self._settings.ema_samples)
        keep = min(keep, 1 - 1 / (1 + self.progress.samples / step))
        with torch.no_grad():
            for mine, new in self._followed():
                mine.lerp_(new, 1 - keep)

    def _followed(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Each averaged weight and what it follows."""
        network = self._network()
        return zip(self.average.parameters(), network.parameters(), strict=True)

    def _factor(self) -> float:
        rise = min(1.0, (self.progress.samples + 1) / self._settings.warm_up)
        if self.progress.cooling_from is None:
            return rise
        gone = (self.progress.samples - self.progress.cooling_from) / self.progress.cooling_over
        return rise * max(0.02, 1 - gone)

    def _cold(self) -> bool:
        start = self.progress.cooling_from
        return start is not None and self.progress.samples >= start + self.progress.cooling_over

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16)

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
        checkpoint.write(self._state(), self.folder / checkpoint.CHECKPOINT)
        checkpoint.write(self._weights(), self.folder / checkpoint.WEIGHTS)

    def _state(self) -> dict[str, Any]:
        network = self._network()
        return {
            "format": checkpoint.FORMAT,
            "config": asdict(self._settings),  # type: ignore[call-overload]
            "progress": asdict(self.progress),
            "network": network.state_dict(),
            "average": self.average.state_dict(),
            "judge": self.judge.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "judge_optimiser": self.judge_optimiser.state_dict(),
        }

    def _weights(self) -> dict[str, Any]:
        """What `weights.pt` holds: the averaged weights in float16."""
        return {name: value.half() for name, value in self.average.state_dict().items()}

    def resume(self) -> None:
        """Go on where the folder's checkpoint stands, if there is one.

        Raises:
            InputError: the checkpoint is damaged, or of another network.
        """
        path = self.folder / checkpoint.CHECKPOINT
        state = checkpoint.read(path, self.device)
        if state is None:
            return
        self._check(state, path)
        network = self._network()
        try:
            network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.judge.load_state_dict(state["judge"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.judge_optimiser.load_state_dict(state["judge_optimiser"])
            self.progress = Progress(**state["progress"])
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            told = str(error).splitlines()[0]
            raise InputError(f"{path} is of another network; train into another folder ({told})") from error
        self.progress.restarts += 1

    def _check(self, state: dict[str, Any], path: Path) -> None:
        """Refuse a checkpoint that is not this run's, with a better reason than its shapes.

        Raises:
            InputError: it is not.
        """
        return
