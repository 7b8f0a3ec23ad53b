from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from telepresence.errors import MediaError, TelepresenceError
from telepresence.generator.data import clips
from telepresence.generator.data.clips import MAGIC, load_clip, load_meta, parse_clip
from telepresence.generator.data.jpeg import decode_matte, decode_picture, encode_jpeg
from tests.generator.data.made import SIDE, STEP_US, clip_bytes, face_points, frame_matte, frame_picture, write_clips


def with_header(data: bytes, change: dict[str, object]) -> bytes:
    """The clip with fields of its header replaced."""
    start = len(MAGIC) + 4
    length = struct.unpack_from("<I", data, len(MAGIC))[0]
    header = json.loads(data[start : start + length])
    for name, value in change.items():
        (header["meta"] if name in header["meta"] else header)[name] = value
    raw = json.dumps(header).encode()
    return MAGIC + struct.pack("<I", len(raw)) + raw + data[start + length :]


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    folder = write_clips(tmp_path, {"name": "one", "identity": "bob", "rights": "C", "count": 12})
    clip = load_clip(folder / "one.clip")
    assert (len(clip), clip.name, clip.identity, clip.side, clip.meta.rights) == (12, "one", "bob", SIDE, "C")
    assert np.abs(clip.picture(7).astype(int) - frame_picture(7)).max() <= 4
    assert np.array_equal(clip.matte(3), frame_matte()) or np.abs(clip.matte(3).astype(int) - frame_matte()).mean() < 3
    assert np.array_equal(clip.points[5], face_points(x=0.005))
    assert clip.times_us.tolist() == [i * STEP_US for i in range(12)]
    assert np.abs(clip.plate.astype(int) - 200).max() <= 2
    assert load_meta(folder / "one.clip") == clip.meta


def test_colours_keep_their_places() -> None:
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[..., 0] = 220
    decoded = decode_picture(memoryview(encode_jpeg(picture, 95)), SIDE)
    assert decoded is not None
    assert decoded[..., 0].min() > 210
    assert decoded[..., 2].max() < 10


def test_a_mattes_black_and_white_survive_jpeg() -> None:
    matte = decode_matte(memoryview(encode_jpeg(frame_matte(), 90)), SIDE)
    assert matte is not None
    assert set(np.unique(matte[:16])) == {0}
    assert set(np.unique(matte[32:, 24:40])) == {255}


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"no picture", encode_jpeg(frame_picture(0), 90)[:300]])
def test_what_is_no_picture_is_none(data: bytes) -> None:
    found = decode_picture(memoryview(data), SIDE)
    assert found is None or found.shape == (SIDE, SIDE, 3)  # a JPEG cut short still shows its upper part


def test_a_picture_of_another_size_is_not_decoded() -> None:
    assert decode_picture(memoryview(encode_jpeg(frame_picture(0, 128), 90)), SIDE) is None


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.3, 0.7, 0.999])
def test_a_clip_cut_short_is_refused(share: float) -> None:
    data = clip_bytes(10)
    with pytest.raises(MediaError):
        parse_clip(data[: int(share * len(data))], "cut")


def test_any_damaged_byte_is_noticed() -> None:
    data = clip_bytes(4)
    random = np.random.default_rng(0)
    for place in random.integers(len(data), size=200):
        damaged = bytearray(data)
        damaged[place] ^= 0x55
        try:
            clip = parse_clip(bytes(damaged), "damaged")
        except TelepresenceError:
            continue
        assert len(clip) == 4  # only what no sum covers: a name or a number in the header that is as possible
        assert place < len(MAGIC) + 4 + clips.MAX_HEADER_BYTES


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"frames": 10**9}, "frames"),
        ({"frames": True}, "frames"),
        ({"frames": 9}, "number of frames"),
        ({"side": 100_000}, "pixels"),
        ({"side": 65}, "decoded"),
        ({"identity": 5}, "header"),
        ({"sections": []}, "header"),
        ({"sections": [["times", 80]]}, "sections"),
        ({"meta": {"name": "x"}}, "header"),
        ({"crc32": 1}, "checksum"),
    ],
)
def test_a_header_that_lies_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(MediaError, match=said):
        parse_clip(with_header(clip_bytes(10), change), "lying")


def test_sections_cannot_claim_more_than_the_file_holds() -> None:
    data = clip_bytes(10)
    length = struct.unpack_from("<I", data, len(MAGIC))[0]
    header = json.loads(data[len(MAGIC) + 4 : len(MAGIC) + 4 + length])
    header["sections"][-1][1] += 2**29
    with pytest.raises(MediaError, match="bytes instead of"):
        parse_clip(with_header(data, {"sections": header["sections"]}), "greedy")


def test_places_of_pictures_must_grow() -> None:
    data = bytearray(clip_bytes(10))
    clip = parse_clip(bytes(data), "fine")
    ends = np.concatenate([[0], np.cumsum([len(clip.picture_bytes(i)) for i in range(10)])]).astype("<i8").tobytes()
    at = bytes(data).index(ends)
    data[at + 8 : at + 16] = struct.pack("<q", -1)
    crc = clips.zlib.crc32(bytes(data)[len(MAGIC) + 4 + struct.unpack_from("<I", data, len(MAGIC))[0] :])
    with pytest.raises(MediaError, match="places"):
        parse_clip(with_header(bytes(data), {"crc32": crc}), "backwards")


def test_other_files_are_told_apart_from_damaged_ones(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="not a prepared clip"):
        parse_clip(b"\x00" * 100, "zeros")
    with pytest.raises(MediaError, match="another version"):
        parse_clip(b"TPCLIP99" + clip_bytes(4)[8:], "newer")
    with pytest.raises(MediaError, match="cannot be opened"):
        load_clip(tmp_path / "missing.clip")


def test_a_file_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clips(tmp_path, {"name": "one"}) / "one.clip"
    monkeypatch.setattr(clips, "MAX_FILE_BYTES", path.stat().st_size - 1)
    with pytest.raises(MediaError, match="more than"):
        load_clip(path)
