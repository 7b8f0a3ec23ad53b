"""Bundle prepared clips into tar shards for training elsewhere, and take them out again.

A shard is an uncompressed tar of clip files (what is in them is compressed already), with nothing of this machine in
its headers, so that the same clips give the same bytes. `index.json` lists the shards with their clips and hashes.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from telepresence.errors import InputError, MediaError
from telepresence.generator.data.clips import (
    MAX_FILE_BYTES,
    SUFFIX,
    Clip,
    ClipMeta,
    build_clip,
    load_clip,
    load_meta,
    parse_clip,
    write_atomically,
)
from telepresence.generator.data.jpeg import encode_jpeg
from telepresence.generator.data.sources import HELD_OUT, may_train

INDEX: Final = "index.json"
VERSION: Final = 1
SHARD_MIB: Final = 60
MAX_INDEX_BYTES: Final = 64 * 1024 * 1024
MAX_SHARD_BYTES: Final = 4 * 1024 * 1024 * 1024
MAX_CLIPS: Final = 100_000  # in a shard
_TAR_BLOCK: Final = tarfile.BLOCKSIZE
_NAME: Final = re.compile(r"[\w][\w.+-]{0,200}" + re.escape(SUFFIX))
_SHARD_NAME: Final = re.compile(r"shard-\d{4,6}\.tar")
_HASH_BYTES: Final = 1 << 20  # at a time

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Packed:
    """What packing did."""

    shards: int
    clips: int
    left_out: int
    bytes: int


def pack(
    cache: Path,
    out: Path,
    *,
    shard_mib: int = SHARD_MIB,
    quality: int | None = None,
    train_only: bool = False,
    held_out: Collection[str] = HELD_OUT,
    research: bool = False,
    say: Say = lambda line: None,
) -> Packed:
    """Write the clips of a folder into shards of at most `shard_mib` MiB each, and their index.

    Args:
        cache: folder of prepared clips.
        out: folder for the shards; must not hold any yet.
        shard_mib: 1 to 4096.
        quality: re-encode pictures as JPEG of this quality, 1 to 100; None: as they are.
        train_only: leave out the held-out people, research-only clips and altered ones.
        held_out: identities that `train_only` leaves out.
        research: keep research-only clips; only with `train_only`.
        say: told each shard.

    Raises:
        InputError: nothing to pack, a clip does not fit in a shard, or `out` holds shards already.
        MediaError: a clip is damaged.
    """
    _check(out, shard_mib, quality)
    paths = sorted(cache.glob(f"*{SUFFIX}"))
    chosen = [p for p in paths if not train_only or may_train(load_meta(p), held_out, research=research)]
    if not chosen:
        raise InputError(f"{cache}: no clip to pack; run python -m telepresence.generator.data prepare first")
    writer = _Writer(out, shard_mib << 20, say)
    for path in chosen:
        clip = load_clip(path)  # also proves it whole
        writer.add(path.name, clip.meta, path.read_bytes() if quality is None else recompress(clip, quality))
    writer.flush()
    index = {"version": VERSION, "quality": quality, "train_only": train_only, "shards": writer.shards}
    write_atomically(out / INDEX, json.dumps(index, indent=1, sort_keys=True).encode())
    total = sum(int(shard["bytes"]) for shard in writer.shards)
    return Packed(len(writer.shards), len(chosen), len(paths) - len(chosen), total)


def unpack(folder: Path, out: Path, *, say: Say = lambda line: None) -> list[Path]:
    """Take the clips out of all shards of a folder; clips that are there already are replaced.

    Raises:
        InputError: no index, a shard is missing or not what the index says.
        MediaError: a clip in a shard is damaged.
    """
    made: list[Path] = []
    for shard in _read_index(folder / INDEX):
        path = folder / shard["file"]
        _verify(path, shard)
        with tarfile.open(path, "r:") as tar:
            for name, data in _members(tar, path, shard["clips"]):
                parse_clip(data, f"{path}, {name}")
                write_atomically(out / name, data)
                made.append(out / name)
        say(f"{path.name}: {len(shard['clips'])} clips")
    return made


def recompress(clip: Clip, quality: int) -> bytes:
    """The bytes of a clip file whose pictures and plate are JPEGs of another quality; mattes stay as they are."""
    frames = range(len(clip))
    return build_clip(
        clip.meta,
        times_us=np.asarray(clip.times_us),
        points=clip.points,
        pictures=[encode_jpeg(clip.picture(i), quality) for i in frames],
        mattes=[clip.matte_bytes(i) for i in frames],
        plate=encode_jpeg(clip.plate, quality),
    )


class _Writer:
    """Collects clips until a shard is full."""

    def __init__(self, out: Path, limit: int, say: Say) -> None:
        self._out, self._limit, self._say = out, limit, say
        self._clips: list[tuple[str, ClipMeta, bytes]] = []
        self.shards: list[dict[str, Any]] = []

    def add(self, name: str, meta: ClipMeta, data: bytes) -> None:
        if _tar_bytes([len(data)]) > self._limit:
            raise InputError(
                f"{name}: {len(data) / 2**20:.1f} MiB do not fit in a shard of {self._limit >> 20} MiB; ask for larger "
                "shards (--shard-mib) or a lower --quality"
            )
        if _tar_bytes([*(len(d) for *_, d in self._clips), len(data)]) > self._limit:
            self.flush()
        self._clips.append((name, meta, data))

    def flush(self) -> None:
        if not self._clips:
            return
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for name, _, data in self._clips:
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
        shard = buffer.getvalue()
        file = f"shard-{len(self.shards):04d}.tar"
        write_atomically(self._out / file, shard)
        described = [{"file": name, **asdict(meta), "bytes": len(data)} for name, meta, data in self._clips]
        digest = hashlib.sha256(shard).hexdigest()
        self.shards.append({"file": file, "bytes": len(shard), "sha256": digest, "clips": described})
        self._say(f"{file}: {len(self._clips)} clips, {len(shard) / 2**20:.1f} MiB")
        self._clips = []


def _tar_bytes(sizes: Iterable[int]) -> int:
    """What a tar of files of these sizes takes: a header and whole blocks each, an end, whole records."""
    blocks = 2 + sum(1 + -(-size // _TAR_BLOCK) for size in sizes)
    return -(-blocks * _TAR_BLOCK // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def _check(out: Path, shard_mib: int, quality: int | None) -> None:
    if not 1 <= shard_mib <= MAX_SHARD_BYTES >> 20:
        raise InputError(f"shards of {shard_mib} MiB; 1 to {MAX_SHARD_BYTES >> 20} are possible")
    if quality is not None and not 1 <= quality <= 100:
        raise InputError(f"JPEG quality {quality}; 1 to 100 are possible, and below 80 training learns the blocks")
    if (out / INDEX).exists() or any(out.glob("shard-*.tar")):
        raise InputError(f"{out}: holds shards already; choose another folder or delete them")


def _read_index(path: Path) -> list[dict[str, Any]]:
    try:
        if path.stat().st_size > MAX_INDEX_BYTES:
            raise InputError(f"{path}: more than {MAX_INDEX_BYTES >> 20} MiB; not an index of shards")
        index = json.loads(path.read_bytes())
        if index["version"] != VERSION:
            raise InputError(f"{path}: shards of version {index['version']}; pack them anew")
        shards: list[dict[str, Any]] = index["shards"]
        for shard in shards:
            names = [clip["file"] for clip in shard["clips"]]
            fine = _SHARD_NAME.fullmatch(shard["file"]) and all(_NAME.fullmatch(name) for name in names)
            sizes = [shard["bytes"], *(clip["bytes"] for clip in shard["clips"])]
            fine = fine and isinstance(shard["sha256"], str)
            if not fine or len(names) > MAX_CLIPS or not all(type(size) is int for size in sizes):
                raise InputError(f"{path}: names or sizes in it are not those of shards; fetch it anew")
        return shards
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the folder that holds the shards") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not an index of shards ({type(error).__name__}); fetch it anew") from error


def _verify(path: Path, shard: Mapping[str, Any]) -> None:
    digest = hashlib.sha256()
    try:
        if path.stat().st_size != shard["bytes"]:
            raise InputError(f"{path}: {path.stat().st_size} bytes instead of {shard['bytes']}; fetch it anew")
        with path.open("rb") as file:
            while block := file.read(_HASH_BYTES):
                digest.update(block)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); fetch it anew") from error
    if digest.hexdigest() != shard["sha256"]:
        raise InputError(f"{path}: not the shard that the index describes; fetch it anew")


def _members(tar: tarfile.TarFile, path: Path, clips: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, bytes]]:
    """Names and contents; only what the index lists, and only plain files of the size that it says."""
    listed = {clip["file"]: clip["bytes"] for clip in clips}
    try:
        for member in tar:
            if not member.isreg() or listed.pop(member.name, None) != member.size or member.size > MAX_FILE_BYTES:
                raise InputError(f"{path}: {member.name!r} in it is not in the index; fetch both anew")
            file = tar.extractfile(member)
            yield member.name, file.read() if file else b""
    except tarfile.TarError as error:
        raise MediaError(f"{path}: damaged ({error}); fetch it anew") from error
    if listed:
        raise InputError(f"{path}: {min(listed)} is missing in it; fetch it anew")
