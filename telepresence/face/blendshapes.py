"""The 52 names of ARKit's blendshapes, measured on motion, so that a 3D avatar that knows them can be driven.

Motion is put on the mean face and measured there: how far lids, lips, chin, brows and irises are from rest, against
what the people of the basis reach. So nobody's own face is in the weights. It is geometry of points on the skin: what
shows in no point (the tongue, blown cheeks) or only in depth, which is a guess here, is always 0 and not in MEASURED.

Names: developer.apple.com/documentation/arkit/arfaceanchor/blendshapelocation; left and right are the person's own.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.face.basis import Basis, default_basis
from telepresence.face.motion import Motion, Pose, rotation_matrix
from telepresence.face.stereo import EYE_CORNERS_M

Floats = NDArray[np.float32]

NAMES: Final = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft",
    "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight",
    "eyeSquintRight", "eyeWideRight", "jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel",
    "mouthPucker", "mouthLeft", "mouthRight", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight",
    "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft",
    "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft",
    "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip
NOT_MEASURED: Final = frozenset({
    "jawForward", "mouthDimpleLeft", "mouthDimpleRight", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft",
    "mouthPressRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "tongueOut",
})  # fmt: skip
MEASURED: Final = tuple(name for name in NAMES if name not in NOT_MEASURED)

CAMERA_TAN: Final = 0.466  # of half the angle that the central square covers: 50 degrees, as most webcams have

# What counts as the whole of a movement, in canonical units (outer eye corners 1 apart, 9 cm).
SHUT: Final = 0.85  # of a lid's opening at rest, gone: then it is shut, since the two lids' points never meet
WIDE: Final = 0.35  # of the opening at rest, more
GAZE: Final = 0.07
JAW: Final = 0.25
GAP: Final = 0.25
ASIDE: Final = 0.08
SMILE: Final = 0.085
FROWN: Final = 0.06
NARROW: Final = 0.13
STRETCH: Final = 0.06
ROLL: Final = 0.045
LOWER: Final = 0.10
UPPER: Final = 0.10
BROW_UP: Final = 0.10
BROW_DOWN: Final = 0.055
SNEER: Final = 0.05

# (left, right) of the person; pairs run from the outer to the inner corner.
_LIDS: Final = (
    ((387, 373), (386, 374), (385, 380)),
    ((160, 144), (159, 145), (158, 153)),
)
_CORNERS: Final = (291, 61)
_LOWER_LIP: Final = ((317, 314), (87, 84))
_UPPER_LIP: Final = ((312, 267), (82, 37))
_INNER_BROW: Final = (336, 107)
_MIDDLE_BROW: Final = (334, 105)
_OUTER_BROW: Final = (300, 70)
_WINGS: Final = (294, 64)
_CHIN: Final = (152, 175, 199)
_LEFT, _RIGHT = 0, 1


def blendshapes(motion: Motion, basis: Basis | None = None) -> Floats:
    """Weights (52,) float32 in 0..1, in the order of NAMES."""
    basis = basis or default_basis()
    moved = basis.displacement(motion.expression, motion.gaze)
    face, rest = basis.mean + moved, basis.mean
    weights = _eyes(face, rest, motion.gaze) | _mouth(face, rest, moved) | _brows(moved)
    out = np.zeros(len(NAMES), np.float32)
    for name, value in weights.items():
        out[_PLACE[name]] = min(max(value, 0.0), 1.0)
    return out


def head_metres(pose: Pose) -> tuple[Floats, Floats]:
    """A head's pose as native apps have it: quaternion (x, y, z, w) and position (3,) in metres.

    Right-handed: x to the picture's right, y up, z towards the camera, which is at the origin and looks along -z. How
    far away the head is follows from its size, for a camera as CAMERA_TAN says: right in proportion, not to the metre.
    """
    flip = np.array([1.0, -1.0, -1.0])
    matrix = flip[:, None] * rotation_matrix(pose.rotation) * flip
    distance = EYE_CORNERS_M / (pose.scale * CAMERA_TAN)
    aside = pose.translation * (distance * CAMERA_TAN)
    position = np.array([aside[0], -aside[1], -distance], np.float32)
    return _quaternion(matrix), position


def _quaternion(matrix: NDArray[np.float64]) -> Floats:
    """Rotation matrix -> unit quaternion (x, y, z, w), w >= 0. Source: Bar-Itzhack 2000, its largest eigenvector."""
    m = matrix
    symmetric = np.array([
        [m[0, 0] - m[1, 1] - m[2, 2], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[2, 1] - m[1, 2]],
        [m[0, 1] + m[1, 0], m[1, 1] - m[0, 0] - m[2, 2], m[1, 2] + m[2, 1], m[0, 2] - m[2, 0]],
        [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], m[2, 2] - m[0, 0] - m[1, 1], m[1, 0] - m[0, 1]],
        [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], m[0, 0] + m[1, 1] + m[2, 2]],
    ])  # fmt: skip
    vector = np.linalg.eigh(symmetric)[1][:, -1]
    return (vector if vector[3] >= 0 else -vector).astype(np.float32)


def _eyes(face: Floats, rest: Floats, gaze: Floats) -> dict[str, float]:
    weights = {}
    for side, name in ((_LEFT, "Left"), (_RIGHT, "Right")):
        opening = _opening(face, side) / _opening(rest, side)
        shut = (1 - opening) / SHUT
        lower = _LIDS[side][1][1]
        raised = (rest[lower, 1] - face[lower, 1]) / (SHUT * _opening(rest, side))
        weights[f"eyeBlink{name}"] = shut
        weights[f"eyeWide{name}"] = (opening - 1) / WIDE
        weights[f"eyeSquint{name}"] = min(2.5 * raised, 1.0) * (1 - max(0.0, min(1.0, shut)) ** 2)
        x, y = gaze[1 - side] / GAZE  # the right eye comes first there
        out = x if side == _LEFT else -x  # the person's left is the picture's right
        weights |= {f"eyeLookOut{name}": out, f"eyeLookIn{name}": -out}
        weights |= {f"eyeLookDown{name}": y, f"eyeLookUp{name}": -y}
    return {name: float(value) for name, value in weights.items()}


def _opening(face: Floats, side: int) -> float:
    return float(np.mean([face[lower, 1] - face[upper, 1] for upper, lower in _LIDS[side]]))


def _mouth(face: Floats, rest: Floats, moved: Floats) -> dict[str, float]:
    chin = moved[list(_CHIN)].mean(0)
    gap = (face[14, 1] - face[13, 1] - (rest[14, 1] - rest[13, 1])) / GAP
    jaw = (
        max(0.0, float(chin[1])) / JAW + max(0.0, float(gap))
    ) / 2  # the chin hides behind the collar: lips tell, too
    narrow = (_width(rest) - _width(face)) / NARROW
    opened = min(1.0, max(0.0, gap) * 2)
    middle = float(moved[list(_CORNERS), 0].mean() - chin[0] / 2)
    weights = {
        "jawOpen": jaw,
        "jawLeft": chin[0] / ASIDE,
        "jawRight": -chin[0] / ASIDE,
        "mouthClose": min(jaw, 1.0) - max(0.0, gap),
        "mouthFunnel": narrow * opened,
        "mouthPucker": narrow * (1 - opened),
        "mouthLeft": middle / ASIDE,
        "mouthRight": -middle / ASIDE,
        "mouthRollLower": (_thickness(rest, 14, 17) - _thickness(face, 14, 17)) / ROLL,
        "mouthRollUpper": (_thickness(rest, 0, 13) - _thickness(face, 0, 13)) / ROLL,
    }
    for side, name in ((_LEFT, "Left"), (_RIGHT, "Right")):
        outward = float(moved[_CORNERS[side], 0] - middle) * (1 if side == _LEFT else -1)
        up = -float(moved[_CORNERS[side], 1]) + 0.35 * max(0.0, float(chin[1]))  # an open jaw takes corners along
        smile = up + max(0.0, outward) / 2
        weights[f"mouthSmile{name}"] = smile / SMILE
        weights[f"mouthFrown{name}"] = -up / FROWN
        weights[f"mouthStretch{name}"] = (outward - max(0.0, up)) / STRETCH
        lower = float(moved[list(_LOWER_LIP[side]), 1].mean()) - 0.6 * max(0.0, float(chin[1]))
        weights[f"mouthLowerDown{name}"] = lower / LOWER
        weights[f"mouthUpperUp{name}"] = -float(moved[list(_UPPER_LIP[side]), 1].mean()) / UPPER
    return {name: float(value) for name, value in weights.items()}


def _width(face: Floats) -> float:
    return float(face[_CORNERS[_LEFT], 0] - face[_CORNERS[_RIGHT], 0])


def _thickness(face: Floats, above: int, below: int) -> float:
    return float(face[below, 1] - face[above, 1])


def _brows(moved: Floats) -> dict[str, float]:
    weights = {"browInnerUp": -float(moved[list(_INNER_BROW), 1].mean()) / BROW_UP}
    for side, name in ((_LEFT, "Left"), (_RIGHT, "Right")):
        inner, middle, outer = _INNER_BROW[side], _MIDDLE_BROW[side], _OUTER_BROW[side]
        weights[f"browDown{name}"] = float(moved[[inner, middle], 1].mean()) / BROW_DOWN
        weights[f"browOuterUp{name}"] = -float(moved[[middle, outer], 1].mean()) / BROW_UP
        weights[f"noseSneer{name}"] = -float(moved[_WINGS[side], 1]) / SNEER
    return weights


_PLACE: Final = {name: place for place, name in enumerate(NAMES)}
