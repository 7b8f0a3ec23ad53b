"""Fewer camera pictures where the machine cannot draw the others: when, and which."""

from __future__ import annotations

import itertools

import pytest

from telepresence.edge.messages import View
from telepresence.edge.pacing import AMPLE, LOOKS, PATIENCE, STEPS_PER_S, CameraPace
from telepresence.edge.schedule import BUDGET, SPEAKER_PER_S, TILE_PER_S, Scheduler


def looked_at(pace: CameraPace, camera_per_s: float, seconds: float = 4.0, start_us: int = 0) -> list[int]:
    times = [start_us + round(n * 1e6 / camera_per_s) for n in range(round(seconds * camera_per_s))]
    return [time for time in times if pace.passes(time)]


def slowed(steps: int) -> CameraPace:
    pace = CameraPace()
    for _ in range(steps * LOOKS):
        pace.measured(0.5)
    return pace


def test_every_picture_is_looked_at_where_there_is_time() -> None:
    pace = CameraPace()
    for _ in range(10 * LOOKS):
        pace.measured(1.0)
    assert len(looked_at(pace, 30)) == 120


@pytest.mark.parametrize("camera_per_s", [60.0, 30.0, 29.97, 25.0, 24.0, 20.0])
@pytest.mark.parametrize("steps", [1, 2])
def test_a_slowed_camera_keeps_its_pace_whatever_the_cameras_own(camera_per_s: float, steps: int) -> None:
    times = looked_at(slowed(steps), camera_per_s)
    assert len(times) == pytest.approx(4 * STEPS_PER_S[steps - 1], abs=2)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert max(gaps) < 1.7e6 / STEPS_PER_S[steps - 1]


def test_a_camera_that_is_slower_anyway_loses_nothing() -> None:
    assert len(looked_at(slowed(1), 12)) == 48


@pytest.mark.parametrize("jump_us", [-3_600_000_000, 5_000_000, 3_600_000_000])
def test_a_pause_or_another_clock_neither_stops_pictures_nor_lets_them_all_through(jump_us: int) -> None:
    pace = slowed(1)
    looked_at(pace, 30)
    assert len(looked_at(pace, 30, start_us=4_000_000 + jump_us)) == pytest.approx(60, abs=2)


def test_a_moment_changes_nothing_and_the_last_step_is_the_last() -> None:
    pace = CameraPace()
    for _ in range(LOOKS - 1):
        pace.measured(0.1)
    pace.measured(1.2)
    assert pace.per_s is None
    assert slowed(20).per_s == STEPS_PER_S[-1]


def test_steps_are_taken_back_one_by_one_and_not_for_a_little_more_time() -> None:
    pace = slowed(2)
    for _ in range(3 * LOOKS):
        pace.measured(AMPLE - 0.1)
    assert pace.per_s == STEPS_PER_S[1]
    for wanted in (STEPS_PER_S[0], None, None):
        for _ in range(LOOKS):
            pace.measured(AMPLE)
        assert pace.per_s == wanted


def test_room_is_the_time_there_is_over_what_is_needed_at_the_least() -> None:
    scheduler = Scheduler(256, 128)
    assert scheduler.room() == float("inf")
    for who in ("a", "b", "c"):
        scheduler.arrive(who)
    scheduler.look(View("a", {"b": 100}, frozenset({"c"})))
    assert scheduler.room() == float("inf"), "before a picture was measured nobody is slowed"
    scheduler.drawn(["a"], 256, 0, 40_000)
    scheduler.drawn(["b"], 128, 0, 30_000)
    assert scheduler.room() == pytest.approx(BUDGET / (SPEAKER_PER_S * 0.04 + TILE_PER_S * 0.03))


def test_a_step_up_that_was_too_much_is_tried_again_less_and_less_often() -> None:
    pace, waits = slowed(1), []
    for _ in range(7):
        looks = 0
        while pace.per_s is not None:
            pace.measured(AMPLE)
            looks += 1
        waits.append(looks)
        while pace.per_s is None:
            pace.measured(0.5)
    assert waits == [LOOKS * 2**n for n in range(5)] + [PATIENCE * LOOKS] * 2


def test_a_step_up_that_held_is_followed_by_the_next_as_usual() -> None:
    pace = slowed(2)
    for wanted in (STEPS_PER_S[0], STEPS_PER_S[1]):  # up, and that was too much
        while pace.per_s != wanted:
            pace.measured(AMPLE if wanted == STEPS_PER_S[0] else 0.5)
    for looks, wanted in ((2 * LOOKS, STEPS_PER_S[0]), (2 * LOOKS, None)):
        for _ in range(looks):
            pace.measured(AMPLE)
        assert pace.per_s == wanted
    for looks, step in ((LOOKS, STEPS_PER_S[0]), (4 * LOOKS, None)):
        for _ in range(looks):
            pace.measured(0.5 if step else AMPLE)
        assert pace.per_s == step
