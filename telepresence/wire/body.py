"""The range-coded part of a message: one motion's integers as differences from a reference. `docs/packets.md`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from telepresence.errors import PacketError
from telepresence.wire.quantise import EXPRESSION, SCALE, Grid, rescaled
from telepresence.wire.rangecoder import RangeDecoder, RangeEncoder
from telepresence.wire.tables import Tables

MAX_AGE: Final = 31  # motions between one and its reference: five bits
MAX_HALF_MS: Final = 2047  # time between them: eleven bits

FLAG_REST: Final = 1  # the sender sees no face: let the avatar come to rest
FLAG_STILL: Final = 2  # nothing moves: the next packet may be late
FLAG_MORE: Final = 4  # another motion follows in this message

_RIGHT_GAZE, _LEFT_GAZE = EXPRESSION - 4, EXPRESSION - 2


@dataclass(frozen=True, slots=True)
class Coded:
    """One motion as it is remembered."""

    grid: Grid
    flags: int
    """FLAG_REST | FLAG_STILL"""


def write(
    coder: RangeEncoder, coded: Coded, reference: Grid | None, half_ms: int | None, more: bool, tables: Tables
) -> None:
    """Write one motion; `half_ms` is the time since the reference, None with none."""
    tables.flags.write(coder, coded.flags | more * FLAG_MORE)
    number = 0 if half_ms is None else tables.time_class(half_ms)
    differences = _differences(coded.grid, reference, tables)
    sizes = np.minimum(np.abs(differences), tables.cost.shape[1] - 1)
    costs = tables.cost[tables.shape_of[number], sizes]
    for group, gears in zip(tables.groups, tables.gears[number], strict=True):
        gear = int(np.argmin(costs[:, group].sum(1) + gears.bits))
        gears.write(coder, gear)
        shapes = tables.shape_of[number, gear, group].tolist()
        for shape, difference in zip(shapes, differences[group], strict=True):
            tables.shapes[shape].write(coder, difference)


def read(coder: RangeDecoder, reference: Grid | None, half_ms: int | None, tables: Tables) -> tuple[Coded, bool]:
    """Read one motion, and whether another follows.

    Raises:
        PacketError: no encoder writes this, or a value is out of bounds.
    """
    flags = tables.flags.read(coder)
    number = 0 if half_ms is None else tables.time_class(half_ms)
    differences: Grid = []
    for group, gears in zip(tables.groups, tables.gears[number], strict=True):
        gear = gears.read(coder)
        for shape in tables.shape_of[number, gear, group].tolist():
            differences.append(tables.shapes[shape].read(coder))
    return Coded(_sum(differences, reference, tables), flags & ~FLAG_MORE), bool(flags & FLAG_MORE)


def write_time(coder: RangeEncoder, half_ms: int) -> None:
    """Write the time between the two motions of a message."""
    coder.bits(half_ms, 11)


def read_time(coder: RangeDecoder) -> int:
    """Read the time between the two motions of a message."""
    return coder.bits(11)


def _differences(grid: Grid, reference: Grid | None, tables: Tables) -> Grid:
    expected = _expected(grid[SCALE], reference, tables)
    out = [value - guess for value, guess in zip(grid, expected, strict=True)]
    for axis in (0, 1):  # both eyes look the same way
        out[_LEFT_GAZE + axis] -= out[_RIGHT_GAZE + axis]
    return out


def _sum(differences: Grid, reference: Grid | None, tables: Tables) -> Grid:
    for axis in (0, 1):
        differences[_LEFT_GAZE + axis] += differences[_RIGHT_GAZE + axis]
    before = tables.origin if reference is None else reference
    scale = before[SCALE] + differences[SCALE]
    if not 0 <= scale <= tables.limits[SCALE]:
        raise PacketError("the packet's scale is out of bounds")
    grid = [guess + d for guess, d in zip(_expected(scale, reference, tables), differences, strict=True)]
    if any(abs(value) > limit for value, limit in zip(grid, tables.limits, strict=True)):
        raise PacketError("a value in the packet is out of bounds")
    return grid


def _expected(scale: int, reference: Grid | None, tables: Tables) -> Grid:
    """What the values are taken to be before the differences are known."""
    if reference is None:
        return tables.origin
    expected = list(reference)
    for i in (SCALE + 1, SCALE + 2):
        expected[i] = rescaled(reference[i], reference[SCALE], scale, tables)
    return expected
