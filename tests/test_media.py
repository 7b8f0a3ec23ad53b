from __future__ import annotations

import struct
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from telepresence import media
from telepresence.errors import MediaError
from telepresence.media import clip_info, is_photo, read_frames, read_photo
from tests.clips import rotate_header, write_clip

LEFT_RED = np.zeros((48, 64, 3), np.uint8)
LEFT_RED[:, :32] = (255, 0, 0)
LEFT_RED[:, 32:] = (0, 0, 255)


def _is(picture: np.ndarray, y: int, x: int, colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(picture[y, x].astype(int) - colour).max() < 12)


def test_frames_come_in_order_with_times(tmp_path: Path) -> None:
    pictures = [np.full((48, 64, 3), 10 * i, np.uint8) for i in range(10)]
    frames = list(read_frames(write_clip(tmp_path / "clip.mp4", pictures, fps=20)))
    assert [frame.time_us for frame in frames] == [50_000 * i for i in range(10)]
    assert [round(frame.picture.mean() / 10) for frame in frames] == list(range(10))
    assert all(frame.picture.dtype == np.uint8 and frame.picture.flags.c_contiguous for frame in frames)


def test_clip_info(tmp_path: Path) -> None:
    info = clip_info(write_clip(tmp_path / "clip.mp4", [LEFT_RED] * 10, fps=20, sound="aac"))
    assert (info.width, info.height, info.fps, info.frames, info.has_sound) == (64, 48, 20.0, 10, True)
    assert info.duration_s == pytest.approx(0.5, abs=0.06)


def test_a_phones_rotation_is_applied(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", [LEFT_RED] * 3)
    rotate_header(path)
    picture = next(read_frames(path)).picture
    assert picture.shape == (64, 48, 3)
    assert _is(picture, 10, 24, (255, 0, 0))  # a quarter turn clockwise brings the left side to the top
    assert _is(picture, 54, 24, (0, 0, 255))
    assert (clip_info(path).width, clip_info(path).height) == (48, 64)


def test_odd_sizes_are_read(tmp_path: Path) -> None:
    odd = LEFT_RED[:47, :63]
    assert next(read_frames(write_clip(tmp_path / "clip.mkv", [odd] * 2))).picture.shape == (47, 63, 3)


def test_wide_pixels_become_square(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = 2
        container.mux(stream.encode(av.VideoFrame.from_ndarray(LEFT_RED, format="rgb24")))
        container.mux(stream.encode(None))
    assert next(read_frames(path)).picture.shape == (48, 128, 3)


def test_a_missing_clip_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"nobody\.mp4.*check the path"):
        clip_info(tmp_path / "nobody.mp4")


@pytest.mark.parametrize("content", [b"not a clip at all", bytes(5000)])
def test_what_is_not_a_clip_says_how_to_convert_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r"ffmpeg -i clip\.mp4"):
        list(read_frames(path))


def test_sound_alone_is_not_a_clip(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
    with pytest.raises(MediaError, match="no video"):
        next(read_frames(path))


def test_a_damaged_clip_gives_the_frames_before_the_damage(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (20, 48, 64, 3), np.uint8)
    path = write_clip(tmp_path / "clip.mp4", list(noise))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(2000) + data[len(data) // 2 + 2000 :])
    frames = []
    with pytest.raises(MediaError, match="damaged"):
        frames.extend(read_frames(path))
    assert frames


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 3000), junk=st.binary(min_size=1, max_size=40))
def test_whatever_a_clip_holds_only_media_errors_come(tmp_path: Path, at: int, junk: bytes) -> None:
    whole = tmp_path / "whole.mp4"
    data = whole.read_bytes() if whole.exists() else write_clip(whole, [LEFT_RED] * 4).read_bytes()
    path = tmp_path / "hurt.mp4"
    path.write_bytes(data[:at] + junk + data[at + len(junk) :])
    try:
        for frame in read_frames(path):
            assert frame.picture.shape[2] == 3
    except MediaError:
        pass


def test_a_giant_clip_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MAX_CLIP_PIXELS", 64 * 48 - 1)
    with pytest.raises(MediaError):
        list(read_frames(write_clip(tmp_path / "clip.mp4", [LEFT_RED])))


