"""The prior's mesh: about 120 of the landmarks, dense at lips and lids, and rigid rings around the face.

Built once, from the mean face, when an engine is exported; in the graph it is constants.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from telepresence.face.basis import default_basis
from telepresence.face.topology import (
    LIPS_INNER,
    LIPS_OUTER,
    OVAL,
    RIGID,
)

Floats = NDArray[np.float32]

_EVERY_OTHER: Final = (0, 2, 3, 5, 7, 8, 10, 12, 13, 15, 17, 18)  # of a lip contour's twenty: corners and middles stay
_LIPS: Final = tuple(contour[i] for contour in (LIPS_OUTER, LIPS_INNER) for i in _EVERY_OTHER)
_EYES: Final = (33, 163, 145, 154, 133, 157, 159, 161, 263, 390, 374, 381, 362, 384, 386, 388)
_BROWS: Final = (70, 105, 107, 65, 53, 300, 334, 336, 295, 283)
# Between the contours: nose, cheeks, forehead, chin. Chosen by eye on the mean face for even triangles. A finer mesh
# than this is finer than the raster, and fills its tiles.
_FILL: Final = (
    1, 4, 195, 6, 168, 9, 151, 2, 98, 327, 64, 294, 131, 360, 122, 351, 50, 280, 36, 266, 101, 330, 118, 347, 123, 352,
    187, 411, 205, 425, 207, 427, 214, 434, 212, 432, 164, 18, 199, 204, 424, 69, 299, 104, 333, 147, 376, 135, 364,
    169, 394,
)  # fmt: skip
_OVAL: Final = OVAL[::2]
_IRISES: Final = (468, 469, 471, 473, 474, 476)  # centre and both sides: an iris moves as a whole
_OPENED: Final = 0.02  # canonical units that the mouth is open while triangulated; 0.015 to 0.03 give the same mesh
RING_SCALES: Final = (1.15, 1.4, 2.0)  # of the face oval, about its centre
RING_DEPTHS: Final = (0.05, 0.15, 0.25)  # behind the ears, as a share of the distance from nose to ear
RING_FOLLOW: Final = (0.9, 0.6, 0.3)  # how much of the oval's own change of shape (a dropping jaw) a ring takes part in
HAIR_FOLLOW: Final = (1.0, 1.0, 0.0)  # how much of the head's motion a ring makes above the chin; outermost at rest
NECK_FALL: Final = 0.33  # of a face height: over so much below the chin motion fades to rest


@dataclass(frozen=True, slots=True)
class Ring:
    """A copy of the face oval around the head."""

    scale: float
    """Of the oval, about its centre."""
    depth: float
    """Behind the ears, as a share of the distance from nose to ear."""
    follow: float
    """How much of the oval's own change of shape (a dropping jaw) it takes part in."""
    hair: float
    """How much of the head's motion it makes at the top."""
    fade: tuple[float, float] = (0.0, NECK_FALL)
    """Between which heights below the chin, in face heights, its motion fades to rest; negative is above the chin."""


RINGS: Final = tuple(Ring(*row) for row in zip(RING_SCALES, RING_DEPTHS, RING_FOLLOW, HAIR_FOLLOW, strict=True))


@dataclass(frozen=True, slots=True)
class Mesh:
    """Constants of the prior. V = L + R vertices: landmarks first, then rings from the inside out."""

    landmarks: NDArray[np.int64]
    """(L,) which landmarks are vertices."""
    triangles: NDArray[np.int64]
    """(T, 3) vertex indices."""
    mouth: Floats
    """(T, 3, 3) for every corner of a triangle that spans the open mouth: 1, from left to right (-1..1), from the upper
    to the lower lip (0..1); zeros for all other triangles."""
    affine: Floats
    """(3, 4, 478): keypoints (478, 3) -> affine map (3, 4) from canonical to square coordinates, least squares."""
    oval: NDArray[np.int64]
    """(R,) for every ring vertex, the landmark of the face oval that it belongs to."""
    oval_mean: Floats
    """(R, 3) that landmark in the mean face."""
    ring_mean: Floats
    """(R, 3) ring vertices in canonical coordinates."""
    ring_shape: Floats
    """(R,) share of the oval's own change of shape that a ring vertex takes part in."""
    ring_motion: Floats
    """(R,) share of the head's motion that a ring vertex makes; 0 stays where it is in the reference."""


def build_mesh(rings: tuple[Ring, ...] = RINGS) -> Mesh:
    """Make the mesh from the mean face."""
    mean = default_basis().mean.astype(np.float64)
    chosen = [*_OVAL, *_LIPS, *_EYES, *_BROWS, *_FILL, *_IRISES]
    triangles = _face_triangles(mean, chosen)
    ring_arrays, ring_triangles = _rings(mean, chosen, rings)
    triangles = np.concatenate([triangles, ring_triangles])
    return Mesh(np.array(chosen), triangles, _mouth(mean, chosen, triangles), _affine(mean), *ring_arrays)


