"""The processes of one training run: which this is, what all agree on, and what ends them."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any, Final

import torch

from telepresence.errors import InputError

_ENDING: Final = (signal.SIGINT, signal.SIGTERM)


class Group:
    """This process among those that torchrun started; alone without torchrun."""

    def __init__(self, device: str | None) -> None:
        """Join.

        Args:
            device: "cpu", "cuda", "cuda:1"; None: a GPU if there is one.

        Raises:
            InputError: there is no such device.
        """
        self.rank, self.world = 0, int(os.environ.get("WORLD_SIZE", "1"))
        self.device = _own_device(device)
        if self.world > 1:
            if not torch.distributed.is_initialized():
                torch.distributed.init_process_group("nccl" if self.device.type == "cuda" else "gloo")
            self.rank = torch.distributed.get_rank()

    def everyone(self, agrees: bool) -> bool:
        """Whether all processes agree; each must ask."""
        if self.world == 1:
            return agrees
        vote = torch.tensor(float(agrees), device=self.device)
        torch.distributed.all_reduce(vote, torch.distributed.ReduceOp.MIN)
        return bool(vote)

    def same(self, number: int) -> bool:
        """Whether the number is the same in all processes; each must ask."""
        if self.world == 1:
            return True
        ends = torch.tensor([float(number), -float(number)], device=self.device)
        torch.distributed.all_reduce(ends, torch.distributed.ReduceOp.MAX)
        return bool(ends[0] == -ends[1])


class Signals:
    """Notes SIGTERM and Ctrl-C, so that a step is never cut in two; with `once`, a second one ends at once."""

    def __init__(self, once: bool) -> None:
        self.caught: int | None = None
        self._once = once
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in _ENDING:
                self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.caught = self.caught or number
        if self._once:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __exit__(self, *_: object) -> None:
        self._restore()


def _own_device(asked: str | None) -> torch.device:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    try:
        device = torch.device(asked or ("cuda" if gpus else "cpu"))
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % max(1, gpus))
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"--device {asked}: there is no such device here; leave it out, or give cpu") from error
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device
