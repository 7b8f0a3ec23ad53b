"""Motion -> messages for one receiver, by difference from what it is known to hold. Sans-I/O."""

from __future__ import annotations

from typing import Final

from telepresence.face.motion import Motion
from telepresence.wire import body
from telepresence.wire.body import MAX_AGE, Coded
from telepresence.wire.held import DELTA, HALF_MS_US, HELD, WHOLE, Held, half_ms_since
from telepresence.wire.packets import ACK_WINDOW, KIND_DELTA, KIND_WHOLE, Ack, MotionPacket, first_byte
from telepresence.wire.quantise import quantise
from telepresence.wire.rangecoder import RangeEncoder
from telepresence.wire.tables import Tables, default_tables

LOSS_MEMORY: Final = 1 / 100  # weight of the newest motion in the running share of lost ones
LATE: Final = 3  # motions; one that far behind the newest acknowledged counts as lost
REPEAT_FROM: Final = 0.02  # share of lost motions from which on the one before travels along
REPEAT_FOR: Final = 900  # motions after the last loss: long, since repeats hide from the sender what they repair
PAIR_US: Final = 1_000_000  # the two motions of a message are at most so far apart


class MotionEncoder:
    """Motion -> messages for one receiver. Not thread-safe.

    Args:
        first_sequence: where to begin counting; random is good, so that a restarted sender is told from the old one.
        repeat: let the motion before travel along while losses are seen.
        tables: for measurements; both ends need the same.
    """

    def __init__(self, *, first_sequence: int = 0, repeat: bool = True, tables: Tables | None = None) -> None:
        self._tables = tables or default_tables()
        self._next = first_sequence & 0xFFFFFFFF
        self._sent: dict[int, Held] = {}
        self._repeat = repeat
        self._left = 0
        self.repeating = False
        """Whether the motion before travels along at present."""
        self.loss = 0.0
        """Running share of motions that the receiver lacks for good, 0 to 1."""

    def encode(
        self, capture_us: int, motion: Motion, *, epoch: int = 0, rest: bool = False, still: bool = False
    ) -> bytes:
        """One motion -> a message; the previous motion travels along while `repeating`."""
        before = self._sent.get(self._next - 1 & 0xFFFFFFFF) if self.repeating else None
        held = self._hold(capture_us, motion, epoch, rest, still)
        if before and not before.known and before.epoch == held.epoch and half_ms_since(before, held) is not None:
            return self._message(before, held)
        return self._message(held)

    def encode_pair(self, first: MotionPacket, second: MotionPacket) -> bytes:
        """Two motions in one message (their `sequence` is ignored), the older first: half the headers, more delay.

        Raises:
            ValueError: they differ in epoch, or are not 0 to 1 s apart: send them one by one.
        """
        if first.epoch != second.epoch or not 0 <= second.capture_us - first.capture_us <= PAIR_US:
            raise ValueError("the motions of a pair must be of one epoch and follow each other within a second")
        pair = [self._hold(p.capture_us, p.motion, p.epoch, p.rest, p.still) for p in (first, second)]
        return self._message(*pair)

    def acknowledge(self, ack: Ack) -> None:
        """Take in what the receiver holds: only that is referred to from now on."""
        if ack.newest is None:
            for held in self._sent.values():
                held.known = False
            return
        newest = self._next - 1 & 0xFFFFFFFF
        sequence = newest - ((newest - ack.newest) & 0xFFFF)
        if newest - sequence >= HELD:
            return  # too old to matter, or never sent
        for back in range(ACK_WINDOW + 1):
            named = self._sent.get(sequence - back & 0xFFFFFFFF)
            if named is None:
                continue
            named.known = back == 0 or bool(ack.mask >> (back - 1) & 1)
            if (named.known or back >= LATE) and not named.counted:
                named.counted = True
                self._count(lost=not named.known)

    def _count(self, *, lost: bool) -> None:
        self.loss += (lost - self.loss) * LOSS_MEMORY
        self._left = max(self._left - 1, 0)
        if self.loss >= REPEAT_FROM or (lost and self._left):
            self._left = REPEAT_FOR
        self.repeating = self._repeat and self._left > 0

    def _hold(self, capture_us: int, motion: Motion, epoch: int, rest: bool, still: bool) -> Held:
        newest = self._sent.get(self._next - 1 & 0xFFFFFFFF)
        near = newest.coded.grid if newest and newest.epoch == epoch else None
        flags = rest * body.FLAG_REST | still * body.FLAG_STILL
        coded = Coded(quantise(motion, self._tables, near), flags)
        held = Held(self._next, max(capture_us, 0), epoch & 0xFF, coded)
        # Times travel in half milliseconds from the reference, so they are kept on that grid from the first one on.
        if newest is not None:
            steps = max(0, (held.capture_us - newest.capture_us + HALF_MS_US // 2) // HALF_MS_US)
            held.capture_us = newest.capture_us + steps * HALF_MS_US
        self._next = (self._next + 1) & 0xFFFFFFFF
        self._sent[held.sequence] = held
        if len(self._sent) > HELD:
            del self._sent[next(iter(self._sent))]
        return held

    def _reference(self, held: Held) -> Held | None:
        for age in range(1, MAX_AGE + 1):
            found = self._sent.get(held.sequence - age & 0xFFFFFFFF)
            if found and found.known and found.epoch == held.epoch and half_ms_since(found, held) is not None:
                return found
        return None

    def _message(self, first: Held, second: Held | None = None) -> bytes:
        reference = self._reference(first)
        coder = RangeEncoder()
        if reference is None:
            head = WHOLE.pack(
                first_byte(KIND_WHOLE), self._tables.schema, first.sequence, first.capture_us, first.epoch
            )
            body.write(coder, first.coded, None, None, second is not None, self._tables)
        else:
            half_ms = half_ms_since(reference, first) or 0
            age = (first.sequence - reference.sequence) & 0xFFFFFFFF
            head = DELTA.pack(first_byte(KIND_DELTA), first.sequence & 0xFF, age << 11 | half_ms)
            body.write(coder, first.coded, reference.coded.grid, half_ms, second is not None, self._tables)
        if second is not None:
            half_ms = half_ms_since(first, second) or 0
            body.write_time(coder, half_ms)
            body.write(coder, second.coded, first.coded.grid, half_ms, False, self._tables)
        return head + coder.finish()
