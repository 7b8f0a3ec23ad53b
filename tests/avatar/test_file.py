from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from telepresence.avatar import jpeg
from telepresence.avatar.file import digest, load, load_bytes, pack, save, unpack, unpack_first
from telepresence.avatar.model import Avatar, Reference
from telepresence.avatar.samples import sample_avatar, sample_avatar_bytes
from telepresence.avatar.sections import MAX_FIRST_BYTES, read_sections, read_table, write_sections
from telepresence.errors import AvatarError

RNG = np.random.default_rng(7)


def reference(side: int = 64, shift: float = 0.0) -> Reference:
    ramp = np.linspace(0, 255, side).astype(np.uint8)
    across, down = np.tile(ramp, (side, 1)), np.tile(ramp[:, None], (1, side))
    picture = np.stack([across, down, np.full_like(across, 90)], -1)
    matte = np.zeros((side, side), np.uint8)
    matte[side // 4 :, side // 4 : 3 * side // 4] = 255
    landmarks = np.linspace(0, side, 478 * 3, dtype=np.float32).reshape(478, 3) + np.float32(shift)
    return Reference(np.ascontiguousarray(picture), landmarks, matte)


def avatar(references: int = 2, side: int = 64, **changes: object) -> Avatar:
    neutral = np.linspace(-1, 1, 478 * 3, dtype=np.float32).reshape(478, 3)
    plate = np.full((side, side, 3), 77, np.uint8)
    plain = Avatar("Zoë", tuple(reference(side, i) for i in range(references)), neutral, plate)
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


FILE = pack(avatar(personal={"ab": b"weights"}, owner=b"key", signature=b"signed", engine="prior"))


def test_round_trip() -> None:
    before = avatar(3, free_for_all=True, engine="prior", personal={"b": b"2", "a": b"1"}, owner=b"key", signature=b"s")
    after = unpack(pack(before))
    assert (after.name, after.free_for_all, after.engine) == ("Zoë", True, "prior")
    assert (dict(after.personal), after.owner, after.signature) == ({"a": b"1", "b": b"2"}, b"key", b"s")
    assert np.array_equal(after.neutral, before.neutral)
    assert len(after.references) == 3
    for one, other in zip(before.references, after.references, strict=True):
        assert np.array_equal(one.landmarks, other.landmarks)
        assert np.abs(one.picture.astype(int) - other.picture).max() <= 6
        assert np.abs(one.matte.astype(int) - other.matte).mean() < 1
    assert np.abs(before.background.astype(int) - after.background).max() <= 2


def test_the_same_avatar_gives_the_same_bytes() -> None:
    assert pack(avatar(2)) == pack(avatar(2))
    assert digest(FILE) == digest(bytes(FILE))
    assert len(digest(FILE)) == 64


def test_layout_is_as_documented() -> None:
    magic, version, count, table_bytes, size = struct.unpack_from("!8sHHII", FILE)
    assert (magic, version, count, size) == (b"\x89AVATAR\n", 1, 8, len(FILE))
    table = read_table(FILE)
    assert table is not None
    assert [s.name for s in table] == [
        "meta", "neutral", "reference/0", "background", "reference/1", "personal/ab", "owner", "signature",
    ]  # fmt: skip
    assert table[0].start == 20 + table_bytes
    assert FILE[table[0].start : table[0].end] == '{"engine":"prior","free_for_all":false,"name":"Zoë"}'.encode()
    assert table[1].end - table[1].start == 5736
    side, zero, picture, matte = struct.unpack_from("!HHII", FILE, table[2].start)
    assert (side, zero) == (64, 0)
    assert table[2].end - table[2].start == 12 + 5736 + picture + matte


def test_the_first_reference_comes_in_the_first_150_kb_however_busy_it_is() -> None:
    noise = RNG.integers(0, 255, (512, 512, 3), np.uint8)
    busy = Reference(noise, reference(512).landmarks, reference(512).matte)
    full = pack(dataclasses.replace(avatar(), references=(busy,) * 32))
    table = read_table(full)
    assert table is not None
    assert table[3].end <= MAX_FIRST_BYTES == 150_000
    assert len(full) <= 8 * 1024 * 1024
    assert len(unpack(full).references) == 32


def test_the_beginning_shows_the_person() -> None:
    data = pack(avatar(5))
    table = read_table(data)
    assert table is not None
    end = table[3].end
    for length in (0, 1, 7, 19, 20, 100, end - 1):
        assert unpack_first(data[:length]) is None
    for length in (end, end + 1, len(data)):
        first = unpack_first(data[:length])
        assert first is not None
        assert len(first.references) == 1
        assert np.array_equal(first.references[0].picture, unpack(data).references[0].picture)


def test_a_beginning_that_is_no_avatar_is_refused_at_once() -> None:
    with pytest.raises(AvatarError, match="not an avatar"):
        unpack_first(b"GIF8")


def test_unknown_sections_are_skipped_and_kept_on_rewriting() -> None:
    sections = read_sections(FILE) | {"voice/opus": b"later"}
    data = write_sections(sections)
    assert unpack(data).name == "Zoë"
    assert read_sections(data)["voice/opus"] == b"later"
    assert write_sections(read_sections(data)) == data


@settings(max_examples=150, deadline=None)
@given(length=st.integers(0, len(FILE) - 1))
def test_every_truncation_is_refused(length: int) -> None:
    with pytest.raises(AvatarError):
        unpack(FILE[:length])


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, len(FILE) - 1), bit=st.integers(0, 7))
def test_every_flipped_bit_is_refused(at: int, bit: int) -> None:
    hurt = bytearray(FILE)
    hurt[at] ^= 1 << bit
    try:
        unpack(bytes(hurt))
    except AvatarError:
        return
    table = read_table(FILE)
    assert table is not None
    assert at < table[0].start  # only a name may change unnoticed: that section is then an unknown one


