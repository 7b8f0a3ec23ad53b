"""What a moment of a video is drawn from while fine-tuning, with the sample avatar as the person."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from telepresence.avatar.model import Reference
from telepresence.avatar.samples import sample_avatar
from telepresence.face.matte import Matter
from telepresence.face.motion import to_square
from telepresence.generator.live import LiveEncode, Network
from telepresence.generator.moments import NEAREST, SIDE, Moment, Places, small


@pytest.fixture(scope="module")
def references() -> list[Reference]:
    """The sample's, and as if the head had been tilted more and more: only where things lie matters here."""
    (one,) = sample_avatar().references
    centre = np.array([one.side / 2, one.side / 2, 0], np.float32)
    out = []
    for angle in np.linspace(0, 0.6, NEAREST + 2):
        turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]], np.float32)
        out.append(replace(one, landmarks=(one.landmarks - centre) @ turn + centre))
    return out


@pytest.fixture(scope="module")
def places(references: list[Reference]) -> Places:
    encode = LiveEncode(Network(), SIDE).eval()
    columns = []
    with torch.no_grad():
        for one in references:
            picture, matte = (
                torch.from_numpy(small(one.picture))[None],
                torch.from_numpy(small(one.matte))[None, ..., None],
            )
            points = torch.from_numpy(to_square(one.landmarks, one.side, one.side))[None]
            columns.append(encode(picture, matte, points)[1:5])
    return Places(*(torch.cat(part) for part in zip(*columns, strict=True)))


@pytest.fixture(scope="module")
def moment(places: Places, references: list[Reference]) -> Moment:
    """The second reference, as if it were a picture of the video."""
    one = references[1]
    with Matter() as matter:
        return places.moment(one.picture, one.landmarks, matter)


def test_the_nearest_come_first(places: Places, moment: Moment) -> None:
    assert moment.picture.shape == (3, SIDE, SIDE)
    assert moment.choice.indices.tolist() == [1, 1]
    for order in moment.nearest:
        assert order[0] == 1
        assert len(order) == len(set(order)) == NEAREST


def test_others_are_any_of_the_nearest_and_no_further_ones(places: Places, moment: Moment) -> None:
    random = np.random.default_rng(0)
    drawn = {tuple(places.other(moment, random).indices.tolist()) for _ in range(200)}
    assert drawn == {(mouth, eyes) for mouth in moment.nearest[0] for eyes in moment.nearest[1]}
    other = places.other(moment, random)
    assert torch.equal(other.mouth, moment.choice.mouth)
    assert torch.equal(other.eyes, moment.choice.eyes)


def test_each_is_drawn_from_its_own_references(places: Places, moment: Moment) -> None:
    random = np.random.default_rng(1)
    other = next(c for c in iter(lambda: places.other(moment, random), None) if 1 not in c.indices.tolist())
    both = places.drawn([moment, moment], [moment.choice, other])
    alone = places.drawn([moment], [other])
    for field in fields(both):
        assert torch.equal(getattr(both, field.name)[1:], getattr(alone, field.name)), field.name
    assert both.change[0].abs().max() < 1e-5  # it is that reference: nothing has moved
    assert (both.flow[1] - both.flow[0]).abs().max() > 0.05
