from __future__ import annotations

import numpy as np
import pytest
import torch

from telepresence.generator.raster import MAX_PER_TILE, TILE, Rasteriser

SIZE = 32
CENTRES = (np.arange(SIZE) + 0.5) * 2 / SIZE - 1


def sheet(channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Two triangles behind everything that show where a pixel is: x, y, then zeros."""
    corners = np.array([[[-3, -3, 50], [3, -3, 50], [-3, 3, 50]], [[3, 3, 50], [3, -3, 50], [-3, 3, 50]]], np.float32)
    values = np.zeros((2, 3, channels), np.float32)
    values[..., :2] = corners[..., :2]
    return corners, values


def draw(corners: np.ndarray, attributes: np.ndarray) -> np.ndarray:
    """(C, SIZE, SIZE) as the module draws it."""
    out = Rasteriser(SIZE)(torch.from_numpy(corners)[None], torch.from_numpy(attributes)[None])
    assert out.shape == (1, attributes.shape[-1], SIZE, SIZE)
    return out[0].numpy()


def by_hand(corners: np.ndarray, attributes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same in float64, pixel by pixel; also where the answer is not a matter of rounding."""
    picture = np.zeros((attributes.shape[-1], SIZE, SIZE))
    sure = np.ones((SIZE, SIZE), bool)
    for row, y in enumerate(CENTRES):
        for column, x in enumerate(CENTRES):
            seen = []
            for triangle, values in zip(corners.astype(np.float64), attributes, strict=True):
                (x0, y0, z0), (x1, y1, z1), (x2, y2, z2) = triangle
                area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
                if abs(area) < 1e-7:
                    continue
                a = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) / area
                b = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) / area
                slack = min(a, b, 1 - a - b)
                sure[row, column] &= abs(slack) > 2e-3
                if slack >= 0:
                    seen.append(
                        (a * z0 + b * z1 + (1 - a - b) * z2, a * values[0] + b * values[1] + (1 - a - b) * values[2])
                    )
            depths = sorted(d for d, _ in seen)
            if len(depths) > 1 and depths[1] - depths[0] < 1e-3:
                sure[row, column] = False
            picture[:, row, column] = min(seen, key=lambda s: s[0])[1]
    return picture, sure


@pytest.mark.parametrize("seed", range(5))
def test_random_triangles_match_a_plain_z_buffer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    behind, ground = sheet(3)
    corners = rng.uniform(-1.2, 1.2, (18, 3, 3)).astype(np.float32)
    attributes = rng.uniform(0, 1, (18, 3, 3)).astype(np.float32)
    corners, attributes = np.concatenate([corners, behind]), np.concatenate([attributes, ground])
    expected, sure = by_hand(corners, attributes)
    assert sure.mean() > 0.85
    got = draw(corners, attributes)
    assert np.abs(got - expected)[:, sure].max() < 2e-3


@pytest.mark.parametrize("seed", range(2))
def test_a_mesh_of_neighbours_has_no_gaps(seed: int) -> None:
    """A crumpled grid in front of a sheet: no pixel of the sheet shows through a seam."""
    rng = np.random.default_rng(seed)
    n = 6
    grid = np.stack(np.meshgrid(np.linspace(-1.1, 1.1, n), np.linspace(-1.1, 1.1, n)), -1)
    grid[1:-1, 1:-1] += rng.uniform(-0.08, 0.08, (n - 2, n - 2, 2))
    points = np.concatenate([grid, rng.uniform(-0.2, 0.2, (n, n, 1))], -1).astype(np.float32)
    corners = []
    for i in range(n - 1):
        for j in range(n - 1):
            corners += [points[[i, i, i + 1], [j, j + 1, j]], points[[i, i + 1, i + 1], [j + 1, j + 1, j]]]
    mesh = np.stack(corners)
    behind, ground = sheet(3)
    values = np.concatenate([mesh[..., :2], np.ones_like(mesh[..., :1])], -1)
    got = draw(np.concatenate([mesh, behind]), np.concatenate([values, ground]))
    assert got[2].min() > 0.999
    assert np.abs(got[0] - CENTRES).max() < 3e-3
    assert np.abs(got[1] - CENTRES[:, None]).max() < 3e-3


def test_an_identity_sheet_shows_pixel_centres() -> None:
    got = draw(*sheet(2))
    assert np.abs(got[0] - CENTRES).max() < 1e-5
    assert np.abs(got[1] - CENTRES[:, None]).max() < 1e-5


def test_the_nearer_wins_whatever_the_order() -> None:
    near = np.array([[[-0.5, -0.5, 0], [0.5, -0.5, 0], [0, 0.6, 0]]], np.float32)
    far = near + np.float32([0, 0, 1])
    behind, ground = sheet(3)
    values = np.zeros((1, 3, 3), np.float32)
    values[..., 2] = 1
    first = draw(np.concatenate([near, far, behind]), np.concatenate([values, 2 * values, ground]))
    second = draw(np.concatenate([behind, far, near]), np.concatenate([ground, 2 * values, values]))
    assert first[2].max() == second[2].max() == pytest.approx(1)
    assert np.array_equal(first[2], second[2])


@pytest.mark.parametrize("kind", ["edge-on", "outside", "huge"])
def test_degenerate_triangles_do_no_harm(kind: str) -> None:
    corners = {
        "edge-on": [[-1, 0.03, 0], [0, 0.03, 0], [1, 0.03, 0]],
        "outside": [[5, 5, 0], [6, 5, 0], [5, 6, 0]],
        "huge": [[-1e4, -1e4, 49], [1e4, -1e4, 49], [0, 1e4, 49]],
    }[kind]
    behind, ground = sheet(3)
    values = np.zeros((1, 3, 3), np.float32)
    values[..., 2] = 7
    got = draw(np.concatenate([np.array([corners], np.float32), behind]), np.concatenate([values, ground]))
    assert np.isfinite(got).all()
    if kind == "huge":
        assert np.allclose(got[2], 7, atol=1e-3)
    else:
        assert (got[2] == 7).sum() <= SIZE  # at most the one row that it lies on


def test_a_tile_that_is_too_full_keeps_the_largest() -> None:
    """More triangles than a tile takes: the smallest are left out, the rest is drawn."""
    rng = np.random.default_rng(0)
    centre = CENTRES[TILE // 2]
    small = (centre + rng.uniform(-1e-3, 1e-3, (2 * MAX_PER_TILE, 3, 3))).astype(np.float32)
    behind, ground = sheet(3)
    values = np.full((len(small), 3, 3), 9, np.float32)
    got = draw(np.concatenate([small, behind]), np.concatenate([values, ground]))
    assert np.isfinite(got).all()
    elsewhere = np.ones((SIZE, SIZE), bool)
    elsewhere[: 2 * TILE, : 2 * TILE] = False
    assert np.abs(got[0] - CENTRES)[elsewhere].max() < 1e-5


def test_constants_travel_in_the_graph_and_not_in_checkpoints() -> None:
    assert not Rasteriser(SIZE).state_dict()