@settings(max_examples=400, deadline=None)
@given(
    name=st.sampled_from(["meta", "neutral", "reference/0", "background", "reference/1"]),
    at=st.integers(0, 100_000),
    junk=st.binary(min_size=1, max_size=24),
    cut=st.one_of(st.none(), st.integers(0, 100_000)),
)
def test_whatever_a_section_holds_only_avatar_errors_come(name: str, at: int, junk: bytes, cut: int | None) -> None:
    """Someone who wants to do harm gets the hashes right."""
    sections = read_sections(FILE)
    body = bytearray(sections[name])
    at %= len(body)
    body[at : at + len(junk)] = junk
    sections[name] = bytes(body if cut is None else body[: cut % len(body)])
    with contextlib.suppress(AvatarError):
        unpack(write_sections(sections))


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=400))
def test_whatever_follows_the_magic_only_avatar_errors_come(data: bytes) -> None:
    for head in (b"", b"\x89AVATAR\n", b"\x89AVATAR\n\x00\x01"):
        with pytest.raises(AvatarError):
            unpack(head + data)
        with contextlib.suppress(AvatarError):
            unpack_first(head + data)


@pytest.mark.parametrize(
    ("count", "table", "size"),
    [(0, 99, 1000), (3, 99, 1000), (129, 99, 1000), (8, 1 << 31, 1000), (8, 99, 0xFFFFFFFF), (65535, 16384, 8 << 20)],
)
def test_hostile_headers(count: int, table: int, size: int) -> None:
    data = struct.pack("!8sHHII", b"\x89AVATAR\n", 1, count, table, size) + bytes(200)
    with pytest.raises(AvatarError):
        unpack(data)
    with pytest.raises(AvatarError):
        unpack_first(data)


def test_another_version_says_so() -> None:
    with pytest.raises(AvatarError, match="version 2; this build reads 1"):
        unpack(FILE[:8] + b"\0\2" + FILE[10:])


def test_something_after_the_end_is_refused() -> None:
    with pytest.raises(AvatarError):
        unpack(FILE + b"\0")


def test_sections_out_of_order_are_refused() -> None:
    sections = read_sections(FILE)
    with pytest.raises(AvatarError, match="begins with meta, neutral, reference/0, background"):
        write_sections({"neutral": sections["neutral"], **sections})


def test_a_name_that_occurs_twice_is_refused() -> None:
    data = bytearray(FILE)
    at = data.index(b"reference/1")
    data[at : at + 11] = b"reference/0"
    with pytest.raises(AvatarError, match="no section twice"):
        unpack(bytes(data))


@pytest.mark.parametrize(
    "meta",
    [b"", b"null", b"[" * 4000, b'{"name":1}', b'{"name":"a","free_for_all":1,"engine":null}', b"\xff\xfe",
     json.dumps({"name": "a\nb", "free_for_all": False, "engine": None}).encode(),
     json.dumps({"name": "a" * 101, "free_for_all": False, "engine": None}).encode()],
)  # fmt: skip
def test_hostile_meta(meta: bytes) -> None:
    with pytest.raises(AvatarError):
        unpack(write_sections(read_sections(FILE) | {"meta": meta}))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_points_that_are_no_face_are_refused(value: float) -> None:
    points = np.zeros((478, 3), ">f4")
    points[5, 1] = value
    with pytest.raises(AvatarError):
        unpack(write_sections(read_sections(FILE) | {"neutral": points.tobytes()}))


def _jpeg(side: int, mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (side, side), 1).save(out, "JPEG", **options)  # type: ignore[arg-type]
    return out.getvalue()


