"""Sending less: two motions a message, and nothing while nothing moves. Sans-I/O.

Below about 30 kbit/s the headers outweigh the motion, so what saves is fewer messages. None is lost in meaning: a
motion is left out only while it would move the keypoints by less than can be seen, and the receiver is told first that
the head keeps still (`MotionPacket.still`), so that it does not take silence for a loss.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.face.basis import default_basis
from telepresence.face.motion import Motion
from telepresence.face.topology import EYELIDS, LIPS, N_FACE
from telepresence.wire.codec import MotionEncoder
from telepresence.wire.packets import MotionPacket
from telepresence.wire.quantise import EXPRESSION, GAZE, SCALE, TRANSLATION, Grid, quantise, spread
from telepresence.wire.tables import default_tables

UNSEEN: Final = 0.008  # canonical units, root mean square: half a pixel where the eyes are 64 pixels apart
WAKE: Final = 2.0  # times UNSEEN; less is a creep, followed without giving up stillness
CREEP_US: Final = 150_000  # between the messages of a creep
SETTLE: Final = 3  # motions in a row below UNSEEN before the head counts as still
KEEPALIVE_US: Final = 400_000  # at rest: shorter than what H.264 senders and NATs call silence, and a refresh
THRIFTY_ACK_EVERY: Final = 12  # of pairs: 24 motions, and a message can refer 31 back

_WEIGHT: Final = 3.0  # of lips, lids and irises in UNSEEN: it is there that the eye looks


class Thrift:
    """Stands between a camera and a `MotionEncoder`. Not thread-safe.

    Args:
        encoder: what makes the messages; use it for nothing else.
        pairs: put two motions in a message while the head moves; the first of them waits one picture for the second.
            Not while losses are seen: then each motion goes at once, and once more with the next.
    """

    def __init__(self, encoder: MotionEncoder, *, pairs: bool = True) -> None:
        self._encoder = encoder
        self._pairs = pairs
        self._waiting: MotionPacket | None = None
        self._last: Grid | None = None
        self._last_us = 0
        self._calm = 0
        self._rest = False
        self.skipped = 0
        """Motions that were not sent because nobody would have seen them."""

    def offer(self, capture_us: int, motion: Motion, *, epoch: int = 0, rest: bool = False) -> bytes | None:
        """Take the next motion; returns a message to send now, if any."""
        grid = quantise(motion, default_tables(), self._last)
        moved = np.inf if self._last is None else spread(grid, self._last, reach())
        still = self._calm >= SETTLE
        since_us = capture_us - self._last_us
        told = rest == self._rest  # that there is no face any more, or one again, does not wait
        if (
            told
            and still
            and since_us < (KEEPALIVE_US if moved <= UNSEEN else CREEP_US if moved <= WAKE * UNSEEN else 0)
        ):
            self.skipped += 1
            return None
        self._calm = self._calm + 1 if moved <= UNSEEN * (WAKE if still else 1) else 0
        still = self._calm >= SETTLE
        self._last, self._last_us, self._rest = grid, capture_us, rest
        return self._send(MotionPacket(0, capture_us, motion, epoch, rest, still))

    def flush(self) -> bytes | None:
        """Return the message that still waits for its second motion."""
        waiting, self._waiting = self._waiting, None
        return self._alone(waiting) if waiting else None

    def _send(self, packet: MotionPacket) -> bytes | None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            try:
                return self._encoder.encode_pair(waiting, packet)
            except ValueError:  # the avatar changed, or the camera stalled: what waited is out of date
                return self._alone(packet)
        if packet.still or not self._pairs or self._encoder.repeating:
            return self._alone(packet)
        self._waiting = packet
        return None

    def _alone(self, packet: MotionPacket) -> bytes:
        return self._encoder.encode(
            packet.capture_us, packet.motion, epoch=packet.epoch, rest=packet.rest, still=packet.still
        )


@lru_cache(maxsize=1)
def reach() -> NDArray[np.float64]:
    """(V,) how far one integer of each value moves the face: root mean square over the landmarks, canonical units."""
    basis, steps = default_basis(), default_tables().steps
    mean = basis.mean[:N_FACE].astype(np.float64)
    out = np.empty(len(steps))
    for axis in range(3):
        out[axis] = np.sqrt((np.delete(mean, axis, 1) ** 2).sum(1).mean())
    out[SCALE] = np.log(2) * np.sqrt((mean**2).sum(1).mean())
    out[TRANSLATION] = 1
    out[GAZE] = np.sqrt(_WEIGHT * 5 / N_FACE)
    weights = np.ones(N_FACE)
    weights[list(LIPS) + list(EYELIDS)] = _WEIGHT
    components = basis.components[: len(steps) - EXPRESSION]
    out[EXPRESSION:] = np.sqrt((weights[:, None] * components**2).sum((1, 2)) / weights.sum())
    return out * steps
