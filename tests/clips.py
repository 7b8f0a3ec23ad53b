"""Real clips and photos, made on the spot."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.samples import sample_avatar

Picture = NDArray[np.uint8]


def portrait() -> Picture:
    """(320, 320, 3): the sample avatar's own picture, the one face that tests always have."""
    return sample_avatar().references[0].picture


def on_canvas(picture: Picture, width: int, height: int, left: int, top: int) -> Picture:
    """A picture on grey."""
    canvas = np.full((height, width, 3), 128, np.uint8)
    canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return canvas


def moving_portrait(count: int, width: int = 400, height: int = 320, step: int = 2) -> list[Picture]:
    """The portrait wandering to the right and back over a wider canvas."""
    room = width - 320
    places = [abs((i * step + room) % (2 * room) - room) if room else 0 for i in range(count)]
    return [on_canvas(portrait(), width, height, left, (height - 320) // 2) for left in places]


def write_clip(path: Path, pictures: Sequence[Picture], fps: int = 25, *, sound: str | None = None) -> Path:
    """H.264 in whatever container the suffix says; `sound` is an audio codec's name."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv444p"
        stream.options = {"crf": "12", "preset": "ultrafast"}
        audio = container.add_stream(sound, rate=48000) if sound else None
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
        if audio is not None:
            tone = np.sin(np.arange(48000 * len(pictures) // fps) * 0.05).astype(np.float32)[None] * 0.3
            for start in range(0, tone.shape[1] - 1023, 1024):
                frame = av.AudioFrame.from_ndarray(tone[:, start : start + 1024].copy(), format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 48000, start
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return path


def rotate_header(path: Path) -> None:
    """Write into an MP4's track header that it is to be shown a quarter turn clockwise, as phones do."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    height = data[at + 40 : at + 44]
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, int.from_bytes(height, "big"), 0, 1 << 30)
    path.write_bytes(data)


def read_pictures(path: Path) -> list[Picture]:
    """All pictures of a clip, by PyAV alone."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
