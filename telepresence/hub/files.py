"""Files of a folder over HTTP: nothing outside of it, known kinds only, validated by hash, compressed once."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
import threading
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse

MEDIA_TYPES: Final = {  # not those of the system, which on some machines call a script plain text
    "": "text/plain",
    ".avatar": "application/octet-stream",
    ".binarypb": "application/octet-stream",
    ".css": "text/css",
    ".data": "application/octet-stream",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".onnx": "application/octet-stream",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".tflite": "application/octet-stream",
    ".toml": "application/toml",
    ".txt": "text/plain",
    ".wasm": "application/wasm",
}
MIN_GZIP_BYTES: Final = 1024
GZIP_LEVEL: Final = 6
MAX_KEPT_BYTES: Final = 64 * 1024 * 1024  # of compressed files; all that is shipped has 20 MiB
IMMUTABLE: Final = "public, max-age=31536000, immutable"
PIECE_BYTES: Final = 64 * 1024
MIN_HASH_CHARACTERS: Final = 16  # of ?v=, so that nobody hits one by chance

_NOT_COMPRESSED: Final = frozenset({".avatar", ".png"})  # they are already
_NAME: Final = re.compile(r"@?[A-Za-z0-9_][A-Za-z0-9._-]*")  # of a file or folder: none that begins with a dot


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is remembered of a file as it was at one time."""

    state: tuple[int, int]  # when changed (ns), bytes
    sha256: str
    zipped: bytes | None  # None: not worth it


@dataclass(slots=True)
class Files:
    """Answers GET and HEAD for files of a folder.

    A file asked for as `?v=HASH`, with the first characters of its SHA-256 in hexadecimal, may be kept for ever; any
    other answer is to be validated by its ETag.
    """

    folder: Path
    """Links within it are followed only if they lead to somewhere within it."""
    headers: Mapping[str, str]
    """Of every answer."""
    suffixes: frozenset[str] = frozenset(MEDIA_TYPES)
    """What kinds of files there are to be had; a subset of MEDIA_TYPES."""
    _kept: dict[Path, _Kept] = field(default_factory=dict, repr=False)
    _one: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def find(self, name: str) -> Path | None:
        """The file of that name within the folder, such as `vendor/a/b.js`; None if there is none to be had."""
        parts = name.split("/")
        if not all(_NAME.fullmatch(part) for part in parts):
            return None
        path = self.folder.joinpath(*parts)
        if path.suffix.lower() not in self.suffixes:
            return None
        try:
            whole = path.resolve()
            return whole if whole.is_file() and whole.is_relative_to(self.folder.resolve()) else None
        except OSError:
            return None

    async def answer(self, request: Request, name: str) -> Response:
        """The file, that it has not changed, or that there is none."""
        path = self.find(name)
        if path is None:
            return PlainTextResponse("no such file\n", 404, self.headers)
        try:
            kept = await asyncio.to_thread(self._once, path)
        except OSError:
            return PlainTextResponse("the file cannot be read\n", 500, self.headers)
        zipped = kept.zipped if _takes_gzip(request.headers.get("accept-encoding", "")) else None
        tag = f'"{kept.sha256}{"" if zipped is None else "-gzip"}"'
        headers = dict(self.headers) | {"ETag": tag, "Vary": "Accept-Encoding", "Cache-Control": "no-cache"}
        version = request.query_params.get("v", "")
        if len(version) >= MIN_HASH_CHARACTERS and kept.sha256.startswith(version.lower()):
            headers["Cache-Control"] = IMMUTABLE
        if tag in _tags(request.headers.getlist("if-none-match")):
            return Response(None, 304, headers)
        kind = MEDIA_TYPES[path.suffix.lower()]
        if zipped is None:
            return FileResponse(path, media_type=kind, headers=headers)
        headers |= {"Content-Encoding": "gzip", "Content-Length": str(len(zipped))}
        if request.method == "HEAD":
            return Response(b"", headers=headers, media_type=kind)
        return StreamingResponse(_pieces(zipped), headers=headers, media_type=kind)

    def _once(self, path: Path) -> _Kept:
        with self._one:  # of many who come at once, one compresses
            return self._look(path)

    def _look(self, path: Path) -> _Kept:
        """What is known of the file, from memory if it has not changed."""
        stat = path.stat()
        state = stat.st_mtime_ns, stat.st_size
        kept = self._kept.get(path)
        if kept is not None and kept.state == state:
            return kept
        data = path.read_bytes()
        zipped = None
        if path.suffix.lower() not in _NOT_COMPRESSED and len(data) >= MIN_GZIP_BYTES:
            zipped = gzip.compress(data, GZIP_LEVEL, mtime=0)
            room = MAX_KEPT_BYTES - sum(len(k.zipped or b"") for k in self._kept.values())
            if len(zipped) > 0.95 * len(data) or len(zipped) > room:
                zipped = None
        kept = self._kept[path] = _Kept(state, hashlib.sha256(data).hexdigest(), zipped)
        return kept


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    """One at a time as they are read: whoever reads slowly costs no copy of the whole."""
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]


def _takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding names gzip, and not with a weight of nothing (RFC 9110, section 12.5.3)."""
    for item in accepted.lower().split(","):
        coding, _, weight = item.partition(";")
        if coding.strip() == "gzip":
            return not re.fullmatch(r"\s*q=0(\.0*)?\s*", weight)
    return False


def _tags(values: Iterable[str]) -> set[str]:
    """ETags of If-None-Match, as for a weak comparison."""
    return {tag.strip().removeprefix("W/") for value in values for tag in value.split(",")}
