"""What is shown, and when: fake time, no network."""

from __future__ import annotations

import itertools
import math
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telepresence.face.basis import default_basis
from telepresence.face.motion import Motion, Pose, keypoints
from telepresence.face.tween import MAX_EXPRESSION, MAX_SHIFT, MAX_TURN, Still
from telepresence.wire.arrival import RESYNC_PACKETS, STALE_US
from telepresence.wire.codec import MotionDecoder, MotionEncoder
from telepresence.wire.packets import Ack, MotionPacket
from telepresence.wire.playout import GONE_US, PREDICT_US, SETTLED, STILL_GONE_US, Playout, PlayoutState
from tests.face import synthetic

FRAME = 33_333
SINK = 16_667
DELAY = 40_000


def talking(time_us: int) -> Motion:
    """A head that nods slowly and a mouth that moves at 4 Hz."""
    t = time_us / 1e6
    expression = np.zeros(default_basis().size, np.float32)
    expression[0] = 1.5 * math.sin(2 * math.pi * 4 * t)
    pose = synthetic.pose(turn=0.4 * math.sin(2 * math.pi * 0.5 * t), x=0.1 * math.sin(2 * math.pi * 0.5 * t))
    return synthetic.motion(pose, expression)


def packets(
    count: int, start: int = 0, source: Callable[[int], Motion] = talking
) -> Iterator[tuple[MotionPacket, int]]:
    """Packets with their arrival times."""
    for n in range(start, start + count):
        capture = n * FRAME
        yield MotionPacket(n, capture, source(capture)), capture + DELAY


def play(
    playout: Playout, arrivals: list[tuple[MotionPacket, int]], until_us: int, start_us: int = 0
) -> list[tuple[int, Motion | None, PlayoutState]]:
    """Receive and sample as an edge does; the arrivals' order is that of their times."""
    waiting = sorted(arrivals, key=lambda pair: pair[1])
    shown = []
    for now in range(start_us, until_us, SINK):
        while waiting and waiting[0][1] <= now:
            playout.receive(*waiting.pop(0))
        shown.append((now, playout.sample(now), playout.state))
    return shown


def distance(one: Motion, other: Motion) -> float:
    """Largest distance between keypoints, square half-widths."""
    mean = default_basis().mean
    return float(np.abs(keypoints(one, mean) - keypoints(other, mean))[:, :2].max())


def steps(shown: list[tuple[int, Motion | None, PlayoutState]]) -> list[float]:
    motions = [motion for _, motion, _ in shown if motion is not None]
    return [distance(a, b) for a, b in itertools.pairwise(motions)]


LARGEST_STEP = max(distance(talking(t), talking(t + SINK)) for t in range(0, 2_000_000, 5_000))


def test_nothing_is_shown_before_anything_has_come() -> None:
    playout = Playout()
    assert playout.sample(0) is None
    assert playout.state is PlayoutState.WAITING
    assert playout.shown_capture_us is None
    assert playout.settled


def test_a_packet_in_time_is_shown_at_once() -> None:
    """No frame of delay: on an even link the motion shown is that of the packet which has just come."""
    playout = Playout()
    for packet, now in packets(60):
        assert playout.receive(packet, now)
        motion = playout.sample(now)
        assert playout.shown_capture_us == packet.capture_us
    assert motion is not None
    assert playout.state is PlayoutState.LIVE
    assert playout.depth_us == 0
    assert distance(motion, packet.motion) < 0.25 * LARGEST_STEP


def test_between_packets_the_head_goes_on() -> None:
    """30 in, 120 out: no two pictures in a row are the same while the head turns."""

    def turning(time_us: int) -> Motion:
        return synthetic.motion(synthetic.pose(turn=time_us / 1e6 - 0.5))

    playout = Playout()
    arrivals = list(packets(40, source=turning))
    turns = []
    for now in range(DELAY, 1_000_000, 8_333):
        while arrivals and arrivals[0][1] <= now:
            playout.receive(*arrivals.pop(0))
        motion = playout.sample(now)
        assert motion is not None
        turns.append(float(motion.pose.rotation[1]))
    speed = np.diff(turns[60:]) / 8_333e-6
    assert speed.min() > 0.4
    assert speed.max() < 2.0


