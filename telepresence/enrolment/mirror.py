"""One's own avatar, moved by one's own camera: what is shown beside it before anybody else sees it."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.face.motion import Motion, to_square
from telepresence.face.retarget import Retarget
from telepresence.face.smoothing import MotionSmoother
from telepresence.face.tracking import MotionExtractor

if TYPE_CHECKING:
    from telepresence.avatar.model import Avatar
    from telepresence.runtime.engine import Engine, Prepared

Floats = NDArray[np.float32]

SIZE: Final = 256
QUALITY: Final = 88  # of JPEG
SAMPLE_STEP_US: Final = 66_000  # between two pictures of recorded motion


class Mirror:
    """Draws an avatar with an engine of its own, so that a call that goes on is left alone. Belongs to one thread.

    Args:
        engine: a shipped name, or a folder.
        runtime: as of `join`.
    """

    def __init__(self, engine: str, runtime: str | None) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="mirror")
        self._opening: Future[Engine] = self._pool.submit(_opened, engine, runtime)
        self._prepared: Prepared | None = None
        self._recorded: list[Motion] = []
        self._next = 0

    def wear(self, avatar: Avatar) -> None:
        """Draw this one from now on; waits for the engine, if that still loads.

        Raises:
            EngineError: it cannot draw.
        """
        self._prepared = self._opening.result().prepare(avatar)
        self._avatar = avatar
        self._begin()

    def _begin(self) -> None:
        self._extractor = MotionExtractor(self._avatar.neutral)
        self._smooth = MotionSmoother()
        self._retarget = Retarget(self._avatar.neutral, self._avatar.rest, "relative")
        self._driven = False

    def draw(self, landmarks: Floats, width: int, height: int, at_us: int) -> bytes | None:
        """The avatar as the face (478, 3) in a width x height picture moves it: a JPEG; None without an avatar.

        Raises:
            EngineError: it cannot draw.
        """
        if self._prepared is None:
            return None
        if not self._driven:  # by recorded motion so far, which is somebody else's
            self._begin()
            self._driven = True
        motion = self._smooth(self._extractor(to_square(landmarks, width, height)), at_us)
        return self._drawn(self._retarget(motion, at_us))

    def draw_recorded(self, now_us: int) -> bytes | None:
        """The avatar as recorded motion moves it, for who has no camera."""
        if self._prepared is None:
            return None
        if not self._recorded:
            from telepresence.avatar.samples import sample_motion

            self._recorded = [packet.motion for packet in sample_motion()][::2]
        if self._driven:
            self._begin()
        self._next = (self._next + 1) % len(self._recorded)
        return self._drawn(self._retarget(self._recorded[self._next], now_us))

    def close(self) -> None:
        """Free the engine."""
        self._prepared = None
        self._opening.add_done_callback(_closed)
        self._pool.shutdown(wait=False)

    def _drawn(self, keypoints: Floats) -> bytes:
        import cv2

        if self._prepared is None:
            return b""
        rgba = self._opening.result().render(self._prepared, keypoints)
        _, jpeg = cv2.imencode(".jpg", rgba[..., 2::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        return bytes(jpeg.tobytes())


def _opened(engine: str, runtime: str | None) -> Engine:
    from telepresence.runtime.engine import open_engine

    opened = open_engine(engine, SIZE, runtime=runtime)
    opened.warm_up()
    return opened


def _closed(opening: Future[Any]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
