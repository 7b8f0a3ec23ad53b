"""One prepared clip in a file: compressed pictures and mattes, points, times and the background plate.

Layout, little-endian: `TPCLIP` and two digits of version; uint32 length of the header; the header, JSON with `meta` and
the `sections` in order (name, bytes); the sections; nothing after them. The header holds a CRC-32 of all sections.
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import MediaError
from telepresence.face.topology import N_LANDMARKS
from telepresence.generator.data.jpeg import decode_matte, decode_picture

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

MAGIC: Final = b"TPCLIP01"
SUFFIX: Final = ".clip"
MAX_FILE_BYTES: Final = 1024 * 1024 * 1024
MAX_HEADER_BYTES: Final = 64 * 1024
MAX_FRAMES: Final = 20_000
SIDES: Final = (64, 1024)  # pixels
_LENGTH: Final = struct.Struct("<I")
_SECTIONS: Final = ("times", "points", "picture_ends", "matte_ends", "plate", "pictures", "mattes")
_POINT_BYTES: Final = N_LANDMARKS * 3 * 4


@dataclass(frozen=True, slots=True)
class ClipMeta:
    """What a clip file says of itself."""

    name: str
    identity: str
    rights: str
    scored: bool
    source_sha256: str
    side: int
    """Pixels, of every picture."""
    frames: int
    every: int
    """Which of the source's frames were looked at: each one, each second, ..."""
    most: int
    """How many frames were to be kept at most."""


class Clip:
    """A prepared clip, held compressed in memory; pictures are decoded on demand. Safe to share between threads."""

    def __init__(self, meta: ClipMeta, sections: Mapping[str, memoryview]) -> None:
        self.meta = meta
        count, side = meta.frames, meta.side
        self.times_us: NDArray[np.int64] = np.frombuffer(sections["times"], "<i8")
        """(T,) int64, microseconds after the source's first frame."""
        self.points: Floats = np.frombuffer(sections["points"], "<f4").reshape(count, N_LANDMARKS, 3)
        """(T, 478, 3) float32, landmarks in square coordinates."""
        self._pictures, self._mattes = sections["pictures"], sections["mattes"]
        self._picture_ends = _ends(sections["picture_ends"], len(self._pictures), meta.name)
        self._matte_ends = _ends(sections["matte_ends"], len(self._mattes), meta.name)
        self.plate: Picture = _decoded(decode_picture(sections["plate"], side), meta.name)
        """(S, S, 3) uint8 RGB, the background without the person."""
        if not (np.isfinite(self.points).all() and (np.diff(self.times_us) > 0).all()):
            raise MediaError(f"{meta.name}: points or times of the prepared clip are damaged; prepare it again")

    @property
    def name(self) -> str:
        """Of the source clip."""
        return self.meta.name

    @property
    def identity(self) -> str:
        """Who is in it."""
        return self.meta.identity

    @property
    def side(self) -> int:
        """Side of every picture, pixels."""
        return self.meta.side

    def __len__(self) -> int:
        return self.meta.frames

    def picture(self, index: int) -> Picture:
        """Decode frame `index`: (S, S, 3) uint8 RGB."""
        return _decoded(decode_picture(self.picture_bytes(index), self.side), self.name)

    def matte(self, index: int) -> Picture:
        """Decode the matte of frame `index`: (S, S) uint8, 255 where the person is."""
        return _decoded(decode_matte(self.matte_bytes(index), self.side), self.name)

    def picture_bytes(self, index: int) -> memoryview:
        """The JPEG of frame `index`."""
        return self._pictures[int(self._picture_ends[index]) : int(self._picture_ends[index + 1])]

    def matte_bytes(self, index: int) -> memoryview:
        """The JPEG of frame `index`'s matte."""
        return self._mattes[int(self._matte_ends[index]) : int(self._matte_ends[index + 1])]


def load_clip(path: Path) -> Clip:
    """Read a prepared clip.

    Raises:
        MediaError: no such file, damaged, or of another version.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise MediaError(f"{path}: more than {MAX_FILE_BYTES >> 20} MiB; not a prepared clip")
        return parse_clip(path.read_bytes(), str(path))
    except OSError as error:
        raise MediaError(f"{path}: cannot be opened ({error.strerror}); check the path") from error


def load_meta(path: Path) -> ClipMeta:
    """Read only what a prepared clip says of itself; the rest is not checked.

    Raises:
        MediaError: as `load_clip`.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(MAGIC) + _LENGTH.size)
            return _header(head + file.read(_header_length(head, str(path))), str(path))[0]
    except OSError as error:
        raise MediaError(f"{path}: cannot be opened ({error.strerror}); check the path") from error