def test_photo(tmp_path: Path) -> None:
    Image.fromarray(LEFT_RED).save(tmp_path / "a.png")
    assert np.array_equal(read_photo(tmp_path / "a.png"), LEFT_RED)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise
    Image.fromarray(LEFT_RED).save(tmp_path / "a.jpg", exif=exif, quality=95)
    picture = read_photo(tmp_path / "a.jpg")
    assert picture.shape == (64, 48, 3)
    assert _is(picture, 10, 24, (254, 0, 0))


def test_transparency_is_laid_over_grey(tmp_path: Path) -> None:
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[:, 4:] = (255, 255, 255, 255)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    picture = read_photo(tmp_path / "a.png")
    assert _is(picture, 4, 1, (128, 128, 128))
    assert _is(picture, 4, 6, (255, 255, 255))


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "LA", "I;16"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    ramp = np.tile(np.arange(0, 256, 4, np.uint8), (16, 1))
    if mode == "I;16":
        Image.fromarray(ramp.astype(np.uint16) * 257).save(tmp_path / "a.tif")
    else:
        Image.fromarray(ramp).convert(mode).save(tmp_path / "a.tif")
    picture = read_photo(tmp_path / "a.tif")
    assert picture.shape == (16, 64, 3)
    assert picture.dtype == np.uint8
    assert int(picture[8, 60].min()) > int(picture[8, 2].max()) + 150


@pytest.mark.parametrize("keep", [0, 3, 100, 600])
def test_a_photo_cut_short_is_refused(tmp_path: Path, keep: int) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:keep])
    with pytest.raises(MediaError, match=r"b\.jpg"):
        read_photo(tmp_path / "b.jpg")


def test_a_photo_that_says_it_is_giant_is_refused_before_decoding(tmp_path: Path) -> None:
    Image.fromarray(LEFT_RED).save(tmp_path / "a.bmp")
    data = bytearray((tmp_path / "a.bmp").read_bytes())
    data[18:26] = (60_000).to_bytes(4, "little") * 2  # BITMAPINFOHEADER's width and height
    (tmp_path / "a.bmp").write_bytes(data)
    with pytest.raises(MediaError, match=r"megapixels|not a photo"):
        read_photo(tmp_path / "a.bmp")


def test_photos_are_told_from_clips_by_content(tmp_path: Path) -> None:
    Image.fromarray(LEFT_RED).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "noname")
    assert is_photo(tmp_path / "noname")
    assert not is_photo(write_clip(tmp_path / "clip.mp4", [LEFT_RED]))
    with pytest.raises(MediaError, match="check the path"):
        is_photo(tmp_path / "missing.jpg")


def giant_png() -> bytes:
    """The head of a PNG that says it has 30000 x 20000 pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 20_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + b"\0\0\0\0IDAT"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.jpg", b"This is text.", r"a\.jpg: not a photo that can be read; save it as JPEG or PNG$"),
        ("a.jpg", b"", r"a\.jpg: an empty file"),
        ("a.png", giant_png(), r"a\.png: far too many pixels; at most 67 megapixels can be read; scale it down"),
    ],
)
def test_what_is_not_a_photo_says_what_to_do(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MediaError, match=told):
        read_photo(tmp_path / name)


def test_an_avatar_is_not_a_clip(tmp_path: Path) -> None:
    (tmp_path / "one.avatar").write_bytes(b"\x89AVATAR\n\0\1")
    with pytest.raises(MediaError, match=r"that is an avatar.*use --avatar one\.avatar"):
        clip_info(tmp_path / "one.avatar")


@pytest.mark.parametrize(
    ("said", "duration_s", "frames", "seconds", "early"),
    [(100, 4.0, 60, 2.4, True), (100, 4.0, 99, 3.96, False), (None, 4.0, 60, 2.4, False), (100, 2.4, 60, 2.4, False)],
)
def test_a_clip_that_ends_early(said: int | None, duration_s: float, frames: int, seconds: float, early: bool) -> None:
    info = media.ClipInfo(64, 48, 25.0, said, duration_s)
    told = media.ended_early(Path("clip.mp4"), info, frames, seconds)
    assert (told is not None) is early
    assert not early or "after 60 of 100 pictures" in str(told)
