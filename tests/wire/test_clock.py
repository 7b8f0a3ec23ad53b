from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telepresence.wire.clock import MAX_DRIFT, STEPPED, WINDOW, ClockOffset
from telepresence.wire.packets import Pong


class Peer:
    """Another machine: its clock is off, and may run fast or slow."""

    def __init__(self, offset_us: int, drift_ppm: float = 0.0) -> None:
        self.offset_us, self.drift_ppm = offset_us, drift_ppm

    def clock(self, now_us: int) -> int:
        return now_us + self.offset_us + round(now_us * self.drift_ppm / 1e6)


def exchange(clock: ClockOffset, peer: Peer, now_us: int, there_us: int, back_us: int) -> bool:
    ping = clock.ping(now_us)
    answer = Pong(ping.sequence, ping.sent_us, peer.clock(now_us + there_us))
    return clock.pong(answer, now_us + there_us + back_us)


def test_nothing_known_at_first() -> None:
    clock = ClockOffset()
    assert not clock.known
    assert (clock.offset_us, clock.rtt_us) == (0, 0)
    assert clock.to_local_us(123) == 123


@pytest.mark.parametrize("offset", [0, 5_000_000, -7_000_000_123, 10**15])
def test_even_delays_give_the_exact_offset(offset: int) -> None:
    clock, peer = ClockOffset(), Peer(offset)
    assert exchange(clock, peer, 1000, 20_000, 20_000)
    assert clock.known
    assert (clock.offset_us, clock.rtt_us) == (offset, 40_000)
    assert clock.to_local_us(peer.clock(777)) == 777


@pytest.mark.parametrize(("there", "back"), [(30_000, 0), (0, 30_000), (1, 99_999), (50_000, 10_000)])
def test_uneven_delays_err_by_at_most_half_the_round_trip(there: int, back: int) -> None:
    clock, peer = ClockOffset(), Peer(-123_456)
    exchange(clock, peer, 0, there, back)
    error = clock.offset_us - peer.offset_us
    assert abs(error) <= clock.rtt_us / 2 + 1
    assert error == pytest.approx((there - back) / 2, abs=1)


def test_the_shortest_round_trip_decides() -> None:
    clock, peer, rng = ClockOffset(), Peer(1_000_000), random.Random(1)
    for second in range(WINDOW):
        queue = 0 if second == 7 else rng.randrange(5_000, 200_000)  # one lucky ping
        exchange(clock, peer, second * 1_000_000, 10_000 + queue, 10_000)
    assert clock.rtt_us == 20_000
    assert clock.offset_us == 1_000_000


@pytest.mark.parametrize("drift_ppm", [100, -100, 20, 0])
def test_follows_a_drifting_clock_for_ten_minutes(drift_ppm: float) -> None:
    """100 ppm are two bad crystals: 60 ms in ten minutes. Queues of up to 20 ms either way."""
    clock, peer, rng = ClockOffset(), Peer(-3_000_000, drift_ppm), random.Random(2)
    errors = []
    for second in range(600):
        now = second * 1_000_000
        there, back = 10_000 + rng.randrange(20_000), 10_000 + rng.randrange(20_000)
        exchange(clock, peer, now, there, back)
        error = clock.offset_us - (peer.clock(now) - now)
        assert abs(error) <= clock.error_us + 1
        errors.append(abs(error))
        assert abs(clock.to_local_us(peer.clock(now)) - now) < 12_000
    assert sum(errors[200:]) / 400 < 4_000
    assert clock.drift == pytest.approx(drift_ppm * 1e-6, abs=25e-6)


def test_on_an_even_link_the_drift_is_known_within_two_minutes() -> None:
    clock, peer = ClockOffset(), Peer(10**9, drift_ppm=-80)
    for second in range(120):
        exchange(clock, peer, second * 1_000_000, 15_000, 15_000)
    assert clock.drift == pytest.approx(-80e-6, abs=2e-6)
    ahead = 150_000_000  # half a minute without an answer
    assert clock.to_local_us(peer.clock(ahead)) == pytest.approx(ahead, abs=200)


def test_no_drift_is_guessed_from_a_few_pings() -> None:
    clock, peer, rng = ClockOffset(), Peer(0), random.Random(3)
    for second in range(30):
        exchange(clock, peer, second * 1_000_000, 10_000 + rng.randrange(50_000), 10_000)
        assert clock.drift == 0