def test_de_jitter_is_no_deeper_than_the_jitter() -> None:
    rng = np.random.default_rng(1)
    playout = Playout()
    arrivals = [(packet, at + int(rng.integers(0, 20_000))) for packet, at in packets(200)]
    for now in range(0, arrivals[-1][1], SINK):
        while arrivals and arrivals[0][1] <= now:
            playout.receive(*arrivals.pop(0))
        playout.sample(now)
        assert playout.depth_us <= 20_000
    assert playout.depth_us > 2_000


def test_jitter_does_not_shake_the_head() -> None:
    def turning(time_us: int) -> Motion:
        return synthetic.motion(synthetic.pose(turn=0.5 * time_us / 1e6 - 1))

    rng = np.random.default_rng(2)
    arrivals = [(p, at + int(rng.integers(0, 25_000))) for p, at in packets(120, source=turning)]
    shown = play(Playout(), arrivals, 3_900_000)[60:]
    turns = np.diff([float(m.pose.rotation[1]) for _, m, _ in shown if m is not None]) / SINK * 1e6
    assert turns.min() > 0.1  # never back, never still
    assert turns.max() < 1.2


def test_a_loss_is_bridged_and_never_a_jump() -> None:
    playout = Playout()
    arrivals = [pair for pair in packets(60) if pair[0].sequence not in (30, 31)]
    shown = play(playout, arrivals, 60 * FRAME)
    assert PlayoutState.PREDICTING in [state for _, _, state in shown]
    assert playout.counts.dropped == playout.dropped == 2
    assert max(steps(shown)) < 3 * LARGEST_STEP


def test_a_heads_prediction_ends_after_a_tenth_of_a_second() -> None:
    playout = Playout()
    arrivals = list(packets(30))
    end = arrivals[-1][1]
    shown = play(playout, arrivals, end + GONE_US)
    late = [motion for now, motion, _ in shown if now > end + PREDICT_US + 100_000 and motion is not None]
    turns = np.stack([motion.pose.rotation for motion in late])
    assert len(late) > 10
    assert np.ptp(turns, axis=0).max() < 1e-4
    assert np.linalg.norm(turns[0] - arrivals[-1][0].motion.pose.rotation) < 0.1


def test_a_face_does_not_freeze_in_the_middle_of_a_word() -> None:
    """While packets are missing it goes towards its mean, and not all the way."""
    playout = Playout()
    arrivals = list(packets(36))  # the last one with the mouth half open
    end = arrivals[-1][1]
    shown = play(playout, arrivals, end + GONE_US)
    jaw = [float(motion.expression[0]) for now, motion, _ in shown if now > end + 33_333 and motion is not None]
    last = float(arrivals[-1][0].motion.expression[0])
    assert abs(last) > 0.5
    assert 0.3 < jaw[-1] / last < 0.8
    assert all(abs(b) <= abs(a) + 1e-6 for a, b in itertools.pairwise(jaw[6:]))


def test_without_a_link_the_face_comes_to_rest_gently() -> None:
    playout = Playout()
    arrivals = list(packets(30))
    end = arrivals[-1][1]
    shown = play(playout, arrivals, end + GONE_US + 4_000_000)
    assert max(steps(shown)) < 3 * LARGEST_STEP
    assert shown[-1][2] is PlayoutState.RESTING
    assert playout.settled
    assert playout.shown_capture_us is None
    last = shown[-1][1]
    assert last is not None
    assert np.abs(last.expression).max() < SETTLED
    assert [state for now, _, state in shown if now < end + GONE_US][-1] is not PlayoutState.RESTING


def test_a_given_rest_pose_is_where_it_rests() -> None:
    playout = Playout()
    playout.rest_pose = Pose(np.array([0.1, -0.2, 0.05], np.float32), np.array([0.3, 0.1], np.float32), 0.5)
    shown = play(playout, list(packets(20)), 6_000_000)[-1][1]
    assert shown is not None
    assert shown.pose.rotation == pytest.approx(playout.rest_pose.rotation, abs=1e-3)
    assert shown.pose.scale == pytest.approx(0.5, rel=1e-3)


