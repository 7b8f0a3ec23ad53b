from __future__ import annotations

import numpy as np
import pytest

from telepresence.face.landmarks import LandmarkTracker
from telepresence.face.motion import to_square
from telepresence.face.topology import EYE_LEFT, EYE_RIGHT, IRIS_LEFT, IRIS_RIGHT, LIPS
from telepresence.generator.data import warp as module
from telepresence.generator.data.warp import MOST_BEND, Resampler, Warp, draw_warp, mirror_partners, still_warp
from tests.clips import portrait
from tests.generator.data.made import face_points

SIDE = 256


def warps(count: int, **options: bool) -> list[Warp]:
    random = np.random.default_rng(3)
    return [draw_warp(random, face_points(), **options) for _ in range(count)]


def dots(points: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE) picture per point: a soft dot at it. Returns (N, SIDE, SIDE) uint8."""
    centre = (np.arange(SIDE) + 0.5) * 2 / SIDE - 1
    gaps = (
        (centre[None, None] - points[:, 0, None, None]) ** 2 + (centre[None, :, None] - points[:, 1, None, None]) ** 2
    ) * (SIDE / 2) ** 2
    return np.rint(255 * np.exp(-gaps / (2 * 2.5**2))).astype(np.uint8)


def centroid(picture: np.ndarray) -> np.ndarray:
    weight = picture.astype(float)
    centre = (np.arange(SIDE) + 0.5) * 2 / SIDE - 1
    return np.array([(weight.sum(0) * centre).sum(), (weight.sum(1) * centre).sum()]) / weight.sum()


@pytest.mark.parametrize("number", range(12))
def test_points_go_where_the_picture_goes(number: int) -> None:
    """Bound: half a pixel of 256, most of which is the centroid's of a dot that was stretched."""
    warp = warps(12)[number]
    points = face_points()
    moved = warp.points(points)
    moved = moved[mirror_partners()] if warp.mirrored else moved
    resample = Resampler(warp, SIDE)
    for index in (1, 61, 291, 33, 263, 10, 152, 234):
        picture = np.repeat(dots(points[[index]])[0][..., None], 3, 2)
        for drawn in (resample.picture(picture)[..., 0], resample.smooth(picture[..., 0])):
            assert np.abs(centroid(drawn) - moved[index, :2]).max() * SIDE / 2 < 0.5


def test_the_maps_and_the_points_are_each_others_inverse() -> None:
    """Tighter than what pictures can show: 0.02 pixels of 256, all over the face."""
    points = face_points()
    for warp in warps(60):
        moved = warp.points(points)
        moved = moved[mirror_partners()] if warp.mirrored else moved
        inverse = np.linalg.inv(warp.matrix)
        u = (moved[:, :2] - warp.shift) @ inverse.T
        source = u + np.cos(u @ warp.waves.T + warp.phases) @ warp.heights
        assert np.abs(source - points[:, :2]).max() * SIDE / 2 < 0.02


def test_maps_are_what_the_formula_says() -> None:
    warp = warps(3)[2]
    x, y = warp.maps(32)
    at = (np.arange(32) + 0.5) / 16 - 1
    place = np.stack(np.meshgrid(at, at), -1)
    u = (place - warp.shift) @ np.linalg.inv(warp.matrix).T
    source = u + np.cos(u @ warp.waves.T + warp.phases) @ warp.heights
    assert np.abs(np.stack([x, y], -1) - source).max() < 1e-5


def test_the_still_warp_changes_nothing() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)
    smooth = np.asarray(module.np.rint(np.linspace(0, 255, SIDE)[None, :, None] * np.ones((SIDE, 1, 3))), np.uint8)
    resample = Resampler(still_warp(mirror=False), SIDE)
    assert np.array_equal(resample.smooth(picture), picture)
    assert np.abs(resample.picture(smooth).astype(int) - smooth).max() <= 1
    assert np.array_equal(Resampler(still_warp(mirror=True), SIDE).smooth(picture), picture[:, ::-1])
    assert np.allclose(still_warp(mirror=False).points(face_points()), face_points(), atol=1e-6)