def parse_clip(data: bytes, where: str) -> Clip:
    """`load_clip` of bytes; `where` names them in errors.

    Raises:
        MediaError: damaged, or of another version.
    """
    start = len(MAGIC) + _LENGTH.size + _header_length(data, where)
    meta, lengths, crc = _header(data[:start], where)
    if start + sum(lengths) != len(data):
        raise _damaged(where, f"{len(data)} bytes instead of {start + sum(lengths)}")
    view = memoryview(data)
    if zlib.crc32(view[start:]) != crc:
        raise _damaged(where, "its checksum is wrong")
    sections: dict[str, memoryview] = {}
    for name, length in zip(_SECTIONS, lengths, strict=True):
        sections[name] = view[start : start + length]
        start += length
    return Clip(meta, sections)


def build_clip(
    meta: ClipMeta,
    *,
    times_us: NDArray[np.int64],
    points: Floats,
    pictures: Sequence[bytes | memoryview],
    mattes: Sequence[bytes | memoryview],
    plate: bytes,
) -> bytes:
    """The bytes of a clip file; see the module's docstring.

    Args:
        meta: its `frames` is the length of everything else.
        times_us: (T,) int64, growing.
        points: (T, 478, 3) float32 in square coordinates.
        pictures: T JPEGs, RGB.
        mattes: T JPEGs, grey.
        plate: one JPEG, RGB.
    """
    sections = (
        times_us.astype("<i8").tobytes(),
        points.astype("<f4").tobytes(),
        np.cumsum([0, *map(len, pictures)]).astype("<i8").tobytes(),
        np.cumsum([0, *map(len, mattes)]).astype("<i8").tobytes(),
        plate,
        b"".join(pictures),
        b"".join(mattes),
    )
    payload = b"".join(sections)
    named = [[name, len(section)] for name, section in zip(_SECTIONS, sections, strict=True)]
    fields = {name: getattr(meta, name) for name in ClipMeta.__slots__}
    header = json.dumps({"meta": fields, "sections": named, "crc32": zlib.crc32(payload)}, sort_keys=True).encode()
    return MAGIC + _LENGTH.pack(len(header)) + header + payload


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is either there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _header_length(head: bytes, where: str) -> int:
    if not head.startswith(MAGIC[:6]) or len(head) < len(MAGIC) + _LENGTH.size:
        raise MediaError(f"{where}: not a prepared clip; make one with python -m telepresence.generator.data prepare")
    if not head.startswith(MAGIC):
        raise MediaError(f"{where}: prepared by another version; prepare it again")
    length = int(_LENGTH.unpack_from(head, len(MAGIC))[0])
    if length > MAX_HEADER_BYTES:
        raise _damaged(where, "its header is too long")
    return length


def _header(data: bytes, where: str) -> tuple[ClipMeta, list[int], int]:
    try:
        header: dict[str, Any] = json.loads(data[len(MAGIC) + _LENGTH.size :])
        meta = ClipMeta(**header["meta"])
        names, lengths = zip(*header["sections"], strict=True)
        crc = int(header["crc32"])
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(where, f"its header cannot be read: {error}") from error
    if names != _SECTIONS or not all(type(n) is int and 0 <= n <= MAX_FILE_BYTES for n in lengths):
        raise _damaged(where, "its sections are not those of a clip")
    if not (type(meta.frames) is int and 1 <= meta.frames <= MAX_FRAMES):
        raise _damaged(where, f"{meta.frames} frames; 1 to {MAX_FRAMES} are possible")
    if not (type(meta.side) is int and SIDES[0] <= meta.side <= SIDES[1]):
        raise _damaged(where, f"pictures of {meta.side} pixels; {SIDES[0]} to {SIDES[1]} are possible")
    if not all(isinstance(v, str) for v in (meta.name, meta.identity, meta.rights, meta.source_sha256)):
        raise _damaged(where, "its header is not that of a clip")
    wanted = [8 * meta.frames, _POINT_BYTES * meta.frames, 8 * (meta.frames + 1), 8 * (meta.frames + 1)]
    if list(lengths[:4]) != wanted:
        raise _damaged(where, "its sections do not fit its number of frames")
    return meta, list(lengths), crc


def _decoded(picture: Picture | None, name: str) -> Picture:
    if picture is None:
        raise _damaged(name, "a picture inside cannot be decoded")
    return picture


def _ends(section: memoryview, total: int, name: str) -> NDArray[np.int64]:
    ends: NDArray[np.int64] = np.frombuffer(section, "<i8")
    if ends[0] != 0 or ends[-1] != total or (np.diff(ends) <= 0).any():
        raise _damaged(name, "the places of its pictures are wrong")
    return ends


def _damaged(where: str, why: str) -> MediaError:
    return MediaError(f"{where}: the prepared clip is damaged ({why}); delete it and prepare it again")
