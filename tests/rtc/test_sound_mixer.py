"""Sound on the recording's time line: where it belongs, moved to its lips, nothing lost or doubled."""

from __future__ import annotations

import numpy as np

from telepresence.rtc.sound_mixer import OPEN_US, SoundMixer
from telepresence.rtc.sound_playout import FRAME, FRAME_US, RATE

START_US = 50_000_000


def block(level: float) -> np.ndarray:
    return np.full(FRAME, level, np.float32)


def begun() -> SoundMixer:
    mixer = SoundMixer()
    mixer.begin(START_US)
    return mixer


def everything(mixer: SoundMixer, seconds: float) -> np.ndarray:
    return mixer.take(START_US + round(seconds * 1e6) + OPEN_US)


def test_sound_lies_where_it_is_due() -> None:
    mixer = begun()
    mixer.add("a", block(0.5), START_US + 500_000, 0)
    line = everything(mixer, 1)
    assert len(line) == RATE
    heard = np.flatnonzero(line)
    assert heard[0] == RATE // 2
    assert len(heard) == FRAME


def test_two_who_talk_at_once_are_both_heard_and_not_louder_than_can_be() -> None:
    mixer = begun()
    mixer.add("a", block(0.3), START_US, 0)
    mixer.add("b", block(0.3), START_US, 0)
    mixer.add("a", block(0.9), START_US + FRAME_US, 0)
    mixer.add("b", block(0.9), START_US + FRAME_US, 0)
    line = everything(mixer, 0.1)
    assert np.allclose(line[:FRAME], 0.6)
    assert np.allclose(line[FRAME : 2 * FRAME], 1.0)


def test_before_the_first_picture_there_is_nothing_to_lie_beside() -> None:
    mixer = SoundMixer()
    mixer.add("a", block(0.5), START_US, 0)
    assert len(mixer.take(START_US + 10_000_000)) == 0
    mixer.begin(START_US)
    mixer.add("a", block(0.5), START_US - FRAME_US // 2, 0)
    line = everything(mixer, 0.1)
    assert np.count_nonzero(line) == FRAME // 2


def test_it_is_taken_in_pieces_that_fit_together() -> None:
    mixer, pieces = begun(), []
    for n in range(200):
        mixer.add("a", block(0.001 * (n + 1)), START_US + n * FRAME_US, 0)
        pieces.append(mixer.take(START_US + n * FRAME_US))
    pieces.append(everything(mixer, 4.0))
    line = np.concatenate(pieces)
    assert len(line) == 4 * RATE
    assert np.allclose(line[::FRAME], 0.001 * np.arange(1, 201))


def test_sound_is_moved_to_the_lips() -> None:
    mixer = begun()
    for _ in range(30):
        mixer.picture(90_000)
    mixer.add("a", block(0.5), START_US + 500_000, 60_000)
    assert np.flatnonzero(everything(mixer, 1))[0] == round(0.53 * RATE)


def test_it_is_moved_again_only_in_silence() -> None:
    mixer = begun()
    for _ in range(60):
        mixer.picture(60_000)
    mixer.add("a", block(0.5), START_US + 100_000, 60_000)
    for _ in range(60):
        mixer.picture(160_000)
    mixer.add("a", block(0.5), START_US + 200_000, 60_000)
    mixer.add("a", block(0.001), START_US + 300_000, 60_000)
    mixer.add("a", block(0.5), START_US + 400_000, 60_000)
    line = everything(mixer, 1)
    loud = np.flatnonzero(line > 0.4)
    begins = loud[np.flatnonzero(np.diff(loud, prepend=-2) > 1)] / RATE
    assert np.allclose(begins, [0.1, 0.2, 0.5])


def test_what_is_too_late_is_cut_off_and_nonsense_takes_no_memory() -> None:
    mixer = begun()
    everything(mixer, 2)
    mixer.add("a", block(0.5), START_US, 0)
    mixer.add("a", block(0.5), START_US + 10**15, 0)
    assert np.count_nonzero(everything(mixer, 4)) == 0
