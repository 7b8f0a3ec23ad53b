"""The container of an `.avatar` file: header, table of named and hashed sections, sections. See `avatar.file`."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from telepresence.errors import AvatarError
from telepresence.face.topology import N_LANDMARKS

MAGIC: Final = b"\x89AVATAR\n"
VERSION: Final = 1
MAX_FILE_BYTES: Final = 8 * 1024 * 1024
MAX_FIRST_BYTES: Final = 150_000  # header, meta, neutral shape, first reference and background plate together
MAX_TABLE_BYTES: Final = 16 * 1024
MAX_SECTIONS: Final = 128
MAX_META_BYTES: Final = 4096
MAX_REFERENCE_BYTES: Final = 240_000  # each of the later ones
MAX_OWNER_BYTES: Final = 1024
MAX_SIGNATURE_BYTES: Final = 4096
SIGNING_BYTES: Final = 512  # to be left free by whoever adds to a file that is to be signed: two rows, key, signature

FIRST_SECTIONS: Final = ("meta", "neutral", "reference/0", "background")

_HEAD: Final = struct.Struct("!8sHHII")  # magic, version, sections, table bytes, file bytes
_ENTRY: Final = struct.Struct("!B32sI")  # name bytes, sha256, section bytes; the name follows
POINTS_BYTES: Final = N_LANDMARKS * 3 * 4  # 478 points, float32


@dataclass(frozen=True, slots=True)
class Section:
    """One row of the table: where a section lies in the file."""

    name: str
    start: int
    end: int
    sha256: bytes


def digest(data: bytes) -> str:
    """SHA-256 of a whole file, hex: its name in caches and transfers."""
    return hashlib.sha256(data).hexdigest()


def write_sections(sections: Mapping[str, bytes]) -> bytes:
    """Named sections, in their order -> file. What signing and fine-tuning use to add theirs to an existing file.

    Raises:
        AvatarError: it breaks a limit of the format.
    """
    table = b"".join(
        _ENTRY.pack(len(name.encode()), hashlib.sha256(body).digest(), len(body)) + name.encode()
        for name, body in sections.items()
    )
    size = _HEAD.size + len(table) + sum(map(len, sections.values()))
    if size > MAX_FILE_BYTES:
        raise AvatarError(f"{size} bytes; an avatar has at most {MAX_FILE_BYTES}: enrol with fewer references")
    head = _HEAD.pack(MAGIC, VERSION, len(sections), len(table), size)
    data = b"".join((head, table, *sections.values()))
    read_table(data)  # holds the writer to the reader's rules
    return data


def read_sections(data: bytes) -> dict[str, bytes]:
    """File -> its sections by name, hashes checked, unknown ones included.

    Raises:
        AvatarError: damaged, hostile, or of another version.
    """
    table = read_table(data)
    if table is None or len(data) != table[-1].end:
        raise AvatarError("the avatar file is cut short, or something follows its end; get it again")
    return {section.name: read_content(data, section) for section in table}


def read_table(prefix: bytes) -> list[Section] | None:
    """The beginning of a file -> its table; None until enough of it is there.

    Raises:
        AvatarError: not an avatar, of another version, or a table that breaks a rule.
    """
    if prefix[: len(MAGIC)] != MAGIC[: len(prefix)]:
        raise AvatarError("not an avatar file; make one with: telepresence enrol PHOTO --out NAME.avatar")
    if len(prefix) < _HEAD.size:
        return None
    _, version, count, table_bytes, file_bytes = _HEAD.unpack_from(prefix)
    if version != VERSION:
        raise AvatarError(f"avatar version {version}; this build reads {VERSION}: update telepresence or enrol again")
    if not len(FIRST_SECTIONS) <= count <= MAX_SECTIONS or table_bytes > MAX_TABLE_BYTES or file_bytes > MAX_FILE_BYTES:
        raise AvatarError("the avatar's header breaks a limit of the format; get it again from its owner")
    end = _HEAD.size + table_bytes
    if len(prefix) < end:
        return None
    table = _parse_table(prefix[_HEAD.size : end], count, end)
    if table[-1].end != file_bytes:
        raise AvatarError("the avatar's sections do not add up to its size; get it again")
    _check_table(table)
    return table


def _parse_table(raw: bytes, count: int, start: int) -> list[Section]:
    table, at = [], 0
    for _ in range(count):
        if at + _ENTRY.size > len(raw):
            raise AvatarError("the avatar's table is cut short; get it again")
        length, sha256, size = _ENTRY.unpack_from(raw, at)
        at += _ENTRY.size
        name = raw[at : at + length]
        at += length
        if len(name) != length or not length or not all(0x21 <= c < 0x7F for c in name):
            raise AvatarError("a section of the avatar has no proper name; get it again")
        if size > MAX_FILE_BYTES - start:
            raise AvatarError("a section of the avatar is longer than an avatar may be; get it again")
        table.append(Section(name.decode("ascii"), start, start + size, sha256))
        start += size
    if at != len(raw):
        raise AvatarError("the avatar's table is longer than its rows; get it again")
    return table


_LIMITS: Final = {
    "meta": MAX_META_BYTES,
    "neutral": POINTS_BYTES,
    "owner": MAX_OWNER_BYTES,
    "signature": MAX_SIGNATURE_BYTES,
}


def _check_table(table: list[Section]) -> None:
    names = [section.name for section in table]
    if tuple(names[: len(FIRST_SECTIONS)]) != FIRST_SECTIONS or len(set(names)) != len(names):
        raise AvatarError(f"an avatar begins with {', '.join(FIRST_SECTIONS)} and names no section twice; get it again")
    if table[len(FIRST_SECTIONS) - 1].end > MAX_FIRST_BYTES:
        raise AvatarError(f"the avatar's first reference ends after {MAX_FIRST_BYTES} bytes; enrol it again")
    for section in table:
        limit = _LIMITS.get(section.name, MAX_FILE_BYTES)
        if section.name.startswith("reference/"):
            limit = MAX_REFERENCE_BYTES
        if section.end - section.start > limit:
            raise AvatarError(f"the avatar's section {section.name} is longer than {limit} bytes; get it again")


def read_content(data: bytes, section: Section) -> bytes:
    """One section's bytes, its hash checked.

    Raises:
        AvatarError: the hash differs.
    """
    body = data[section.start : section.end]
    if hashlib.sha256(body).digest() != section.sha256:
        raise AvatarError(f"the avatar's section {section.name} is damaged (its hash differs); get it again")
    return body
