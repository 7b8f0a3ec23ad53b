"""Face or voice: who moves the lips, and that nothing jumps when it changes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from telepresence.avatar.samples import sample_motion
from telepresence.face.motion import Pose
from telepresence.face.mouth import Mouth
from telepresence.face.tween import Still
from telepresence.rtc.landmarker import Tracked
from telepresence.rtc.speaker import FACE_GONE_US, MEET_US, VOICE_GONE_US, Speaker
from telepresence.wire.codec import MotionPacket

STEP_US = 33_333
TALK = sample_motion()


class Stage:
    """A speaker at 30 steps a second, and what it sent."""

    def __init__(self) -> None:
        self.speaker = Speaker()
        self.now_us = 10_000_000
        self.sent: list[tuple[int, MotionPacket]] = []

    def go(self, steps: int, *, face: bool = False, rest: bool = False, voice: Mouth | None = None) -> None:
        for _ in range(steps):
            self.now_us += STEP_US
            found = None
            if face:
                packet = replace(TALK[len(self.sent) % len(TALK)], capture_us=self.now_us - 20_000)
                found = self.speaker.camera(Tracked(packet, True, 1), self.now_us)
            elif rest:
                packet = replace(TALK[0], capture_us=self.now_us - 20_000, rest=True)
                found = self.speaker.camera(Tracked(packet, False, 1), self.now_us)
            if found is not None:
                self.sent.append((self.now_us, found))
            if voice is not None and (spoken := self.speaker.voice(voice, 0.5, self.now_us)) is not None:
                self.sent.append((self.now_us, spoken))

    def turns(self) -> list[float]:
        """Change from each packet to the next: the largest of turn, place and a hundredth of the coefficients."""
        stills = [Still.of(packet.motion) for _, packet in self.sent if not packet.rest]
        steps = [a.to(b) for a, b in pairwise(stills)]
        return [float(max(abs(s.turn).max(), abs(s.place).max(), abs(s.face).max() / 100)) for s in steps]


def test_while_a_face_is_seen_the_voice_is_silent() -> None:
    stage = Stage()
    stage.go(30, face=True, voice=Mouth(1))
    assert len(stage.sent) == 30
    assert all(np.array_equal(p.motion.expression, TALK[n].motion.expression) for n, (_, p) in enumerate(stage.sent))


def test_without_a_face_the_voice_speaks_soon_and_no_rest_is_sent() -> None:
    stage = Stage()
    stage.go(30, face=True)
    before = len(stage.sent)
    stage.go(30, rest=True, voice=Mouth(1))
    after = stage.sent[before:]
    assert not any(packet.rest for _, packet in after[FACE_GONE_US // STEP_US + 1 :])
    assert len(after) >= 30 - FACE_GONE_US // STEP_US - 2
    assert after[-1][1].motion.expression @ after[-1][1].motion.expression > 1


def test_without_face_and_voice_it_rests() -> None:
    stage = Stage()
    stage.go(10, voice=Mouth(1))
    stage.go(VOICE_GONE_US // STEP_US + 3, rest=True)
    assert stage.sent[-1][1].rest


def test_nothing_jumps_when_the_face_goes_and_comes_back() -> None:
    stage = Stage()
    stage.go(60, face=True)
    usual = max(stage.turns())
    stage.go(60, rest=True, voice=Mouth(0.5))
    stage.go(60, face=True, voice=Mouth(0.5))
    assert max(stage.turns()) < 1.5 * usual + 0.01


def test_after_the_handover_the_face_is_sent_as_it_is() -> None:
    stage = Stage()
    stage.go(30, face=True)
    stage.go(60, voice=Mouth(0.5))
    stage.go(60, face=True)
    packet = stage.sent[-1][1]
    assert any(np.array_equal(packet.motion.expression, known.motion.expression) for known in TALK)


def test_a_head_that_nobody_sees_stays_where_it_was() -> None:
    stage = Stage()
    stage.go(150, face=True)
    mean = np.mean([packet.motion.pose.translation for _, packet in stage.sent], 0)
    stage.go(90, voice=Mouth())
    pose: Pose = stage.sent[-1][1].motion.pose
    assert np.abs(pose.translation - mean).max() < 0.1


def test_a_face_that_comes_after_a_voice_alone_lets_the_receiver_learn_its_place() -> None:
    stage = Stage()
    stage.go(60, voice=Mouth(0.5))
    before = len(stage.sent)
    stage.go(60, face=True)
    rests = [now for now, packet in stage.sent[before:] if packet.rest]
    assert rests[-1] - rests[0] >= MEET_US - 2 * STEP_US
    assert not stage.sent[-1][1].rest


def test_capture_times_never_go_back() -> None:
    stage = Stage()
    for _ in range(5):
        stage.go(20, voice=Mouth(0.3))
        stage.go(20, face=True, voice=Mouth(0.3))
        stage.go(20, rest=True)
    times = [packet.capture_us for _, packet in stage.sent]
    assert times == sorted(set(times))
