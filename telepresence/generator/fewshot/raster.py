"""Landmarks as a picture: the 68-point drawing of Zakharov et al. 2019, made of MediaPipe's 478 points.

Colours are those of the code that the paper's group published later: white jaw, red and green brows, blue nose, magenta
and cyan eyes, yellow lips. `inner` adds what it leaves out and a call needs: inner lips and irises. Everything is
drawn by the distance to segments, so that it runs inside a graph, on any device, with static shapes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from telepresence.face.topology import IRIS_LEFT, IRIS_RIGHT

JAW: Final = (127, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 356)
BROWS: Final = ((70, 63, 105, 66, 107), (336, 296, 334, 293, 300))
NOSE: Final = ((168, 197, 5, 4), (75, 97, 2, 326, 305))  # bridge, base
EYES: Final = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380))
LIPS: Final = (61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181)
INNER_LIPS: Final = (78, 82, 13, 312, 308, 317, 14, 87)
"""The points of the 68-point scheme, in its order: 17 + 10 + 9 + 12 + 12 + 8."""

_LINES: Final = (  # points, closed, red, green, blue
    (JAW, False, (1.0, 1.0, 1.0)),
    (BROWS[0], False, (1.0, 0.0, 0.0)),
    (BROWS[1], False, (0.0, 1.0, 0.0)),
    (NOSE[0], False, (0.0, 0.0, 1.0)),
    (NOSE[1], False, (0.0, 0.0, 1.0)),
    (EYES[0], True, (1.0, 0.0, 1.0)),
    (EYES[1], True, (0.0, 1.0, 1.0)),
    (LIPS, True, (1.0, 1.0, 0.0)),
)
_INNER: Final = ((INNER_LIPS, True, (1.0, 0.5, 0.0)),)
_IRISES: Final = ((IRIS_RIGHT, (0.6, 0.4, 1.0)), (IRIS_LEFT, (0.4, 0.6, 1.0)))
THICKNESS: Final = (1.5, 2 / 256)  # of lines: pixels at least, and of the picture's side (2 of 256, as published)
IRIS_SHARE: Final = 0.8  # of the iris' radius is drawn, or lids would hardly cover it
_SHORTEST: Final = 1e-4  # pixels: where two points coincide


@lru_cache(maxsize=2)
def _segments(inner: bool) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """First points and second points of all segments, and how many of them each line has."""
    first: list[int] = []
    second: list[int] = []
    counts = []
    for points, closed, _ in _LINES + (_INNER if inner else ()):
        ends = [*points[1:], points[0]] if closed else list(points[1:])
        first += points[: len(ends)]
        second += ends
        counts.append(len(ends))
    return tuple(first), tuple(second), tuple(counts)


def draw_landmarks(keypoints: Tensor, size: int, inner: bool) -> Tensor:
    """Draw faces.

    Args:
        keypoints: [B, 478, 3] float32, square coordinates; depth is not looked at.
        size: side of the picture, pixels.
        inner: also draw inner lips and irises.

    Returns:
        [B, 3, size, size] float32, -1 where nothing is drawn, up to 1; lines are antialiased.
    """
    first, second, counts = _segments(inner)
    pixels = (keypoints[..., :2] + 1) * (size / 2)
    start, along = pixels[:, list(first)], pixels[:, list(second)] - pixels[:, list(first)]
    squared = _squared_distances(start, along, size)
    nearest = torch.stack([part.amin(1) for part in torch.split(squared, list(counts), 1)], 1)
    half = max(THICKNESS[0], THICKNESS[1] * size) / 2
    covered = (half + 0.5 - (nearest + 1e-8).sqrt()).clamp(0, 1)
    colours = [colour for *_, colour in _LINES + (_INNER if inner else ())]
    if inner:
        covered = torch.cat([covered, _discs(pixels, size)], 1)
        colours += [colour for _, colour in _IRISES]
    return 2 * _mixed(covered, colours, size) - 1


def draw_on_host(points: NDArray[np.float32], size: int, inner: bool) -> NDArray[np.uint8]:
    """Draw one face as `draw_landmarks` does, in a tenth of the time: each line only where it can be.

    Args:
        points: (478, 3) float32, square coordinates.
        size: side of the picture, pixels.
        inner: also draw inner lips and irises.

    Returns:
        (3, size, size) uint8: 0 where nothing is drawn. `draw_landmarks` is this by 127.5, less 1.
    """
    first, second, counts = _segments(inner)
    pixels = (points[:, :2] + 1) * np.float32(size / 2)
    half = max(THICKNESS[0], THICKNESS[1] * size) / 2 + 0.5
    start, end = pixels[list(first)], pixels[list(second)]
    colours = [colour for *_, colour in _LINES + (_INNER if inner else ())]
    painted = np.repeat(np.array(colours, np.float32), counts, 0)
    reach = np.full(len(first), half, np.float32)
    if inner:
        rings = [pixels[list(iris)] for iris, _ in _IRISES]
        centres = np.stack([ring[0] for ring in rings])
        radii = np.array([np.linalg.norm(ring[1:] - ring[0], axis=1).mean() for ring in rings], np.float32)
        start, end = np.concatenate([start, centres]), np.concatenate([end, centres])
        painted = np.concatenate([painted, np.array([colour for _, colour in _IRISES], np.float32)])
        reach = np.concatenate([reach, IRIS_SHARE * radii + np.float32(0.5)])
    out = np.zeros((3, size, size), np.float32)
    along = end - start
    squared = np.maximum((along * along).sum(1), _SHORTEST**2)
    low = np.clip(np.floor(np.minimum(start, end) - reach[:, None] - 1), 0, size).astype(int)
    high = np.clip(np.ceil(np.maximum(start, end) + reach[:, None] + 1), 0, size).astype(int)
    at = np.arange(size, dtype=np.float32) + np.float32(0.5)
    for (x0, y0), (x1, y1), a, d, square, r, colour in zip(
        low.tolist(), high.tolist(), start, along, squared, reach, painted, strict=True
    ):
        if x1 <= x0 or y1 <= y0:
            continue
        x, y = at[x0:x1][None] - a[0], at[y0:y1][:, None] - a[1]
        share = np.clip((x * d[0] + y * d[1]) / square, 0, 1)
        covered = np.clip(r - np.hypot(x - share * d[0], y - share * d[1]), 0, 1)
        place = out[:, y0:y1, x0:x1]
        np.maximum(place, covered * colour[:, None, None], out=place)
    return np.asarray(np.rint(out * 255), np.uint8)


def _squared_distances(start: Tensor, along: Tensor, size: int) -> Tensor:
    """Of every pixel from every segment, pixels squared: [B, G, size * size] of [B, G, 2] starts and vectors."""
    length = (along.square().sum(-1, keepdim=True) + _SHORTEST**2).sqrt()
    direction = along / length
    across = torch.stack([-direction[..., 1], direction[..., 0]], -1)
    middle = start + along / 2
    rows = torch.arange(size, device=start.device, dtype=start.dtype) + 0.5

    def offset(axis: Tensor) -> Tensor:
        """How far along an axis from the segments' middles; linear, so a sum of a row and a column."""
        x = axis[..., :1] * (rows - middle[..., :1])
        y = axis[..., 1:] * (rows - middle[..., 1:])
        return (y[..., :, None] + x[..., None, :]).flatten(2)

    beyond = (offset(direction).abs() - length / 2).clamp(min=0)
    beside = offset(across)
    return beyond * beyond + beside * beside


