"""Avatars of others, kept by hash, so that each crosses the network once."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Final

from telepresence.rtc.transfer import MAX_AVATAR_BYTES
from telepresence.runtime.machine import cache_folder

MAX_CACHE_BYTES: Final = 128 * 1024 * 1024
_NAME: Final = re.compile(r"[0-9a-f]{64}\.avatar")


def default_folder() -> Path:
    """`$XDG_CACHE_HOME/telepresence/avatars` on Linux."""
    return cache_folder() / "avatars"


class AvatarCache:
    """A folder of avatar files named by their SHA-256, readable by its user only. The least recently used go first.

    Never an obstacle: a folder that cannot be written or read makes the cache empty, not the call fail.
    """

    def __init__(self, folder: Path | None = None, max_bytes: int = MAX_CACHE_BYTES) -> None:
        self._folder = folder or default_folder()
        self._max_bytes = max_bytes

    def get(self, sha256: str) -> bytes | None:
        """The avatar file with this hash, verified; None if it is not here. A damaged one is deleted."""
        path = self._folder / f"{sha256}.avatar"
        if not _NAME.fullmatch(path.name):
            return None
        try:
            if path.stat().st_size > MAX_AVATAR_BYTES:
                path.unlink()
                return None
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != sha256:
                path.unlink()
                return None
            os.utime(path)
        except OSError:
            return None
        return data

    def put(self, data: bytes) -> None:
        """Keep an avatar file, and make room for it."""
        path = self._folder / f"{hashlib.sha256(data).hexdigest()}.avatar"
        temporary = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".", suffix=".part", delete=False) as file:
                temporary = file.name
                file.write(data)
            Path(temporary).replace(path)
            self._shrink(keep=path)
        except OSError:
            if temporary:
                with contextlib.suppress(OSError):
                    Path(temporary).unlink()

    def _shrink(self, keep: Path) -> None:
        files = [(p.stat(), p) for p in self._folder.iterdir() if _NAME.fullmatch(p.name)]
        total = sum(status.st_size for status, _ in files)
        for status, path in sorted(files, key=lambda entry: entry[0].st_mtime_ns):
            if total <= self._max_bytes:
                return
            if path != keep:
                path.unlink()
                total -= status.st_size