def test_the_sender_says_rest() -> None:
    playout = Playout()
    arrivals = list(packets(30))
    last, at = arrivals[-1]
    arrivals += [
        (replace(last, sequence=30 + n, capture_us=last.capture_us + n * 200_000, rest=True), at + n * 200_000)
        for n in range(1, 20)
    ]
    shown = play(playout, arrivals, at + 3_500_000)
    assert shown[-1][2] is PlayoutState.RESTING
    assert playout.settled
    assert max(steps(shown)) < 3 * LARGEST_STEP
    assert next(s for now, _, s in shown if now > at + 220_000) is PlayoutState.RESTING


def test_a_first_packet_of_rest_shows_a_face_at_rest() -> None:
    playout = Playout()
    assert playout.receive(MotionPacket(1, 0, talking(70_000), rest=True), DELAY)
    motion = playout.sample(DELAY)
    assert motion is not None
    assert not motion.expression.any()
    assert playout.state is PlayoutState.RESTING


def test_a_still_sender_may_be_late() -> None:
    playout = Playout()
    arrivals = list(packets(30))
    last, at = arrivals[-1]
    arrivals[-1] = (replace(last, still=True), at)
    shown = play(playout, arrivals, at + STILL_GONE_US)
    assert {state for now, _, state in shown if now >= at} == {PlayoutState.LIVE}
    assert play(playout, [], at + STILL_GONE_US + 100_000, at + STILL_GONE_US)[-1][2] is PlayoutState.RESTING


def test_while_a_head_keeps_still_what_is_not_sent_has_no_age() -> None:
    playout = Playout()
    *moving, (last, at) = list(packets(30))
    play(playout, [*moving, (replace(last, still=True), at)], at + SINK)
    playout.sample(at + SINK + 300_000)
    assert playout.still
    assert playout.shown_capture_us is None
    assert playout.state is PlayoutState.LIVE
    following = at + 360_000
    playout.receive(MotionPacket(31, following - DELAY, talking(last.capture_us)), following)
    playout.sample(following)
    assert not playout.still
    assert playout.shown_capture_us is not None
    assert following - playout.shown_capture_us < 2 * DELAY


def opening(time_us: int) -> Motion:
    """A face that does nothing until 1 s, and then opens its mouth within 80 ms."""
    expression = np.zeros(default_basis().size, np.float32)
    expression[0] = 3.0 * min(1.0, max(0.0, (time_us - 1_000_000) / 80_000))
    return synthetic.motion(synthetic.pose(), expression)


@pytest.mark.parametrize("still_us", [200_000, 400_000, 900_000])
def test_who_moves_after_keeping_still_is_followed_at_once(still_us: int) -> None:
    """Silence was no loss: nothing has to be led over, and lips that open after a pause are with their sound."""
    playout = Playout()
    arrivals = list(packets(60, source=opening))
    first = next(n for n, (packet, _) in enumerate(arrivals) if packet.capture_us > 1_000_000)
    quiet = first - still_us // FRAME
    alive = [arrivals[n] for n in range(quiet - 1, first - 1, 12)]  # now and then, every 400 ms, that nothing moves
    quiet_ones = [(replace(packet, still=True), at) for packet, at in alive]
    kept = [
        (replace(packet, sequence=n), at)
        for n, (packet, at) in enumerate(arrivals[: quiet - 1] + quiet_ones + arrivals[first:])
    ]
    shown = play(playout, kept, 1_400_000)
    at = next(now for now, motion, _ in shown if motion is not None and motion.expression[0] >= 1.5)
    assert at - DELAY - 1_040_000 <= 25_000  # half open; the sink's own step is 17 ms


def test_back_from_rest_without_a_jump() -> None:
    playout = Playout()
    first, second = list(packets(30)), list(packets(60, start=120))
    shown = play(playout, first + second, 180 * FRAME)
    assert max(steps(shown)) < 3 * LARGEST_STEP
    live = next(now for now, _, state in shown if now > second[0][1] and state is PlayoutState.LIVE)
    assert live - second[0][1] <= SINK
    last = shown[-1][1]
    assert last is not None
    assert distance(last, talking(shown[-1][0] - DELAY)) < 3 * LARGEST_STEP


