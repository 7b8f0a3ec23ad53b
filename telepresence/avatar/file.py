"""What is in an `.avatar` file: `docs/avatar-format.md` specifies it to the byte. `avatar.sections` is the container.

Every length is checked before anything of that length is read, every picture's size before it is decoded, so that
reading never allocates more than a constant (about 50 MiB) whatever the bytes say.
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar import jpeg
from telepresence.avatar.model import MADE, MAX_REFERENCES, MAX_SIDE, MIN_SIDE, Avatar, Reference
from telepresence.avatar.sections import (
    FIRST_SECTIONS,
    MAX_FILE_BYTES,
    POINTS_BYTES,
    digest,
    read_content,
    read_sections,
    read_table,
    write_sections,
)
from telepresence.errors import AvatarError
from telepresence.face.topology import N_LANDMARKS

__all__ = ["digest", "load", "load_bytes", "pack", "save", "unpack", "unpack_first", "write"]

Floats = NDArray[np.float32]

_REFERENCE: Final = struct.Struct("!HHII")  # side, zero, picture bytes, matte bytes; landmarks, picture, matte follow
_PLATE: Final = struct.Struct("!HH")  # side, zero; the picture follows

# How the first 150 kB are shared out: the face first, the plate is calm and needs little.
_FIRST_PICTURE: Final = 88_000  # bytes
_MATTE: Final = 16_000
_PLATE_PICTURE: Final = 24_000
_LATER_PICTURE: Final = 150_000

_MAKE: Final = "telepresence enrol PHOTO --out NAME.avatar"


def pack(avatar: Avatar) -> bytes:
    """Avatar -> file. The same avatar gives the same bytes.

    Raises:
        AvatarError: it does not fit in 8 MiB.
    """
    meta: dict[str, Any] = {"engine": avatar.engine, "free_for_all": avatar.free_for_all, "name": avatar.name}
    if avatar.made is not None:
        meta["made"] = avatar.made
    sections: dict[str, bytes] = {
        "meta": json.dumps(meta, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode(),
        "neutral": _pack_points(avatar.neutral),
        "reference/0": _pack_reference(avatar.references[0], _FIRST_PICTURE),
        "background": _pack_plate(avatar),
    }
    for index, reference in enumerate(avatar.references[1:], 1):
        sections[f"reference/{index}"] = _pack_reference(reference, _LATER_PICTURE)
    sections |= {f"personal/{engine}": avatar.personal[engine] for engine in sorted(avatar.personal)}
    if avatar.owner is not None:
        sections["owner"] = avatar.owner
    if avatar.signature is not None:
        sections["signature"] = avatar.signature
    return write_sections(sections)


def unpack(data: bytes) -> Avatar:
    """File -> avatar. Sections of unknown names are skipped.

    Raises:
        AvatarError: damaged, hostile, or of another version.
    """
    if len(data) > MAX_FILE_BYTES:
        raise AvatarError(f"{len(data)} bytes; an avatar has at most {MAX_FILE_BYTES}")
    sections = read_sections(data)
    references = []
    for index in range(MAX_REFERENCES):
        if f"reference/{index}" not in sections:
            break
        references.append(_unpack_reference(sections[f"reference/{index}"]))
    return _build(sections, tuple(references))


def unpack_first(prefix: bytes) -> Avatar | None:
    """The beginning of a file -> the same avatar with its first reference only; None until enough of it is there.

    150 kB are always enough.

    Raises:
        AvatarError: damaged, hostile, or of another version.
    """
    table = read_table(prefix)
    if table is None or len(prefix) < table[len(FIRST_SECTIONS) - 1].end:
        return None
    sections = {s.name: read_content(prefix, s) for s in table[: len(FIRST_SECTIONS)]}
    return _build(sections, (_unpack_reference(sections["reference/0"]),))


def load(path: Path) -> Avatar:
    """Read an avatar from disk.

    Raises:
        AvatarError: no such file, damaged, hostile, or of another version.
    """
    return unpack_named(load_bytes(path), path)


def unpack_named(data: bytes, path: Path) -> Avatar:
    """`unpack`, whose errors name the file that the bytes are from."""
    try:
        return unpack(data)
    except AvatarError as error:
        raise AvatarError(f"{path}: {error}") from error


def load_bytes(path: Path) -> bytes:
    """Read an avatar's bytes from disk, size checked first; not parsed.

    Raises:
        AvatarError: no such file, empty, or too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise AvatarError(f"{path}: cannot be read ({error.strerror}); make one with: {_MAKE}") from error
    if not data:
        raise AvatarError(f"{path}: an empty file; get it again, or make one with: {_MAKE}")
    if len(data) > MAX_FILE_BYTES:
        raise AvatarError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB, so not an avatar; choose another file")
    return data


