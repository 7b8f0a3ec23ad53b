from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from telepresence.errors import InputError
from telepresence.generator.data.clips import Clip
from telepresence.generator.fewshot.batches import FewShotBatch, check_clips, draw_batches, resized
from telepresence.generator.fewshot.config import FewShotConfig, FewShotTraining, Preset
from telepresence.generator.fewshot.raster import draw_on_host
from tests.generator.data.made import made_clip

PUBLISHED = Preset(FewShotConfig(size=32, references=3), FewShotTraining(people=2, targets=2))


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return [made_clip(40), made_clip(40, name="second", identity="bob")]


def drawn(clips: list[Clip], preset: Preset = PUBLISHED, seed: int = 1) -> FewShotBatch:
    return next(draw_batches(clips, preset, seed))


def test_a_batch_has_what_the_networks_need(clips: list[Clip]) -> None:
    batch = drawn(clips)
    shapes = {field.name: tuple(getattr(batch, field.name).shape) for field in fields(batch)}
    assert shapes == {
        "target": (4, 3, 32, 32),
        "matte": (4, 1, 32, 32),
        "weight": (4, 1, 32, 32),
        "plate": (4, 3, 32, 32),
        "raster": (4, 3, 32, 32),
        "references": (6, 3, 32, 32),
        "reference_mattes": (6, 1, 32, 32),
        "reference_rasters": (6, 3, 32, 32),
        "shares": (4, 6),
        "clip": (4,),
    }
    assert {getattr(batch, name).dtype for name in shapes if name not in ("shares", "clip")} == {torch.uint8}
    assert batch.clip[0] == batch.clip[1]
    assert batch.clip[2] == batch.clip[3]


def test_each_sample_has_the_mean_of_its_own_references(clips: list[Clip]) -> None:
    shares = drawn(clips).shares
    assert torch.allclose(shares.sum(1), torch.ones(4))
    assert torch.equal(shares[0] > 0, torch.tensor([True] * 3 + [False] * 3))
    assert torch.equal(shares[0], shares[1])
    assert torch.equal(shares[3] > 0, torch.tensor([False] * 3 + [True] * 3))


def test_pictures_belong_to_their_landmarks_and_their_clip(clips: list[Clip]) -> None:
    """Frame i of a made clip wears its number in its brightness and in how far to the right its face is."""
    batch = drawn(clips)
    for number in range(4):
        frame = round((float(batch.target[number].float().mean()) - 40) / 3)
        clip = clips[int(batch.clip[number])]
        wanted = draw_on_host(np.asarray(clip.points[frame]), 32, False)
        assert np.array_equal(batch.raster[number].numpy(), wanted)
    levels = batch.references.float().mean((1, 2, 3))
    assert len({round(float(level)) for level in levels[:3]}) == 3


def test_fewer_references_only_when_asked(clips: list[Clip]) -> None:
    asked = replace(PUBLISHED, training=replace(PUBLISHED.training, several=True))
    counts = {tuple((drawn(clips, asked, seed).shares > 0).sum(1).tolist()) for seed in range(8)}
    assert {1, 3} <= {count for row in counts for count in row}
    always = {tuple((drawn(clips, seed=seed).shares > 0).sum(1).tolist()) for seed in range(4)}
    assert always == {(3, 3, 3, 3)}


def test_the_same_seed_gives_the_same_batch(clips: list[Clip]) -> None:
    one, same, other = (drawn(clips, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.target, same.target)
    assert not torch.equal(one.target, other.target)


def test_too_few_frames_for_so_many_references_are_told(clips: list[Clip]) -> None:
    short = [*clips, made_clip(3, name="short")]
    with pytest.raises(InputError, match=r"short: 3 frames, and 3 references and a target need 4.*1 such"):
        check_clips(short, PUBLISHED)
    check_clips(short, replace(PUBLISHED, training=replace(PUBLISHED.training, several=True)))
    with pytest.raises(InputError, match="no clip"):
        check_clips([], PUBLISHED)


def test_pictures_are_made_smaller_by_means() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[::2] = 200
    assert np.unique(resized(picture, 32)).tolist() == [100]
    assert resized(picture, 64) is picture
