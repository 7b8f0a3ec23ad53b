"""The recording sink: pictures -> an H.264 MP4 file, with the sound of the clip that drove them."""

from __future__ import annotations

import contextlib
import os
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import MediaError
from telepresence.sinks import unfinished

Picture = NDArray[np.uint8]

CRF: Final = 16  # x264: hardly to be told from the pictures
PRESET: Final = "veryfast"
ENCODER_THREADS: Final = 2  # the rest of the machine belongs to landmarks and engine
TIME_BASE: Final = Fraction(1, 90_000)  # seconds; holds every usual frame rate and microseconds closely enough
COPIED_SOUND: Final = frozenset({"aac", "mp3", "ac3", "alac"})  # what MP4 players expect; anything else becomes AAC


class VideoWriter:
    """Writes one MP4. The file appears under its name when `close` returns, whole; until then nothing there is touched.

    Leaving its `with` block by an exception discards what was written.
    """

    def __init__(self, path: Path, size: int, fps: float, *, lasting: bool = False) -> None:
        """Start a file of pictures of `size` pixels square, which is even; `fps` paces those written without a time.

        With `lasting`, what cannot be made again is kept whatever happens: see `sinks.unfinished`.
        """
        import av

        if size % 2 or size <= 0:
            raise ValueError(f"H.264 with 4:2:0 chroma needs an even size, not {size}")
        self._path = path
        self._size = size
        self._step = 1 / max(float(fps), 0.1)
        self._last_pts = -1
        self._count = 0
        try:
            handle, kept = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".mp4")
            os.close(handle)
        except OSError as error:
            raise MediaError(
                f"{path}: cannot be written ({error.strerror}); choose another place for the file"
            ) from error
        self._kept = Path(kept)
        self._lasting = lasting
        options = unfinished.OPTIONS if lasting else {"movflags": "+faststart"}
        self._container: Any = av.open(kept, "w", format="mp4", options=dict(options))
        self._stream: Any = self._container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        self._stream.width = self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = self._stream.codec_context.time_base = TIME_BASE
        self._stream.codec_context.thread_count = ENCODER_THREADS
        self._stream.options = {"crf": str(CRF), "preset": PRESET}
        self._sound: _Sound | None = None
        self._live: Any = None

    def add_sound(self, clip: Path) -> bool:
        """Take over the clip's sound, aligned with its first picture; False where it has none. Call before `write`."""
        if self._count:
            raise ValueError("sound must be added before the first picture")
        self._sound = _Sound.open(clip, self._container)
        return self._sound is not None

    def add_live_sound(self, rate: int) -> None:
        """Have a mono sound track that `write_sound` fills. Call before `write`."""
        if self._count or self._sound is not None:
            raise ValueError("sound must be added before the first picture, and only once")
        self._live = self._container.add_stream("aac", rate=rate, layout="mono")
        self._live_count = 0

    def write_sound(self, samples: NDArray[np.float32]) -> None:
        """Append mono samples, -1..1, at the rate of `add_live_sound`; the first belongs to the first picture."""
        import av

        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, np.float32)[None], "fltp", "mono")
        frame.sample_rate, frame.pts = self._live.rate, self._live_count
        frame.time_base = Fraction(1, self._live.rate)
        self._live_count += len(samples)
        self._container.mux(self._live.encode(frame))

    def write(self, picture: Picture, time_us: int | None = None) -> None:
        """Append a picture (S, S, 3) or (S, S, 4), whose alpha is ignored, uint8; `time_us` after the first picture."""
        import av

        if picture.shape[:2] != (self._size, self._size) or picture.dtype != np.uint8:
            raise ValueError(f"pictures are {self._size} square uint8, not {picture.shape} {picture.dtype}")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[..., :3]), format="rgb24")
        seconds = self._count * self._step if time_us is None else time_us / 1e6
        self._last_pts = max(round(seconds / TIME_BASE), self._last_pts + 1)
        frame.pts, frame.time_base = self._last_pts, TIME_BASE
        self._count += 1
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file and put it in place.

        Raises:
            MediaError: it cannot be written, or no picture was.
        """
        if self._container is None:
            return
        if not self._count:
            self.discard()
            raise MediaError(f"{self._path}: no picture was written, so there is nothing to save; check the clip")
        try:
            self._container.mux(self._stream.encode(None))
            if self._live is not None:
                self._container.mux(self._live.encode(None))
            if self._sound is not None:
                self._sound.copy(self._container, float(self._last_pts * TIME_BASE) + self._step)
            self._container.close()
            self._container = None
            os.chmod(self._kept, 0o644 & ~_umask())
            if self._lasting:
                unfinished.finish(self._kept, self._path)
            else:
                os.replace(self._kept, self._path)
        except (OSError, ValueError) as error:
            if self._lasting:
                raise MediaError(
                    f"{self._path}: cannot be written ({error}); is the disk full? {self._keep()}"
                ) from error
            self.discard()
            raise MediaError(f"{self._path}: cannot be written ({error}); is the disk full?") from error
        finally:
            if self._sound is not None:
                self._sound.close()

    def discard(self) -> None:
        """Drop what was written; an earlier file of that name stays as it was. Safe to call twice."""
        container, self._container = self._container, None
        if container is not None:
            with contextlib.suppress(OSError, ValueError):  # a trailer that fails is of a file that nobody wants
                container.close()
        self._kept.unlink(missing_ok=True)

    def _keep(self) -> str:
        """After an error: let go of the file, and keep what is in it; says where."""
        container, self._container = self._container, None
        if container is not None:
            with contextlib.suppress(OSError, ValueError):
                container.close()
        return unfinished.keep(self._kept, self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


class _Sound:
    """A clip's first sound stream on its way into the file."""

    def __init__(self, source: Any, start_s: float, target: Any) -> None:
        self._source = source
        self._stream = source.streams.audio[0]
        self._start_s = start_s
        self._copied = self._stream.codec_context.name in COPIED_SOUND
        if self._copied:
            self._target = target.add_stream_from_template(self._stream)
        else:
            self._target = target.add_stream("aac", rate=self._stream.codec_context.sample_rate or 48_000)

    @classmethod
    def open(cls, clip: Path, target: Any) -> _Sound | None:
        import av

        try:
            source = av.open(str(clip), metadata_errors="replace")
        except (OSError, ValueError):
            return None
        if not source.streams.video or not any(stream.codec_context for stream in source.streams.audio[:1]):
            source.close()
            return None
        picture = source.streams.video[0]
        start_s = float((picture.start_time or 0) * picture.time_base)
        return cls(source, start_s, target)

    def copy(self, target: Any, end_s: float) -> None:
        """Mux everything between the first picture and `end_s`; damaged sound ends early and costs no picture."""
        with contextlib.suppress(OSError, ValueError):
            for part in self._packets() if self._copied else self._frames():
                at_s = float(part.pts * part.time_base)
                if at_s >= end_s:
                    break
                if at_s >= 0:
                    target.mux(part if self._copied else self._target.encode(part))
        if not self._copied:
            target.mux(self._target.encode(None))

    def _packets(self) -> Any:
        shift = round(self._start_s / self._stream.time_base)
        for packet in self._source.demux(self._stream):
            if packet.pts is None or packet.dts is None:
                continue
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = self._target
            yield packet

    def _frames(self) -> Any:
        shift = round(self._start_s / self._stream.time_base)
        for frame in self._source.decode(self._stream):
            if frame.pts is None:
                continue
            frame.pts -= shift
            yield frame

    def close(self) -> None:
        self._source.close()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
