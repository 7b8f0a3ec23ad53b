"""Motion on an avatar over time: what is drawn, and how it comes to rest."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from telepresence.avatar.samples import sample_avatar, sample_motion
from telepresence.face.motion import to_square
from telepresence.rtc.puppet import MISSED_US, Puppet
from telepresence.wire.packets import MotionPacket
from telepresence.wire.playout import GONE_US, Playout

STEP = 33_333


def motions() -> list:
    return sample_motion()[:90]


def rest_of(puppet: Puppet) -> np.ndarray:
    return puppet._retarget.at_rest()


class Stage:
    """A puppet and what moves it, drawn as the worker does."""

    def __init__(self, puppet: Puppet | None = None) -> None:
        self.puppet = puppet or Puppet(sample_avatar())
        self.playout = Playout(forget=True)
        self.shown: list[np.ndarray] = []

    def receive(self, packet: MotionPacket, now: int) -> np.ndarray | None:
        self.wait_until(now)
        self.playout.receive(packet, now)
        return self.draw(now)

    def draw(self, now: int) -> np.ndarray | None:
        keypoints = self.puppet.keypoints(self.playout, now)
        if keypoints is not None:
            self.shown.append(keypoints)
        return keypoints

    def play(self, packets: list[MotionPacket], start: int = 0) -> int:
        """Each as it comes, 30 a second; returns when the last one came."""
        for n, packet in enumerate(packets):
            assert self.receive(at(packet, start + n * STEP), start + n * STEP) is not None
        return start + (len(packets) - 1) * STEP

    def wait_until(self, end: int) -> None:
        """Draw whenever the puppet wants to."""
        while (due := self.puppet.due_us()) is not None and due < end:
            self.draw(due)

    def settle(self) -> int:
        """Draw until nothing moves any more; returns when that was."""
        now = 0
        while (due := self.puppet.due_us()) is not None:
            now = due
            self.draw(now)
            assert len(self.shown) < 1000, "never comes to rest"
        return now


def at(packet: MotionPacket, capture_us: int) -> MotionPacket:
    return replace(packet, sequence=capture_us // STEP, capture_us=capture_us)


def aside(packet: MotionPacket) -> MotionPacket:
    """Of somebody who sits elsewhere."""
    pose = replace(packet.motion.pose, translation=packet.motion.pose.translation + np.float32(0.5))
    return replace(packet, motion=replace(packet.motion, pose=pose))


def steps(shown: list[np.ndarray]) -> list[float]:
    return [float(np.abs(b - a).max()) for a, b in itertools.pairwise(shown)]


def test_before_any_motion_the_avatar_is_at_rest_where_it_was_enrolled() -> None:
    avatar = sample_avatar()
    stage = Stage(Puppet(avatar))
    stage.settle()
    first = avatar.references[0]
    enrolled = to_square(first.landmarks, first.side, first.side)
    (drawn,) = stage.shown
    assert np.abs(drawn[:, :2] - enrolled[:, :2]).mean() < 0.03


def test_every_packet_is_drawn_at_once_and_a_missing_one_predicted() -> None:
    stage = Stage()
    stage.settle()
    last = stage.play(motions(), 1_000_000)
    assert len(stage.shown) == 1 + len(motions())  # and nothing in between
    assert stage.puppet.due_us() == last + MISSED_US
    before = stage.shown[-1]
    predicted = stage.draw(last + MISSED_US)
    assert predicted is not None
    assert not np.array_equal(predicted, before)


def test_a_lost_packet_is_not_waited_for_longer_than_a_slow_cameras_next_one() -> None:
    """24 pictures a second are 41.7 ms apart; more would be added to the age of all that a loss delays."""
    assert 1_000_000 / 24 < MISSED_US <= 1_000_000 / 20


def test_while_a_head_keeps_still_pictures_go_on_at_their_rate() -> None:
    stage = Stage()
    stage.settle()
    last = stage.play([replace(packet, still=True) for packet in motions()], 1_000_000)
    assert stage.puppet.due_us() == last + STEP


def test_the_way_from_rest_to_motion_has_no_jump() -> None:
    stage = Stage()
    stage.settle()
    stage.play(motions()[30:60], 1_000_000)
    largest = max(steps(stage.shown[20:]))
    assert max(steps(stage.shown[:10])) < 2 * largest
    assert np.abs(stage.shown[1] - rest_of(stage.puppet)).max() < 0.1  # begins near where it was
    assert np.abs(stage.shown[-1] - stage.shown[1]).max() > 0.02


def test_without_packets_it_comes_to_rest_smoothly_and_then_costs_nothing() -> None:
    stage = Stage()
    last = stage.play(motions())
    ended = stage.settle()
    assert last + GONE_US < ended < last + GONE_US + 3_000_000
    eased = stage.shown[-40:]
    away = [float(np.abs(k - rest_of(stage.puppet)).max()) for k in eased]
    assert away == sorted(away, reverse=True)
    assert away[-1] < 0.01
    assert max(steps(eased)) < 0.1
    assert stage.draw(ended + 10_000_000) is None


def test_a_sender_without_a_face_lets_it_rest_at_once() -> None:
    stage = Stage()
    now = stage.play(motions()[:30])
    stage.receive(at(replace(motions()[30], rest=True), now + STEP), now + STEP)
    ended = stage.settle()
    assert ended < now + GONE_US + 2_000_000
    assert np.abs(stage.shown[-1] - rest_of(stage.puppet)).max() < 0.01


def test_a_lost_link_lets_it_rest_at_once_and_the_next_stream_is_another() -> None:
    stage = Stage()
    now = stage.play(motions())
    stage.playout.link_lost()
    ended = stage.settle()
    assert ended < now + GONE_US + 2_000_000
    again = [replace(packet, sequence=n) for n, packet in enumerate(motions()[:10])]  # another clock, too
    for packet in again:
        assert stage.receive(packet, ended + 1_000_000 + packet.capture_us) is not None
    assert stage.playout.dropped == 0


def test_the_whole_avatar_goes_on_where_its_first_reference_was() -> None:
    avatar = sample_avatar()
    stage = Stage(Puppet(replace(avatar, references=avatar.references[:1])))
    now = stage.play(motions())
    before, stage.puppet = stage.puppet, Puppet(avatar)
    stage.puppet.take_over(before)
    assert stage.puppet._retarget.driver is before._retarget.driver is not None
    stage.draw(now + STEP)
    assert steps(stage.shown)[-1] < 0.1


def test_another_neutral_shape_is_calibrated_anew_and_another_place_is_taken_at_once() -> None:
    avatar = sample_avatar()
    stage = Stage()
    now = stage.play([aside(packet) for packet in motions()])
    first = replace(avatar.references[0], landmarks=avatar.references[0].landmarks * np.float32(0.8))
    moved = Puppet(replace(avatar, references=(first,)))
    moved.take_over(stage.puppet)
    shown = moved.keypoints(stage.playout, now + STEP)
    assert shown is not None
    assert np.abs(shown - rest_of(moved)).mean() < 0.5 * np.abs(shown - rest_of(stage.puppet)).mean()
    other = Puppet(replace(avatar, neutral=avatar.neutral * np.float32(1.01)))
    other.take_over(stage.puppet)
    assert other._retarget.driver is None


def test_somebody_who_sits_elsewhere_after_a_pause_is_calibrated_anew() -> None:
    stage = Stage()
    stage.play(motions())
    stage.settle()
    count = len(stage.shown)
    stage.play([aside(packet) for packet in motions()], 200 * STEP)
    resumed = stage.shown[count - 1 :]
    offset = np.abs((resumed[-1] - rest_of(stage.puppet))[:, :2].mean(0))
    assert offset.max() < 0.25  # half the way that the head has really moved, and less
    assert max(steps(resumed[:10])) < 0.1  # and it did not jump there and back


def test_a_short_pause_keeps_the_rest_pose() -> None:
    stage = Stage()
    now = stage.play(motions())
    driver = stage.puppet._retarget.driver
    stage.play(motions()[:10], now + GONE_US + 20 * STEP)
    assert stage.puppet._retarget.driver is driver