def save(avatar: Avatar, path: Path) -> int:
    """Write an avatar to disk, whole or not at all; how many bytes it has.

    Raises:
        AvatarError: it does not fit in 8 MiB, or the folder cannot be written.
    """
    return write(pack(avatar), path)


def write(data: bytes, path: Path) -> int:
    """Write an avatar's bytes to disk, whole or not at all; how many there are.

    Raises:
        AvatarError: the folder cannot be written.
    """
    kept: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            kept = Path(file.name)
            file.write(data)
        os.chmod(kept, 0o600)  # a face is personal data
        os.replace(kept, path)
    except OSError as error:
        if kept is not None:
            kept.unlink(missing_ok=True)
        raise AvatarError(f"{path}: cannot be written ({error.strerror}); choose another place with --out") from error
    return len(data)


def _build(sections: Mapping[str, bytes], references: tuple[Reference, ...]) -> Avatar:
    name, free_for_all, engine, made = _unpack_meta(sections["meta"])
    return Avatar(
        name=name,
        references=references,
        neutral=_unpack_points(sections["neutral"]),
        background=_unpack_plate(sections["background"]),
        free_for_all=free_for_all,
        engine=engine,
        personal={n.removeprefix("personal/"): body for n, body in sections.items() if n.startswith("personal/")},
        owner=sections.get("owner"),
        signature=sections.get("signature"),
        made=made,
    )


def _unpack_meta(raw: bytes) -> tuple[str, bool, str | None, str | None]:
    try:
        meta: Any = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise AvatarError("the avatar's meta section is not JSON; get it again") from error
    if not isinstance(meta, dict):
        raise AvatarError("the avatar's meta section is not a JSON object; get it again")
    name, free, engine = meta.get("name"), meta.get("free_for_all"), meta.get("engine")
    if not isinstance(name, str) or not isinstance(free, bool) or not isinstance(engine, str | None):
        raise AvatarError("the avatar's meta section lacks name, free_for_all or engine; get it again")
    made = meta.get("made")
    return name, free, engine, made if made in MADE else None  # a later version's word is no reason to refuse


def _pack_points(points: Floats) -> bytes:
    return points.astype(">f4").tobytes()


def _unpack_points(raw: bytes) -> Floats:
    if len(raw) != POINTS_BYTES:
        raise AvatarError(f"{len(raw)} bytes of points; {POINTS_BYTES} are needed")
    return np.frombuffer(raw, ">f4").reshape(N_LANDMARKS, 3).astype(np.float32)


def _pack_reference(reference: Reference, budget: int) -> bytes:
    picture = jpeg.encode(reference.picture, budget)
    matte = jpeg.encode(reference.matte, _MATTE)
    head = _REFERENCE.pack(reference.side, 0, len(picture), len(matte))
    return head + _pack_points(reference.landmarks) + picture + matte


def _unpack_reference(raw: bytes) -> Reference:
    if len(raw) < _REFERENCE.size + POINTS_BYTES:
        raise AvatarError("a reference of the avatar is cut short; get it again")
    side, _, picture_bytes, matte_bytes = _REFERENCE.unpack_from(raw)
    pictures = raw[_REFERENCE.size + POINTS_BYTES :]
    if not MIN_SIDE <= side <= MAX_SIDE or len(pictures) != picture_bytes + matte_bytes:
        raise AvatarError("a reference of the avatar does not add up; get it again")
    matte = jpeg.decode(pictures[picture_bytes:], side, 1)
    matte[matte < 4], matte[matte > 251] = 0, 255  # JPEG's ripple beside an edge
    return Reference(
        jpeg.decode(pictures[:picture_bytes], side, 3),
        _unpack_points(raw[_REFERENCE.size : _REFERENCE.size + POINTS_BYTES]),
        matte,
    )


def _pack_plate(avatar: Avatar) -> bytes:
    return _PLATE.pack(avatar.background.shape[0], 0) + jpeg.encode(avatar.background, _PLATE_PICTURE)


def _unpack_plate(raw: bytes) -> NDArray[np.uint8]:
    if len(raw) < _PLATE.size:
        raise AvatarError("the avatar's background plate is cut short; get it again")
    side, _ = _PLATE.unpack_from(raw)
    if not MIN_SIDE <= side <= MAX_SIDE:
        raise AvatarError(f"the avatar's background plate has {side} pixels; {MIN_SIDE} to {MAX_SIDE} are allowed")
    return jpeg.decode(raw[_PLATE.size :], side, 3)
