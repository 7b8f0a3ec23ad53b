"""Named index sets of MediaPipe Face Mesh's 478 landmarks, and what each point weighs in a rigid fit.

Index sets follow MediaPipe's published contours (`face_mesh_connections.py`, Apache-2.0).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

N_LANDMARKS: Final = 478
N_FACE: Final = 468  # the last ten are the irises: 468-472 the subject's right eye, 473-477 the left

OVAL: Final = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
LIPS_OUTER: Final = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
LIPS_INNER: Final = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
EYE_RIGHT: Final = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
EYE_LEFT: Final = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
BROW_RIGHT: Final = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
BROW_LEFT: Final = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
IRIS_RIGHT: Final = (468, 469, 470, 471, 472)
IRIS_LEFT: Final = (473, 474, 475, 476, 477)
EYE_CORNERS_OUTER: Final = (33, 263)
MOUTH_OPENING: Final = (13, 14)  # middle of the inner upper and lower lip
MOUTH_CORNERS: Final = (61, 291)
EYE_OPENING_RIGHT: Final = (159, 145)
EYE_OPENING_LEFT: Final = (386, 374)

LIPS: Final = tuple(sorted(set(LIPS_OUTER) | set(LIPS_INNER)))
EYELIDS: Final = tuple(sorted(set(EYE_RIGHT) | set(EYE_LEFT)))
BROWS: Final = tuple(sorted(set(BROW_RIGHT) | set(BROW_LEFT)))

# Points on bone, which move with the head and not with the expression: nose bridge and sides, temples, eye corners,
# upper forehead, cheekbones.
RIGID: Final = (
    168, 6, 197, 195, 5, 4, 122, 351, 193, 417, 9, 8, 151, 10, 109, 338, 67, 297, 103, 332, 21, 251, 162, 389,
    127, 356, 234, 454, 93, 323, 33, 263, 133, 362, 130, 359, 243, 463, 116, 345, 227, 447, 143, 372, 34, 264,
)  # fmt: skip


def rigid_weights() -> NDArray[np.float32]:
    """Weights of the rigid fit, (478,) float32, sum 1: bone counts fully, soft skin a little, lips and lids nothing."""
    weights: NDArray[np.float32] = np.full(N_LANDMARKS, 0.05, np.float32)
    weights[list(LIPS) + list(EYELIDS) + list(BROWS)] = 0.0
    weights[N_FACE:] = 0.0
    weights[list(RIGID)] = 1.0
    weights /= weights.sum()
    return weights
