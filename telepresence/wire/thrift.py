"""Sending less: nothing while nothing moves, and two motions a message if asked for. Sans-I/O.

Below about 30 kbit/s the headers outweigh the motion, so what saves is fewer messages. None is lost in meaning: a
motion is left out only while it would move the keypoints by less than can be seen, and the receiver is told first that
the head keeps still (`MotionPacket.still`), so that it does not take silence for a loss.
"""

from __future__ import annotations

import enum
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.face.basis import default_basis
from telepresence.face.motion import Motion
from telepresence.face.topology import EYELIDS, IRIS_LEFT, IRIS_RIGHT, LIPS, N_FACE
from telepresence.wire.codec import MotionEncoder
from telepresence.wire.packets import MotionPacket
from telepresence.wire.quantise import EXPRESSION, GAZE, SCALE, TRANSLATION, Grid, quantise
from telepresence.wire.tables import default_tables

UNSEEN: Final = 0.008  # canonical units: half a pixel where the eyes are 64 pixels apart
WAKE: Final = 2.0  # times UNSEEN; in thrifty use less is a creep, followed without giving up stillness
CREEP_US: Final = 150_000  # between the messages of a creep
SETTLE: Final = 3  # motions in a row below UNSEEN before the head counts as still
TOLD: Final = 2  # times that stillness is announced before silence: one may get lost, and silence look like a loss
KEEPALIVE_US: Final = 400_000  # at rest: shorter than what H.264 senders and NATs call silence, and a refresh
THRIFTY_ACK_EVERY: Final = 12  # of pairs: 24 motions, and a message can refer 31 back

_WEIGHT: Final = 3.0  # of lips, lids and irises in UNSEEN: it is there that the eye looks


class Rate(enum.StrEnum):
    """How many messages motion takes."""

    EVERY = "every"
    """One for each camera picture."""
    ADAPTIVE = "adaptive"
    """None while no landmark moves by UNSEEN. Costs no delay."""
    THRIFTY = "thrifty"
    """None while they do not in the mean, and two motions a message: the first waits one picture for the second."""


class Thrift:
    """Stands between a camera and a `MotionEncoder`. Not thread-safe.

    Args:
        encoder: what makes the messages; use it for nothing else.
        rate: pairs are not made while losses are seen: then each motion goes at once, and once more with the next.
    """

    def __init__(self, encoder: MotionEncoder, rate: Rate) -> None:
        self._encoder = encoder
        self._rate = rate
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
        moved = self._moved(grid)
        still, told = self._calm >= SETTLE, self._calm >= SETTLE + TOLD - 1
        since_us = capture_us - self._last_us
        unseen = moved <= UNSEEN
        creep = self._rate is Rate.THRIFTY and moved <= WAKE * UNSEEN
        wait_us = KEEPALIVE_US if unseen else CREEP_US if creep else 0
        # That there is no face any more, or one again, does not wait.
        if told and rest == self._rest and since_us < wait_us:
            self.skipped += 1
            return None
        self._calm = self._calm + 1 if unseen or (still and creep) else 0
        still, urgent = self._calm >= SETTLE, rest or self._rest
        self._last, self._last_us, self._rest = grid, capture_us, rest
        return self._send(MotionPacket(0, capture_us, motion, epoch, rest, still), urgent=urgent)

    def flush(self, captured_by_us: int | None = None) -> bytes | None:
        """Return the message that still waits for its second motion, if it is from that moment or before."""
        if self._waiting and captured_by_us is not None and self._waiting.capture_us > captured_by_us:
            return None
        waiting, self._waiting = self._waiting, None
        return self._alone(waiting) if waiting else None

    def _moved(self, grid: Grid) -> float:
        """How far the face has moved since the motion sent last, canonical units."""
        if self._last is None or self._rate is Rate.EVERY:
            return np.inf
        return (spread if self._rate is Rate.THRIFTY else farthest)(grid, self._last)

    def _send(self, packet: MotionPacket, *, urgent: bool) -> bytes | None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            try:
                return self._encoder.encode_pair(waiting, packet)
            except ValueError:  # the avatar changed, or the camera stalled: what waited is out of date
                return self._alone(packet)
        if urgent or packet.still or self._rate is not Rate.THRIFTY or self._encoder.repeating:
            return self._alone(packet)
        self._waiting = packet
        return None

    def _alone(self, packet: MotionPacket) -> bytes:
        return self._encoder.encode(
            packet.capture_us, packet.motion, epoch=packet.epoch, rest=packet.rest, still=packet.still
        )


def spread(a: Grid, b: Grid) -> float:
    """How far apart two motions put the face: weighted root mean square over the landmarks, canonical units."""
    return float(np.linalg.norm((np.array(a) - np.array(b)) * reach()))


def farthest(a: Grid, b: Grid) -> float:
    """The same of the landmark that they put farthest apart, in the picture plane."""
    # Not by @: for every participant and picture, BLAS would wake its threads, which wait for a busy machine.
    way = np.einsum("v,vk->k", np.array(a, np.float64) - np.array(b), ways()).reshape(-1, 2)
    return float(np.sqrt((way**2).sum(1).max()))


@lru_cache(maxsize=1)
def ways() -> NDArray[np.float64]:
    """(V, 478 * 2) where one integer of each value moves the landmarks of the mean face, which looks ahead: x and y."""
    basis, steps = default_basis(), default_tables().steps
    mean = basis.mean.astype(np.float64)
    out = np.zeros((len(steps), *mean.shape))
    for axis in range(3):
        out[axis] = np.cross(np.eye(3)[axis], mean)
    out[SCALE] = np.log(2) * mean
    out[TRANSLATION] = np.eye(3)[:2, None]
    for iris, at in ((IRIS_RIGHT, GAZE.start), (IRIS_LEFT, GAZE.start + 2)):
        out[at : at + 2, list(iris)] = np.eye(3)[:2, None]
    out[EXPRESSION:, :N_FACE] = basis.components[: len(steps) - EXPRESSION]
    moved: NDArray[np.float64] = (out * steps[:, None, None])[..., :2].reshape(len(steps), -1)
    return moved


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
