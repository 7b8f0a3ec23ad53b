"""The sending half of an edge: a camera of any kind, landmarks, and motion on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from telepresence.edge.pacing import CameraPace
from telepresence.face.mouth import Mouth
from telepresence.rtc import camera
from telepresence.rtc.landmarker import CameraPicture, Landmarker, Tracked
from telepresence.rtc.mailbox import LoopMailbox
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.sound_file import FileClock
from telepresence.rtc.speaker import Speaker
from telepresence.wire.codec import MotionPacket


class Sender:
    """Makes motion packets from whatever `--camera` names.

    Args:
        given: a word, file or device; see `camera.kind_of`.
        neutral: (478, 3) of our own avatar, if it is to be used for tracking.
        on_motion: gets each packet, on the loop.
        on_tracked: gets what became of each camera picture, on the loop.
        on_camera: told on the loop when the camera runs, and when it is lost.
        on_error: told on the loop why camera pictures cannot become motion at all.

    Raises:
        InputError: no such camera.
    """

    def __init__(
        self,
        given: str,
        neutral: NDArray[np.float32] | None,
        on_motion: Callable[[MotionPacket], None],
        on_tracked: Callable[[Tracked], None],
        on_camera: Callable[[bool], None],
        on_error: Callable[[str], None],
    ) -> None:
        self.kind = camera.kind_of(given)
        loop = asyncio.get_running_loop()

        def on_failure(problem: str) -> None:
            loop.call_soon_threadsafe(on_error, problem)

        self.pace = CameraPace()
        """Which of the camera's pictures are looked at."""
        self._speaker = Speaker()
        self.file_clock = FileClock()
        """Of the pictures, where the camera is a file."""
        self._motion: LoopMailbox[MotionPacket] = LoopMailbox(loop, on_motion)
        self._tracked: LoopMailbox[Tracked] = LoopMailbox(loop, on_tracked)
        tracks = self.kind not in ("none", "sample")
        self._landmarker = Landmarker(self._deliver, neutral, on_failure) if tracks else None

        def on_state(running: bool) -> None:
            loop.call_soon_threadsafe(on_camera, running)

        self._source: camera.Source | None = None
        if self.kind == "sample":
            from telepresence.avatar.samples import sample_motion

            self._source = camera.sample_source(sample_motion(), self._motion.put, on_state)
        elif self.kind == "file":
            self._source = camera.file_source(Path(given), self.put, on_state, self.file_clock.begin)
        elif self.kind == "device":
            self._source = camera.device_source(given, self.put, on_state)

    @property
    def active(self) -> bool:
        """Whether this edge has a camera, or something in place of one."""
        return self.kind != "none"

    def put(self, picture: CameraPicture) -> None:
        """A camera picture, from any thread."""
        if self._landmarker and self.pace.passes(picture.capture_us):
            self._landmarker.mailbox.put(picture)

    def hear(self, mouth: Mouth, level: float) -> None:
        """The mouth's shape by the voice, 30 times a second, from any thread; moves the lips while no face is seen."""
        packet = self._speaker.voice(mouth, level, now_us())
        if packet is not None:
            self._motion.put(packet)

    def follow(self, neutral: NDArray[np.float32] | None) -> None:
        """Our own avatar has this neutral shape from now on."""
        if self._landmarker:
            self._landmarker.follow(neutral)

    def start(self) -> None:
        """Start the threads."""
        if self._landmarker:
            self._landmarker.start()
        if self._source:
            self._source.start()

    def close(self) -> None:
        """Stop the threads; blocks until they have ended."""
        if self._source:
            self._source.close()
        if self._landmarker:
            self._landmarker.close()

    def _deliver(self, tracked: Tracked) -> None:
        packet = self._speaker.camera(tracked, now_us())
        if packet is not None:
            self._motion.put(packet)
        self._tracked.put(tracked)
