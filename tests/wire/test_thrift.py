from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from telepresence.face.basis import default_basis
from telepresence.face.motion import keypoints
from telepresence.wire.codec import MotionDecoder, MotionEncoder
from telepresence.wire.packets import MotionPacket
from telepresence.wire.quantise import quantise, restore
from telepresence.wire.tables import default_tables
from telepresence.wire.thrift import KEEPALIVE_US, SETTLE, TOLD, Rate, Thrift, farthest, spread
from tests.wire.motions import PICTURE_US, error, moving


def run(paces: list[float], rate: Rate = Rate.THRIFTY) -> tuple[list[bytes], list[MotionPacket], Thrift]:
    encoder, decoder = MotionEncoder(), MotionDecoder()
    thrift = Thrift(encoder, rate)
    messages, shown = [], []
    motions, at = moving(2000), 0.0
    for i, pace in enumerate(paces):
        at += pace
        message = thrift.offer(i * PICTURE_US, motions[int(at)])
        if message:
            messages.append(message)
            received = decoder.receive(message)
            assert isinstance(received, tuple)
            shown += received
            encoder.acknowledge(decoder.ack())
    return messages, shown, thrift


def test_a_moving_head_takes_one_message_for_two_motions() -> None:
    messages, shown, thrift = run([1.0] * 60)
    assert len(messages) == 30
    assert [p.sequence for p in shown] == list(range(60))
    assert thrift.skipped == 0


def test_without_pairs_every_motion_goes_at_once() -> None:
    messages, _, _ = run([1.0] * 20, Rate.ADAPTIVE)
    assert len(messages) == 20


def test_at_every_picture_a_still_head_is_sent_as_well() -> None:
    messages, shown, _ = run([0.0] * 20, Rate.EVERY)
    assert len(messages) == 20
    assert not shown[-1].still


def test_stillness_is_told_before_there_is_silence() -> None:
    """The first message that tells may get lost; silence would then look like a loss."""
    _, shown, thrift = run([0.0] * 30, Rate.ADAPTIVE)
    before_silence = [a for a, b in pairwise(shown) if b.capture_us - a.capture_us < 2 * PICTURE_US]
    assert sum(p.still for p in before_silence) + 1 == TOLD
    assert thrift.skipped > 15


@pytest.mark.parametrize("value", range(58))
def test_no_landmark_moves_unseen_at_an_adaptive_rate(value: int) -> None:
    """Whatever moves the face: it is sent before any landmark is further off than UNSEEN."""
    tables, neutral = default_tables(), default_basis().mean
    start = quantise(moving(1)[0], tables, None)
    start[:3], start[4:6] = [0, 0, 0], [0, 0]  # ahead and in the middle, where distances are those of `farthest`
    scale = restore(start, tables).pose.scale

    def points(grid: list[int]) -> np.ndarray:
        return keypoints(restore(grid, tables), neutral)[:, :2] / scale

    for integers in (1, 2):
        moved = list(start)
        moved[value] += integers
        real = float(np.linalg.norm(points(moved) - points(start), axis=1).max())
        bounded = value >= 10 and abs(moved[value] * tables.steps[value]) > 6  # by the decoder: it moves less
        assert bounded or farthest(moved, start) == pytest.approx(real, rel=0.1, abs=1e-4)


def test_one_lid_alone_wakes_an_adaptive_sender_but_not_always_a_thrifty_one() -> None:
    grid = quantise(moving(1)[0], default_tables(), None)
    moved = [g + (i == 6) * 2 for i, g in enumerate(grid)]  # one eye's gaze
    assert farthest(moved, grid) > 1.5 * spread(moved, grid)