def _with_plate(side: int, data: bytes) -> bytes:
    return write_sections(read_sections(FILE) | {"background": struct.pack("!HH", side, 0) + data})


def test_a_plain_plate_is_taken() -> None:
    assert unpack(_with_plate(128, _jpeg(128))).background.shape == (128, 128, 3)


def test_a_picture_of_another_size_than_said_is_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    giant = bytearray(_jpeg(64))
    at = giant.index(b"\xff\xc0") + 5
    giant[at : at + 4] = struct.pack("!HH", 65500, 65500)
    with pytest.raises(AvatarError, match="not 64 x 64"):
        unpack(_with_plate(64, bytes(giant)))
    monkeypatch.setattr(Image, "open", lambda *a, **k: pytest.fail("a decoder saw it"))
    with pytest.raises(AvatarError, match="not 64 x 64"):
        jpeg.decode(bytes(giant), 64, 3)


@pytest.mark.parametrize("side", [0, 1, 63, 513, 65535])
def test_sides_out_of_range_are_refused(side: int) -> None:
    with pytest.raises(AvatarError):
        unpack(_with_plate(side, _jpeg(64)))


@pytest.mark.parametrize(
    "data",
    [
        _jpeg(64, progressive=True),
        _jpeg(64, "L"),
        _jpeg(64, "CMYK"),
        _jpeg(64)[:-2],
        _jpeg(64)[:-2] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + b"\xff\xd9",
        b"\xff\xd8" + b"\xff\xfe\x00\x02" * 40 + _jpeg(64)[2:],
        b"\xff\xd8\xff\xd9",
        b"",
    ],
    ids=["progressive", "grey", "cmyk", "no end", "two scans", "many markers", "empty", "nothing"],
)
def test_jpegs_outside_the_profile_are_refused(data: bytes) -> None:
    with pytest.raises(AvatarError):
        unpack(_with_plate(64, data))


def test_quality_falls_until_the_budget_fits() -> None:
    noise = RNG.integers(0, 255, (128, 128, 3), np.uint8)
    large, small = jpeg.encode(noise, 100_000), jpeg.encode(noise, 15_000)
    assert len(small) <= 15_000 < len(large)
    assert jpeg.decode(small, 128, 3).shape == (128, 128, 3)


@pytest.mark.parametrize(
    "changes",
    [{"name": ""}, {"name": "a\0"}, {"references": ()}, {"neutral": np.zeros((478, 3), np.float64)},
     {"background": np.zeros((64, 65, 3), np.uint8)}, {"background": np.zeros((600, 600, 3), np.uint8)}],
)  # fmt: skip
def test_an_avatar_is_checked_when_it_is_made(changes: dict[str, object]) -> None:
    with pytest.raises(AvatarError):
        dataclasses.replace(avatar(), **changes)  # type: ignore[arg-type]


def test_save_and_load(tmp_path: Path) -> None:
    path = tmp_path / "me.avatar"
    written = save(avatar(), path)
    assert written == path.stat().st_size == len(load_bytes(path))
    assert load(path).name == "Zoë"
    assert os.listdir(tmp_path) == ["me.avatar"]
    assert path.stat().st_mode & 0o077 == 0  # a face is for its owner's eyes


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "me.avatar"
    save(avatar(), path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(AvatarError, match="No space left"):
        save(avatar(1), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["me.avatar"]


def test_load_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AvatarError, match="telepresence enrol"):
        load(tmp_path / "nobody.avatar")
    (tmp_path / "large.avatar").write_bytes(bytes(8 * 1024 * 1024 + 1))
    with pytest.raises(AvatarError, match="8 MiB"):
        load(tmp_path / "large.avatar")


def test_the_sample_is_free_for_all_and_shows_early() -> None:
    sample = sample_avatar()
    assert sample.free_for_all
    assert 0.1 < sample.rest.scale < 0.6
    assert unpack_first(sample_avatar_bytes()[:MAX_FIRST_BYTES]) is not None


def test_a_face_shrunk_to_a_point_is_no_avatar() -> None:
    avatar = sample_avatar()
    with pytest.raises(AvatarError, match="not a face"):
        dataclasses.replace(avatar, neutral=np.zeros_like(avatar.neutral))
    first = avatar.references[0]
    with pytest.raises(AvatarError, match="not a face"):
        dataclasses.replace(first, landmarks=np.full_like(first.landmarks, 50))


def test_what_is_wrong_with_a_file_names_it(tmp_path: Path) -> None:
    for content, told in (
        (b"", "an empty file"),
        (b"text", "not an avatar file"),
        (sample_avatar_bytes()[:999], "cut"),
    ):
        (tmp_path / "a.avatar").write_bytes(content)
        with pytest.raises(AvatarError, match=rf"a\.avatar: .*{told}"):
            load(tmp_path / "a.avatar")
