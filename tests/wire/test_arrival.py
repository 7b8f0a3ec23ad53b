from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telepresence.wire.arrival import RESTART_GAP, RESYNC_PACKETS, WINDOW_PACKETS, Arrivals, Newest
from telepresence.wire.packets import MotionPacket
from tests.face import synthetic

TURN = 2**32
REST = synthetic.motion()


def packet(sequence: int, capture_us: int | None = None) -> MotionPacket:
    return MotionPacket(sequence % TURN, capture_us if capture_us is not None else 33_333 * (sequence + 10), REST)


def test_in_order_all_pass() -> None:
    newest = Newest()
    assert all(newest.accept(packet(i)) for i in range(100))
    assert newest.dropped == 0


def test_any_first_packet_passes() -> None:
    for first in (0, 1, 2**31, TURN - 1):
        newest = Newest()
        assert newest.accept(packet(first))
        assert newest.dropped == 0


def test_duplicates_and_late_ones_are_dropped_and_counted() -> None:
    newest = Newest()
    assert newest.accept(packet(5))
    assert newest.accept(packet(6))
    assert not newest.accept(packet(6))
    assert not newest.accept(packet(5))
    assert not newest.accept(packet(0))
    assert newest.dropped == 3
    assert newest.accept(packet(7))
    assert newest.dropped == 3


def test_gaps_are_counted() -> None:
    newest = Newest()
    for sequence in (0, 1, 4, 5, 10):
        assert newest.accept(packet(sequence))
    assert newest.dropped == 2 + 4


def test_wraps_around() -> None:
    newest = Newest()
    for i in range(TURN - 3, TURN + 3):
        assert newest.accept(packet(i))
    assert newest.dropped == 0
    assert not newest.accept(packet(TURN - 1))
    assert newest.accept(packet(TURN + 4))
    assert newest.dropped == 2


def test_time_travel_is_refused_and_harmless() -> None:
    newest = Newest()
    assert newest.accept(packet(10, 1_000_000))
    assert not newest.accept(packet(11, 999_999))
    assert newest.dropped == 1
    assert newest.accept(packet(11, 1_000_000))  # the next of two pictures with one time
    assert newest.accept(packet(12, 1_033_333))
    assert newest.dropped == 1


@pytest.mark.parametrize("ahead", [RESTART_GAP + 1, 2**31 - 1, 2**31, 2**31 + 1])
def test_a_leap_does_not_silence_what_follows(ahead: int) -> None:
    newest = Newest()
    assert newest.accept(packet(100))
    assert not newest.accept(packet(100 + ahead))
    assert newest.accept(packet(101))
    assert newest.dropped == 1


def test_a_long_outage_is_bridged() -> None:
    newest = Newest()
    newest.accept(packet(0))
    assert newest.accept(packet(RESTART_GAP))
    assert newest.dropped == RESTART_GAP - 1


@given(st.integers(0, TURN - 1), st.permutations(range(12)), st.sets(st.integers(0, 11)))
def test_what_passes_ascends_whatever_the_network_does(start: int, order: list[int], lost: set[int]) -> None:
    newest, shown = Newest(), []
    arrived = [i for i in order if i not in lost]
    for i in arrived:
        one = replace(packet(start + i), capture_us=i)
        if newest.accept(one):
            shown.append(i)
    assert shown == sorted(set(shown))
    assert not arrived or shown[-1] == max(arrived)
    late = len(arrived) - len(shown)
    never = shown[-1] - shown[0] + 1 - len(shown) if shown else 0
    assert newest.dropped == late + never


def feed(arrivals: Arrivals, delays: list[int], start: int = 0) -> list[bool]:
    return [arrivals.accept(packet(n, 33_333 * n), 33_333 * n + delay) for n, delay in enumerate(delays, start)]


def test_delays_are_measured_on_clocks_that_do_not_agree() -> None:
    for offset in (0, 10**12, -(10**6)):
        arrivals = Arrivals()
        assert all(feed(arrivals, [offset + 20_000 + 1_000 * (n % 10) for n in range(100)]))
        assert arrivals.fastest_us == offset + 20_000
        assert offset + 20_000 < arrivals.usual_us < offset + 26_000


