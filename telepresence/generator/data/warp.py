"""Smooth warps of the picture plane that make new identities: the same for pictures, mattes and points.

A source point x and its place y in the warped picture are related through u = M^-1 (y - t) and x = u + e(u), where e
is a sum of a few plane waves. Pictures need x of each y, which is exact and separable; points need y of their x, where
u is found by iterating u = x - e(u), a contraction because the waves are low and long.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.face.basis import default_basis

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

WAVES: Final = 4
MOST_BEND: Final = 0.06  # square half-widths: the waves' heights together, 3 % of the picture
CYCLES: Final = (0.3, 1.0)  # of a wave, a picture
STRETCH: Final = 0.2  # of width to height, in logarithms
TURN: Final = 0.10  # radians
SHEAR: Final = 0.08
ZOOM: Final = (0.8, 1.25)
SHIFT: Final = 0.10  # square half-widths
MIRRORED_SHARE: Final = 0.5
UNWARPED_SHARE: Final = 0.1  # of samples, so that faces as cameras see them stay part of the training
MORE_OUTSIDE: Final = 0.01  # of the points may leave the picture that were in it
TRIES: Final = 5
_ITERATIONS: Final = 4  # each leaves at most a fifth of the error: 0.01 pixels of 256 in the end
_UPSAMPLED: Final = 2  # linear interpolation in a doubled picture is as sharp as cubic, in a third of the time


@dataclass(frozen=True, slots=True, eq=False)
class Warp:
    """A map of the picture plane in square coordinates; see the module's docstring."""

    matrix: NDArray[np.float64]
    """M, (2, 2); its determinant is negative in a mirror."""
    shift: NDArray[np.float64]
    """t, (2,)."""
    waves: NDArray[np.float64]
    """(W, 2), radians per square half-width."""
    phases: NDArray[np.float64]
    """(W,), radians."""
    heights: NDArray[np.float64]
    """(W, 2), square half-widths."""

    @property
    def mirrored(self) -> bool:
        """Whether left and right change places, and landmarks with them."""
        return bool(np.linalg.det(self.matrix) < 0)

    def points(self, points: Floats) -> Floats:
        """Map landmarks (..., 478, 3) in square coordinates; depth grows with the mean in-plane scale."""
        plane = points[..., :2].astype(np.float32)
        waves, phases, heights = (a.astype(np.float32) for a in (self.waves, self.phases, self.heights))
        u = plane
        for _ in range(_ITERATIONS):
            u = plane - np.cos(u @ waves.T + phases) @ heights
        out = np.empty(points.shape, np.float32)
        out[..., :2] = u @ self.matrix.T.astype(np.float32) + self.shift.astype(np.float32)
        out[..., 2] = points[..., 2] * np.float32(np.sqrt(abs(np.linalg.det(self.matrix))))
        return out[..., mirror_partners(), :] if self.mirrored else out

    def maps(self, side: int) -> tuple[Floats, Floats]:
        """Where in the source each pixel (side, side) of the warped picture comes from: x and y, square coordinates."""
        inverse = np.linalg.inv(self.matrix)
        at = (np.arange(side) + 0.5) * (2 / side) - 1
        waves = self.waves @ inverse
        phases = self.phases - waves @ self.shift
        across, down = np.exp(1j * (waves[:, :1] * at + phases[:, None])), np.exp(1j * waves[:, 1:] * at)
        start = -inverse @ self.shift
        out = []
        for axis in range(2):
            rows = np.concatenate([down.real, -down.imag, [inverse[axis, 1] * at + start[axis]], [np.ones(side)]])
            height = self.heights[:, axis : axis + 1]
            columns = np.concatenate(
                [height * across.real, height * across.imag, [np.ones(side)], [inverse[axis, 0] * at]]
            )
            out.append(rows.T.astype(np.float32) @ columns.astype(np.float32))
        return out[0], out[1]