@given(st.lists(st.tuples(st.integers(0, 300_000), st.integers(0, 300_000)), min_size=1, max_size=60))
def test_the_error_is_within_its_bound_however_uneven_the_delays(delays: list[tuple[int, int]]) -> None:
    clock, peer = ClockOffset(), Peer(987_654_321)
    for second, (there, back) in enumerate(delays):
        exchange(clock, peer, second * 1_000_000, there, back)
        assert abs(clock.offset_us - peer.offset_us) <= clock.error_us + 1
        assert clock.error_us <= (there + back) / 2 + 1  # never worse than the newest answer alone


def test_a_route_that_became_longer_does_not_move_the_offset() -> None:
    """The old pings still tell the offset best, for as long as they are remembered."""
    clock, peer = ClockOffset(), Peer(5_000)
    for second in range(20):
        exchange(clock, peer, second * 1_000_000, 5_000, 5_000)
    for second in range(20, 20 + WINDOW - 2):
        exchange(clock, peer, second * 1_000_000, 180_000, 20_000)
        assert clock.offset_us == pytest.approx(5_000, abs=100)


def test_one_wild_answer_is_an_outlier() -> None:
    clock, peer = ClockOffset(), Peer(5_000)
    for second in range(5):
        exchange(clock, peer, second * 1_000_000, 5_000, 5_000)
    peer.offset_us += 3_000_000
    exchange(clock, peer, 5_000_000, 100, 100)  # with the shortest round trip of all
    assert clock.offset_us == 5_000
    peer.offset_us -= 3_000_000
    exchange(clock, peer, 6_000_000, 5_000, 5_000)
    assert clock.offset_us == 5_000


def test_a_clock_that_was_set_is_followed() -> None:
    clock, peer = ClockOffset(), Peer(5_000)
    for second in range(100):
        exchange(clock, peer, second * 1_000_000, 5_000, 5_000)
    peer.offset_us = -8_000_000
    for second in range(100, 100 + STEPPED):
        exchange(clock, peer, second * 1_000_000, 9_000, 9_000)
    assert clock.offset_us == -8_000_000
    assert clock.rtt_us == 18_000
    assert clock.drift == 0


def test_an_answer_from_the_future_or_the_distant_past_changes_nothing() -> None:
    clock, peer = ClockOffset(), Peer(0)
    for now, answered in ((10_000_000, 9_000_000), (20_000_000, 120_000_000)):
        ping = clock.ping(now)
        assert not clock.pong(Pong(ping.sequence, ping.sent_us, peer.clock(now)), answered)
    assert not clock.known
    assert clock.error_us == 0


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40))
def test_a_peer_that_lies_cannot_break_it(answers: list[int]) -> None:
    clock = ClockOffset()
    for second, answered in enumerate(answers):
        ping = clock.ping(second * 1_000_000)
        assert clock.pong(Pong(ping.sequence, ping.sent_us, answered), second * 1_000_000 + 20_000)
        assert abs(clock.drift) <= MAX_DRIFT
        assert isinstance(clock.to_local_us(answered), int)
        assert clock.error_us >= 0


def test_forgets_an_old_route() -> None:
    clock, peer = ClockOffset(), Peer(0)
    exchange(clock, peer, 0, 1_000, 1_000)
    for second in range(1, WINDOW + 1):
        exchange(clock, peer, second * 1_000_000, 50_000, 50_000)
    assert clock.rtt_us == 100_000


def test_replayed_and_forged_answers_change_nothing() -> None:
    clock, peer = ClockOffset(), Peer(500)
    ping = clock.ping(1_000)
    answer = Pong(ping.sequence, ping.sent_us, peer.clock(6_000))
    for forged in (replace(answer, sequence=99), replace(answer, sent_us=0), Pong(0, 0, 2**63)):
        assert not clock.pong(forged, 11_000)
        assert not clock.known
    assert clock.pong(answer, 11_000)
    before = clock.offset_us
    assert not clock.pong(answer, 11_001)
    assert not clock.pong(replace(answer, answered_us=10**12), 12_000)
    assert clock.offset_us == before == 500


def test_answers_may_come_out_of_order() -> None:
    clock, peer = ClockOffset(), Peer(0)
    first, second = clock.ping(0), clock.ping(1_000_000)
    assert second.sequence == first.sequence + 1
    assert clock.pong(Pong(second.sequence, second.sent_us, peer.clock(1_010_000)), 1_020_000)
    assert clock.pong(Pong(first.sequence, first.sent_us, peer.clock(600_000)), 1_200_000)
    assert clock.rtt_us == 20_000


def test_remembers_few_unanswered_pings() -> None:
    clock = ClockOffset()
    pings = [clock.ping(i) for i in range(1000)]
    taken = [clock.pong(Pong(p.sequence, p.sent_us, 0), 2000) for p in pings]
    assert sum(taken) == WINDOW
    assert all(taken[-WINDOW:])
