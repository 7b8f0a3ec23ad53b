"""The landmark worker: newest camera picture in, motion packet out. One thread, no queue."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import TelepresenceError
from telepresence.face.basis import default_basis
from telepresence.face.motion import Motion, Pose, to_square
from telepresence.rtc import trace
from telepresence.rtc.mailbox import Mailbox
from telepresence.rtc.monotonic import now_us
from telepresence.wire.codec import MotionPacket

logger = logging.getLogger(__name__)

_converting = threading.local()

REST_EVERY_US: Final = 200_000  # while no face is seen: enough to bring a late joiner to rest
FORGET_US: Final = 1_000_000  # without a face for so long, somebody else may be next: their shape is learned anew
MAX_SIDE: Final = 4096  # pixels; a larger picture is not a camera's


@dataclass(frozen=True, slots=True)
class CameraPicture:
    """A camera's picture as it was decoded."""

    picture: Any
    """An `av.VideoFrame` of any pixel format, or uint8 (H, W, 3) RGB."""
    decoded_us: int
    """When it was decoded, or read from a file or device: this machine's monotonic clock."""
    captured_us: int | None = None
    """When the page's camera captured it, on the same clock; None where that is not known."""

    @property
    def capture_us(self) -> int:
        """The best that is known of when it was captured: what its motion packet carries."""
        return self.decoded_us if self.captured_us is None else self.captured_us

    def rgb(self) -> NDArray[np.uint8]:
        """uint8 (H, W, 3); to be asked for by a worker, always the same one of a camera."""
        if isinstance(self.picture, np.ndarray):
            return self.picture
        reformatter = getattr(_converting, "reformatter", None)
        if reformatter is None:
            from av.video.reformatter import VideoReformatter

            reformatter = _converting.reformatter = VideoReformatter()
        # A frame's own to_ndarray begins anew with tables and threads each time: 0.2 to 0.5 ms for 0.1 of work, and
        # milliseconds where the threads have to wait for a core.
        converted: Any = reformatter.reformat(self.picture, format="rgb24", threads=1)
        rgb: NDArray[np.uint8] = converted.to_ndarray()
        return rgb


@dataclass(frozen=True, slots=True)
class Tracked:
    """What became of one picture."""

    packet: MotionPacket | None
    """None if there is nothing to send."""
    face: bool
    """Whether a face was seen."""
    took_us: int
    """From taking the picture up to the packet."""


def rest_motion() -> Motion:
    """Motion of a face at rest, for a sender that has not seen any."""
    pose = Pose(np.zeros(3, np.float32), np.zeros(2, np.float32), 0.5)
    return Motion(pose, np.zeros(default_basis().size, np.float32), np.zeros((2, 2), np.float32))


class MotionMaker:
    """Camera pictures -> motion packets. Belongs to one thread.

    Args:
        neutral: (478, 3) neutral shape of the sender's own avatar, if it has one.
        epoch: of the avatar that the motion is for.
    """

    def __init__(self, neutral: NDArray[np.float32] | None = None, epoch: int = 0) -> None:
        from telepresence.face.landmarks import LandmarkTracker
        from telepresence.face.smoothing import MotionSmoother
        from telepresence.face.tracking import MotionExtractor

        self._tracker = LandmarkTracker()
        self._extractor = MotionExtractor(neutral)
        self._fresh: Callable[[], MotionExtractor] = partial(MotionExtractor, neutral)
        self._neutral = neutral
        self._smooth = MotionSmoother()
        self._seen_us: int | None = None
        self._epoch = epoch
        self._sequence = 0
        self._last = rest_motion()
        self._rested_us: int | None = None

    def __call__(self, picture: CameraPicture) -> Tracked:
        """Find the face and make its packet; without a face, a rest packet now and then."""
        started = now_us()
        trace.note("decoded", picture.capture_us, picture.decoded_us)
        trace.note("taken", picture.capture_us, started)
        rgb = picture.rgb()
        points = self._tracker(rgb) if max(rgb.shape[:2]) <= MAX_SIDE else None
        trace.note("landmarks", picture.capture_us)
        if points is not None:
            if self._seen_us is not None and picture.capture_us - self._seen_us > FORGET_US:
                self._extractor = self._fresh()
                self._smooth.reset()
            self._seen_us = picture.capture_us
            motion = self._extractor(to_square(points, rgb.shape[1], rgb.shape[0]))
            self._last = self._smooth(motion, picture.capture_us)
            self._rested_us = None
            packet: MotionPacket | None = self._packet(picture.capture_us, rest=False)
        elif self._rested_us is None or picture.capture_us - self._rested_us >= REST_EVERY_US:
            self._rested_us = picture.capture_us
            packet = self._packet(picture.capture_us, rest=True)
        else:
            packet = None
        trace.note("motion", picture.capture_us)
        return Tracked(packet, points is not None, now_us() - started)

    def follow(self, neutral: NDArray[np.float32] | None) -> None:
        """The sender's own avatar has this neutral shape from now on."""
        if neutral is not self._neutral:
            self._neutral = neutral
            self._fresh = partial(type(self._extractor), neutral)
            self._extractor.follow(neutral)

    def close(self) -> None:
        """Free the tracker."""
        self._tracker.close()

    def _packet(self, capture_us: int, *, rest: bool) -> MotionPacket:
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        return MotionPacket(self._sequence, capture_us, self._last, self._epoch, rest)


class Landmarker:
    """Runs a MotionMaker in a thread of its own. `mailbox.put` a CameraPicture from anywhere.

    Args:
        deliver: gets what became of each picture, in the worker's thread.
        neutral: see MotionMaker.
        on_failure: told why, in the worker's thread, if it cannot start; pictures are ignored from then on.
    """

    def __init__(
        self,
        deliver: Callable[[Tracked], None],
        neutral: NDArray[np.float32] | None = None,
        on_failure: Callable[[str], None] = logger.error,
    ) -> None:
        self.mailbox: Mailbox[CameraPicture] = Mailbox()
        self._deliver = deliver
        self._neutral = neutral
        self._on_failure = on_failure
        self._thread = threading.Thread(target=self._work, name="landmarks", daemon=True)

    def follow(self, neutral: NDArray[np.float32] | None) -> None:
        """The sender's own avatar has this neutral shape from the next picture on; from any thread."""
        self._neutral = neutral

    def start(self) -> None:
        """Start the worker; its first picture waits for MediaPipe to load."""
        self._thread.start()

    def close(self) -> None:
        """Stop the worker and wait for it."""
        self.mailbox.close()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def _work(self) -> None:
        try:
            maker = MotionMaker(self._neutral)
        except Exception as error:
            logger.exception("face landmarks cannot start")
            self._on_failure(f"face landmarks cannot start ({type(error).__name__}); try: telepresence doctor")
            return
        try:
            while not self.mailbox.closed:
                picture = self.mailbox.take()
                if picture is None:
                    continue
                try:
                    maker.follow(self._neutral)
                    self._deliver(maker(picture))
                except (TelepresenceError, ValueError) as error:
                    logger.warning("a camera picture could not be used (%s)", type(error).__name__)
                except Exception:
                    logger.exception("a camera picture could not be used")
        finally:
            maker.close()