class Resampler:
    """Draws warped pictures of one side; the maps are made once for all pictures of a sample.

    Beyond their edges pictures are drawn out. Reflected ones would show second heads.
    """

    def __init__(self, warp: Warp, side: int) -> None:
        import cv2

        x, y = warp.maps(side)

        def pixels(scale: int) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
            half = np.float32(scale * side / 2)
            fixed = cv2.convertMaps(
                x * half + (half - np.float32(0.5)), y * half + (half - np.float32(0.5)), cv2.CV_16SC2
            )
            return fixed[0], fixed[1]

        self._large, self._small = pixels(_UPSAMPLED), pixels(1)

    def picture(self, picture: Picture) -> Picture:
        """Warp (S, S, 3), sharply."""
        import cv2

        doubled = cv2.resize(picture, None, fx=_UPSAMPLED, fy=_UPSAMPLED, interpolation=cv2.INTER_CUBIC)
        return np.asarray(cv2.remap(doubled, *self._large, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)

    def smooth(self, picture: Picture) -> Picture:
        """Warp a matte (S, S) or a plate (S, S, 3), in which there is nothing fine."""
        import cv2

        return np.asarray(cv2.remap(picture, *self._small, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def draw_warp(random: np.random.Generator, points: Floats, *, cut_off: bool = False) -> Warp:
    """Draw a warp that keeps the face `points` (478, 3) in the picture, as far as it was in it.

    With `cut_off`, for a head that the upper edge cuts, it is not shown from farther away: there is nothing to show.
    """
    mirror = bool(random.random() < MIRRORED_SHARE)
    if random.random() < UNWARPED_SHARE:
        return still_warp(mirror=mirror)
    before = _outside(points)
    for _ in range(TRIES):
        warp = _draw(random, mirror, cut_off)
        if _outside(warp.points(points)) <= before + MORE_OUTSIDE:
            return warp
    return still_warp(mirror=mirror)


def still_warp(*, mirror: bool) -> Warp:
    """The warp that changes nothing, or only mirrors."""
    nothing = np.zeros((1, 2))
    return Warp(np.diag([-1.0 if mirror else 1.0, 1.0]), np.zeros(2), nothing, np.zeros(1), nothing)


@lru_cache(maxsize=1)
def mirror_partners() -> NDArray[np.intp]:
    """(478,) which landmark each one is in a mirror. The mean face is symmetric, so it is the nearest one there."""
    mean = default_basis().mean.astype(np.float64)
    gaps = ((mean[:, None] - mean[None] * (-1, 1, 1)) ** 2).sum(-1)
    return np.asarray(gaps.argmin(1), np.intp)


def _draw(random: np.random.Generator, mirror: bool, cut_off: bool) -> Warp:
    zoom = np.exp(random.uniform(*np.log((1.0, ZOOM[1]) if cut_off else ZOOM)))
    stretch = np.exp(random.uniform(-STRETCH, STRETCH) / 2 * np.array([1.0, -1.0]))
    angle, shear = random.uniform(-TURN, TURN), random.uniform(-SHEAR, SHEAR)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = zoom * turn @ np.array([[1, shear], [0, 1]]) @ np.diag(stretch * ((-1, 1) if mirror else (1, 1)))
    if cut_off:
        matrix *= max(1.0, 1 / matrix[1, 1])
    shift = random.uniform(-SHIFT, SHIFT, 2)
    # Shoulders end at the picture's lower edge and nowhere else, also when it is made smaller.
    shift[1] = np.clip(shift[1], 1 - matrix[1, 1], abs(1 - matrix[1, 1]))
    direction = random.uniform(0, 2 * np.pi, (2, WAVES))
    length = np.pi * random.uniform(*CYCLES, WAVES)
    heights = random.dirichlet(np.ones(WAVES)) * random.uniform(0.2, 1) * MOST_BEND
    return Warp(
        matrix,
        shift,
        waves=length[:, None] * np.stack([np.cos(direction[0]), np.sin(direction[0])], 1),
        phases=random.uniform(0, 2 * np.pi, WAVES),
        heights=heights[:, None] * np.stack([np.cos(direction[1]), np.sin(direction[1])], 1),
    )


def _outside(points: Floats) -> float:
    return float((np.abs(points[..., :2]) > 1).any(-1).mean())
