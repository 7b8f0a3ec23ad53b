"""Opus decoding with gaps and corrections: no clicks, no energy from nothing, nothing that a sender can break."""

from __future__ import annotations

import av
import numpy as np
import pytest

from telepresence.rtc.sound_decoder import SoundDecoder
from telepresence.rtc.sound_playout import FRAME, RATE, Play


def tone(frames: int, hertz: float = 220.0) -> np.ndarray:
    at = np.arange(frames * FRAME) / RATE
    return (0.3 * np.sin(2 * np.pi * hertz * at)).astype(np.float32)


def encoded(samples: np.ndarray) -> list[bytes]:
    codec = av.CodecContext.create("libopus", "w")
    codec.format, codec.layout, codec.sample_rate, codec.bit_rate = "s16", "stereo", RATE, 64_000
    packets = []
    for n in range(len(samples) // FRAME):
        block = (samples[n * FRAME : (n + 1) * FRAME] * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.repeat(block, 2)[None], "s16", "stereo")
        frame.sample_rate, frame.pts = RATE, n * FRAME
        packets += [bytes(packet) for packet in codec.encode(frame)]
    return packets


def heard(packets: list[bytes | None], corrections: dict[int, int] | None = None) -> list[np.ndarray]:
    decoder = SoundDecoder()
    plays = [Play(data, n * FRAME, 0, (corrections or {}).get(n, 0)) for n, data in enumerate(packets)]
    return [decoder(play) for play in plays]


def jumps(parts: list[np.ndarray]) -> float:
    """The largest step from one sample to the next, after the codec has settled."""
    return float(np.abs(np.diff(np.concatenate(parts[10:]))).max())


PACKETS = encoded(tone(50))
USUAL = jumps(heard(list(PACKETS)))


def test_without_a_gap_the_sound_is_the_sound() -> None:
    out = np.concatenate(heard(list(PACKETS)))[10 * FRAME :]
    spectrum = np.abs(np.fft.rfft(out * np.hanning(len(out))))
    assert abs(np.argmax(spectrum) * RATE / len(out) - 220) < 3
    assert 0.18 < out.std() < 0.24


@pytest.mark.parametrize("lost", [{25}, {25, 26}, {25, 30, 35}])
def test_a_gap_is_filled_without_a_click_and_keeps_its_loudness(lost: set[int]) -> None:
    parts = heard([None if n in lost else data for n, data in enumerate(PACKETS)])
    assert all(len(part) == FRAME for part in parts)
    assert jumps(parts) < 2.5 * USUAL
    assert parts[25].std() > 0.15


def test_a_long_gap_fades_to_silence() -> None:
    parts = heard([None if 25 <= n < 40 else data for n, data in enumerate(PACKETS)])
    assert np.abs(parts[35]).max() == 0
    assert jumps(parts) < 3 * USUAL
    assert parts[45].std() > 0.15


@pytest.mark.parametrize("correct", [-1, 1])
@pytest.mark.parametrize("hertz", [220.0, 130.0])
def test_a_correction_is_half_a_frame_and_no_click(correct: int, hertz: float) -> None:
    packets = encoded(tone(50, hertz))
    parts = heard(list(packets), {25: correct})
    assert len(parts[25]) == FRAME + correct * FRAME // 2
    assert jumps(parts) < 2.5 * jumps(heard(list(packets)))


def test_packets_that_are_none_are_concealed_and_counted() -> None:
    decoder = SoundDecoder()
    for n, data in enumerate([*PACKETS[:20], b"", b"\xff" * 5000, b"\x00\x01\x02", *PACKETS[20:]]):
        samples = decoder(Play(data, n * FRAME, 0))
        assert len(samples) == FRAME
        assert np.abs(samples).max() <= 1.0
    assert decoder.damaged >= 2


def test_silence_stays_silent() -> None:
    assert np.abs(SoundDecoder()(Play(None, 0, 0))).max() == 0
