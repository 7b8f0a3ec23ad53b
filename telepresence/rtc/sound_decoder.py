"""Opus packets -> samples, with something in place of what is missing, and corrections of the time that nobody hears.

libopus conceals losses and carries a copy of the frame before in each packet, but libav asks it for neither. So a gap
is filled as ITU-T G.711 appendix I does: the last pitch period goes on, and fades.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.rtc.sound_playout import FRAME, RATE, Play

logger = logging.getLogger(__name__)

Samples = NDArray[np.float32]

PITCH: Final = (RATE // 400, RATE // 66)  # samples of a period: voices from 400 down to 66 Hz
COMPARED: Final = RATE // 50  # samples that are compared to find it
FADE: Final = (1.0, 0.6, 0.4, 0.0)  # by how much the 1st, 2nd, ... frame in a row becomes quieter; then silence
BLEND: Final = RATE // 250  # samples over which two pieces are joined: 4 ms
MAX_PACKET_BYTES: Final = 1275 * 3  # of Opus (RFC 6716) with some room; more is none
LAST: Final = 4 * FRAME  # samples that are remembered


class SoundDecoder:
    """One sender's sound: what `SoundPlayout` says is to be played -> mono samples, -1..1. Not thread-safe."""

    def __init__(self) -> None:
        import av

        self._codec: Any = av.CodecContext.create("libopus", "r")
        self._codec.format, self._codec.layout, self._codec.sample_rate = "s16", "stereo", RATE
        self._history: Samples = np.zeros(LAST, np.float32)
        self._gap = 0
        self.damaged = 0
        """Packets that were no Opus."""

    def __call__(self, play: Play) -> Samples:
        """FRAME samples; half of that fewer or more where the time is corrected."""
        samples = None if play.data is None else self._decoded(play.data)
        if samples is None:
            samples = self._concealed()
        else:
            if self._gap:
                samples = self._joined(samples)
            self._gap = 0
        self._history = np.concatenate([self._history, samples])[-LAST:]
        if play.correct < 0:
            return _shorter(samples)
        return _longer(samples) if play.correct > 0 else samples

    def _decoded(self, data: bytes) -> Samples | None:
        import av

        if not 0 < len(data) <= MAX_PACKET_BYTES:
            self.damaged += 1
            return None
        try:
            frames = self._codec.decode(av.Packet(data))
        except (av.FFmpegError, ValueError):
            self.damaged += 1
            return None
        parts = [_mono(frame.to_ndarray()) for frame in frames]
        samples = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        return None if not len(samples) else _sized(samples)

    def _concealed(self) -> Samples:
        """The last pitch period, over and over, fading."""
        gap, self._gap = self._gap, self._gap + 1
        if gap >= len(FADE):
            return np.zeros(FRAME, np.float32)
        period = _pitch(self._history)
        cycle = self._history[-period:].copy()
        blend = min(BLEND, period // 4)
        ramp = np.linspace(0, 1, blend, dtype=np.float32)
        before = self._history[-period - blend : -period]
        cycle[-blend:] = (1 - ramp) * cycle[-blend:] + ramp * before  # so that its end leads to its beginning
        filled = np.resize(cycle, FRAME)
        fading: Samples = (filled * np.linspace(1, FADE[gap], FRAME)).astype(np.float32)
        return fading

    def _joined(self, samples: Samples) -> Samples:
        """Lead over from what filled the gap to what has come."""
        filled = self._concealed()
        ramp = np.linspace(0, 1, BLEND, dtype=np.float32)
        out = samples.copy()
        out[:BLEND] = (1 - ramp) * filled[:BLEND] + ramp * samples[:BLEND]
        return out


def _pitch(history: Samples) -> int:
    """Samples after which the end of the sound is most like itself."""
    shortest, longest = PITCH
    newest = history[-COMPARED:].astype(np.float64)
    window = history[-COMPARED - longest :].astype(np.float64)
    products = np.correlate(window, newest, "valid")[:-1]  # of lags longest .. 1
    squares = np.cumsum(np.concatenate([[0.0], window**2]))
    energy = squares[COMPARED:-1] - squares[: -COMPARED - 1]
    likeness = products / np.sqrt(energy[: len(products)] + 1e-9)
    lags = longest - np.arange(len(products))
    likeness[lags < shortest] = -np.inf
    return int(lags[int(np.argmax(likeness))])


def _shorter(samples: Samples) -> Samples:
    """Half as long: begins as the first half, ends as the second."""
    half = len(samples) // 2
    return _crossed(samples[:half], samples[-half:])


def _longer(samples: Samples) -> Samples:
    """Half as long again: between the halves comes one that begins as the second and ends as the first."""
    half = len(samples) // 2
    first, second = samples[:half], samples[half:]
    return np.concatenate([first, _crossed(second[:half], first), second])


def _crossed(first: Samples, second: Samples) -> Samples:
    ramp = np.linspace(0, 1, len(first), dtype=np.float32)
    crossed: Samples = (1 - ramp) * first + ramp * second
    return crossed


def _mono(samples: NDArray[np.int16]) -> Samples:
    """What libav gives as s16, interleaved stereo (1, 2 N), -> (N,) mono."""
    mixed: Samples = samples.reshape(-1, 2).astype(np.float32).mean(axis=1) / 32768
    return mixed


def _sized(samples: Samples) -> Samples:
    """FRAME samples: a sender of other packets than of 20 ms is heard as well as it goes."""
    if len(samples) >= FRAME:
        return samples[:FRAME]
    return np.concatenate([samples, np.zeros(FRAME - len(samples), np.float32)])