def _mouth(mean: NDArray[np.float64], chosen: list[int], triangles: NDArray[np.int64]) -> Floats:
    """Coordinates inside the open mouth; the inner lips run from corner to corner, first along the lower lip."""
    half = len(LIPS_INNER) // 2
    left, right = mean[LIPS_INNER[0], 0], mean[LIPS_INNER[half], 0]
    place: dict[int, tuple[float, float, float]] = {}
    for order, landmark in enumerate(LIPS_INNER):
        across = 2 * (mean[landmark, 0] - left) / (right - left) - 1
        down = 0.5 if order % half == 0 else float(order < half)
        place[landmark] = (1.0, float(across), down)
    out = np.zeros((len(triangles), 3, 3), np.float32)
    for t, corners in enumerate(triangles):
        if all(v < len(chosen) and chosen[v] in place for v in corners):
            out[t] = [place[chosen[v]] for v in corners]
    return out


def _face_triangles(mean: NDArray[np.float64], chosen: list[int]) -> NDArray[np.int64]:
    """Delaunay on the face unrolled around the head's axis: cheeks are not squeezed. Nothing outside the oval."""
    depth = mean[list(_OVAL), 2].max()
    points = mean[chosen]
    angle = np.arctan2(points[:, 0], depth + 0.3 - points[:, 2])
    flat = np.stack([angle * 1.2, points[:, 1]], 1)
    lower = [chosen.index(i) for i in LIPS_INNER[1 : len(LIPS_INNER) // 2] if i in chosen]
    flat[lower, 1] += _OPENED  # at shut corners Delaunay would connect one lip across the other
    triangles = Delaunay(flat).simplices
    ring = flat[[chosen.index(i) for i in _OVAL]]
    inside = [_inside(flat[t].mean(0), ring) for t in triangles]
    kept: NDArray[np.int64] = triangles[np.array(inside)].astype(np.int64)
    return kept


def _inside(point: NDArray[np.float64], polygon: NDArray[np.float64]) -> bool:
    """Even-odd rule."""
    a, b = polygon, np.roll(polygon, -1, 0)
    crosses = (a[:, 1] > point[1]) != (b[:, 1] > point[1])
    x = a[:, 0] + (point[1] - a[:, 1]) / np.where(crosses, b[:, 1] - a[:, 1], 1) * (b[:, 0] - a[:, 0])
    return bool((crosses & (point[0] < x)).sum() % 2)


def _rings(
    mean: NDArray[np.float64], chosen: list[int], rings: tuple[Ring, ...]
) -> tuple[tuple[Any, ...], NDArray[np.int64]]:
    oval = mean[list(_OVAL)]
    centre = oval.mean(0)
    ears = oval[:, 2].max()
    reach = ears - mean[1, 2]
    chin, height = oval[:, 1].max(), np.ptp(oval[:, 1])
    count = len(_OVAL)
    points, shape, motion = [], [], []
    for ring in rings:
        place = centre + ring.scale * (oval - centre)
        place[:, 2] = np.maximum(place[:, 2], 0.5 * (oval[:, 2] + ears)) + ring.depth * reach
        points.append(place)
        shape.append(np.full(count, ring.follow))
        begin, end = ring.fade
        below = np.clip(((place[:, 1] - chin) / height - begin) / (end - begin), 0, 1)
        motion.append(ring.hair * (1 - below))
    inner = [[chosen.index(i) for i in _OVAL]]
    rows = inner + [[len(chosen) + r * count + i for i in range(count)] for r in range(len(rings))]
    triangles = []
    for near, far in pairwise(rows):
        for i in range(count):
            j = (i + 1) % count
            triangles += [(near[i], near[j], far[i]), (near[j], far[j], far[i])]
    repeated = np.tile(np.array(_OVAL), len(rings))
    arrays = (
        repeated,
        mean[repeated].astype(np.float32),
        np.concatenate(points).astype(np.float32),
        np.concatenate(shape).astype(np.float32),
        np.concatenate(motion).astype(np.float32),
    )
    return arrays, np.array(triangles, np.int64)


def _affine(mean: NDArray[np.float64]) -> Floats:
    """Least-squares affine map on the points on bone, a linear function of the keypoints: no iteration in the graph."""
    rigid = list(RIGID)
    design = np.concatenate([mean[rigid], np.ones((len(rigid), 1))], 1)
    solve = np.linalg.pinv(design)  # (4, rigid)
    out = np.zeros((4, len(mean)), np.float64)
    out[:, rigid] = solve
    return out.astype(np.float32)
