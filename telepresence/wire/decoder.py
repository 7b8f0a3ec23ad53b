"""Messages -> motion, from one sender. Sans-I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from telepresence.errors import MissingReferenceError, PacketError
from telepresence.wire import body
from telepresence.wire.body import MAX_HALF_MS
from telepresence.wire.held import DELTA, HALF_MS_US, HELD, WHOLE, Held
from telepresence.wire.packets import (
    ACK_WINDOW,
    KIND_ACK,
    KIND_DELTA,
    KIND_WHOLE,
    Ack,
    MotionPacket,
    Ping,
    Pong,
    check_time,
    decode_ack,
    decode_ping,
    kind_of,
)
from telepresence.wire.quantise import Grid, restore
from telepresence.wire.rangecoder import RangeDecoder
from telepresence.wire.tables import Tables, default_tables

ACK_EVERY: Final = 4  # messages between two acknowledgements: at IP level one costs ten times a motion's difference

Received = tuple[MotionPacket, ...] | Ack | Ping | Pong


class MotionDecoder:
    """Messages -> motion, from one sender. Memory is constant whatever arrives. Not thread-safe.

    Args:
        tables: for measurements; both ends need the same.
    """

    def __init__(self, *, tables: Tables | None = None) -> None:
        self._tables = tables or default_tables()
        self._held: dict[int, Held] = {}
        self._newest: int | None = None
        self._wanted = False
        self.unacknowledged = 0
        """Messages with motion since the last `ack`."""
        self.refused = 0
        """Messages that were not decodable."""
        self.missing = 0
        """Of these, the ones whose reference was not held."""

    def receive(self, data: bytes) -> Received:
        """Any message of the motion channel: one or two motions (the older first), or what it is instead.

        A motion may come twice: `playout` drops it by its sequence.

        Raises:
            MissingReferenceError: it refers to a motion that is not held.
            PacketError: not a message of a known version and schema. Either way: it is counted here; go on.
        """
        try:
            kind = kind_of(data)
            if kind == KIND_ACK:
                return decode_ack(data)
            if kind in (KIND_WHOLE, KIND_DELTA):
                return self._motions(kind, data)
            return decode_ping(data)
        except PacketError as error:
            self.refused += 1
            if isinstance(error, MissingReferenceError):
                self.missing += 1
                self._wanted = True
            raise

    def ack_due(self, every: int = ACK_EVERY) -> bool:
        """Whether to send `ack` now: after the first message, every few, and at once for a missing reference."""
        return self.unacknowledged >= every or self._wanted

    def ack(self) -> Ack:
        """What is held now."""
        self.unacknowledged = 0
        self._wanted = False
        if self._newest is None:
            return Ack(None)
        mask = 0
        for back in range(ACK_WINDOW):
            mask |= ((self._newest - 1 - back & 0xFFFFFFFF) in self._held) << back
        return Ack(self._newest & 0xFFFF, mask)

    def _motions(self, kind: int, data: bytes) -> tuple[MotionPacket, ...]:
        reference: Held | None = None
        half_ms: int | None = None
        if kind == KIND_WHOLE:
            if len(data) < WHOLE.size:
                raise PacketError("shorter than a whole motion's head")
            _, schema, sequence, capture_us, epoch = WHOLE.unpack_from(data)
            if schema != self._tables.schema:
                raise PacketError(f"motion schema {schema}; this build knows {self._tables.schema}")
            at = WHOLE.size
            check_time(capture_us)
        else:
            if len(data) < DELTA.size:
                raise PacketError("shorter than a motion's head")
            _, low, word = DELTA.unpack_from(data)
            at, half_ms = DELTA.size, word & MAX_HALF_MS
            reference = self._find(low, word >> 11)
            sequence = reference.sequence + (word >> 11) & 0xFFFFFFFF
            capture_us, epoch = check_time(reference.capture_us + half_ms * HALF_MS_US), reference.epoch
        coder = RangeDecoder(data, at)
        coded, more = body.read(coder, reference.coded.grid if reference else None, half_ms, self._tables)
        found = [Held(sequence, capture_us, epoch, coded)]
        if more:
            half_ms = body.read_time(coder)
            coded, more = body.read(coder, coded.grid, half_ms, self._tables)
            if more:
                raise PacketError("more than two motions in a message")
            capture_us = check_time(capture_us + half_ms * HALF_MS_US)
            found.append(Held(sequence + 1 & 0xFFFFFFFF, capture_us, epoch, coded))
        coder.finish()
        self._keep(found)
        self.unacknowledged += 1
        return tuple(_packet(held, self._tables) for held in found)

    def _find(self, low: int, age: int) -> Held:
        if age:
            for held in self._held.values():
                if (held.sequence + age - low) & 0xFF == 0:
                    return held
        raise MissingReferenceError("the motion that this one refers to is not held")

    def _keep(self, found: Sequence[Held]) -> None:
        self._wanted |= self._newest is None
        for held in found:
            ahead = 1 if self._newest is None else (held.sequence - self._newest + (1 << 31) & 0xFFFFFFFF) - (1 << 31)
            if ahead <= -HELD:
                continue
            if ahead > 0:
                self._newest = held.sequence
                oldest = self._newest - HELD + 1
                self._held = {s: h for s, h in self._held.items() if (s - oldest) & 0xFFFFFFFF < HELD}
            self._held.setdefault(held.sequence, held)


def _packet(held: Held, tables: Tables) -> MotionPacket:
    flags = held.coded.flags
    return MotionPacket(
        held.sequence,
        held.capture_us,
        restore(held.coded.grid, tables),
        held.epoch,
        bool(flags & body.FLAG_REST),
        bool(flags & body.FLAG_STILL),
    )


def grids(decoder: MotionDecoder) -> dict[int, Grid]:
    """The integers that a decoder holds, by sequence: for test vectors."""
    return {held.sequence: held.coded.grid for held in decoder._held.values()}
