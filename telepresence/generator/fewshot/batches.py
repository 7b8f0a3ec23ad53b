"""Samples made ready for the few-shot networks: smaller, landmarks drawn, each reference once.

Runs in the data workers, on the host: there a landmark drawing costs a tenth of what it does as tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from telepresence.errors import InputError
from telepresence.generator.batches import weights
from telepresence.generator.data.clips import Clip
from telepresence.generator.data.samples import SEVERAL, Sample, Sampler
from telepresence.generator.fewshot.config import Preset
from telepresence.generator.fewshot.raster import draw_on_host

Pictures = NDArray[np.uint8]
EVERYWHERE: Final = 80  # of 255: an error's weight at least; hair and clothes are drawn here, where others look them up
_ALL: Final = 1.0


@dataclass(frozen=True, slots=True)
class FewShotBatch:
    """B samples of E people, B / E each; N different references. Pictures are uint8 until they are on the device."""

    target: Tensor
    """[B, 3, S, S]."""
    matte: Tensor
    """[B, 1, S, S]."""
    weight: Tensor
    """[B, 1, S, S], what an error counts."""
    plate: Tensor
    """[B, 3, S, S]."""
    raster: Tensor
    """[B, 3, S, S], the target's landmarks."""
    references: Tensor
    """[N, 3, S, S]."""
    reference_mattes: Tensor
    """[N, 1, S, S]."""
    reference_rasters: Tensor
    """[N, 3, S, S]."""
    shares: Tensor
    """[B, N] float32: the mean over a sample's own references."""
    clip: Tensor
    """[B] int64, number of the clip, by its place among those trained on."""

    def to(self, device: torch.device) -> FewShotBatch:
        """Move everything."""
        moved: dict[str, Any] = {
            field.name: getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)
        }
        return replace(self, **moved)


def check_clips(clips: Sequence[Clip], preset: Preset) -> None:
    """Refuse clips that a batch cannot be drawn of.

    Raises:
        InputError: there is none, or one has too few frames for K references and a target.
    """
    if not clips:
        raise InputError("there is no clip to train on; prepare some: docs/training.md")
    needed = preset.network.references + 1
    short = [clip for clip in clips if len(clip) < needed]
    if short and not preset.training.several:
        raise InputError(
            f"{short[0].name}: {len(short[0])} frames, and {preset.network.references} references and a target need "
            f"{needed}; give fewer references, several = true, or leave the clip out ({len(short)} such clips)"
        )


def draw_batches(clips: Sequence[Clip], preset: Preset, seed: int) -> Iterator[FewShotBatch]:
    """An endless supply. Deterministic for a seed.

    Raises:
        InputError: as `check_clips`, or clips of several sizes.
    """
    check_clips(clips, preset)
    training, count = preset.training, preset.network.references
    several = SEVERAL if training.several else ((count, count, _ALL),)
    sampler = Sampler(clips, references=count, seed=seed, augment=training.augment, several=several)
    numbers = {clip.name: number for number, clip in enumerate(clips)}
    while True:
        drawn = [sampler.draw_several(training.targets) for _ in range(training.people)]
        yield collate(drawn, numbers, preset)


def collate(drawn: Sequence[Sequence[Sample]], numbers: dict[str, int], preset: Preset) -> FewShotBatch:
    """Put samples together; those of one person share their references."""
    size, inner = preset.network.size, preset.network.inner
    firsts = [samples[0] for samples in drawn]
    flat = [sample for samples in drawn for sample in samples]
    references = [sample.references[i] for sample in firsts for i in range(sample.distinct)]
    mattes = [sample.reference_mattes[i] for sample in firsts for i in range(sample.distinct)]
    points = [sample.reference_points[i] for sample in firsts for i in range(sample.distinct)]
    return FewShotBatch(
        target=_stacked([sample.target for sample in flat], size),
        matte=_stacked([sample.target_matte for sample in flat], size),
        weight=_stacked([_weights(sample) for sample in flat], size),
        plate=_stacked([sample.plate for sample in flat], size),
        raster=torch.from_numpy(np.stack([draw_on_host(sample.target_points, size, inner) for sample in flat])),
        references=_stacked(references, size),
        reference_mattes=_stacked(mattes, size),
        reference_rasters=torch.from_numpy(np.stack([draw_on_host(one, size, inner) for one in points])),
        shares=_shares([sample.distinct for sample in firsts], len(flat) // len(firsts)),
        clip=torch.tensor([numbers[sample.clip] for sample in flat]),
    )


def _weights(sample: Sample) -> Pictures:
    return np.maximum(weights(sample.target_points, sample.target.shape[0]), np.uint8(EVERYWHERE))


def _shares(distinct: Sequence[int], targets: int) -> Tensor:
    """[B, N]: which references are whose, as shares that add up to 1."""
    out = torch.zeros(len(distinct) * targets, sum(distinct))
    start = 0
    for number, count in enumerate(distinct):
        out[number * targets : (number + 1) * targets, start : start + count] = 1 / count
        start += count
    return out


def _stacked(pictures: Sequence[Pictures], size: int) -> Tensor:
    """[N, C, size, size] uint8 of N pictures (S, S, 3) or (S, S)."""
    small = [resized(picture, size) for picture in pictures]
    planes = [one.transpose(2, 0, 1) if one.ndim == 3 else one[None] for one in small]
    return torch.from_numpy(np.ascontiguousarray(np.stack(planes)))


def resized(picture: Pictures, size: int) -> Pictures:
    """A picture of another side; smaller ones are of areas' means."""
    if picture.shape[0] == size:
        return picture
    way = cv2.INTER_AREA if picture.shape[0] > size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (size, size), interpolation=way), np.uint8)
