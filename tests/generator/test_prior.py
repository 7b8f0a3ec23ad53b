from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from telepresence.face.basis import default_basis
from telepresence.face.topology import IRIS_LEFT, IRIS_RIGHT, N_FACE
from telepresence.generator.prior import REFERENCES, PriorEncode, PriorRender
from tests.face import synthetic

S = 256
MEAN = default_basis().mean
FRONTAL = synthetic.seen(MEAN, synthetic.pose(scale=0.45))
SKIN = (200, 160, 140)
PLATE = (20, 60, 120)

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
Reference = tuple[Picture, Picture, Floats]


def to_pixels(point: Floats) -> Floats:
    return (point + 1) * S / 2 - 0.5


def plain(colour: Sequence[int]) -> Picture:
    return np.broadcast_to(np.array(colour, np.uint8), (S, S, 3)).copy()


def everybody() -> Picture:
    return np.full((S, S), 255, np.uint8)


def textured(seed: int = 0) -> Picture:
    """Smooth colours, so that half a pixel's error is a few levels and five pixels' error is many."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:S, 0:S] / S
    waves = [np.sin(rng.uniform(10, 25) * x + rng.uniform(10, 25) * y + rng.uniform(0, 6)) for _ in range(3)]
    return np.uint8(np.stack(waves, -1) * 60 + 128)


def soft_head() -> Picture:
    y, x = (np.mgrid[0:S, 0:S] + 0.5) * 2 / S - 1
    radius = np.hypot(x / 0.6, (y - 0.15) / 0.75)
    return np.uint8(np.clip((1.05 - radius) * 10, 0, 1) * 255)


def opened(points: Floats, by: float = 0.2) -> Floats:
    """Drop the lower lip and the jaw by canonical units."""
    out = points.copy()
    lips = [14, 87, 317, 178, 402, 88, 318, 95, 324, 17, 84, 314, 181, 405, 91, 321, 18, 199, 152]
    out[lips, 1] += by * 0.45
    return out


class Drawing:
    """Encode and render as one function on numpy arrays."""

    def __init__(self) -> None:
        self.encode, self.render = PriorEncode().eval(), PriorRender(S).eval()

    def __call__(self, references: Sequence[Reference], keypoints: Floats, plate: Picture | None = None) -> Picture:
        with torch.no_grad():
            encoded = [
                self.encode(torch.tensor(p)[None], torch.tensor(m)[None, ..., None], torch.tensor(k)[None])
                for p, m, k in references
            ]
            filled = encoded + encoded[:1] * (REFERENCES - len(encoded))  # as the runtime does it
            features = [torch.cat(column) for column in zip(*filled, strict=True)]
            plate = plain(PLATE) if plate is None else plate
            out = self.render(torch.tensor(keypoints)[None], *features, torch.tensor(plate)[None])
        assert out.shape == (1, S, S, 4)
        assert out.dtype == torch.uint8
        picture: Picture = out[0].numpy()
        return picture


@pytest.fixture(scope="module")
def draw() -> Drawing:
    return Drawing()


def composed(picture: Picture, matte: Picture, plate: Picture) -> Floats:
    share = matte[..., None].astype(np.float32) / 255
    return picture * share + plate * (1 - share)


def test_keypoints_of_the_reference_give_the_reference(draw: Drawing) -> None:
    picture, matte, plate = textured(), soft_head(), textured(9)
    out = draw([(picture, matte, FRONTAL)], FRONTAL, plate)
    inner = slice(3, -3)  # at its border the flow is not extrapolated
    error = np.abs(out[..., :3] - composed(picture, matte, plate))[inner, inner]
    assert error.max() <= 3
    assert error.mean() < 0.6
    assert np.abs(out[..., 3].astype(int) - matte)[inner, inner].max() <= 2


def test_where_nobody_is_the_plate_shows_as_it_is(draw: Drawing) -> None:
    plate = textured(3)
    out = draw(
        [(textured(), soft_head(), FRONTAL)], synthetic.seen(MEAN, synthetic.pose(0.3, x=0.1, scale=0.45)), plate
    )
    empty = out[..., 3] == 0
    assert empty.mean() > 0.2
    assert np.array_equal(out[empty][:, :3], plate[empty])


def patch_centre(out: Picture) -> Floats:
    red = np.clip(out[..., 0].astype(float) - out[..., 1], 0, None)
    y, x = np.mgrid[0:S, 0:S]
    return np.array([(red * x).sum(), (red * y).sum()], np.float32) / red.sum()


@pytest.mark.parametrize("landmark", [1, 50, 151], ids=["nose", "cheek", "forehead"])
@pytest.mark.parametrize("move", [(0.15, 0.0), (-0.1, 0.08), (0.02, -0.2)])
def test_what_is_on_the_face_moves_with_its_keypoints(draw: Drawing, landmark: int, move: tuple[float, float]) -> None:
    picture, (px, py) = plain((90, 90, 90)), to_pixels(FRONTAL[landmark, :2])
    y, x = np.mgrid[0:S, 0:S]
    picture[np.hypot(x - px, y - py) < 5] = (250, 30, 30)
    moved = FRONTAL.copy()
    moved[:, :2] += move
    reference = (picture, everybody(), FRONTAL)
    before, after = (patch_centre(draw([reference], points, plain((90, 90, 90)))) for points in (FRONTAL, moved))
    assert before == pytest.approx((px, py), abs=0.3)
    assert after - before == pytest.approx(np.array(move) * S / 2, abs=0.5)


def test_a_turned_head_turns_and_the_near_side_hides_the_far(draw: Drawing) -> None:
    """The nose travels further than the cheeks, as it is nearer."""
    shifts = []
    turned = synthetic.seen(MEAN, synthetic.pose(turn=0.35, scale=0.45))
    for landmark in (1, 50):
        picture, (px, py) = plain((90, 90, 90)), to_pixels(FRONTAL[landmark, :2])
        y, x = np.mgrid[0:S, 0:S]
        picture[np.hypot(x - px, y - py) < 5] = (250, 30, 30)
        shift = patch_centre(draw([(picture, everybody(), FRONTAL)], turned)) - (px, py)
        assert shift == pytest.approx((turned - FRONTAL)[landmark, :2] * S / 2, abs=2.5)
        shifts.append(abs(shift[0]))
    assert shifts[0] > shifts[1] + 3


def test_the_head_moves_and_the_picture_border_stays(draw: Drawing) -> None:
    picture = textured()
    moved = synthetic.seen(MEAN, synthetic.pose(0.2, 0.1, 0.1, 0.05, 0.05, 0.45))
    reference = (picture, everybody(), FRONTAL)
    still, out = draw([reference], FRONTAL), draw([reference], moved)
    assert np.array_equal(still[:4], out[:4])
    assert np.array_equal(still[:, :4], out[:, :4])
    assert np.abs(still.astype(int) - out)[100:160, 100:160].mean() > 5


def inside_mouth(out: Picture, points: Floats) -> Floats:
    x, y = to_pixels(points[[13, 14], :2].mean(0)).round().astype(int)
    return out[y - 1 : y + 2, x - 2 : x + 3, :3].reshape(-1, 3).mean(0)


def test_an_open_mouth_is_drawn_only_if_the_reference_has_none(draw: Drawing) -> None:
    shut, wide = FRONTAL, opened(FRONTAL)
    skin = plain(SKIN)
    drawn = draw([(skin, everybody(), shut)], wide)
    assert inside_mouth(drawn, wide).mean() < 0.75 * np.mean(SKIN)  # dark, whereas the reference is skin all over
    for reference, now in ((wide, wide), (wide, shut), (shut, shut)):
        out = draw([(skin, everybody(), reference)], now)
        assert np.abs(out[3:-3, 3:-3, :3].astype(int) - SKIN).max() <= 2


def test_the_drawn_mouth_has_teeth_above_and_is_confined_to_the_mouth(draw: Drawing) -> None:
    wide = opened(FRONTAL)
    out = draw([(plain(SKIN), everybody(), FRONTAL)], wide)
    (x, top), (_, bottom) = to_pixels(wide[[13, 14], :2])
    column = out[:, round(x), :3].astype(float).mean(1)
    upper, lower = column[round(top + 0.2 * (bottom - top))], column[round(top + 0.85 * (bottom - top))]
    assert upper > lower + 20
    changed = np.abs(out[..., :3].astype(int) - SKIN).max(-1) > 4
    ys, xs = np.nonzero(changed)
    left, right = to_pixels(wide[[78, 308], :2])[:, 0]
    assert left - 3 < xs.min() < xs.max() < right + 3
    assert top - 3 < ys.min() < ys.max() < bottom + 3
    assert xs.max() - xs.min() > 0.7 * (right - left)  # from corner to corner, not only in the middle


def test_the_drawn_mouth_is_lit_as_the_face_is(draw: Drawing) -> None:
    wide = opened(FRONTAL)
    bright, dim = (draw([(plain(c), everybody(), FRONTAL)], wide) for c in (SKIN, tuple(v // 3 for v in SKIN)))
    ratio = inside_mouth(bright, wide).mean() / inside_mouth(dim, wide).mean()
    assert ratio == pytest.approx(3, rel=0.1)


POSES = {
    "ahead": FRONTAL,
    "open": opened(FRONTAL),
    "left": synthetic.seen(MEAN, synthetic.pose(turn=-0.4, scale=0.45)),
    "right": synthetic.seen(MEAN, synthetic.pose(turn=0.4, scale=0.45)),
}
COLOURS = {"ahead": (200, 40, 40), "open": (40, 200, 40), "left": (40, 40, 200), "right": (200, 200, 40)}


@pytest.mark.parametrize("order", [("ahead", "open", "left", "right"), ("right", "left", "open", "ahead")])
@pytest.mark.parametrize("wanted", list(POSES))
def test_the_nearest_reference_is_chosen(draw: Drawing, wanted: str, order: tuple[str, ...]) -> None:
    references = [(plain(COLOURS[name]), everybody(), POSES[name]) for name in order]
    out = draw(references, POSES[wanted])
    x, y = to_pixels(POSES[wanted][151, :2]).round().astype(int)  # the forehead, on the face in all poses
    assert np.abs(out[y, x, :3].astype(int) - COLOURS[wanted]).max() <= 8


@pytest.mark.parametrize("order", [("left", "right"), ("right", "left")])
def test_from_one_reference_to_the_next_there_is_no_jump(draw: Drawing, order: tuple[str, ...]) -> None:
    """However many slots are filled with copies of the first."""
    references = [(plain(COLOURS[name]), everybody(), POSES[name]) for name in order]
    x, y = to_pixels(FRONTAL[151, :2]).round().astype(int)
    turns = np.linspace(-0.24, 0.24, 17)
    path = np.array([draw(references, synthetic.seen(MEAN, synthetic.pose(t, scale=0.45)))[y, x, :3] for t in turns])
    assert np.abs(path[0].astype(int) - COLOURS["left"]).max() <= 16
    assert np.abs(path[-1].astype(int) - COLOURS["right"]).max() <= 16
    assert np.abs(np.diff(path.astype(int), axis=0)).max() < 80  # of 160: never half of the way in one step


def test_place_and_size_do_not_matter_to_the_choice(draw: Drawing) -> None:
    mouths = {"ahead": FRONTAL, "open": opened(FRONTAL)}
    references = [(plain(COLOURS[name]), everybody(), points) for name, points in mouths.items()]
    for name, points in mouths.items():
        elsewhere = (0.7 * points + np.float32([0.2, -0.1, 0])).astype(np.float32)
        x, y = to_pixels(elsewhere[151, :2]).round().astype(int)
        assert np.abs(draw(references, elsewhere)[y, x, :3].astype(int) - COLOURS[name]).max() <= 8


@pytest.mark.parametrize("case", ["far", "tiny", "huge", "upside down", "from behind", "all in one point"])
def test_extreme_keypoints_give_a_picture(draw: Drawing, case: str) -> None:
    points = {
        "far": FRONTAL + np.float32([2, 2, 0]),
        "tiny": synthetic.seen(MEAN, synthetic.pose(scale=0.02)),
        "huge": synthetic.seen(MEAN, synthetic.pose(scale=2)),
        "upside down": synthetic.seen(MEAN, synthetic.pose(roll=np.pi, scale=0.45)),
        "from behind": synthetic.seen(MEAN, synthetic.pose(turn=np.pi, scale=0.45)),
        "all in one point": np.full((478, 3), 0.1, np.float32),
    }[case]
    out = draw([(textured(), soft_head(), FRONTAL)], points)
    assert (out[..., 3] > 0).any() == (case != "far")  # then shoulders and all have left the picture
    if case in ("far", "tiny", "upside down", "from behind"):
        assert out[0, 0, 3] == 0  # the corner is still the plate


def test_nothing_is_learned() -> None:
    for module in (PriorEncode(), PriorRender(S)):
        assert not list(module.parameters())
        assert not module.state_dict()


def test_irises_are_part_of_the_mesh(draw: Drawing) -> None:
    """Gaze: a patch on the iris goes where the iris goes."""
    picture, (px, py) = plain((90, 90, 90)), to_pixels(FRONTAL[IRIS_RIGHT[0], :2])
    y, x = np.mgrid[0:S, 0:S]
    picture[np.hypot(x - px, y - py) < 3] = (250, 30, 30)
    moved = FRONTAL.copy()
    moved[list(IRIS_RIGHT + IRIS_LEFT), 0] += 0.03
    assert IRIS_RIGHT[0] >= N_FACE
    shift = patch_centre(draw([(picture, everybody(), FRONTAL)], moved)) - (px, py)
    assert 0.4 < shift[0] < 0.03 * S / 2 + 0.5
    assert abs(shift[1]) < 0.4
