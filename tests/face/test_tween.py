"""Motion that is subtracted, scaled and moved."""

from __future__ import annotations

import math

import numpy as np
import pytest

from telepresence.face.motion import Motion, Pose
from telepresence.face.tween import MAX_EXPRESSION, MAX_SHIFT, MAX_TURN, MAX_ZOOM, Still
from tests.face import synthetic


def still(turn: float = 0.0, seed: int = 0) -> Still:
    return Still.of(synthetic.motion(synthetic.pose(turn=turn, nod=0.1, x=0.2, scale=0.4), synthetic.expression(seed)))


def test_there_and_back() -> None:
    motion = synthetic.motion(synthetic.pose(0.3, -0.2, 0.1, 0.2, -0.1, 0.45), synthetic.expression(1))
    again = Still.of(motion).motion()
    assert again.pose.rotation == pytest.approx(motion.pose.rotation, abs=1e-5)
    assert again.pose.translation == pytest.approx(motion.pose.translation)
    assert again.pose.scale == pytest.approx(motion.pose.scale)
    assert again.expression == pytest.approx(motion.expression)
    assert again.schema == motion.schema


def test_a_way_leads_where_it_should() -> None:
    one, other = still(0.4, 1), still(-0.9, 2)
    there = one.moved(one.to(other))
    assert there.rotation == pytest.approx(other.rotation, abs=1e-6)
    assert there.place == pytest.approx(other.place)
    assert there.face == pytest.approx(other.face)


def test_half_the_way_is_half_the_angle() -> None:
    """About an axis that neither rotation vector has: interpolating the vectors would miss it."""
    one = Still.of(synthetic.motion(synthetic.pose(turn=1.2)))
    other = Still.of(synthetic.motion(synthetic.pose(nod=1.2)))
    half = one.moved(one.to(other).scaled(0.5, 0.5))
    ways = [np.linalg.norm(a.to(b).turn) for a, b in ((one, half), (half, other), (one, other))]
    assert ways[0] == pytest.approx(ways[1], abs=1e-5)
    assert ways[0] + ways[1] == pytest.approx(ways[2], abs=1e-5)


def test_the_short_way_round() -> None:
    one = Still.of(synthetic.motion(synthetic.pose(turn=math.pi - 0.1)))
    other = Still.of(synthetic.motion(synthetic.pose(turn=-math.pi + 0.1)))
    assert np.linalg.norm(one.to(other).turn) == pytest.approx(0.2, abs=1e-5)


def test_limits_keep_the_direction_and_let_short_ways_be() -> None:
    way = still(0.0, 1).to(still(2.0, 2))
    limited = way.limited(0.01)
    assert np.linalg.norm(limited.turn) == pytest.approx(MAX_TURN * 0.01)
    assert limited.turn / np.linalg.norm(limited.turn) == pytest.approx(way.turn / np.linalg.norm(way.turn))
    assert np.abs(limited.face[:-4]).max() <= MAX_EXPRESSION * 0.01
    assert np.hypot(*limited.place[:2]) <= MAX_SHIFT * 0.01 + 1e-12
    assert abs(limited.place[2]) <= MAX_ZOOM * 0.01
    assert way.limited(10.0).turn == pytest.approx(way.turn)
    assert not way.limited(0.0).turn.any()


def test_nonsense_becomes_a_face() -> None:
    bad = Motion(
        Pose(np.full(3, np.nan, np.float32), np.full(2, np.inf, np.float32), math.nan),
        np.full(48, -np.inf, np.float32),
        np.full((2, 2), np.nan, np.float32),
    )
    made = Still.of(bad)
    assert np.isfinite(made.rotation).all()
    assert np.isfinite(made.place).all()
    assert np.isfinite(made.face).all()


def test_rest_keeps_the_place_or_takes_the_one_given() -> None:
    one = still(0.4, 3)
    assert one.at_rest().rotation == pytest.approx(one.rotation)
    assert not one.at_rest().face.any()
    pose = synthetic.pose(turn=-0.2, x=0.1, scale=0.3)
    assert one.at_rest(pose).motion().pose.scale == pytest.approx(0.3)
    assert one.at_rest(pose).like(one)