def test_a_lost_link_rests_at_once_and_the_next_one_begins_anew() -> None:
    playout = Playout()
    arrivals = list(packets(30))
    shown = play(playout, arrivals, 30 * FRAME + DELAY)
    playout.link_lost()
    shown += play(playout, [], 5_000_000, shown[-1][0] + SINK)
    assert playout.settled
    anew = [(replace(p, sequence=p.sequence - 150, capture_us=p.capture_us + 10**10), at) for p, at in packets(30, 150)]
    shown += play(playout, anew, anew[-1][1] + SINK, shown[-1][0] + SINK)
    assert playout.state is PlayoutState.LIVE
    assert playout.dropped == 0
    assert max(steps(shown)) < 3 * LARGEST_STEP


@pytest.mark.parametrize("queued", [1, 30, 60])
def test_what_an_outage_left_over_is_not_shown(queued: int) -> None:
    """Two seconds without a link; then what the transport held comes at once, oldest first, and then what is fresh."""
    playout = Playout()
    before, held, after = list(packets(60)), list(packets(queued, start=60)), list(packets(30, start=120))
    back = after[0][1] - FRAME
    play(playout, before + [(packet, back) for packet, _ in held], after[0][1])
    taken = 0
    for packet, at in after:
        taken += playout.receive(packet, at)
        playout.sample(at)
        assert playout.shown_capture_us is not None
        assert at - playout.shown_capture_us <= DELAY + 250_000
    assert taken == len(after)
    assert playout.counts.stale >= queued - STALE_US // FRAME - 1
    assert playout.counts.restarts == 0


def test_duplicates_and_late_ones_change_nothing() -> None:
    one, other = Playout(), Playout()
    arrivals = list(packets(40))
    for n, (packet, at) in enumerate(arrivals):
        one.receive(packet, at)
        other.receive(packet, at)
        assert not other.receive(packet, at)
        if n > 2:
            assert not other.receive(arrivals[n - 2][0], at)
        a, b = one.sample(at), other.sample(at)
        assert a is not None
        assert b is not None
        assert distance(a, b) == 0
    assert other.counts.repeated == 40 + 37
    assert other.dropped == 0


def test_a_late_one_that_is_not_a_repeat_is_dropped() -> None:
    playout = Playout()
    first, second, third = packets(3)
    assert playout.receive(*first)
    assert playout.receive(*third)
    assert not playout.receive(second[0], third[1] + 1)
    assert playout.dropped == 2  # once when it was missing, once when it came: neither was of use
    assert playout.counts.repeated == 0


def test_nonsense_in_number_or_time_changes_nothing() -> None:
    playout = Playout()
    arrivals = list(packets(30))
    for packet, at in arrivals:
        playout.receive(packet, at)
        assert not playout.receive(
            replace(packet, sequence=packet.sequence + 2**20, capture_us=packet.capture_us + 1), at
        )
        assert not playout.receive(
            replace(packet, sequence=packet.sequence + 1, capture_us=packet.capture_us + 10**9), at
        )
        assert not playout.receive(
            replace(packet, sequence=packet.sequence + 1, capture_us=packet.capture_us - 10**9), at
        )
        playout.sample(at)
    assert playout.counts.restarts == 0
    assert playout.counts.future == 30
    assert playout.shown_capture_us == arrivals[-1][0].capture_us


@pytest.mark.parametrize("leap", [(5_000_000, 0), (0, 10**12), (0, -(10**6)), (2**31, -(10**6)), (-20, 0)])
def test_a_sender_that_starts_anew_is_followed(leap: tuple[int, int]) -> None:
    """Other numbers, or another clock: after a few packets that agree with each other."""
    playout = Playout()
    play(playout, list(packets(60)), 60 * FRAME)
    number, clock = leap
    anew = [
        (replace(p, sequence=(p.sequence + number) % 2**32, capture_us=p.capture_us + clock), at)
        for p, at in packets(30, start=60)
    ]
    taken = [playout.receive(*pair) for pair in anew]
    assert sum(taken) >= len(anew) - RESYNC_PACKETS - abs(min(0, number))
    assert taken[-1]


