"""What a voice tells of the mouth: how loud it is, and where its energy lies. Sans-I/O; `web/voice.js` does the same.

This is no speech recognition, and knows no phonemes. It uses what holds for every voice: a mouth is open while it is
loud, an open vowel ("a") has its first formant high, a spread one ("i") much energy above two kilohertz, a rounded one
("u", "o") hardly any above one, and a hiss ("s") comes through nearly closed teeth. Lips that close without a sound
("m" after a pause) and whispers are lost on it. `docs/sound.md` shows what comes of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.face.mouth import Mouth

BLOCK: Final = 1024  # samples that are looked at: 21 ms at 48 kHz
EMPHASIS: Final = 0.95  # first difference: evens out the fall of a voice's spectrum
BANDS: Final = ((200, 500), (500, 1100), (1100, 2200), (2200, 3600), (4500, 8000))
"""Hz: low and mid tell the first formant, high and front the second, the last one hisses."""
QUIET_DB: Final = -60.0  # of full scale: what is taken for silence at first
LOUD_DB: Final = -25.0  # and for a voice
ABOVE_DB: Final = 8.0  # over the noise, where a voice begins
RANGE_DB: Final = 15.0  # from there to a full voice, at the least
FLOOR_RISE: Final = 3.0  # dB a second: the noise that is learned while somebody talks
LOUD_FALL: Final = 2.0  # dB a second: how soon a loud voice is forgotten
ATTACK_MS: Final = 35.0
RELEASE_MS: Final = 80.0
LONGEST_MS: Final = 200.0  # between two blocks; after a longer pause the time counts as this
TINY: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard."""

    mouth: Mouth
    level: float
    """Loudness between the noise and the loudest of late, 0..1."""


class VoiceMouth:
    """One voice. Belongs to one thread.

    Args:
        rate: samples a second, at least 16 kHz for hisses to be heard.
    """

    def __init__(self, rate: int) -> None:
        self._window = np.hanning(BLOCK)
        hertz = np.fft.rfftfreq(BLOCK, 1 / rate)
        self._bands = [(hertz >= low) & (hertz < high) for low, high in BANDS]
        self._floor, self._loud = QUIET_DB, LOUD_DB
        self._shape = np.zeros(3)
        self._level = 0.0
        self._heard_ms: float | None = None

    def hear(self, samples: NDArray[np.float32], now_ms: float) -> Heard:
        """The newest BLOCK samples (mono, -1..1), heard at `now_ms` of any monotonic clock."""
        block = np.asarray(samples, np.float64)[-BLOCK:]
        if len(block) < BLOCK:
            block = np.concatenate([np.zeros(BLOCK - len(block)), block])
        seconds = self._seconds(now_ms)
        self._level = self._loudness(block, seconds)
        target = np.array(_shape(self._energies(block))) * self._level
        tau = np.where(target > self._shape, ATTACK_MS, RELEASE_MS)
        self._shape += (target - self._shape) * (1 - np.exp(-1000 * seconds / tau))
        opened, wide, rounded = (float(np.clip(value, 0, 1)) for value in self._shape)
        return Heard(Mouth(opened, wide, rounded), self._level)

    def _seconds(self, now_ms: float) -> float:
        before, self._heard_ms = self._heard_ms, now_ms
        return 0.0 if before is None else max(0.0, min(LONGEST_MS, now_ms - before)) / 1000

    def _loudness(self, block: NDArray[np.float64], seconds: float) -> float:
        """Where it lies between the noise, which rises slowly and falls at once, and a full voice, the other way."""
        db = 10 * math.log10(float(np.mean(block * block)) + TINY)
        self._floor = max(-90.0, self._floor + 0.3 * (db - self._floor) if db < self._floor else self._floor)
        if db > self._floor:
            self._floor += min(FLOOR_RISE * seconds, db - self._floor)
        self._loud = self._loud + 0.3 * (db - self._loud) if db > self._loud else self._loud - LOUD_FALL * seconds
        self._loud = max(self._loud, self._floor + ABOVE_DB + RANGE_DB, -50.0)
        self._floor = min(self._floor, self._loud - ABOVE_DB - RANGE_DB)
        begin = self._floor + ABOVE_DB
        return min(1.0, max(0.0, (db - begin) / (self._loud - begin)))

    def _energies(self, block: NDArray[np.float64]) -> list[float]:
        flat = block.copy()
        flat[1:] -= EMPHASIS * block[:-1]
        power = np.abs(np.fft.rfft(flat * self._window)) ** 2
        return [float(power[band].sum()) for band in self._bands]


def _shape(energies: list[float]) -> tuple[float, float, float]:
    """Open, wide and round of a full voice with this energy in the bands."""
    low, mid, high, front, hiss = energies
    voiced = low + mid + high + front + TINY
    hissing = _ramp(hiss / (voiced + hiss), 0.35, 0.7)
    opened = _ramp(mid / (low + mid + TINY), 0.3, 0.8)
    bright = (high + front) / voiced
    spread = _ramp(front / (high + front + TINY), 0.35, 0.75) * _ramp(bright, 0.15, 0.5)
    return (
        (1 - 0.85 * hissing) * (0.3 + 0.7 * opened),
        max(0.5 * hissing, spread * (1 - 0.5 * opened)),
        (1 - hissing) * _ramp(0.3 - bright, 0.0, 0.25) * (1 - 0.7 * opened),
    )


def _ramp(value: float, start: float, end: float) -> float:
    return min(1.0, max(0.0, (value - start) / (end - start)))
