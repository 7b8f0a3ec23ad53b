"""Whom the schedule is told to draw most."""

from __future__ import annotations

import math

import numpy as np

from telepresence.edge.messages import View
from telepresence.sinks.headset.gaze import KEPT, Gaze
from telepresence.sinks.headset.protocol import HeadPose
from telepresence.sinks.headset.table import seats

THREE = {f"p{place}": seat for place, seat in seats([0, 1, 2]).items()}


def facing(degrees: float) -> HeadPose:
    """A head at its place that is turned to the right."""
    angle = math.radians(degrees)
    forward, right = (math.sin(angle), 0, -math.cos(angle)), (math.cos(angle), 0, math.sin(angle))
    return HeadPose(1, np.array([0, 1.2, 0]), np.array(right), np.array(forward), 0.063)


def test_who_is_looked_at_is_drawn_most() -> None:
    gaze = Gaze()
    assert gaze.look(facing(0), THREE) == View("p1", {}, frozenset())
    assert gaze.look(facing(5), THREE) is None
    assert gaze.look(facing(35), THREE) == View("p2", {}, frozenset())
    assert gaze.look(facing(-40), THREE) == View("p0", {}, frozenset())


def test_a_head_that_trembles_between_two_changes_nothing() -> None:
    gaze = Gaze()
    gaze.look(facing(0), THREE)
    halfway = 17.5
    for degrees in (halfway + 2, halfway - 2, halfway + 2):
        assert gaze.look(facing(degrees), THREE) is None
    assert gaze.look(facing(halfway + math.degrees(KEPT)), THREE) == View("p2", {}, frozenset())


def test_who_is_behind_is_not_drawn_until_the_head_turns_back() -> None:
    gaze = Gaze()
    gaze.look(facing(0), THREE)
    told = gaze.look(facing(100), THREE)
    assert told == View("p2", {}, frozenset({"p0", "p1"}))
    assert gaze.look(facing(0), THREE) == View("p1", {}, frozenset())


def test_who_is_alone_is_drawn_wherever_one_looks() -> None:
    gaze = Gaze()
    assert gaze.look(facing(170), {"p0": THREE["p0"]}) == View("p0", {}, frozenset())


def test_who_is_looked_at_may_leave() -> None:
    gaze = Gaze()
    gaze.look(facing(0), THREE)
    assert gaze.look(facing(0), {"p0": THREE["p0"]}) == View("p0", {}, frozenset())
    assert gaze.look(facing(0), {}) == View(None, {}, frozenset())
    gaze.forget()
    assert gaze.look(facing(0), THREE) == View("p1", {}, frozenset())
