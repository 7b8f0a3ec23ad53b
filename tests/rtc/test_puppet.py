"""Motion on an avatar over time: what is drawn, and how it comes to rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from telepresence.avatar.samples import sample_avatar, sample_motion
from telepresence.face.motion import to_square
from telepresence.rtc.puppet import GONE_US, Puppet

STEP = 33_333


def motions() -> list:
    return sample_motion()[:90]


def rest_of(puppet: Puppet) -> np.ndarray:
    return puppet._rest


def settle(puppet: Puppet, now: int) -> tuple[list[np.ndarray], int]:
    """Ask as the worker does until it has settled."""
    drawn = []
    while (due := puppet.due_us()) is not None:
        now = max(now, due)
        keypoints = puppet.keypoints(now)
        if keypoints is not None:
            drawn.append(keypoints)
        assert len(drawn) < 200, "never comes to rest"
    return drawn, now


def test_before_any_motion_the_avatar_is_at_rest_where_it_was_enrolled() -> None:
    avatar = sample_avatar()
    puppet = Puppet(avatar)
    (drawn,), _ = settle(puppet, 0)
    first = avatar.references[0]
    enrolled = to_square(first.landmarks, first.side, first.side)
    assert np.abs(drawn[:, :2] - enrolled[:, :2]).mean() < 0.03


def test_every_packet_is_drawn_once() -> None:
    puppet = Puppet(sample_avatar())
    settle(puppet, 0)
    for n, packet in enumerate(motions()):
        now = 1_000_000 + n * STEP
        puppet.on_motion(packet, now)
        assert puppet.keypoints(now) is not None
        assert puppet.keypoints(now + 1) is None


def test_the_way_from_rest_to_motion_has_no_jump() -> None:
    puppet = Puppet(sample_avatar())
    settle(puppet, 0)
    shown = [rest_of(puppet)]
    for n, packet in enumerate(motions()[30:60]):
        puppet.on_motion(packet, 1_000_000 + n * STEP)
        keypoints = puppet.keypoints(1_000_000 + n * STEP)
        assert keypoints is not None
        shown.append(keypoints)
    assert np.array_equal(shown[0], shown[1])  # begins where it was
    assert not np.array_equal(shown[1], shown[-1])


def test_without_packets_it_comes_to_rest_smoothly_and_then_costs_nothing() -> None:
    puppet = Puppet(sample_avatar())
    for n, packet in enumerate(motions()):
        puppet.on_motion(packet, n * STEP)
        puppet.keypoints(n * STEP)
    last = 89 * STEP
    assert puppet.keypoints(last + GONE_US) is None  # a pause is not yet the end
    drawn, ended = settle(puppet, last)
    assert last + GONE_US < ended < last + GONE_US + 3_000_000
    away = [float(np.abs(k - rest_of(puppet)).max()) for k in drawn]
    assert away == sorted(away, reverse=True)
    assert away[-1] == 0
    assert puppet.keypoints(ended + 10_000_000) is None


def test_a_sender_without_a_face_lets_it_rest_at_once() -> None:
    puppet = Puppet(sample_avatar())
    puppet.on_motion(motions()[0], 0)
    puppet.on_motion(replace(motions()[1], rest=True), STEP)
    drawn, ended = settle(puppet, STEP)
    assert ended < GONE_US + 2_000_000
    assert np.array_equal(drawn[-1], rest_of(puppet))


def test_the_whole_avatar_goes_on_where_its_first_reference_was() -> None:
    avatar = sample_avatar()
    before = Puppet(replace(avatar, references=avatar.references[:1]))
    for n, packet in enumerate(motions()):
        before.on_motion(packet, n * STEP)
        before.keypoints(n * STEP)
    after = Puppet(avatar, before)
    assert np.array_equal(after._shown, before._shown)
    assert after._retarget is before._retarget


def test_somebody_who_sits_elsewhere_after_a_pause_is_calibrated_anew() -> None:
    puppet = Puppet(sample_avatar())

    def last_shown(start_us: int, aside: float) -> np.ndarray:
        for n, packet in enumerate(motions()):
            pose = packet.motion.pose
            pose = replace(pose, translation=pose.translation + np.float32(aside))
            puppet.on_motion(replace(packet, motion=replace(packet.motion, pose=pose)), start_us + n * STEP)
            shown = puppet.keypoints(start_us + n * STEP)
        assert shown is not None
        return shown

    before = last_shown(0, 0.0)
    after = last_shown(200 * STEP, 0.5)
    assert np.abs(after - before).max() < 0.02
