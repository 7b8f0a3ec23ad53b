from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from telepresence.errors import InputError
from telepresence.evaluate.protocol import (
    Shots,
    blink_frames,
    candidates,
    judged_frames,
    parse_shots,
    split,
    too_short,
)


def test_shots_are_read_and_fine_tuning_brings_its_untuned_twin() -> None:
    assert [s.key for s in parse_shots("1, 8,32")] == ["1", "8", "32"]
    tuned = parse_shots("1", fine_tune=True)
    assert [s.key for s in tuned] == ["1", "8@60", "8+ft"]
    assert [s.split for s in tuned] == ["first", "late", "late"]
    assert [s.tuned for s in tuned] == [False, False, True]
    more = parse_shots("32@60", fine_tune=True)
    assert [s.key for s in more] == ["32@60", "8@60", "8+ft", "32+ft"]
    assert [s.count for s in more if s.tuned] == [8, 32]


@pytest.mark.parametrize("text", ["", "0", "33", "8@20", "eight", "8,,1", "-1"])
def test_shots_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--shots"):
        parse_shots(text)


def test_references_never_come_from_what_is_judged() -> None:
    for name in ("first", "late"):
        for frames in (1, 2, 9, 75, 6000):
            parts = split(name, frames, 30.0)
            assert not set(parts.learn) & set(parts.test)
    assert split("first", 100, 25.0).learn == range(20)
    assert split("late", 100, 25.0).test == range(60, 100)
    assert split("late", 6000, 25.0).learn == range(750)  # half a minute
    assert split("late", 6000, 25.0).test == range(3600, 6000)


def test_one_reference_is_the_first_frame_with_a_face() -> None:
    seen = np.ones(100, np.bool_)
    seen[:3] = False
    parts = split("first", 100, 25.0)
    assert candidates(Shots("1", 1, "first"), parts, seen) == [3]
    assert candidates(Shots("8", 8, "first"), parts, seen) == list(range(3, 20))


def test_short_clips_are_left_out_with_the_reason() -> None:
    seen = np.ones(75, np.bool_)
    first = split("first", 75, 25.0)
    assert too_short(Shots("8", 8, "first"), first, seen, 25.0) is None
    assert "32 references" in str(too_short(Shots("32", 32, "first"), first, seen, 25.0))
    tuned = Shots("8+ft", 8, "late", tuned=True)
    assert "1.8 s" in str(too_short(tuned, split("late", 75, 25.0), seen, 25.0))
    seen[15:] = False
    assert "0 frames" in str(too_short(Shots("1", 1, "first"), first, seen, 25.0))


def test_frames_are_judged_in_runs_over_the_whole_test_part() -> None:
    seen = np.ones(1000, np.bool_)
    seen[505] = False
    chosen = judged_frames(seen, range(200, 1000), 60)
    assert 50 <= len(chosen) <= 60
    assert chosen[0] == 200
    assert chosen[-1] == 999
    assert 505 not in chosen
    steps = np.diff(chosen)
    assert (steps == 1).sum() >= 0.85 * len(steps)
    assert judged_frames(seen[:75], range(15, 75), 60) == list(range(15, 75))


def test_blinks_are_found_with_what_is_around_them() -> None:
    eyes = np.full(100, 0.2, np.float32)
    eyes[[10, 50, 51, 99]] = 0.02
    eyes[70] = np.nan
    assert blink_frames(eyes, range(20, 100)) == [range(48, 54), range(97, 100)]
    assert len(blink_frames(eyes, range(100), limit=2)) == 2
    assert blink_frames(np.full(100, np.nan, np.float32), range(20, 100)) == []


def test_an_engine_that_learns_from_references_is_tuned_on_each_kind_of_shots() -> None:
    shots = parse_shots("1,8", fine_tune=True, still=True)
    assert [s.key for s in shots] == ["1", "8", "1+ft", "8+ft"]
    assert [(s.count, s.split, s.tuned, s.still) for s in shots[2:]] == [
        (1, "first", True, True),
        (8, "first", True, True),
    ]
    assert parse_shots("1,8", still=True) == parse_shots("1,8")
    seen = np.ones(60, bool)  # two seconds: too short to learn from what lies between references, and long enough here
    parts = split("first", 60, 25.0)
    assert too_short(shots[3], parts, seen, 25.0) is None
    assert too_short(replace(shots[3], still=False), parts, seen, 25.0) is not None


def test_whole_comes_beside_the_modulation_alone() -> None:
    shots = parse_shots("1,8", fine_tune=True, still=True, whole=True)
    assert [s.key for s in shots] == ["1", "8", "1+ft", "8+ft", "1+whole", "8+whole"]
    assert [s.whole for s in shots] == [False] * 4 + [True] * 2
