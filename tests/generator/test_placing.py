from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from telepresence.face.topology import EYE_OPENING_LEFT, EYE_OPENING_RIGHT, LIPS, LIPS_INNER, LIPS_OUTER, MOUTH_OPENING
from telepresence.generator.batches import own_raster
from telepresence.generator.placing import COMMON_CHANNELS, FILL, RASTER, SIGNATURE, TOLD, TOLD_SIGNATURE, Placing
from tests.generator.data.made import face_points


@pytest.fixture(scope="module")
def placing() -> Placing:
    return Placing().eval()


def points(scale: float = 0.4, x: float = 0.0, y: float = 0.0, *, mouth: float = 0.0, turn: float = 0.0) -> Tensor:
    """A face in square coordinates; turned about the vertical axis before it is put in place."""
    face = face_points(scale)
    face[MOUTH_OPENING[1], 1] += mouth
    cos, sin = np.cos(turn), np.sin(turn)
    face[:, 0], face[:, 2] = cos * face[:, 0] + sin * face[:, 2], cos * face[:, 2] - sin * face[:, 0]
    face[:, :2] += (x, y)
    return torch.from_numpy(face)


def grid() -> Tensor:
    """[2, R, R] where a raster's pixels are."""
    centre = (torch.arange(RASTER) + 0.5) * 2 / RASTER - 1
    return torch.stack(torch.meshgrid(centre, centre, indexing="xy"))


def drawn(placing: Placing, now: Tensor, *references: Tensor) -> Tensor:
    moved, face = placing.vertices(now)
    vertices, expressions = zip(*[placing.vertices(one) for one in references], strict=True)
    return placing.draw(moved, vertices[0], torch.stack(vertices), face - torch.stack(expressions))


@pytest.mark.parametrize("turn", [0.0, 0.4])
def test_a_reference_that_is_the_picture_is_looked_up_where_it_lies(placing: Placing, turn: float) -> None:
    same = points(0.4, 0.1, -0.05, turn=turn)
    raster = drawn(placing, same, same, points(0.3))
    on_mesh = raster[-COMMON_CHANNELS + 3] > 0.99
    assert on_mesh.float().mean() > 0.2
    assert (raster[:2] - grid())[:, on_mesh].abs().max() < 2e-3
    assert (raster[:2] - grid()).abs().max() < 2e-3  # the room has not moved either
    assert raster[2:5].abs().max() < 1e-5  # no change of expression


def test_a_moved_and_larger_face_is_looked_up_where_it_was(placing: Placing) -> None:
    raster = drawn(placing, points(0.44, 0.1, 0.06), points(0.4))
    face = (raster[-COMMON_CHANNELS + 3] > 0.99) & (
        grid().sub(torch.tensor([0.1, 0.06])[:, None, None]).norm(dim=0) < 0.2
    )
    assert face.sum() > 30
    wanted = (grid() - torch.tensor([0.1, 0.06])[:, None, None]) * (0.4 / 0.44)
    assert (raster[:2] - wanted)[:, face].abs().max() < 4e-3


def test_every_reference_has_its_own_place_in_one_raster(placing: Placing) -> None:
    now, one, other = points(), points(0.35, 0.1), points(0.42, -0.1, turn=0.3)
    both, alone = drawn(placing, now, one, other), drawn(placing, now, one)
    four = drawn(placing, now, one, other, one, other)
    assert both.shape == (2 * 5 + COMMON_CHANNELS, RASTER, RASTER)
    assert torch.allclose(both[:5], alone[:5], atol=1e-5)
    assert torch.allclose(four[:10], both[:10], atol=1e-5)
    assert torch.allclose(four[10:20], both[:10], atol=1e-5)
    assert torch.allclose(four[-COMMON_CHANNELS:], both[-COMMON_CHANNELS:], atol=1e-5)
    assert (both[5:7] - both[:2]).abs().max() > 0.1


def test_an_opened_mouth_is_a_change_of_expression_at_the_mouth_alone(placing: Placing) -> None:
    raster = drawn(placing, points(mouth=0.08), points())
    change = raster[2:5].abs().amax(0)
    corners = [(points()[i, :2] + 1) * RASTER / 2 for i in LIPS]
    (left, top), (right, _) = torch.stack(corners).amin(0).int().tolist(), torch.stack(corners).amax(0).int().tolist()
    mouth = torch.zeros_like(change, dtype=torch.bool)
    mouth[top - 3 : top + 14, left - 3 : right + 4] = True
    assert change[mouth].max() > 0.03
    assert change[~mouth].max() < 0.02


def test_the_encoder_is_told_what_the_raster_of_the_picture_itself_says(placing: Placing) -> None:
    here = points(0.38, -0.1, 0.1)
    vertices, _ = placing.vertices(here)
    assert torch.allclose(
        own_raster(placing, vertices), drawn(placing, here, here)[-COMMON_CHANNELS:][:TOLD], atol=1e-6
    )


def test_what_the_network_is_told_is_of_the_face_and_not_of_where_it_is(placing: Placing) -> None:
    here = placing.signature(points())
    assert here.shape == (SIGNATURE,)
    there = placing.signature(points(0.25, 0.3, -0.2))
    assert torch.allclose(there[:TOLD_SIGNATURE], here[:TOLD_SIGNATURE], atol=1e-3)
    assert (there - here)[TOLD_SIGNATURE] > 0.5  # to the right, by more than half a face
    assert (there - here)[TOLD_SIGNATURE + 1] < -0.3
    assert (there - here)[-1] < -0.1  # and further away
    assert (placing.signature(points(mouth=0.1)) - here)[0] > 0.1
    shut = points()
    shut[EYE_OPENING_LEFT[1]] = shut[EYE_OPENING_LEFT[0]]
    assert (placing.signature(shut) - here)[3] < -0.01
    assert (placing.signature(points(turn=0.3)) - here)[6:].abs().max() > 0.2