def test_warped_pictures_stay_sharp() -> None:
    """Why pictures are doubled first: linear interpolation alone would train the generator to blur."""
    rows = np.arange(SIDE)
    picture = np.repeat(
        (127 + 100 * np.sin(rows[:, None] * 2 * np.pi / 5) * np.ones((1, SIDE)))[..., None], 3, 2
    ).astype(np.uint8)
    shift = Warp(np.eye(2), np.array([0.0, 1.0 / SIDE]), np.zeros((1, 2)), np.zeros(1), np.zeros((1, 2)))
    contrast = [
        Resampler(shift, SIDE).picture(picture)[20:-20].std() / picture.std(),
        Resampler(shift, SIDE).smooth(picture)[20:-20].std() / picture.std(),
    ]
    assert contrast[0] > 0.9 > contrast[1]


def test_a_mirror_swaps_left_and_right() -> None:
    partners = mirror_partners()
    assert np.array_equal(np.sort(partners), np.arange(478))
    assert np.array_equal(partners[partners], np.arange(478))
    assert set(partners[list(EYE_LEFT)]) == set(EYE_RIGHT)
    assert set(partners[list(IRIS_LEFT)]) == set(IRIS_RIGHT)
    assert set(partners[list(LIPS)]) == set(LIPS)
    assert partners[[1, 10, 152, 13, 14]].tolist() == [1, 10, 152, 13, 14]


def test_a_mirrored_face_is_found_as_its_mirrored_landmarks() -> None:
    """MediaPipe itself as the judge of the permutation: each landmark, and far better than without it."""
    picture = portrait()
    with LandmarkTracker(still=True) as tracker:
        straight, flipped = tracker(picture), tracker(np.ascontiguousarray(picture[:, ::-1]))
    assert straight is not None
    assert flipped is not None
    side = picture.shape[0]
    expected = still_warp(mirror=True).points(to_square(straight, side, side))
    gaps = np.linalg.norm((expected - to_square(flipped, side, side))[:, :2], axis=1)
    width = float(np.ptp(expected[:, 0]))
    assert gaps.max() < 0.08 * width
    assert np.median(gaps) < 0.02 * width
    unmirrored = expected[mirror_partners()]
    assert np.median(np.linalg.norm((unmirrored - to_square(flipped, side, side))[:, :2], axis=1)) > 0.1 * width


def test_depth_grows_with_the_face() -> None:
    warp = Warp(np.diag([2.0, 0.5]), np.zeros(2), np.zeros((1, 2)), np.zeros(1), np.zeros((1, 2)))
    points = face_points(0.2)
    assert np.allclose(warp.points(points)[:, 2], points[:, 2], atol=1e-6)
    warp = Warp(np.diag([1.5, 1.5]), np.zeros(2), np.zeros((1, 2)), np.zeros(1), np.zeros((1, 2)))
    assert np.allclose(warp.points(points)[:, 2], 1.5 * points[:, 2], atol=1e-6)


def test_warps_differ_and_keep_the_face_inside() -> None:
    drawn = warps(100)
    assert 30 < sum(warp.mirrored for warp in drawn) < 70
    assert len({round(float(warp.matrix[0, 0]), 6) for warp in drawn}) > 80
    tight = face_points(0.6)
    random = np.random.default_rng(5)
    outside = [(np.abs(draw_warp(random, tight).points(tight)[:, :2]) > 1).any(1).mean() for _ in range(100)]
    before = (np.abs(tight[:, :2]) > 1).any(1).mean()
    assert max(outside) <= before + module.MORE_OUTSIDE + 1e-9


def test_waves_bend_no_more_than_they_may() -> None:
    for warp in warps(50):
        assert np.linalg.norm(warp.heights, axis=1).sum() <= MOST_BEND + 1e-9
        steepest = (np.linalg.norm(warp.heights, axis=1) * np.linalg.norm(warp.waves, axis=1)).sum()
        assert steepest < 0.25  # the contraction that `points` relies on


def edges(warp: Warp) -> tuple[float, float]:
    """Where the middles of the source's upper and lower edge come to lie, waves aside."""
    above, below = (warp.matrix @ (0.0, y) + warp.shift for y in (-1.0, 1.0))
    return float(above[1]), float(below[1])


def test_a_head_cut_off_above_is_not_shown_from_farther_away() -> None:
    assert max(edges(warp)[0] for warp in warps(100, cut_off=True)) <= -1 + 1e-9
    assert max(edges(warp)[0] for warp in warps(100)) > -0.8


def test_the_lower_edge_stays_covered() -> None:
    assert min(edges(warp)[1] for warp in [*warps(100), *warps(100, cut_off=True)]) >= 1 - 1e-9
