"""Whose motion is sent: that of the face in the camera, or, where none is seen, that which the voice makes. No jumps.

Sans-I/O: time comes in as an argument. From any thread.
"""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from typing import Final

from telepresence.face.motion import Motion, Pose
from telepresence.face.mouth import Mouth
from telepresence.face.speaking import Speaking
from telepresence.face.tween import Step, Still
from telepresence.rtc.landmarker import Tracked, rest_motion
from telepresence.wire.codec import MotionPacket

FACE_GONE_US: Final = 400_000  # without a face for so long, the voice moves the lips
VOICE_GONE_US: Final = 300_000  # without a word of it, nobody speaks for the face any more
HANDOVER_TAU_US: Final = 120_000  # time constant of the way from one to the other
RESTED_US: Final = 1_000_000  # of rest, to which receivers go by themselves: then nothing is handed over
CALM_TAU_US: Final = 3_000_000  # time constant of the mean pose, where a head that nobody sees is kept
MEET_US: Final = 1_200_000
"""A receiver learns a driver's rest pose once, and anew after a second of rest (`wire.playout`). A face that comes
after a voice alone has another: it is kept back for so long, lest the avatar leaves its place."""


class Speaker:
    """One edge's choice between face and voice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._speaking = Speaking()
        self._face_us: int | None = None
        self._voice_us: int | None = None
        self._met = True  # whether the receivers' idea of our rest pose is that of the face
        self._meet_us = 0
        self._calm: Still | None = None
        self._calm_us = 0
        self._source = ""
        self._last: Still | None = None
        self._offset: Step | None = None
        self._last_us = 0
        self._capture_us = 0

    def camera(self, tracked: Tracked, now_us: int) -> MotionPacket | None:
        """What to send of a camera picture."""
        with self._lock:
            packet = tracked.packet
            if packet is None:
                return None
            if tracked.face:
                return self._face(packet, now_us)
            if self._speaks(now_us):
                return None
            if now_us - self._last_us > RESTED_US:
                self._source, self._last, self._offset = "", None, None
            return self._ordered(packet)

    def voice(self, mouth: Mouth, level: float, now_us: int) -> MotionPacket | None:
        """What to send of a mouth that was heard; nothing while a face is seen."""
        with self._lock:
            self._voice_us = now_us
            if self._face_us is not None and now_us - self._face_us < FACE_GONE_US:
                return None
            if self._calm is None:
                self._met = False
            motion = self._speaking(mouth, level, self._rest_pose(), now_us)
            shown = self._handed_over("voice", motion, now_us)
            return self._ordered(MotionPacket(0, now_us, shown))

    def _face(self, packet: MotionPacket, now_us: int) -> MotionPacket | None:
        self._face_us = now_us
        self._learn_calm(packet.motion, now_us)
        if not self._met:
            self._met, self._meet_us = True, now_us + MEET_US
            self._source, self._last, self._offset = "", None, None
        if now_us < self._meet_us:
            return self._ordered(replace(packet, rest=True))
        return self._ordered(replace(packet, motion=self._handed_over("face", packet.motion, now_us)))

    def _speaks(self, now_us: int) -> bool:
        return self._voice_us is not None and now_us - self._voice_us < VOICE_GONE_US

    def _handed_over(self, source: str, motion: Motion, now_us: int) -> Motion:
        """The motion, or what is on the way to it from another source's."""
        target = Still.of(motion)
        if source != self._source:
            known = self._last is not None and self._last.like(target)
            self._offset = target.to(self._last) if known and self._last is not None else None
            self._source = source
        elif self._offset is not None:
            keep = math.exp(-max(0, now_us - self._last_us) / HANDOVER_TAU_US)
            self._offset = self._offset.scaled(keep, keep) if _far(self._offset) else None
        self._last_us = now_us
        self._last = target if self._offset is None else target.moved(self._offset)
        return motion if self._offset is None else self._last.motion()

    def _learn_calm(self, motion: Motion, now_us: int) -> None:
        still = Still.of(motion)
        if self._calm is None or not self._calm.like(still):
            self._calm = still
        else:
            part = 1 - math.exp(-max(0, now_us - self._calm_us) / CALM_TAU_US)
            self._calm = self._calm.moved(self._calm.to(still).scaled(part, part))
        self._calm_us = now_us

    def _rest_pose(self) -> Pose:
        return rest_motion().pose if self._calm is None else self._calm.motion().pose

    def _ordered(self, packet: MotionPacket) -> MotionPacket:
        """Capture times of camera and voice are not of the same way here; what is sent must not go back in time."""
        self._capture_us = max(self._capture_us + 1, packet.capture_us)
        return replace(packet, capture_us=self._capture_us)


def _far(step: Step) -> bool:
    return bool(max(abs(step.turn).max(), abs(step.place).max(), abs(step.face).max()) > 0.005)
