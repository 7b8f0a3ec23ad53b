"""When a lost connection is tried again."""

from __future__ import annotations

from telepresence.rtc.retrying import EAGER_RETRY_S, EAGER_S, OPEN_S, PATIENT_S, REOPEN_S, RETRY_S, Retrying


def test_waits_double_and_are_short_after_a_loss() -> None:
    retrying = Retrying()
    retrying.begin()
    waits = []
    for _ in range(9):
        retrying.ended(came_up=False)
        waits.append(retrying.wait_s(0.0))
    assert waits[:2] == [2 * RETRY_S[0], 4 * RETRY_S[0]]
    assert waits[-1] == RETRY_S[1]
    retrying.lost(100.0, 1_000)
    assert retrying.wait_s(100.0 + EAGER_S - 1) == EAGER_RETRY_S
    assert retrying.wait_s(100.0 + EAGER_S + 1) == RETRY_S[1]
    retrying.ended(came_up=True)
    assert retrying.wait_s(1000.0) == RETRY_S[0]


def test_an_attempt_is_short_where_the_round_trip_is_known_and_longer_where_opening_took_long() -> None:
    retrying = Retrying()
    assert retrying.open_s(0.0) == OPEN_S
    retrying.opened(0.1)
    retrying.lost(0.0, 10_000)
    assert retrying.open_s(1.0) == REOPEN_S + 0.12
    retrying.opened(1.5)  # a machine that is busy, or such a link
    retrying.lost(0.0, 10_000)
    assert retrying.open_s(1.0) == 3.0
    retrying.opened(0.1)
    retrying.lost(0.0, 2_000_000)
    assert retrying.open_s(1.0) == OPEN_S


def test_after_a_while_every_third_attempt_is_patient() -> None:
    retrying = Retrying()
    retrying.lost(0.0, 0)
    assert [retrying.open_s(1.0) for _ in range(3)] == [REOPEN_S] * 3
    later = [retrying.open_s(PATIENT_S + 1) for _ in range(6)]
    assert later.count(OPEN_S) == 2