def test_a_resting_head_is_announced_then_silent_but_for_a_sign_of_life() -> None:
    seconds = 10
    messages, shown, _ = run([0.0] * 30 * seconds)
    assert len(messages) <= SETTLE + TOLD + seconds * 1_000_000 / KEEPALIVE_US
    assert [p.still for p in shown[: SETTLE + TOLD]] == [False] * SETTLE + [True] * TOLD
    gaps = [b.capture_us - a.capture_us for a, b in pairwise(shown)]
    assert max(gaps) <= KEEPALIVE_US + PICTURE_US + 500
    assert all(a.still for a, gap in zip(shown, gaps, strict=False) if gap > 2 * PICTURE_US)


def test_moving_again_is_sent_at_once_and_nothing_is_lost() -> None:
    paces = [0.0] * 40 + [1.0] * 20
    _, shown, _ = run(paces)
    awake = [p for p in shown if p.capture_us > 40 * PICTURE_US]
    assert awake[0].capture_us < 42.1 * PICTURE_US
    assert not awake[-1].still
    assert error(shown[-1].motion, moving(60)[20]) < 0.06


def test_flush_sends_what_waits() -> None:
    thrift = Thrift(MotionEncoder(), Rate.THRIFTY)
    assert thrift.offer(0, moving(1)[0]) is None
    message = thrift.flush()
    assert message is not None
    assert thrift.flush() is None
    assert isinstance(MotionDecoder().receive(message), tuple)


def test_while_losses_are_seen_every_motion_goes_at_once_and_twice() -> None:
    encoder, decoder = MotionEncoder(), MotionDecoder()
    thrift = Thrift(encoder, Rate.THRIFTY)
    shown: set[int] = set()
    for i, motion in enumerate(moving(400)):
        message = thrift.offer(i * PICTURE_US, motion)
        if message and i % 10 > 1:
            received = decoder.receive(message)
            assert isinstance(received, tuple)
            shown |= {p.sequence for p in received}
            encoder.acknowledge(decoder.ack())
    assert encoder.repeating
    assert {n for n in range(200, 400) if n % 10 not in (0, 1)} <= shown
    assert {n for n in range(200, 399) if n % 10 == 1} <= shown


def test_a_change_of_avatar_is_not_paired() -> None:
    thrift = Thrift(MotionEncoder(), Rate.THRIFTY)
    assert thrift.offer(0, moving(1)[0], epoch=1) is None
    message = thrift.offer(PICTURE_US, moving(1)[0], epoch=2)
    assert message is not None
    (packet,) = MotionDecoder().receive(message)  # type: ignore[misc]
    assert packet.epoch == 2


def test_a_face_that_vanishes_is_told_at_once_however_still_it_was() -> None:
    thrift, still = Thrift(MotionEncoder(), Rate.THRIFTY), moving(1)[0]
    sent = [thrift.offer(i * PICTURE_US, still) for i in range(34)]
    assert not any(sent[-3:])
    assert thrift.offer(34 * PICTURE_US, still, rest=True) is not None
    assert thrift.offer(35 * PICTURE_US, still, rest=True) is None
    assert thrift.offer(36 * PICTURE_US, still) is not None


@pytest.mark.parametrize("before", [10, 11])  # with and without a motion that waits for its second
def test_so_is_one_that_vanishes_while_it_moves_and_comes_back(before: int) -> None:
    thrift, decoder, motions = Thrift(MotionEncoder(), Rate.THRIFTY), MotionDecoder(), moving(60)
    for i in range(before):
        thrift.offer(i * PICTURE_US, motions[i])
    for i, rest in ((before, True), (before + 6, False)):
        message = thrift.offer(i * PICTURE_US, motions[i], rest=rest)
        assert message is not None
        received = decoder.receive(message)
        assert isinstance(received, tuple)
        assert received[-1].rest == rest
        assert received[-1].capture_us >= i * PICTURE_US - 500


def test_what_waits_is_flushed_only_once_it_has_waited() -> None:
    thrift = Thrift(MotionEncoder(), Rate.THRIFTY)
    assert thrift.offer(PICTURE_US, moving(1)[0]) is None
    assert thrift.flush(PICTURE_US - 1) is None
    assert thrift.flush(PICTURE_US) is not None
