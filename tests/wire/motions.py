"""Motion out of thin air: a head that nods, talks and blinks."""

from __future__ import annotations

import numpy as np

from telepresence.face.basis import default_basis
from telepresence.face.motion import Motion, Pose

PICTURE_US = 33_333


def moving(count: int, seed: int = 0, pace: float = 1.0) -> list[Motion]:
    """A smooth random walk through poses and expressions, 30 motions a second; `pace` 0 stands still."""
    generator = np.random.default_rng(seed)
    size = 10 + default_basis().size
    phase, speed = generator.uniform(0, 6.28, size), generator.uniform(0.5, 6, size) * pace / 30
    out = []
    for i in range(count):
        wave = np.sin(phase + speed * i)
        pose = Pose(
            (0.3 * wave[:3]).astype(np.float32), (0.2 * wave[3:5]).astype(np.float32), float(0.3 * 2 ** (0.2 * wave[5]))
        )
        out.append(Motion(pose, wave[10:].astype(np.float32), (0.03 * wave[6:10]).reshape(2, 2).astype(np.float32)))
    return out


def error(one: Motion, other: Motion) -> float:
    """Largest difference between two motions: radians, half-widths, standard deviations, whatever is largest."""
    return max(
        float(np.abs(one.pose.rotation - other.pose.rotation).max()),
        float(np.abs(one.pose.translation - other.pose.translation).max()),
        abs(one.pose.scale - other.pose.scale),
        float(np.abs(one.gaze - other.gaze).max()),
    )
