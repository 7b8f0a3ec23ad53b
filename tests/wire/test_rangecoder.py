from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telepresence.errors import PacketError
from telepresence.wire.rangecoder import TOTAL, RangeDecoder, RangeEncoder

STARTS = [0, 1, 2, 4000]
WIDTHS = [1, 1, 3998, 96]


@given(st.lists(st.sampled_from(range(4)), max_size=200))
def test_symbols_survive(symbols: list[int]) -> None:
    coder = RangeEncoder()
    for s in symbols:
        coder.symbol(STARTS[s], WIDTHS[s])
    decoder = RangeDecoder(coder.finish())
    for s in symbols:
        slot = decoder.slot()
        assert STARTS[s] <= slot < STARTS[s] + WIDTHS[s]
        decoder.take(STARTS[s], WIDTHS[s])
    decoder.finish()


@given(st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 8)), max_size=30))
def test_numbers_survive(numbers: list[tuple[int, int]]) -> None:
    coder = RangeEncoder()
    for value, order in numbers:
        coder.number(value, order)
    decoder = RangeDecoder(coder.finish())
    assert [decoder.number(order) for _, order in numbers] == [value for value, _ in numbers]


def test_likely_symbols_cost_next_to_nothing() -> None:
    coder = RangeEncoder()
    for _ in range(200):
        coder.symbol(2, 3998)
    assert len(coder.finish()) <= 2 + 200 * 0.036 / 8 + 4


def test_carry_runs_through_all_bytes() -> None:
    coder = RangeEncoder()
    for _ in range(40):
        coder.symbol(TOTAL - 1, 1)
    coder.symbol(0, 1)
    decoder = RangeDecoder(coder.finish())
    for _ in range(40):
        assert decoder.slot() == TOTAL - 1
        decoder.take(TOTAL - 1, 1)
    assert decoder.slot() == 0


def test_a_number_without_an_end_is_refused() -> None:
    coder = RangeEncoder()
    for _ in range(40):
        coder.bits(1, 1)
    with pytest.raises(PacketError, match="does not end"):
        RangeDecoder(coder.finish()).number(0)


def test_what_no_encoder_writes_is_refused() -> None:
    with pytest.raises(PacketError, match="damaged"):
        RangeDecoder(b"\xff" * 8).slot()