def test_a_slower_route_is_followed() -> None:
    """A relay that takes 400 ms more: nothing is shown for a moment, then everything again."""
    playout = Playout()
    play(playout, list(packets(60)), 60 * FRAME)
    slow = [(p, at + 400_000) for p, at in packets(60, start=60)]
    shown = play(playout, slow, slow[-1][1], 60 * FRAME)
    assert playout.counts.restarts == 1
    assert shown[-1][2] is PlayoutState.LIVE


@pytest.mark.parametrize("loss", [0.03, 0.1])
def test_a_slower_route_is_followed_while_losses_are_repaired(loss: float) -> None:
    """A link that loses packets becomes 300 ms slower: alive again within a second, and it stays so."""
    encoder, decoder, playout = MotionEncoder(first_sequence=7), MotionDecoder(), Playout()
    rng, slower, states, acks = random.Random(4), 150, [], deque[Ack](maxlen=3)
    for n in range(300):
        message = encoder.encode(n * FRAME, talking(n * FRAME))
        if rng.random() < loss:
            continue
        now = n * FRAME + DELAY + 300_000 * (n >= slower)
        received = decoder.receive(message)
        assert isinstance(received, tuple)
        for packet in received:
            playout.receive(packet, now)
        if len(acks) == acks.maxlen:  # a round trip takes three motions
            encoder.acknowledge(acks[0])
        acks.append(decoder.ack())
        if n >= slower - 5:
            playout.sample(now)
            states.append((n, playout.state))
    assert encoder.repeating
    assert playout.counts.restarts == 1
    assert states[0][1] is PlayoutState.LIVE
    after = [state for n, state in states if n * FRAME + 300_000 > slower * FRAME + 1_000_000]
    assert after.count(PlayoutState.LIVE) > 0.95 * len(after)


