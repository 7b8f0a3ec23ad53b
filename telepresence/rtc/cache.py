"""Avatars of others, kept by hash, so that each crosses the network once. They are others' faces: they do not stay.

`docs/ownership.md`: what has not been used for a week goes, of one owner only the newest file stays, and what its owner
has deleted goes when we are told.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from telepresence.avatar.deletion import wished
from telepresence.avatar.owner import Ownership, verify
from telepresence.avatar.sections import MAX_FIRST_BYTES, MAX_SIGNATURE_BYTES
from telepresence.errors import AvatarError
from telepresence.rtc.transfer import MAX_AVATAR_BYTES
from telepresence.runtime.machine import cache_folder

MAX_CACHE_BYTES: Final = 128 * 1024 * 1024
KEPT_S: Final = 7 * 24 * 3600.0  # since it was used last
_BEGINNING_BYTES: Final = MAX_FIRST_BYTES + 2 * MAX_SIGNATURE_BYTES  # tells the owner, of a file as we write them
_NAME: Final = re.compile(r"[0-9a-f]{64}\.avatar")


def default_folder() -> Path:
    """`$XDG_CACHE_HOME/telepresence/avatars` on Linux."""
    return cache_folder() / "avatars"


@dataclass(frozen=True, slots=True)
class Copy:
    """A file in the cache."""

    path: Path
    used_s: float
    """When it was used last, seconds since 1970."""
    size: int

    @property
    def sha256(self) -> str:
        """Of the file, as its name says."""
        return self.path.stem

    def ownership(self) -> Ownership | None:
        """Whose it is; None if that cannot be told."""
        try:
            with self.path.open("rb") as file:
                found = verify(file.read(_BEGINNING_BYTES))
                if found is None:  # its writer put the signature behind the references
                    file.seek(0)
                    found = verify(file.read(MAX_AVATAR_BYTES))
        except (OSError, AvatarError):
            return None
        return found


class AvatarCache:
    """A folder of avatar files named by their SHA-256, readable by its user only. The least recently used go first.

    Never an obstacle: a folder that cannot be written or read makes the cache empty, not the call fail.

    Args:
        folder: None for the usual one.
        max_bytes: of all files together.
        kept_s: how long a file stays that is not used.
        clock_s: seconds since 1970.
    """

    def __init__(
        self,
        folder: Path | None = None,
        max_bytes: int = MAX_CACHE_BYTES,
        *,
        kept_s: float = KEPT_S,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder or default_folder()
        self._max_bytes = max_bytes
        self._kept_s = kept_s
        self._clock_s = clock_s

    def get(self, sha256: str) -> bytes | None:
        """The avatar file with this hash, verified; None if it is not here. A damaged one is deleted."""
        path = self._folder / f"{sha256}.avatar"
        if not _NAME.fullmatch(path.name):
            return None
        try:
            found = path.stat()
            if found.st_size > MAX_AVATAR_BYTES or self._expired(found.st_mtime):
                path.unlink()
                return None
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != sha256:
                path.unlink()
                return None
            self._touch(path)
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
            self._touch(Path(temporary))
            Path(temporary).replace(path)
            self.sweep()
            self._shrink(keep=path)
        except OSError:
            if temporary:
                with contextlib.suppress(OSError):
                    Path(temporary).unlink()

    def copies(self) -> list[Copy]:
        """What is here, the most recently used first."""
        return sorted(self._copies(), key=lambda copy: -copy.used_s)

    def sweep(self) -> None:
        """Delete what nobody has used for too long."""
        for copy in self._copies():
            if self._expired(copy.used_s):
                _delete(copy.path)

    def supersede(self, owner: bytes, sha256: str) -> None:
        """Of this owner, keep only this file: they are shown as it now."""
        for copy in self._copies():
            found = copy.ownership() if copy.sha256 != sha256 else None
            if found is not None and found.owner == owner:
                _delete(copy.path)

    def forget_for(self, sha256: str, signature: bytes) -> bool:
        """Delete a file whose owner has signed that it is to go; whether one was deleted."""
        path = self._folder / f"{sha256}.avatar"
        if not _NAME.fullmatch(path.name):
            return False
        try:
            with path.open("rb") as file:
                data = file.read(MAX_AVATAR_BYTES + 1)
        except OSError:
            return False
        return wished(data, signature) and _delete(path)

    def forget(self, sha256: str) -> bool:
        """Delete a file; whether it was there."""
        path = self._folder / f"{sha256}.avatar"
        return bool(_NAME.fullmatch(path.name)) and _delete(path)

    def _copies(self) -> Iterator[Copy]:
        with contextlib.suppress(OSError):
            for path in list(self._folder.iterdir()):
                if not _NAME.fullmatch(path.name):
                    continue
                with contextlib.suppress(OSError):  # another process may delete it just now
                    found = path.stat()
                    yield Copy(path, found.st_mtime, found.st_size)

    def _expired(self, used_s: float) -> bool:
        return used_s < self._clock_s() - self._kept_s

    def _touch(self, path: Path) -> None:
        now_s = self._clock_s()
        os.utime(path, (now_s, now_s))

    def _shrink(self, keep: Path) -> None:
        files = self.copies()
        total = sum(copy.size for copy in files)
        for copy in reversed(files):
            if total <= self._max_bytes:
                return
            if copy.path != keep:
                _delete(copy.path)
                total -= copy.size


def _delete(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True