def test_only_recent_delays_count() -> None:
    arrivals = Arrivals()
    feed(arrivals, [20_000] * 100)
    feed(arrivals, [90_000] * WINDOW_PACKETS, start=100)
    assert arrivals.fastest_us == 90_000


def test_a_repeat_is_no_drop() -> None:
    arrivals = Arrivals()
    feed(arrivals, [20_000] * 10)
    assert not arrivals.accept(packet(8, 33_333 * 8), 33_333 * 10)
    assert (arrivals.counts.repeated, arrivals.counts.dropped) == (1, 0)


def test_a_burst_of_stale_packets_is_no_new_stream() -> None:
    arrivals = Arrivals()
    feed(arrivals, [20_000] * 10)
    at = 33_333 * 70
    assert not any(arrivals.accept(packet(n, 33_333 * n), at + n) for n in range(10, 60))
    assert (arrivals.counts.stale, arrivals.counts.restarts) == (50, 0)
    assert arrivals.accept(packet(70, at), at + 20_000)


def test_a_stream_that_agrees_with_itself_is_followed() -> None:
    arrivals = Arrivals()
    feed(arrivals, [20_000] * 10)
    taken = [arrivals.accept(packet(5 + n, 10**12 + 33_333 * n), 400_000 + 33_333 * n) for n in range(10)]
    assert taken == [False] * (RESYNC_PACKETS - 1) + [True] * (10 - RESYNC_PACKETS + 1)
    assert arrivals.counts.restarts == 1
    assert not arrivals.restarted  # the last one went on from there


def slower(arrivals: list[Arrivals], loss: float, seed: int, jitter_us: int = 0) -> tuple[int, int]:
    """Every motion twice, as senders that see losses do, through a link that becomes slower by 300 ms.

    Each judge sees what the one before it lets through. Returns when the first motion of the slower link passes all of
    them, microseconds after the first one could, and how many do not pass after that (overtaken ones aside).
    """
    rng, step = random.Random(seed), 100
    on_the_way = []
    for n in range(1, 300):
        if rng.random() >= loss:
            late_us = 30_000 + 300_000 * (n >= step) + int(abs(rng.gauss(0, jitter_us)))
            on_the_way.append((n * 33_333 + late_us, n))
    passed = {}
    for now_us, n in sorted(on_the_way):
        for one in (packet(n - 1, (n - 1) * 33_333), packet(n, n * 33_333)):
            if all(judge.accept(one, now_us) for judge in arrivals):
                passed[one.sequence] = now_us
    first = min(n for n in passed if n >= step)
    came = [n for _, n in on_the_way if n > first]
    return passed[first] - (step * 33_333 + 330_000), sum(n not in passed for n in came)


@pytest.mark.parametrize("judges", [1, 2])  # a peer's, and its playout's
@pytest.mark.parametrize("loss", [0.0, 0.03, 0.1, 0.2])
def test_repeats_do_not_keep_a_slower_link_from_being_followed(loss: float, judges: int) -> None:
    for seed in range(10):
        arrivals = [Arrivals() for _ in range(judges)]
        after_us, missed = slower(arrivals, loss, seed)
        assert after_us <= 700_000
        assert missed == 0
        assert [one.counts.restarts for one in arrivals] == [1] * judges


def test_neither_does_jitter() -> None:
    for seed in range(10):
        after_us, _ = slower([Arrivals()], 0.1, seed, jitter_us=20_000)
        assert after_us <= 700_000


def test_what_comes_twice_counts_once_while_a_stream_is_not_followed_yet() -> None:
    arrivals = Arrivals()
    feed(arrivals, [20_000] * 10)
    for n in range(10, 30):
        for _ in range(2):
            arrivals.accept(packet(n, 33_333 * n), 33_333 * n + 320_000)
    assert arrivals.counts.stale == RESYNC_PACKETS
    assert arrivals.counts.repeated == 20
