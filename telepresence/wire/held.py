"""What both ends remember of a motion, and the heads of messages: `docs/packets.md`, sections 3 and 6."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from telepresence.wire.body import MAX_HALF_MS, Coded

HELD: Final = 64  # motions that either end remembers; also how far behind the newest one a late one is still held
HALF_MS_US: Final = 500

WHOLE: Final = struct.Struct("!BBIQB")  # first byte, schema, sequence, capture_us, epoch
DELTA: Final = struct.Struct("!BBH")  # first byte, sequence modulo 256, age << 11 | half milliseconds since reference


@dataclass(slots=True)
class Held:
    """One motion as both ends see it."""

    sequence: int
    capture_us: int
    epoch: int
    coded: Coded
    known: bool = False
    """Encoder only: the receiver has acknowledged it."""
    counted: bool = False
    """Encoder only: it is in the running share of lost ones."""


def half_ms_since(reference: Held, held: Held) -> int | None:
    """Time since the reference, or None if a message cannot say it."""
    steps, odd = divmod(held.capture_us - reference.capture_us, HALF_MS_US)
    return steps if not odd and 0 <= steps <= MAX_HALF_MS else None
