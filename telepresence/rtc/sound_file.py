"""The sound of the file that is the camera, in step with its pictures: they share one clock."""

from __future__ import annotations

import asyncio
import fractions
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import MediaError
from telepresence.face.voice import VoiceMouth
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.sound_playout import FRAME, FRAME_US, RATE

logger = logging.getLogger(__name__)

MAX_WAITING: Final = 3  # blocks of a connection that does not fetch them; the oldest goes
_TIME_BASE: Final = fractions.Fraction(1, RATE)


class FileClock:
    """When the file began, on our clock: set by its pictures, followed by its sound."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._start_us: int | None = None

    def begin(self, start_us: int) -> None:
        """The picture at the file's beginning belongs here; said again at every repetition."""
        with self._lock:
            self._start_us = start_us

    @property
    def start_us(self) -> int | None:
        """None while it has not begun."""
        with self._lock:
            return self._start_us


class SoundReader:
    """Samples of a clip's first sound stream at any position. Belongs to one thread at a time.

    Raises:
        MediaError: the clip cannot be read, or has no sound.
    """

    def __init__(self, clip: Path) -> None:
        self._clip = clip
        self._container: Any = None
        self._blocks: Iterator[tuple[int, NDArray[np.int16]]] = iter(())
        self._have: deque[tuple[int, NDArray[np.int16]]] = deque()
        self._open()

    def read(self, first: int, count: int) -> NDArray[np.int16]:
        """`count` mono samples from `first` on (48 kHz, 0 is at the clip's first picture); silence where none are."""
        if self._have and first < self._have[0][0]:
            self._open()
        out = np.zeros(count, np.int16)
        while True:
            for start, samples in self._have:
                low, high = max(first, start), min(first + count, start + len(samples))
                if low < high:
                    out[low - first : high - first] = samples[low - start : high - start]
            end = self._have[-1][0] + len(self._have[-1][1]) if self._have else -1
            if end >= first + count:
                break
            block = next(self._blocks, None)
            if block is None:
                break
            self._have.append(block)
        while len(self._have) > 1 and self._have[0][0] + len(self._have[0][1]) <= first - FRAME:
            self._have.popleft()
        return out

    def close(self) -> None:
        """Close the clip."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def _open(self) -> None:
        import av

        self.close()
        self._have.clear()
        try:
            self._container = av.open(str(self._clip), metadata_errors="replace")
        except (OSError, ValueError) as error:
            raise MediaError(f"{self._clip}: cannot be opened ({error})") from error
        if not self._container.streams.audio:
            raise MediaError(f"{self._clip}: has no sound")
        self._blocks = self._decoded(av)

    def _decoded(self, av: Any) -> Iterator[tuple[int, NDArray[np.int16]]]:
        """Blocks of samples and their positions; a damaged clip ends early."""
        container = self._container
        pictures = container.streams.video
        zero_s = float((pictures[0].start_time or 0) * pictures[0].time_base) if pictures else 0.0
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        position: int | None = None
        try:
            for frame in container.decode(audio=0):
                if position is None:
                    position = round(((frame.time or 0.0) - zero_s) * RATE)
                for block in resampler.resample(frame):
                    samples = block.to_ndarray().reshape(-1)
                    yield position, samples
                    position += len(samples)
        except (OSError, ValueError) as error:
            logger.warning("the sound of %s ends early (%s)", self._clip.name, error)


def has_sound(clip: Path) -> bool:
    """Whether there is any sound in a clip."""
    try:
        SoundReader(clip).close()
    except MediaError:
        return False
    return True


class FileSound:
    """Sends the clip's sound to every connection, 20 ms at a time, when its pictures are there.

    Args:
        clip: with sound.
        clock: of its pictures.
        on_mouth: gets the mouth's shape by the voice and its loudness, some 25 times a second.

    Raises:
        MediaError: no sound.
    """

    def __init__(self, clip: Path, clock: FileClock, on_mouth: Callable[[Any, float], None]) -> None:
        self._reader = SoundReader(clip)
        self._clock = clock
        self._on_mouth = on_mouth
        self._voice = VoiceMouth(RATE)
        self._recent = np.zeros(2 * FRAME, np.float32)
        self._tracks: set[Any] = set()

    def track(self) -> Any:
        """A track for one more connection; it ends with it."""
        track = _make_track(self._tracks.discard)
        self._tracks.add(track)
        return track

    async def run(self) -> None:
        """Until cancelled."""
        number = 0
        begun_us = now_us()
        while True:
            due_us = begun_us + number * FRAME_US
            await asyncio.sleep(max(0, due_us - now_us()) / 1e6)
            if now_us() - due_us > 10 * FRAME_US:  # the machine slept, or was too busy: what is past is not sent late
                number += (now_us() - due_us) // FRAME_US
                continue
            start_us = self._clock.start_us
            if start_us is not None:
                first = (begun_us + (number - 1) * FRAME_US - start_us) * RATE // 1_000_000
                samples = await asyncio.to_thread(self._reader.read, first, FRAME)
                self._hear(samples, due_us, number)
                for track in list(self._tracks):
                    track.push(samples, number * FRAME)
            number += 1

    def close(self) -> None:
        """Close the clip."""
        self._reader.close()

    def _hear(self, samples: NDArray[np.int16], due_us: int, number: int) -> None:
        self._recent = np.concatenate([self._recent[FRAME:], samples.astype(np.float32) / 32768])
        if number % 2 == 0:
            heard = self._voice.hear(self._recent, due_us / 1000)
            self._on_mouth(heard.mouth, heard.level)


def _make_track(on_end: Callable[[Any], None]) -> Any:
    import av
    from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

    class Track(MediaStreamTrack):
        """What one connection sends."""

        kind = "audio"

        def __init__(self) -> None:
            super().__init__()
            self._blocks_due: asyncio.Queue[av.AudioFrame | None] = asyncio.Queue()

        def push(self, samples: NDArray[np.int16], pts: int) -> None:
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, pts, _TIME_BASE
            while self._blocks_due.qsize() >= MAX_WAITING:
                self._blocks_due.get_nowait()
            self._blocks_due.put_nowait(frame)

        async def recv(self) -> av.AudioFrame:
            frame = await self._blocks_due.get() if self.readyState == "live" else None
            if frame is None:
                raise MediaStreamError
            return frame

        def stop(self) -> None:
            super().stop()
            on_end(self)
            self._blocks_due.put_nowait(None)

    return Track()