def test_another_epoch_is_counted_and_blended() -> None:
    playout = Playout()
    arrivals = [(replace(p, epoch=p.sequence // 30), at) for p, at in packets(90)]
    shown = play(playout, arrivals, 90 * FRAME)
    assert playout.counts.epochs == 2
    assert max(steps(shown)) < 3 * LARGEST_STEP


def test_drift_of_the_senders_clock_is_followed() -> None:
    """100 ppm over five minutes are 30 ms: the delay measured follows, nothing is late."""
    playout = Playout()
    for n in range(0, 9_000, 6):
        capture = n * FRAME
        now = capture + DELAY + capture // 10_000
        assert playout.receive(MotionPacket(n, capture, talking(0)), now)
        playout.sample(now)
        assert abs(playout._delay_us - (now - capture)) < 2_000


def test_time_that_goes_backwards_is_harmless() -> None:
    playout = Playout()
    for packet, at in packets(10):
        playout.receive(packet, at)
        first = playout.sample(at)
        again = playout.sample(at - 500_000)
        assert first is not None
        assert again is not None
        assert distance(first, again) == 0


def test_any_rate_of_the_sink_shows_the_same() -> None:
    """Correction and rest depend on time, not on how often somebody asks."""
    shown = []
    for hz in (30, 60, 90, 120):
        playout, waiting = Playout(), list(packets(45))
        for n in range(hz * 3 // 2 + 1):
            now = round(n * 1e6 / hz)
            while waiting and waiting[0][1] <= now:
                playout.receive(*waiting.pop(0))
            motion = playout.sample(now)
        assert motion is not None
        shown.append(motion)
    assert all(distance(shown[0], other) < LARGEST_STEP for other in shown[1:])


def wild(rng: np.random.Generator) -> Motion:
    size = default_basis().size
    pose = Pose(
        rng.normal(0, 3, 3).astype(np.float32), rng.normal(0, 2, 2).astype(np.float32), float(abs(rng.normal(0, 1)))
    )
    expression, gaze = rng.normal(0, 10, size).astype(np.float32), rng.normal(0, 1, (2, 2)).astype(np.float32)
    if rng.random() < 0.2:
        expression[rng.integers(size)] = rng.choice([np.nan, np.inf, -np.inf])
        pose.rotation[rng.integers(3)] = np.nan
    return Motion(pose, expression, gaze)


EVENT = st.tuples(
    st.integers(-2_000_000, 2_000_000) | st.integers(0, 50_000),  # time since the last event
    st.integers(-3, 3) | st.integers(0, 2**32 - 1),  # change of sequence
    st.integers(-100_000, 100_000) | st.integers(-(2**40), 2**40),  # change of capture time
    st.integers(0, 2),  # epoch
    st.booleans(),  # rest
    st.booleans(),  # still
)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.lists(EVENT, max_size=25))
def test_whatever_comes_the_face_stays_a_face_and_does_not_jump(seed: int, events: list[tuple]) -> None:
    rng = np.random.default_rng(seed)
    playout, basis = Playout(), default_basis()
    now, latest = 10**9, 0
    sequence, capture = 0, 5 * 10**8
    before: Motion | None = None
    for elapsed, ahead, later, epoch, rest, still in events:
        now += elapsed
        sequence, capture = (sequence + ahead) % 2**32, max(0, capture + later)
        playout.receive(MotionPacket(sequence, capture, wild(rng), epoch, rest, still), now)
        for _ in range(2):
            now += SINK
            motion = playout.sample(now)
            assert motion is not None
            seconds, latest = max(0, now - latest) / 1e6, max(now, latest) if before is not None else now
            assert np.isfinite([*motion.pose.rotation, *motion.pose.translation, motion.pose.scale]).all()
            assert np.abs(motion.expression).max() <= basis.limit
            assert np.abs(motion.gaze).max() <= basis.gaze_limit + 1e-6
            if before is not None:
                step = Still.of(before).to(Still.of(motion))
                assert np.linalg.norm(step.turn) <= MAX_TURN * seconds + 1e-3
                assert np.linalg.norm(step.place[:2]) <= MAX_SHIFT * seconds + 1e-3
                assert np.abs(step.face[:-4]).max() <= MAX_EXPRESSION * seconds + 1e-3
            before = motion
    assert len(playout._arrivals._delays) <= 64
    assert len(playout._arrivals._odd) <= RESYNC_PACKETS


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(20)), st.sets(st.integers(0, 19)), st.integers(0, 2**32 - 1))
def test_the_time_shown_never_goes_back(order: list[int], lost: set[int], first: int) -> None:
    """However the network shuffles them, and wherever the sequence begins."""
    playout, shown = Playout(), []
    now = DELAY
    for n in order:
        if n not in lost:
            playout.receive(MotionPacket((first + n) % 2**32, n * FRAME, talking(n * FRAME)), now)
        now += FRAME // 3
        playout.sample(now)
        if playout.shown_capture_us is not None:
            shown.append(playout.shown_capture_us)
    if playout.counts.restarts == 0:
        assert shown == sorted(shown)


@pytest.mark.parametrize("forget", [False, True])
def test_after_a_long_rest_who_comes_begins_on_the_way_or_in_a_place_of_their_own(forget: bool) -> None:
    def elsewhere(time_us: int) -> Motion:
        motion = talking(time_us)
        place = motion.pose.translation + np.float32(0.5)
        return replace(motion, pose=replace(motion.pose, translation=place))

    playout = Playout(forget=forget)
    shown = play(playout, list(packets(60)), 6_000_000)
    assert playout.begun == 1
    before = shown[-1][1]
    assert before is not None
    again = play(playout, list(packets(3, 180, elsewhere)), 180 * FRAME + DELAY + 2 * SINK, 180 * FRAME + DELAY)
    assert playout.begun == 2
    first = again[0][1]
    assert first is not None
    if forget:
        assert first.pose.translation == pytest.approx(elsewhere(180 * FRAME).pose.translation, abs=0.05)
        assert np.abs(first.expression).max() < 0.5  # at rest
    else:
        assert distance(before, first) < 0.3  # of 0.5


def test_a_short_silence_is_no_new_beginning() -> None:
    playout = Playout(forget=True)
    play(playout, [*packets(30), *packets(30, 60)], 4_000_000)
    assert playout.begun == 1