def test_the_nearest_reference_is_chosen_for_mouth_and_eyes(placing: Placing) -> None:
    mouth, shut = points(mouth=0.1), points()
    for top, low in (EYE_OPENING_LEFT, EYE_OPENING_RIGHT):
        shut[low] = shut[top]
    both = points(mouth=0.1)
    for top, low in (EYE_OPENING_LEFT, EYE_OPENING_RIGHT):
        both[low] = both[top]
    signatures = torch.stack([placing.signature(p) for p in (points(), mouth, shut)])
    for used in (2, 4):
        choice = placing.choose(placing.signature(both), signatures, used)
        assert choice.indices[0] == 1
        assert choice.indices[used // 2] == 2
        assert float(choice.mouth.sum()) == pytest.approx(1)
        assert float(choice.eyes.sum()) == pytest.approx(1)
        assert choice.mouth[used // 2 :].abs().sum() == choice.eyes[: used // 2].abs().sum() == 0


def test_of_two_alike_the_mouth_is_of_the_one_whose_head_is_in_the_same_place(placing: Placing) -> None:
    here, aside = placing.signature(points()), placing.signature(points(0.38, 0.3, 0.0))
    now = placing.signature(points(0.38, 0.25, 0.02))
    assert placing.choose(now, torch.stack([here, aside]), 2).indices[0] == 1
    assert placing.choose(now, torch.stack([aside, here]), 2).indices[0] == 0


def test_a_copy_never_comes_second(placing: Placing) -> None:
    """Free slots repeat the first reference; where it is the nearest the next different one has to come second."""
    near, far = placing.signature(points()), placing.signature(points(mouth=0.1, turn=0.5))
    slots = torch.stack([near, far, near, near, near])
    choice = placing.choose(near, slots, 4)
    assert choice.indices.tolist() == [0, 1, 0, 1]
    alone = placing.choose(near, torch.stack([near] * 4), 4)
    assert alone.mouth[0] > 0.99
    assert alone.eyes[2] > 0.99


def test_a_neck_stretches_only_so_far(placing: Placing) -> None:
    first, _ = placing.vertices(points())
    rest = placing.moves[:, 0] == 0
    assert rest.any()

    def shift(x: float) -> float:
        moved, _ = placing.vertices(points(x=x))
        return float((placing.place(moved[None], first)[0][0, rest] - first[rest])[:, 0].mean())

    assert shift(0.02) == pytest.approx(0, abs=1e-4)
    assert shift(0.9) > 0.2
    assert shift(0.9) < 0.9


def test_what_no_reference_shows_is_drawn_plainly_and_only_then(placing: Placing) -> None:
    shut, opened = points(0.45), points(0.45)
    opened[[*LIPS_INNER[1:10], *LIPS_OUTER[1:10]], 1] += 0.12
    skin, looks = torch.tensor([[0.5, 0.4, 0.3] * 3] * 2), {}
    for name, now, then in (("gap", opened, shut), ("seen", opened, opened), ("shut", shut, opened)):
        here, there = placing.vertices(now)[0], placing.vertices(then)
        look = torch.stack([placing.signature(then)] * 2)
        choice = placing.choose(placing.signature(now), look, 2)
        raster = placing.draw(here, there[0], torch.stack([there[0]] * 2), torch.zeros(2, *there[0].shape))
        looks[name] = placing.fill(raster, choice, now, placing.signature(now), look, skin)
    assert looks["gap"][3].max() > 0.9
    rows, columns = torch.nonzero(looks["gap"][3] > 0.5, as_tuple=True)
    mouth = (opened[13, :2] + opened[14, :2]) / 2
    assert abs(float(columns.float().mean() + 0.5) / FILL * 2 - 1 - float(mouth[0])) < 0.05
    assert abs(float(rows.float().mean() + 0.5) / FILL * 2 - 1 - float(mouth[1])) < 0.05
    assert looks["seen"][3].max() < 0.01
    assert looks["shut"][3].max() < 0.01


def test_lids_that_no_reference_shows_shut_are_drawn_in_the_skins_colour(placing: Placing) -> None:
    awake, asleep = points(0.8), points(0.8)
    for upper, lower in ((159, 145), (158, 153), (160, 144), (157, 154), (161, 163)):  # the right eye alone
        asleep[upper] = asleep[lower] + 0.4 * (asleep[upper] - asleep[lower])  # shut wholly it has no width at all
    there = placing.vertices(awake)
    look = torch.stack([placing.signature(awake)] * 2)
    now = placing.signature(asleep)
    choice = placing.choose(now, look, 2)
    here = placing.vertices(asleep)[0]
    raster = placing.draw(here, there[0], torch.stack([there[0]] * 2), torch.zeros(2, *there[0].shape))
    drawn_by_rule = placing.fill(raster, choice, asleep, now, look, torch.tensor([[0.0] * 3 + [0.8, 0.6, 0.4] * 2] * 2))
    share = drawn_by_rule[3]
    assert share[:, : FILL // 2].max() > 0.5  # the subject's right eye is on the picture's left
    assert share[:, FILL // 2 :].max() < 0.01
    place = share.flatten().argmax()
    colour = drawn_by_rule[:3].flatten(1)[:, place] / share.flatten()[place]
    assert float(colour[0] / colour[2]) == pytest.approx(2.0, rel=0.01)
