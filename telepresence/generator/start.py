"""Begin a training run as the command asks for it: threads and memory, clips, split, trainer."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import torch

from telepresence.errors import InputError
from telepresence.generator.data.clips import SUFFIX, Clip, ClipMeta, load_clip, load_meta
from telepresence.generator.data.sources import HELD_OUT, ClipSource, may_train, read_sources, some_people, split
from telepresence.generator.run import Run
from telepresence.generator.training import Trainer, TrainingConfig
from telepresence.generator.validate import SIDE, choose_clips
from telepresence.generator.weights import read_weights, weights_of_engine

HELD_OUT_SHARE: Final = 0.05  # of the people, in collections that have none of ours
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEEP_BYTES: Final = 2_000_000_000
_MMAP_BYTES: Final = 32 << 20  # glibc refuses more


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """The options of `telepresence train live`, by their names."""

    clips: Path
    out: Path
    data: Path | None = None
    train_all: bool = False
    research: bool = False
    minutes: float | None = None
    samples: int | None = None
    cool_down: int = 0
    device: str | None = None
    perceptual: Path | None = None
    start: Path | None = None


def train_live(options: LiveOptions, chosen: Mapping[str, Any]) -> None:
    """Train the live engine.

    Args:
        options: what is trained on, where, how long.
        chosen: fields of `TrainingConfig` that are not to be the defaults.

    Raises:
        InputError: something given cannot be used.
    """
    config = TrainingConfig(**chosen)
    clips, seen = begin(options)
    trainer = Trainer(options.out, clips, config, options.device, validation=seen, perceptual=options.perceptual)
    if options.start is not None:
        folder = options.start.is_dir()
        trainer.begin_from(weights_of_engine(options.start) if folder else read_weights(options.start))
    go(trainer, options, clips, seen)


def begin(options: LiveOptions) -> tuple[list[Clip], list[Clip]]:
    """Settle this process, and read the clips to train on and those to look at.

    Raises:
        InputError: as `choose_files`, or a clip is of another size.
    """
    settle()
    train, validation = choose_files(options)
    return [_load(path) for path in train], choose_clips([_load(path) for path in validation])


def go(trainer: Run, options: LiveOptions, clips: Sequence[Clip], seen: Sequence[Clip]) -> None:
    """Say what is trained on, and train."""
    if trainer.rank == 0:
        people = len({clip.identity for clip in clips})
        print(
            f"{len(clips)} clips of {people} people, {sum(map(len, clips))} frames; {len(seen)} clips of people held "
            f"out; {trainer.device}; at {trainer.progress.samples} samples",
            flush=True,
        )
    trainer.run(options.samples, options.minutes, options.cool_down)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def choose_files(options: LiveOptions) -> tuple[list[Path], list[Path]]:
    """Prepared clips to train on, and those of the people held out.

    Raises:
        InputError: there is none, or nobody is left to train on.
    """
    paths = sorted(options.clips.glob(f"*{SUFFIX}")) if options.clips.is_dir() else []
    if not paths:
        source = options.data or "CLIPS_DIR"
        raise InputError(
            f"{options.clips}: no prepared clips; make them with: python -m telepresence.generator.data prepare "
            f"{source} --out {options.clips}"
        )
    metas = {path: load_meta(path) for path in paths}
    if options.data:
        sources = read_sources(options.data)
        train, validation = split(sources, _held_out(sources), research=options.research)
        first, second = ({source.name for source in part} for part in (train, validation))
        chosen = [path for path, meta in metas.items() if meta.name in first]
        unseen = [path for path, meta in metas.items() if meta.name in second]
    else:
        held_out = () if options.train_all else _held_out(metas.values())
        chosen = [path for path, meta in metas.items() if may_train(meta, held_out, research=options.research)]
        unseen = [path for path, meta in metas.items() if meta.scored and meta.identity in held_out]
    if not chosen:
        raise InputError(
            f"{options.clips}: none of its {len(paths)} clips may be trained on: people held out, altered pixels, "
            "rights for research only (--research), or not in --data"
        )
    return chosen, unseen


def settle() -> None:
    """Threads and memory, before anything large is made."""
    if "OMP_NUM_THREADS" not in os.environ:
        # A second thread gains nothing at these sizes, and two that wait for each other spin.
        torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if sys.platform == "linux":
        # Else every large tensor is a new mapping, whose pages the kernel has to clear: up to a third of a step.
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
            libc.mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES)


def _held_out(clips: Collection[ClipMeta] | Collection[ClipSource]) -> tuple[str, ...]:
    """Our own held-out people if some are there, else a share of those who are."""
    people = {clip.identity for clip in clips}
    if people & set(HELD_OUT):
        return tuple(HELD_OUT)
    return some_people(clips, HELD_OUT_SHARE)


def _load(path: Path) -> Clip:
    clip = load_clip(path)
    if clip.side != SIDE:
        raise InputError(f"{path}: pictures of {clip.side} pixels; the network needs --size {SIDE}; prepare it again")
    return clip
