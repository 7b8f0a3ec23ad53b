"""Photos that a page uploads: counted and measured before they are read, kept in a folder of their own until used."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from telepresence.errors import InputError

MAX_PHOTOS: Final = 20
MAX_PHOTO_BYTES: Final = 24 * 1024 * 1024
MAX_ALL_BYTES: Final = 160 * 1024 * 1024
UPLOAD_S: Final = 60.0
MAX_NAME: Final = 60  # characters of a file's name, which messages mention

TOO_LARGE: Final = f"larger than {MAX_PHOTO_BYTES >> 20} MiB; save it smaller, 2000 pixels are plenty"


class TooLargeError(InputError):
    """A photo, or all of them together, is larger than may be read."""


class Uploads:
    """The photos of one enrolment."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._bytes = 0
        self._busy = 0
        self.paths: list[Path] = []
        """Those that are here, in the order in which they came; their names are the users' own."""

    def check(self, announced: int | None) -> None:
        """Refuse a photo by what is announced of it, before a byte is read.

        Raises:
            TooLargeError: it is too large, or there would be too many.
        """
        if announced is None or announced > MAX_PHOTO_BYTES:
            raise TooLargeError(TOO_LARGE)
        if len(self.paths) + self._busy >= MAX_PHOTOS or self._bytes + announced > MAX_ALL_BYTES:
            raise TooLargeError(f"more than {MAX_PHOTOS} photos, or {MAX_ALL_BYTES >> 20} MiB together; choose fewer")

    async def take(self, name: str, chunks: AsyncIterator[bytes]) -> Path:
        """Keep a photo; `check` it before.

        Raises:
            TooLargeError: there is more than was announced.
            InputError: it does not come, or cannot be kept.
        """
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="telepresence-photos-"))  # 0700
        self._busy += 1
        place = self._folder / str(len(self.paths) + self._busy)
        try:
            place.mkdir(mode=0o700, exist_ok=True)
            path = place / clean(name)
            async with asyncio.timeout(UPLOAD_S):
                with path.open("wb") as file:
                    async for chunk in chunks:
                        self._bytes += len(chunk)
                        if file.tell() + len(chunk) > MAX_PHOTO_BYTES or self._bytes > MAX_ALL_BYTES:
                            raise TooLargeError(TOO_LARGE)
                        file.write(chunk)
        except TimeoutError as error:
            raise InputError(f"{name[:MAX_NAME]}: did not arrive in time; try again") from error
        except OSError as error:
            raise InputError(f"{name[:MAX_NAME]}: cannot be kept ({error.strerror}); make room on the disk") from error
        finally:
            self._busy -= 1
        self.paths.append(path)
        return path

    def clear(self) -> None:
        """Delete them all."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder, self._bytes = None, 0
        self.paths = []


def clean(name: str) -> str:
    """A user's file name as one that can lead nowhere else, and reads well in a message."""
    plain = re.sub(r"[^\w .()-]+", "_", name.replace("\\", "/").rsplit("/", 1)[-1]).strip(" .")
    return plain[-MAX_NAME:].strip(" .") or "photo"
