"""Makes voice_vectors.json, which both voice.py and voice.js must reproduce: python -m tests.face.make_voice_vectors"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.face.voice import BLOCK, VoiceMouth

VECTORS: Final = Path(__file__).with_name("voice_vectors.json")
STEP_MS: Final = 33
PITCH: Final = 125.0
VOWELS: Final = {  # formants in Hz and dB (Peterson and Barney 1952, men), as in father, heed, who'd
    "a": ((730, -1), (1090, -5), (2440, -28)),
    "i": ((270, -4), (2290, -24), (3010, -28)),
    "u": ((300, -3), (870, -19), (2240, -43)),
}


def vowel(name: str, loudness: float = 0.25) -> list[list[float]]:
    """Harmonics (Hz, amplitude) of a vowel: resonances of 100 Hz and more, on a little of everything."""
    tones = []
    for n in range(1, 40):
        hertz = n * PITCH
        gain = 10 ** (-55 / 20)
        for formant, level in VOWELS[name]:
            gain += 10 ** (level / 20) * np.exp(-(((hertz - formant) / (50 + 0.06 * formant)) ** 2))
        tones.append([hertz, float(gain)])
    total = sum(amplitude**2 for _, amplitude in tones) ** 0.5
    return [[hertz, round(loudness * amplitude / total, 6)] for hertz, amplitude in tones]


def hiss(loudness: float = 0.1) -> list[list[float]]:
    """Something like an "s": many tones above 4.6 kHz."""
    return [[4600.0 + 137.0 * n, round(loudness / 5, 6)] for n in range(24)]


def samples(tones: list[list[float]], rate: int, first: int) -> NDArray[np.float32]:
    """BLOCK samples of these tones from sample number `first` on."""
    at = (first + np.arange(BLOCK)) / rate
    out = np.zeros(BLOCK)
    for n, (hertz, amplitude) in enumerate(tones):
        out += amplitude * np.sin(2 * np.pi * hertz * at + n * n)  # phases apart, as far as they matter
    return out.astype(np.float32)


def heard(rate: int, parts: list[dict[str, Any]]) -> list[list[float]]:
    """Open, wide, round, level of each block."""
    voice, rows, step = VoiceMouth(rate), [], 0
    for part in parts:
        for _ in range(part["blocks"]):
            block = samples(part["tones"], rate, step * STEP_MS * rate // 1000)
            result = voice.hear(block, 1000.0 + step * STEP_MS)
            mouth = result.mouth
            rows.append([round(value, 6) for value in (mouth.open, mouth.wide, mouth.round, result.level)])
            step += 1
    return rows


def main() -> None:
    silence: list[list[float]] = []
    sounds = [silence, vowel("a"), silence, vowel("i"), vowel("u"), hiss(), vowel("a", 0.02), silence]
    parts = [{"blocks": 8, "tones": tones} for tones in sounds]
    rates = 48_000, 44_100
    cases = [{"rate": rate, "step_ms": STEP_MS, "parts": parts, "heard": heard(rate, parts)} for rate in rates]
    VECTORS.write_text(json.dumps(cases, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
