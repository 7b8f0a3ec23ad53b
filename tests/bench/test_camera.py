"""The fake camera's clip: numbers in its margin that survive a codec, and clips that cannot be used."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from telepresence.bench import camera
from telepresence.bench.camera import BITS, BLOCKS, HEIGHT, MARGIN, WIDTH, fitted, marked, paced, prepare
from telepresence.errors import FaceError, MediaError


def write(path: Path, pictures: int, size: tuple[int, int] = (96, 64), fps: int = 15) -> Path:
    draw = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for _ in range(pictures):
            picture = draw.integers(0, 255, (size[1], size[0], 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def read_mark(luma: np.ndarray) -> int:
    """As the page does: the middle of each block."""
    step, width = luma.shape[0] / BLOCKS, luma.shape[1] / WIDTH
    levels = [luma[int((b + 0.5) * step), int(8 * width) : int(32 * width)].mean() for b in range(BLOCKS)]
    threshold = (levels[0] + levels[1]) / 2
    assert levels[0] > levels[1] + 60
    return int("".join(str(int(level > threshold)) for level in levels[2:]), 2)


@pytest.mark.parametrize("number", [0, 1, 341, 682, 2**BITS - 1])
def test_a_number_survives_a_harsh_codec_at_half_the_size(number: int) -> None:
    grey = np.full((HEIGHT * 3 // 2, WIDTH), 120, np.uint8)
    frame = av.VideoFrame.from_ndarray(marked(grey, number), format="yuvj420p").reformat(width=342, height=256)
    out = av.CodecContext.create("libvpx", "w")
    out.width, out.height, out.pix_fmt, out.framerate, out.bit_rate = 342, 256, "yuv420p", 30, 20_000
    out.time_base = Fraction(1, 30)
    into = av.CodecContext.create("vp8", "r")
    frame = frame.reformat(format="yuv420p")
    frame.pts, frame.time_base = 0, out.time_base
    packets = [*out.encode(frame), *out.encode(None)]
    [decoded] = [picture for packet in [*packets, None] for picture in into.decode(packet)]
    assert read_mark(decoded.to_ndarray(format="gray")) == number


def test_the_clip_stays_out_of_the_margins() -> None:
    for shape in ((100, 400, 3), (400, 100, 3), (256, 256, 3)):
        out = fitted(np.zeros(shape, np.uint8))
        assert out.shape == (HEIGHT, WIDTH, 3)
        assert (out[:, : MARGIN - 1] == camera.GREY).all()
        assert (out[:, -MARGIN + 1 :] == camera.GREY).all()
        assert (out == 0).any()


def test_a_slow_clip_is_played_at_its_own_pace(tmp_path: Path) -> None:
    pictures = paced(write(tmp_path / "slow.mp4", 45), seconds=2)
    assert len(pictures) == 60
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[1], pictures[3])


def test_a_clip_without_a_face_or_too_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FaceError, match="face"):
        prepare(write(tmp_path / "noise.mp4", 45), "noise", tmp_path)
    with pytest.raises(MediaError, match="long"):
        prepare(write(tmp_path / "short.mp4", 10), "short", tmp_path)
    with pytest.raises(MediaError, match="--clip"):
        camera.find_source(tmp_path / "missing.mp4", tmp_path)
