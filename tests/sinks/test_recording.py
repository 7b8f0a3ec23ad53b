from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest

from telepresence.errors import MediaError
from telepresence.media import clip_info, read_frames
from telepresence.sinks.recording import VideoWriter
from tests.clips import write_clip


def shade(value: int, channels: int = 3) -> np.ndarray:
    return np.full((64, 64, channels), value, np.uint8)


def test_pictures_come_back(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", 64, 25) as writer:
        for i in range(12):
            writer.write(shade(20 * i))
    info = clip_info(tmp_path / "out.mp4")
    assert (info.width, info.height, info.fps, info.frames) == (64, 64, 25.0, 12)
    frames = list(read_frames(tmp_path / "out.mp4"))
    assert [frame.time_us for frame in frames] == [40_000 * i for i in range(12)]
    assert [round(float(frame.picture.mean()) / 20) for frame in frames] == list(range(12))
    assert os.listdir(tmp_path) == ["out.mp4"]


def test_it_is_h264_that_every_player_takes(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", 64, 25) as writer:
        writer.write(shade(9))
    with av.open(str(tmp_path / "out.mp4")) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")


def test_times_of_an_uneven_clip_are_kept(tmp_path: Path) -> None:
    times = [0, 33_000, 100_000, 400_000, 430_000]
    with VideoWriter(tmp_path / "out.mp4", 64, 30) as writer:
        for time_us in times:
            writer.write(shade(50, 4), time_us)
    assert [f.time_us for f in read_frames(tmp_path / "out.mp4")] == pytest.approx(times, abs=20)


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "aac"), ("mkv", "libopus")])
def test_sound_is_kept_in_step(tmp_path: Path, suffix: str, codec: str) -> None:
    clip = write_clip(tmp_path / f"in.{suffix}", [shade(9)] * 50, 25, sound=codec)
    with VideoWriter(tmp_path / "out.mp4", 64, 25) as writer:
        assert writer.add_sound(clip)
        for _ in range(50):
            writer.write(shade(9))
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        samples = list(container.decode(audio=0))
    assert sum(frame.samples for frame in samples) / samples[0].sample_rate == pytest.approx(2.0, abs=0.1)
    assert float(np.abs(samples[20].to_ndarray()).max()) > 0.1


def test_a_silent_clip_gives_no_sound(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", [shade(9)] * 3)
    with VideoWriter(tmp_path / "out.mp4", 64, 25) as writer:
        assert not writer.add_sound(clip)
        assert not writer.add_sound(tmp_path / "nobody.mp4")
        writer.write(shade(1))
    assert not clip_info(tmp_path / "out.mp4").has_sound


def test_a_failed_recording_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"precious")
    with pytest.raises(ValueError, match="64 square"), VideoWriter(path, 64, 25) as writer:
        writer.write(np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(MediaError, match="no picture"), VideoWriter(path, 64, 25):
        pass
    assert path.read_bytes() == b"precious"
    assert os.listdir(tmp_path) == ["out.mp4"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="choose another place"):
        VideoWriter(tmp_path / "nowhere" / "out.mp4", 64, 25)


def test_wrong_pictures_are_a_mistake_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="even"):
        VideoWriter(tmp_path / "out.mp4", 63, 25)
    writer = VideoWriter(tmp_path / "out.mp4", 64, 25)
    with pytest.raises(ValueError, match="64 square"):
        writer.write(np.zeros((32, 32, 3), np.uint8))
    writer.discard()
    writer.discard()
    assert os.listdir(tmp_path) == []
