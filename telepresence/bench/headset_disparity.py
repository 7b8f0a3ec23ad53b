"""Whether the eyes' disparity is geometry's: of the keypoints, and of the nose in drawn pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.samples import sample_avatar
from telepresence.bench.headset_scene import ACROSS_M, IPD_M, Report, Scene
from telepresence.face.stereo import eye_keypoints, head_centre, unit_m, viewer
from telepresence.sinks.headset.renderer import pair

if TYPE_CHECKING:
    from telepresence.runtime.engine import Engine, Prepared

NEAR_M: Final = 0.6  # of the viewer where disparity is measured: the nearer, the more there is
NOSE: Final = (1, 4, 5, 195)  # landmarks well before the head's centre
MIN_DEPTH_M: Final = 0.0005  # of disparity: less than that has no share worth telling


def geometry() -> Report:
    """Disparity of the keypoints against two pinhole cameras, metres on the picture's plane: the worst share."""
    avatar = sample_avatar()
    points, metres = avatar.rest.apply(avatar.neutral), unit_m(avatar.rest.scale)
    head = (points - head_centre(points)) * np.array([1.0, -1.0, -1.0]) * metres
    worst = 0.0
    for distance in (0.6, 1.0, ACROSS_M, 2.0):
        for yaw in np.radians((0.0, -10.0, 14.0)):
            where = distance * np.array([np.sin(yaw), 0.0, np.cos(yaw)])
            right = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
            stereo = eye_keypoints(points, viewer(where, right, IPD_M), metres)
            ours = (stereo.right - stereo.left)[:, 0] * metres
            true = pinhole(head, where + IPD_M / 2 * right, right) - pinhole(head, where - IPD_M / 2 * right, right)
            told = np.abs(true) > MIN_DEPTH_M
            worst = max(worst, float(np.abs(ours[told] / true[told] - 1).max()))
    return {"worst_share": round(worst, 5)}


def pinhole(head: NDArray[np.float64], eye: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far to the right a camera at `eye` sees points, on the plane through the origin that `right` lies in."""
    normal = np.array([-right[2], 0.0, right[0]])
    rays = head - eye
    met = eye + rays * (-(eye @ normal) / (rays @ normal))[:, None]
    across: NDArray[np.float64] = met @ right
    return across


def in_pictures(engine: Engine, prepared: Prepared, pictures: int = 24) -> Report:
    """Where the nose is in both eyes' drawn pictures, as MediaPipe finds it, against geometry's disparity."""
    from telepresence.face.landmarks import LandmarkTracker

    scene, found, true = Scene.made(), [], []
    with LandmarkTracker(still=True) as track:
        for _ in range(pictures):
            stereo = scene.seen(0.0, NEAR_M)
            drawn = [np.ascontiguousarray(eye[..., :3]) for eye in pair(engine, prepared, stereo)]
            marks = [track(eye) for eye in drawn]
            if marks[0] is None or marks[1] is None:
                continue
            nose, half = list(NOSE), engine.size / 2
            found.append(float((marks[1] - marks[0])[nose, 0].mean()) / half)
            points = scene.points[scene.at % len(scene.points)]
            near = _nearness(points, scene.metres)[nose]
            true.append(float((-IPD_M * near / (NEAR_M - near)).mean() / scene.metres))
    pixels = engine.size / 2
    return {
        "distance_m": NEAR_M, "pictures": len(found), "drawn_px": round(float(np.median(found)) * pixels, 2),
        "geometry_px": round(float(np.median(true)) * pixels, 2),
        "share": round(float(np.median(found) / np.median(true)), 3),
    }  # fmt: skip


def _nearness(points: NDArray[np.float32], metres: float) -> NDArray[np.float64]:
    """(478,) metres towards a viewer straight in front, from the plane through the head's centre."""
    return -(points - head_centre(points))[:, 2].astype(np.float64) * metres
