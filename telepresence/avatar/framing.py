"""Which square of a photo or clip becomes the avatar's picture. DESIGN.md, "Framing"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import FaceError
from telepresence.face.landmarks import face_box

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

SMALL_FACE: Final = 0.25  # of the picture's height: a smaller face is cropped to, a larger one never is
CROP_SIDE: Final = 2.8  # face heights: head and shoulders
CROP_ABOVE: Final = 0.75  # face heights between the crop's top and the forehead: room for hair and for nodding
MIN_FACE_PX: Final = 48  # pixels high; below this a reference shows a stranger
HAIR_ABOVE: Final = 0.3  # face heights from forehead to crown: belongs to what must be inside
EARS_BESIDE: Final = 0.1  # face widths


@dataclass(frozen=True, slots=True)
class Square:
    """Part of a frame, pixels."""

    left: int
    top: int
    side: int

    def cut(self, picture: Picture, size: int) -> Picture:
        """Cut this square out of a picture (H, W, 3) and scale it to (size, size, 3)."""
        import cv2

        part = picture[self.top : self.top + self.side, self.left : self.left + self.side]
        if self.side == size:
            return np.ascontiguousarray(part)
        return np.asarray(cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA), np.uint8)

    def landmarks(self, landmarks: Floats, size: int) -> Floats:
        """Landmarks (478, 3) in pixels of the whole frame -> in pixels of the cut."""
        moved = (landmarks - np.array([self.left, self.top, 0], np.float32)) * np.float32(size / self.side)
        return moved.astype(np.float32)


def central_square(width: int, height: int) -> Square:
    """The largest square in the middle of a frame."""
    side = min(width, height)
    return Square((width - side) // 2, (height - side) // 2, side)


def choose_square(width: int, height: int, faces: Sequence[Floats], where: str) -> Square:
    """The central square, unless the face is small in it or not inside it.

    Args:
        width: of the frame, pixels.
        height: of the frame, pixels.
        faces: landmarks (478, 3) in pixels of that frame; for a clip, of many of its frames: the square fits them all.
        where: what to call the source in a message.

    Raises:
        FaceError: the face is too small to make an avatar of.
    """
    boxes = np.array([face_box(face) for face in faces])
    tall = float(np.median(boxes[:, 3] - boxes[:, 1]))
    if tall < MIN_FACE_PX:
        raise FaceError(
            f"{where}: the face is only {tall:.0f} pixels high; at least {MIN_FACE_PX} are needed, so move closer "
            "to the camera or use a larger picture"
        )
    # Nearly all frames of a clip, so that one wild one does not move the picture.
    left, top = np.percentile(boxes[:, :2], 5, axis=0)
    right, bottom = np.percentile(boxes[:, 2:], 95, axis=0)
    square = central_square(width, height)
    if tall < SMALL_FACE * square.side:
        side = min(square.side, round(max(CROP_SIDE * tall, right - left + tall, bottom - top + tall)))
        return _inside((left + right - side) / 2, top - CROP_ABOVE * tall, side, width, height)
    beside = EARS_BESIDE * (right - left)
    x = _shift(square.left, square.side, left - beside, right + beside)
    y = _shift(square.top, square.side, top - HAIR_ABOVE * tall, bottom)
    return _inside(x, y, square.side, width, height)


def _shift(start: int, side: int, low: float, high: float) -> float:
    """Move the span [start, start + side] as little as it takes to hold [low, high]; its middle, if that is longer."""
    if high - low > side:
        return (low + high - side) / 2
    return float(np.clip(start, high - side, low))


def _inside(left: float, top: float, side: int, width: int, height: int) -> Square:
    return Square(int(np.clip(round(left), 0, width - side)), int(np.clip(round(top), 0, height - side)), side)
