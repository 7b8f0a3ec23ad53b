"""Who gets which of the pictures that a machine can draw: simulated, costs and motion given, time a number."""

from __future__ import annotations

import heapq

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telepresence.edge.messages import View
from telepresence.edge.schedule import LEAST_PER_S, SPEAKER_PER_S, TILE_PER_S, Scheduler

FRAME_US = 33_333
SECONDS = 10


def simulate(
    scheduler: Scheduler,
    people: list[str],
    cost_us: dict[int, int],
    *,
    seconds: float = SECONDS,
    together: float | None = None,
) -> tuple[dict[str, float], dict[str, float]]:
    """Pictures a second of each in the last nine tenths, and the longest gap between two, in seconds.

    Args:
        cost_us: of a picture, by size.
        together: what each further picture of one call costs, as a part of the first; None: one by one.
    """
    for one in people:
        scheduler.arrive(one)
    events = [(round(i * FRAME_US / max(1, len(people))), one) for i, one in enumerate(people)]
    heapq.heapify(events)
    now, ready, drawn = 0, set[str](), {one: [0] for one in people}
    while now < seconds * 1e6:
        while events and events[0][0] <= now:
            at, one = heapq.heappop(events)
            ready.add(one)
            heapq.heappush(events, (at + FRAME_US, one))
        turn = scheduler.turn(ready, now, together is not None)
        if turn.draw:
            size = scheduler.size(turn.draw[0])
            assert all(scheduler.size(one) == size for one in turn.draw)
            took = round(cost_us[size] * (1 + (len(turn.draw) - 1) * (together or 0)))
            for one in turn.draw:
                drawn[one].append(now)
            scheduler.drawn(turn.draw, size, now, took)
            ready -= set(turn.draw)
            now += took
        else:
            wake = events[0][0] if turn.wait_us is None else min(events[0][0], now + max(1, round(turn.wait_us)))
            now = max(now + 1, wake)
    begin = seconds * 1e5
    late = {one: [t for t in times if t >= begin] for one, times in drawn.items()}
    gaps = {
        one: max((b - a for a, b in zip([begin, *times], [*times, seconds * 1e6], strict=True)), default=0) / 1e6
        for one, times in late.items()
    }
    return {one: len(times) / (seconds * 0.9) for one, times in late.items()}, gaps


def test_alone_everything_that_comes_is_drawn() -> None:
    rate, _ = simulate(Scheduler(256, 128), ["a"], {256: 30_000})
    assert rate["a"] == pytest.approx(30, abs=0.5)
    rate, _ = simulate(Scheduler(256, 128), ["a"], {256: 60_000})
    assert rate["a"] > 16  # as fast as the machine can


def test_on_a_fast_machine_everybody_gets_everything() -> None:
    scheduler = Scheduler(256)
    scheduler.look(View("a", {"b": 100, "c": 100}))
    rate, _ = simulate(scheduler, ["a", "b", "c"], {256: 4_000})
    assert all(each == pytest.approx(30, abs=0.7) for each in rate.values())


def test_the_speaker_goes_first_and_the_small_ones_keep_their_minimum() -> None:
    scheduler = Scheduler(256, 128)
    scheduler.look(View("a", {"b": 100, "c": 100}))
    rate, gaps = simulate(scheduler, ["a", "b", "c"], {256: 30_000, 128: 20_000})
    assert scheduler.size("a") == 256
    assert scheduler.size("b") == 128
    assert rate["a"] >= 20
    assert rate["b"] >= TILE_PER_S * 0.98
    assert rate["c"] >= TILE_PER_S * 0.98
    assert max(gaps.values()) < 0.3


def test_three_on_a_third_of_a_machine() -> None:
    scheduler = Scheduler(256, 128)
    scheduler.look(View("a", {"b": 100}))
    rate, _ = simulate(scheduler, ["a", "b"], {256: 45_000, 128: 30_000})  # as on a core that others use too
    assert rate["a"] >= SPEAKER_PER_S * 0.95
    assert rate["b"] >= TILE_PER_S * 0.95


