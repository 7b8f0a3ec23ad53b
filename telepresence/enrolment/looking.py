"""One picture of the page's camera -> what it shows: landmarks, measures, what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from telepresence.enrolment.hints import BLOCKING, Hint, hint
from telepresence.enrolment.steps import Measure, measure
from telepresence.errors import MediaError
from telepresence.face.landmarks import LandmarkTracker, face_box, same_face

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

MIN_SIDE: Final = 240  # pixels of the shorter side of a camera's picture
MAX_SIDE: Final = 2048  # of either
MAX_JPEG_BYTES: Final = 500 * 1024
OTHERS_US: Final = 900_000  # between two looks for somebody else: a search among all faces takes 30 ms


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a picture shows."""

    picture: Picture
    """(H, W, 3) uint8 RGB."""
    at_us: int
    landmarks: Floats | None
    """(478, 3), pixels; None: nobody."""
    measure: Measure | None
    hint: Hint | None

    @property
    def usable(self) -> Measure | None:
        """What counts for the guide: nothing while something is badly wrong."""
        return None if self.hint in BLOCKING else self.measure

    @property
    def box(self) -> list[float]:
        """Left, top, right, bottom of the face in parts of the picture; empty: nobody."""
        if self.landmarks is None:
            return []
        height, width = self.picture.shape[:2]
        left, top, right, bottom = face_box(self.landmarks)
        return [round(v, 3) for v in (left / width, top / height, right / width, bottom / height)]


class Looker:
    """Looks at the pictures of one camera. Belongs to one thread."""

    def __init__(self) -> None:
        self._tracker = LandmarkTracker()
        self._search = LandmarkTracker(still=True)
        self._others: list[Floats] = []
        self._searched_us: int | None = None

    def __call__(self, jpeg: bytes, at_us: int) -> Seen:
        """Look at a picture.

        Raises:
            MediaError: it is none, or none of a camera.
        """
        picture = decoded(jpeg)
        face = self._tracker(picture)
        if face is None:
            return Seen(picture, at_us, None, None, Hint.NOBODY)
        if self._searched_us is None or at_us - self._searched_us >= OTHERS_US:
            self._searched_us = at_us
            self._others = [other for other in self._search.everybody(picture) if not same_face(other, face)]
        height, width = picture.shape[:2]
        found = hint(picture, [face, *self._others])
        return Seen(picture, at_us, face, measure(face, width, height), found)

    def close(self) -> None:
        """Free the graphs."""
        self._tracker.close()
        self._search.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def decoded(jpeg: bytes) -> Picture:
    """A camera's picture (H, W, 3) uint8 RGB; its size is checked before it is decoded.

    Raises:
        MediaError: too large, not a JPEG, or not of a size that cameras have.
    """
    import cv2

    if len(jpeg) > MAX_JPEG_BYTES:
        raise MediaError(f"a camera's picture of {len(jpeg)} bytes; at most {MAX_JPEG_BYTES} are allowed")
    width, height = _size(jpeg)
    if min(width, height) < MIN_SIDE or max(width, height) > MAX_SIDE:
        raise MediaError(
            f"the camera's pictures have {width} x {height} pixels; {MIN_SIDE} to {MAX_SIDE} a side are needed: choose "
            "another camera"
        )
    bgr: Any = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if bgr is None or bgr.shape != (height, width, 3):
        raise MediaError("a camera's picture is damaged")
    return np.ascontiguousarray(bgr[..., ::-1])


def _size(jpeg: bytes) -> tuple[int, int]:
    """Width and height that a JPEG's frame header tells (ITU-T T.81, B.2.2)."""
    at = 2
    if not jpeg.startswith(b"\xff\xd8"):
        raise MediaError("a camera's picture is not a JPEG")
    while at + 9 < len(jpeg) and jpeg[at] == 0xFF:
        marker, length = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if marker in (0xC0, 0xC1):
            return int.from_bytes(jpeg[at + 7 : at + 9], "big"), int.from_bytes(jpeg[at + 5 : at + 7], "big")
        if marker == 0xDA or length < 2 or marker == 0xC2:  # a canvas writes no progressive ones
            break
        at += 2 + length
    raise MediaError("a camera's picture is not a JPEG of a page's making")
