"""What is heard of everybody, put together on one time line with the pictures that are recorded. Sans-I/O."""

from __future__ import annotations

import threading
from collections import deque
from statistics import median
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.rtc.sound_playout import FRAME_US, RATE

Samples = NDArray[np.float32]

OPEN_US: Final = 400_000  # the newest end of the line, which sound may still change
AGES: Final = 60  # of pictures: two seconds
ENOUGH: Final = 15  # of them tell how old pictures are
SLACK_US: Final = 25_000  # of what lips and sound may be apart before the sound is moved
QUIET: Final = 0.02  # in a sound so quiet nobody hears that it was moved
MOST_SHIFT_US: Final = 500_000
LONGEST_US: Final = 3_600_000_000 * 24


class SoundMixer:
    """Sound comes from the event loop, pictures' times and `take` from the recorder's thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._start_us: int | None = None
        self._line: Samples = np.zeros(0, np.float32)
        self._done = 0  # samples taken, where `_line` begins
        self._ages: deque[int] = deque(maxlen=AGES)
        self._shifts: dict[str, int] = {}

    def begin(self, start_us: int) -> None:
        """The first picture was drawn then."""
        with self._lock:
            self._start_us = start_us

    def picture(self, age_us: int) -> None:
        """How old a picture was as it was drawn, which is when it is shown in the recording."""
        with self._lock:
            self._ages.append(age_us)

    def add(self, participant: str, samples: Samples, due_us: int, age_us: int) -> None:
        """Sound of somebody, due on our clock at a moment, and how old it will be then."""
        with self._lock:
            if self._start_us is None:
                return
            shift = self._shift(participant, age_us, float(np.abs(samples).max(initial=0)))
            first = (due_us + shift - self._start_us) * RATE // 1_000_000 - self._done
            if first + len(samples) > LONGEST_US * RATE // 1_000_000:
                return
            if first < 0:
                samples, first = samples[-first:], 0
            missing = first + len(samples) - len(self._line)
            if missing > 0:
                grown = np.zeros(missing + RATE, np.float32)
                self._line = np.concatenate([self._line, grown])
            self._line[first : first + len(samples)] += samples

    def take(self, until_us: int) -> Samples:
        """What is finished up to then, and was not taken yet; at the end, ask for OPEN_US more."""
        with self._lock:
            if self._start_us is None:
                return np.zeros(0, np.float32)
            end = (until_us - OPEN_US - self._start_us) * RATE // 1_000_000 - self._done
            if end <= 0:
                return np.zeros(0, np.float32)
            out = self._line[:end]
            if len(out) < end:
                out = np.concatenate([out, np.zeros(end - len(out), np.float32)])
            self._line = self._line[end:]
            self._done += end
            return np.clip(out, -1, 1)

    def _shift(self, participant: str, age_us: int, loudness: float) -> int:
        """By how much a participant's sound is moved to where its lips are: rarely changed, and only in silence."""
        now = self._shifts.get(participant)
        if len(self._ages) < ENOUGH:
            return now or 0
        wanted = round(median(self._ages)) - age_us
        wanted = max(-MOST_SHIFT_US, min(MOST_SHIFT_US, wanted))
        if now is None or (abs(wanted - now) > SLACK_US and loudness < QUIET):
            self._shifts[participant] = wanted
            return wanted
        return now


def heard_age_us(rtt_us: int, delay_us: int) -> int:
    """How old sound is when it is due: the packet had to be filled, to come, and to wait."""
    return FRAME_US + rtt_us // 2 + delay_us
