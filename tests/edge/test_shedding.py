"""When motion is left out because the machine cannot keep up."""

from __future__ import annotations

import pytest

from telepresence.edge.shedding import CROWD, Shedding


@pytest.mark.parametrize(("late_s", "part"), [(0.0, 1.0), (0.05, 0.5), (1.0, 1 / 3)])
def test_the_later_the_loop_the_less_is_sent_to_a_crowd(late_s: float, part: float) -> None:
    shedding = Shedding()
    for _ in range(20):
        shedding.measured(late_s)
    assert sum(shedding.passes(11) for _ in range(600)) == pytest.approx(600 * part)
    assert all(shedding.passes(CROWD - 1) for _ in range(10))


def test_one_late_moment_changes_nothing_for_long() -> None:
    shedding = Shedding()
    shedding.measured(0.2)
    for _ in range(8):
        shedding.measured(-0.001)
    assert all(shedding.passes(11) for _ in range(10))
