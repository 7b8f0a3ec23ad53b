"""Mattes: how much of each pixel is the person. MediaPipe selfie segmentation, edges refined on the picture."""

from __future__ import annotations

from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from telepresence.face.landmarks import face_box
from telepresence.native_logs import quiet_native_logs

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

GENERAL_MODEL: Final = 0  # 256 x 256; model 1 ("landscape", 256 x 144) loses hair in portraits
EDGE_RADIUS: Final = 1 / 96  # of the shorter side: how far the refined edge may lie from the network's
EDGE_EPSILON: Final = 1e-4  # of squared contrast: below this a difference in colour is no edge
HOLE: Final = 0.002  # of the picture: a smaller gap in a person is the network's mistake, a larger one is under an arm
SURE: Final = (0.4, 0.95)
"""Below is background, above is person, in between is stretched. Chosen by eye with the two above, on six heads: from
0.25 on a rim of the old background stays around dark hair, with a radius of 1/40 loose hair goes."""


class Matter:
    """Makes mattes. One per stream; not thread-safe."""

    def __init__(self) -> None:
        with quiet_native_logs():
            from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

            self._network: Any = SelfieSegmentation(model_selection=GENERAL_MODEL)
            self._network.process(np.zeros((64, 64, 3), np.uint8))

    def __call__(self, rgb: Picture) -> Picture:
        """Picture (H, W, 3) uint8 -> matte (H, W) uint8, 255 where the person is."""
        import cv2

        mask = np.clip(self._network.process(np.ascontiguousarray(rgb)).segmentation_mask, 0, 1).astype(np.float32)
        guide = rgb.astype(np.float32) / 255
        radius = max(2, round(min(mask.shape) * EDGE_RADIUS))
        fine = cv2.ximgproc.guidedFilter(guide, mask, radius, EDGE_EPSILON)
        low, high = SURE
        stretched: Floats = np.clip((fine - low) / (high - low), 0, 1)
        matte: NDArray[np.uint8] = np.rint(stretched * 255).astype(np.uint8)
        return matte

    def close(self) -> None:
        """Free the graph. Safe to call twice."""
        network, self._network = self._network, None
        if network is not None:
            network.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def only_person(matte: Picture, landmarks: Floats) -> Picture:
    """Drop from a matte (H, W) whoever is not connected to the face of `landmarks` (478, 3) in the same pixels.

    The face itself always counts as person, however the network saw it, and so do small holes anywhere in the person.
    """
    import cv2

    left, top, right, bottom = face_box(landmarks)
    face = np.zeros_like(matte)
    centre = (round((left + right) / 2), round((top + bottom) / 2))
    axes = (max(1, round((right - left) * 0.4)), max(1, round((bottom - top) * 0.45)))
    cv2.ellipse(face, centre, axes, 0, 0, 360, 255, -1)
    solid = np.maximum(matte, cv2.GaussianBlur(face, (0, 0), max(1.0, axes[0] / 8)))
    solid = _without_holes(solid)
    _, labels = cv2.connectedComponents((solid > 127).astype(np.uint8))
    mine = np.unique(labels[(face > 0) & (solid > 127)])
    reach = 2 * max(2, round(min(matte.shape) * EDGE_RADIUS)) + 1  # soft edges belong to the person that they border
    kept = cv2.dilate(np.isin(labels, mine[mine > 0]).astype(np.uint8), np.ones((reach, reach), np.uint8))
    return np.where(kept > 0, solid, 0).astype(np.uint8)


def _without_holes(matte: Picture) -> Picture:
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats((matte <= 127).astype(np.uint8))
    small = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] < HOLE * matte.size]
    inside = np.isin(labels, small).astype(np.uint8)
    rim = cv2.dilate(inside, np.ones((5, 5), np.uint8))
    return np.where(rim > 0, 255, matte).astype(np.uint8)
