"""How near an avatar's picture is, point by point: by this a headset shows a moved head the right parallax at once,
from the picture that it has. Depth-image-based rendering (Fehn 2004), with a mesh for the depth.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.face.stereo import Stereo, head_centre

SIDE: Final = 32  # points of the grid across, and down
STEP_M: Final = 0.002  # of a byte
ZERO: Final = 128  # the byte of what lies in the picture's plane
FINE_M: Final = 0.008  # what blurs the keypoints' depth: about the distance between two of them
COARSE_M: Final = 0.04  # what goes on beyond the face: hair, ears, throat
THIN: Final = 0.5  # keypoints that have to be near for a blurred depth to count
Floats = NDArray[np.float32]


def relief(stereo: Stereo, metres: float) -> bytes:
    """(SIDE * SIDE) bytes, from the left, from above: how much nearer to the viewer than the plane through the head's
    centre the picture is at the points of a grid from edge to edge, in steps of STEP_M above -ZERO steps.

    Args:
        stereo: as drawn; the grid is for the middle between its eyes.
        metres: in a square half-width, `unit_m`.
    """
    points = (stereo.left + stereo.right) / 2
    near = (head_centre(points)[2] - points[:, 2]) * metres
    coarse = _blurred(points, near, COARSE_M / metres, np.zeros((SIDE, SIDE), np.float32))
    steps = _blurred(points, near, FINE_M / metres, coarse) / STEP_M + ZERO
    data: bytes = np.clip(np.rint(steps), 0, 255).astype(np.uint8).tobytes()
    return data


def _blurred(points: Floats, near: Floats, blur: float, beyond: Floats) -> Floats:
    """(SIDE, SIDE) mean of `near` (N,) around each point of the grid; where no point is close, `beyond`."""
    across, down = (_weights(points[:, axis], blur) for axis in (0, 1))
    mean: Floats = ((down * near) @ across.T + THIN * beyond) / (down @ across.T + THIN)
    return mean


def _weights(places: Floats, blur: float) -> Floats:
    """(SIDE, N) how much each point counts at each line of the grid."""
    lines = np.linspace(-1, 1, SIDE, dtype=np.float32)[:, None]
    weights: Floats = np.exp(-0.5 * ((lines - places) / np.float32(blur)) ** 2)
    return weights