def _discs(pixels: Tensor, size: int) -> Tensor:
    """What the two irises cover: [B, 2, size * size]."""
    centre = torch.stack([pixels[:, iris[0]] for iris, _ in _IRISES], 1)
    ring = torch.stack([pixels[:, list(iris[1:])] for iris, _ in _IRISES], 1)
    radius = ((ring - centre[:, :, None]).square().sum(-1) + 1e-8).sqrt().mean(-1, keepdim=True)
    at = torch.arange(size, device=pixels.device, dtype=pixels.dtype) + 0.5
    x, y = (at - centre[..., :1]).square(), (at - centre[..., 1:]).square()
    distance = ((y[..., :, None] + x[..., None, :]).flatten(2) + 1e-8).sqrt()
    return (IRIS_SHARE * radius + 0.5 - distance).clamp(0, 1)


def _mixed(covered: Tensor, colours: list[tuple[float, float, float]], size: int) -> Tensor:
    """Coverages [B, G, size * size] -> [B, 3, size, size]; where lines cross, the brighter of each channel."""
    channels = []
    for channel in range(3):
        used = [covered[:, number] * colour[channel] for number, colour in enumerate(colours) if colour[channel]]
        channels.append(torch.stack(used, 1).amax(1))
    return torch.stack(channels, 1).reshape(-1, 3, size, size)
