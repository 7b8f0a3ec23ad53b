"""Steps, bounds and statistics that both ends share: `tables-1.json`, made by `telepresence.wire.fit`. Read-only.

`docs/packets.md`, section "The tables", says what each field means.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.wire.rangecoder import TOTAL, TOTAL_BITS, RangeDecoder, RangeEncoder

FILE: Final = Path(__file__).with_name("tables-1.json")
Costs = NDArray[np.int32]
GEARS: Final = 4
ESCAPE_COST: Final = 5 * 256  # 1/256 bits; roughly what the number after an escape takes
ESCAPE_ORDER: Final = 3  # of the Exp-Golomb code of what is beyond the largest symbol


class Symbols:
    """A static distribution over 0 .. n - 1, in parts of TOTAL."""

    def __init__(self, frequencies: list[int]) -> None:
        if sum(frequencies) != TOTAL or min(frequencies) < 1:
            raise ValueError(f"frequencies must be positive and add up to {TOTAL}")
        self.frequencies = frequencies
        self.starts = [0, *accumulate(frequencies)][:-1]
        self._of_slot = bytes(symbol for symbol, f in enumerate(frequencies) for _ in range(f))
        self.bits: Costs = np.rint(256 * (TOTAL_BITS - np.log2(frequencies))).astype(np.int32)
        """What each symbol costs, 1/256 bit: whole numbers, so that every encoder chooses alike."""

    def write(self, coder: RangeEncoder, symbol: int) -> None:
        """Write one symbol."""
        coder.symbol(self.starts[symbol], self.frequencies[symbol])

    def read(self, coder: RangeDecoder) -> int:
        """Read one symbol.

        Raises:
            PacketError: no encoder writes this.
        """
        symbol = self._of_slot[coder.slot()]
        coder.take(self.starts[symbol], self.frequencies[symbol])
        return symbol


class Residuals:
    """A symmetric distribution over differences: `half[0]` is that of 0, `half[k]` that of k and of -k, the last one
    that of everything larger, which an Exp-Golomb number follows."""

    def __init__(self, half: list[int]) -> None:
        self.largest = len(half) - 2
        self._escape = 2 * self.largest + 1
        order = [half[0], *(f for f in half[1:-1] for _ in range(2)), half[-1]]  # 0, 1, -1, 2, -2, ..., escape
        self._symbols = Symbols(order)
        escape = self._symbols.bits[-1] + ESCAPE_COST
        self.cost: Costs = np.append(self._symbols.bits[[0, *range(1, self._escape, 2)]], escape)
        """(largest + 2,) 1/256 bits by size of the difference; the last is for everything larger, roughly."""

    def write(self, coder: RangeEncoder, difference: int) -> None:
        """Write one difference."""
        size = abs(difference)
        if size <= self.largest:
            self._symbols.write(coder, 2 * size - (difference > 0))
            return
        self._symbols.write(coder, self._escape)
        coder.bits(int(difference < 0), 1)
        coder.number(size - self.largest - 1, ESCAPE_ORDER)

    def read(self, coder: RangeDecoder) -> int:
        """Read one difference.

        Raises:
            PacketError: no encoder writes this.
        """
        symbol = self._symbols.read(coder)
        if symbol < self._escape:
            return (symbol + 1) // 2 if symbol & 1 else -(symbol // 2)
        negative = coder.bits(1)
        size = coder.number(ESCAPE_ORDER) + self.largest + 1
        return -size if negative else size


@dataclass(frozen=True)
class Tables:
    """One version of the statistics. Values: 3 rotation, scale, 2 translation, 4 gaze, then the expression."""

    schema: int
    groups: tuple[slice, ...]
    """Pose, gaze, expression: each has its own gear."""
    steps: NDArray[np.float64]
    """(V,) what one integer is worth; scale: octaves."""
    limits: list[int]
    """(V,) largest integer that a value may take, either sign; scale: 0 to it."""
    origin: list[int]
    """(V,) what a motion is compared to that refers to none."""
    scales: list[int]
    """Scale by its integer, in 2**-20."""
    times: list[int]
    """Upper bounds of the time classes 1, 2, ..., half milliseconds since the reference; class 0 has no reference."""
    flags: Symbols
    gears: list[list[Symbols]]
    """[class][group]"""
    shapes: list[Residuals]
    shape_of: NDArray[np.uint8]
    """(classes, GEARS, V) which shape a value's difference has."""
    cost: Costs
    """(shapes, largest + 2) 1/256 bits."""

    def time_class(self, half_ms: int) -> int:
        """Class of a time since the reference."""
        for number, bound in enumerate(self.times, 1):
            if half_ms <= bound:
                return number
        return len(self.times) + 1


def parse(fields: dict[str, Any]) -> Tables:
    """Content of a tables file -> tables."""
    edges = list(accumulate(fields["groups"], initial=0))
    shapes = [Residuals(half) for half in fields["shapes"]]
    return Tables(
        schema=fields["schema"],
        groups=tuple(slice(a, b) for a, b in pairwise(edges)),
        steps=np.array(fields["steps"], np.float64),
        limits=fields["limits"],
        origin=fields["origin"],
        scales=fields["scales"],
        times=fields["times"],
        flags=Symbols(fields["flags"]),
        gears=[[Symbols(f) for f in groups] for groups in fields["gears"]],
        shapes=shapes,
        shape_of=np.array(fields["shape_of"], np.uint8),
        cost=np.stack([shape.cost for shape in shapes]),
    )


@lru_cache(maxsize=1)
def default_tables() -> Tables:
    """The shipped tables, motion schema 1."""
    return parse(json.loads(FILE.read_text()))
