"""A range coder in integers: Martin 1979 with byte-wise renormalisation. `docs/packets.md`, section "Range coder".

Frequencies of every table add up to TOTAL. The same arithmetic is in `web/codec/rangecoder.js`, byte for byte.
"""

from __future__ import annotations

from typing import Final

from telepresence.errors import PacketError

TOTAL_BITS: Final = 12
TOTAL: Final = 1 << TOTAL_BITS
_FULL: Final = 0xFFFFFFFF
_SMALL: Final = 1 << 24
MAX_PREFIX: Final = 16  # ones before the zero of an escaped number; more is not a number


class RangeEncoder:
    """Writes symbols; `finish` gives the shortest bytes that decode to them."""

    def __init__(self) -> None:
        self._low = 0  # all bytes so far and the 32 bits in work, as one number: carries take care of themselves
        self._range = _FULL
        self._bytes = 4

    def symbol(self, start: int, frequency: int) -> None:
        """Write a symbol that has `frequency` of TOTAL, below which `start` lie."""
        unit = self._range >> TOTAL_BITS
        self._low += unit * start
        width = unit * frequency
        while width < _SMALL:
            self._low <<= 8
            width <<= 8
            self._bytes += 1
        self._range = width

    def bits(self, value: int, count: int) -> None:
        """Write `count` (1 to 12) bits, all equally likely."""
        self.symbol(value << (TOTAL_BITS - count), 1 << (TOTAL_BITS - count))

    def number(self, value: int, order: int) -> None:
        """Write a number from 0 up as an Exp-Golomb code of that order."""
        while value >= 1 << order:
            self.bits(1, 1)
            value -= 1 << order
            order += 1
        self.bits(0, 1)
        for bit in range(order - 1, -1, -1):
            self.bits(value >> bit & 1, 1)

    def finish(self) -> bytes:
        """Bytes without the zeros at their end, which a decoder adds by itself."""
        for dropped in range(32, -1, -8):
            value = -(-self._low >> dropped) << dropped  # rounded up
            if value < self._low + self._range:
                return value.to_bytes(self._bytes, "big").rstrip(b"\0")
        raise AssertionError("the interval is never empty")


class RangeDecoder:
    """Reads the symbols of `data` from `at` on."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self._at = at + 4
        self._code = int.from_bytes(data[at : at + 4].ljust(4, b"\0"), "big")
        self._range = _FULL
        self._unit = 0

    def slot(self) -> int:
        """Where in TOTAL the next symbol lies; must be followed by `take`.

        Raises:
            PacketError: no encoder writes this.
        """
        self._unit = self._range >> TOTAL_BITS
        slot = self._code // self._unit
        if slot >= TOTAL:
            raise PacketError("the packet's body is damaged")
        return slot

    def take(self, start: int, frequency: int) -> None:
        """Consume the symbol that `slot` fell into."""
        self._code -= self._unit * start
        width = self._unit * frequency
        while width < _SMALL:
            width <<= 8
            at = self._at
            self._code = self._code << 8 | (self._data[at] if at < len(self._data) else 0)
            self._at = at + 1
        self._range = width

    def bits(self, count: int) -> int:
        """Read `count` (1 to 12) bits, all equally likely."""
        shift = TOTAL_BITS - count
        value = self.slot() >> shift
        self.take(value << shift, 1 << shift)
        return value

    def number(self, order: int) -> int:
        """Read an Exp-Golomb code of that order.

        Raises:
            PacketError: longer than any number that is written.
        """
        value, prefix = 0, 0
        while self.bits(1):
            prefix += 1
            if prefix > MAX_PREFIX:
                raise PacketError("a number in the packet's body does not end")
            value += 1 << order
            order += 1
        rest = 0
        for _ in range(order):
            rest = rest << 1 | self.bits(1)
        return value + rest

    def finish(self) -> None:
        """Check that nothing follows.

        Raises:
            PacketError: bytes are left over.
        """
        if len(self._data) > self._at:
            raise PacketError(f"{len(self._data) - self._at} bytes follow the packet's end")
