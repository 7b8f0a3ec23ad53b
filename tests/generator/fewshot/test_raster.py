from __future__ import annotations

import numpy as np
import pytest
import torch

from telepresence.face.topology import IRIS_RIGHT
from telepresence.generator.fewshot import raster
from telepresence.generator.fewshot.raster import draw_landmarks, draw_on_host
from tests.generator.data.made import face_points


def tensors(*faces: np.ndarray, size: int = 128, inner: bool = False) -> torch.Tensor:
    return draw_landmarks(torch.from_numpy(np.stack(faces)), size, inner)


def at(drawn: torch.Tensor, points: np.ndarray, number: int) -> list[int]:
    """The colour, 0 to 255, at a landmark."""
    column, row = (np.floor((points[number, :2] + 1) * drawn.shape[-1] / 2)).astype(int)
    return [round(value) for value in ((drawn[:, row, column] + 1) * 127.5).tolist()]


def test_the_scheme_has_68_points_and_mirrors() -> None:
    jaw, lips = raster.JAW, raster.LIPS + raster.INNER_LIPS
    numbers = [*jaw, *raster.BROWS[0], *raster.BROWS[1], *raster.NOSE[0], *raster.NOSE[1], *sum(raster.EYES, ()), *lips]
    assert len(numbers) == len(set(numbers)) == 68
    points = face_points()
    assert np.allclose(points[list(jaw), 0], -points[list(jaw[::-1]), 0], atol=0.01)
    assert np.allclose(points[list(raster.EYES[0][:4]), 0], -points[list(raster.EYES[1][3::-1]), 0], atol=0.01)


@pytest.mark.parametrize("size", [64, 128, 256])
@pytest.mark.parametrize("inner", [False, True])
def test_the_host_draws_what_a_graph_does(size: int, inner: bool) -> None:
    turned = face_points(0.3, -0.2, 0.1) @ np.array([[0.9, 0.3, 0], [-0.3, 0.9, 0], [0, 0, 1]], np.float32)
    for points in (face_points(), turned, face_points(0.9), face_points(0.5, x=0.8)):
        graph = (tensors(points, size=size, inner=inner)[0].numpy() + 1) * 127.5
        host = draw_on_host(points, size, inner)
        assert host.shape == (3, size, size)
        assert host.max() == 255
        assert np.abs(graph - host).max() < 0.6


def test_lines_wear_the_published_colours() -> None:
    points = face_points(0.5)
    drawn = tensors(points)[0]
    wanted = {
        152: [255, 255, 255],  # jaw
        105: [255, 0, 0],
        334: [0, 255, 0],
        197: [0, 0, 255],  # nose
        160: [255, 0, 255],
        387: [0, 255, 255],
        17: [255, 255, 0],  # lips
    }
    for number, colour in wanted.items():
        found = at(drawn, points, number)
        assert all(abs(a - b) < 90 for a, b in zip(found, colour, strict=True)), (number, found)
    assert drawn[:, 0].max() == -1  # no face there


def test_inner_lips_and_irises_are_drawn_when_asked() -> None:
    points = face_points(0.5)
    points[13, 1] -= 0.02
    points[14, 1] += 0.05
    plain, inner = tensors(points)[0], tensors(points, inner=True)[0]
    assert at(inner, points, IRIS_RIGHT[0])[2] == 255 > at(plain, points, IRIS_RIGHT[0])[2]
    assert at(plain, points, 14)[0] < at(inner, points, 14)[0]
    assert bool((inner >= plain - 1e-6).all())


def test_faces_of_a_batch_do_not_see_each_other() -> None:
    one, other = face_points(0.3), face_points(0.4, x=0.2)
    assert torch.equal(tensors(one, other), torch.cat([tensors(one), tensors(other)]))


def test_a_face_outside_the_picture_and_points_that_coincide_draw_nothing_strange() -> None:
    outside = face_points(0.3, x=5.0)
    assert draw_on_host(outside, 64, True).max() == 0
    assert tensors(outside, size=64, inner=True).max() == -1
    same = np.zeros((478, 3), np.float32)
    assert np.isfinite(tensors(same, size=64, inner=True).numpy()).all()
    assert draw_on_host(same, 64, True).max() > 0
