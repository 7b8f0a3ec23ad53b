from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
import torch

from telepresence.errors import InputError, MediaError
from telepresence.face.topology import EYE_LEFT, EYE_OPENING_LEFT, EYE_OPENING_RIGHT, LIPS, MOUTH_OPENING, OVAL
from telepresence.generator.batches import (
    FACE,
    TELLING,
    USED,
    WHOLE,
    Batch,
    Preparer,
    collate,
    draw_batch,
    loader,
    weights,
)
from telepresence.generator.data.clips import Clip, parse_clip
from telepresence.generator.data.samples import Sampler
from tests.generator.data.made import SIDE, clip_bytes, face_points, made_clip


def sampled(clips: list[Clip], seed: int = 0, augment: bool = True) -> tuple[Sampler, Preparer]:
    return Sampler(clips, references=4, seed=seed, augment=augment), Preparer(seed)


def lively(count: int = 40, **described: object) -> Clip:
    """Some frames have the mouth open, others the eyes shut."""
    clip = made_clip(count, **described)
    clip.points = clip.points.copy()
    clip.points[::2, MOUTH_OPENING[1], 1] += 0.1
    for top, low in (EYE_OPENING_LEFT, EYE_OPENING_RIGHT):
        clip.points[::3, low] = clip.points[::3, top]
    return clip


def test_weights_are_least_around_the_face_and_most_at_lips_and_eyes() -> None:
    points = face_points(0.5)
    found = weights(points, 256)
    pixels = np.rint((points[:, :2] + 1) * 128).astype(int)
    assert found[2, 2] == found[-3, -3] == WHOLE
    for ring in (LIPS, EYE_LEFT):
        x, y = pixels[list(ring)].mean(0).astype(int)
        assert found[y, x] == TELLING
    x, y = pixels[4]  # the nose
    assert found[y, x] == FACE
    oval = pixels[list(OVAL)]
    grown = round(0.12 * np.ptp(oval[:, 0]))
    middle = int(oval[:, 1].mean())
    assert found[middle, oval[:, 0].max() + grown - 4] == FACE
    assert found[middle, oval[:, 0].max() + grown + 5] == WHOLE


def test_a_face_half_outside_has_weights_too() -> None:
    found = weights(face_points(0.5, x=1.2), 128)
    assert found.min() == WHOLE
    assert found.max() > FACE


def test_collate_finds_each_samples_references() -> None:
    sampler, preparer = sampled([lively(), lively(name="b", identity="bob")], augment=False)
    samples, prepared = [], []
    for _ in range(12):
        samples.append(sampler.draw(preparer.choose))
        prepared.append(preparer.prepare(samples[-1]))
    batch = collate(prepared)
    assert len({len(one["references"]) for one in prepared}) == 2  # one picture for both, or two
    assert len(batch.references) == len(batch.placed) == sum(len(one["references"]) for one in prepared)
    for sample, row in zip(samples, batch.which, strict=True):
        for picture, matte, index in zip(sample.references, sample.reference_mattes, row, strict=True):
            assert np.array_equal(batch.references[index, :3].permute(1, 2, 0), picture)
            assert np.array_equal(batch.references[index, 3], matte)


def test_a_batch_has_what_it_promises() -> None:
    batch = draw_batch(*sampled([made_clip()]), 3)
    n = len(batch.references)
    shapes = {f.name: tuple(getattr(batch, f.name).shape) for f in fields(Batch) if f.name != "paired"}
    assert shapes == {
        "target": (3, 3, SIDE, SIDE),
        "matte": (3, 1, SIDE, SIDE),
        "weight": (3, 1, SIDE, SIDE),
        "plate": (3, 3, SIDE, SIDE),
        "raster": (3, USED * 5 + 9, 64, 64),
        "mouth": (3, USED),
        "eyes": (3, USED),
        "signatures": (3, 24),
        "fill": (3, 4, 128, 128),
        "references": (n, 4, SIDE, SIDE),
        "placed": (n, 7, 64, 64),
        "which": (3, USED),
    }
    assert torch.allclose(batch.mouth.sum(1), torch.ones(3))
    assert not batch.paired
    moved = batch.to(torch.device("meta"))
    assert moved.target.device.type == moved.which.device.type == "meta"
    assert not moved.paired


def test_the_last_two_are_neighbours_that_share_everything() -> None:
    sampler, preparer = sampled([made_clip(40)], augment=False)
    for _ in range(5):
        batch = draw_batch(sampler, preparer, 3, pairs=True)
        assert batch.paired
        assert torch.equal(batch.which[1], batch.which[2])
        assert int(batch.which.max()) == len(batch.references) - 1
        step = batch.target[2].float().mean() - batch.target[1].float().mean()
        assert float(step) == pytest.approx(3, abs=0.5)  # a frame later is three levels brighter
        assert not torch.equal(batch.raster[1], batch.raster[2])


def test_no_pairs_across_gaps_in_time_nor_in_a_batch_of_one() -> None:
    sparse = made_clip(20)
    sparse.times_us = sparse.times_us * 5
    assert not draw_batch(*sampled([sparse]), 2, pairs=True).paired
    assert not draw_batch(*sampled([made_clip()]), 1, pairs=True).paired


def test_a_sample_of_another_choice_is_refused() -> None:
    sampler, preparer = sampled([made_clip()])
    with pytest.raises(InputError, match="just before"):
        preparer.prepare(sampler.draw())


def test_seeds_decide_what_is_drawn() -> None:
    def first(seed: int) -> torch.Tensor:
        return next(loader([made_clip()], 1, seed=seed, workers=0)).target

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_names_its_clip(workers: int) -> None:
    clip = parse_clip(clip_bytes(12, name="spoilt"), "made")
    clip._pictures = memoryview(bytes(len(clip._pictures)))
    with pytest.raises(MediaError, match=r"^spoilt: .*damaged"):
        next(loader([clip], 1, seed=0, workers=workers))


_HOLDS_ON = """
from telepresence.generator.batches import loader
from tests.generator.data.made import made_clip
batches = loader([made_clip()], 1, seed=0)
next(batches)
raise SystemExit(3)
"""


def test_a_trainer_that_ends_with_batches_in_hand_does_end() -> None:
    assert subprocess.run([sys.executable, "-c", _HOLDS_ON], timeout=120).returncode == 3