def test_when_all_is_too_much_the_small_ones_share_what_the_speaker_leaves() -> None:
    people = list("abcdefghijk")
    scheduler = Scheduler(256, 128)
    scheduler.look(View("a", dict.fromkeys(people[1:], 120)))
    rate, gaps = simulate(scheduler, people, {256: 30_000, 128: 20_000})
    others = [rate[one] for one in people[1:]]
    assert rate["a"] >= SPEAKER_PER_S * 0.9
    assert min(others) >= LEAST_PER_S
    assert max(others) <= min(others) * 1.3
    assert max(gaps.values()) < 1.0


def test_in_a_grid_all_are_alike() -> None:
    people = list("abcd")
    scheduler = Scheduler(256, 128)
    scheduler.look(View(None, dict.fromkeys(people, 400)))
    rate, _ = simulate(scheduler, people, {256: 25_000})
    assert max(rate.values()) <= min(rate.values()) * 1.1
    assert sum(rate.values()) > 30  # of 40 that the machine could


def test_who_cannot_be_seen_is_not_drawn_and_is_back_at_once() -> None:
    scheduler = Scheduler(256, 128)
    scheduler.look(View("a", {"b": 100}, frozenset({"c"})))
    rate, _ = simulate(scheduler, ["a", "b", "c"], {256: 20_000, 128: 15_000}, seconds=3)
    assert rate["c"] == 0
    assert scheduler.hidden("c")
    assert scheduler.turn({"c"}, 3_000_000).wait_us is None
    scheduler.look(View("c", {"a": 100, "b": 100}))
    assert scheduler.turn({"c"}, 3_000_000).draw == ("c",)


def test_sizes_do_not_flutter_between_the_two_limits() -> None:
    scheduler = Scheduler(256, 128)
    scheduler.arrive("a")
    sizes = []
    for side in (300, 170, 150, 180, 191, 192, 170):
        scheduler.look(View(None, {"a": side}))
        sizes.append(scheduler.size("a"))
    assert sizes == [256, 256, 128, 128, 128, 256, 256]
    assert Scheduler(256).size("nobody") == 256
    alone = Scheduler(256)  # an engine without small pictures
    alone.arrive("a")
    alone.look(View(None, {"a": 50}))
    assert alone.size("a") == 256


def test_who_began_at_different_times_is_drawn_together_in_the_end() -> None:
    scheduler = Scheduler(256)
    for n, who in enumerate("abc"):
        scheduler.arrive(who)
        scheduler.drawn(who, 256, n * 45_000, 40_000)
    now, drawn = 130_000, []
    while len(drawn) < 6:
        turn = scheduler.turn("abc", now, together=True)
        if turn.draw:
            drawn.append("".join(sorted(turn.draw)))
            scheduler.drawn(turn.draw, 256, now, 40_000 * len(turn.draw))
        now += 40_000 * len(turn.draw) or 1_000
    assert drawn[0] != "abc"
    assert drawn[-3:] == ["abc"] * 3


def test_together_where_that_costs_less_and_only_of_one_size() -> None:
    scheduler = Scheduler(256)
    scheduler.look(View("a", dict.fromkeys("bcd", 400)))
    rate, _ = simulate(scheduler, list("abcd"), {256: 8_000}, together=0.2)
    assert min(rate.values()) > 25


def test_who_leaves_frees_what_it_took() -> None:
    scheduler = Scheduler(256)
    for one in "abc":
        scheduler.arrive(one)
    scheduler.look(View("a", {}))
    scheduler.drawn(["a"], 256, 0, 40_000)
    crowded = scheduler.per_s("a")
    scheduler.leave("b")
    scheduler.leave("c")
    scheduler.leave("c")
    assert scheduler.per_s("a") > crowded


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 11),
    st.integers(2_000, 120_000),
    st.integers(2_000, 80_000),
    st.integers(0, 11),
    st.booleans(),
)
def test_nobody_who_can_be_seen_starves(count: int, large_us: int, small_us: int, tiles: int, speaker: bool) -> None:
    people = [str(i) for i in range(count)]
    scheduler = Scheduler(256, 128)
    scheduler.look(View("0" if speaker else None, dict.fromkeys(people[1 : 1 + tiles], 100)))
    rate, _ = simulate(scheduler, people, {256: large_us, 128: small_us})
    capacity = 1e6 / (large_us + small_us)
    assert min(rate.values()) >= min(0.9 * LEAST_PER_S, 0.3 * capacity / count)
    if speaker and count > 1:
        assert rate["0"] >= 0.95 * max(rate[one] for one in people[1:])
