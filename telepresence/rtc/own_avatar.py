"""The avatar that we are shown as. Its file is watched: a running call swaps to a new version of it."""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.file import load_bytes, unpack_named
from telepresence.errors import AvatarError
from telepresence.rtc.peer import Ours

logger = logging.getLogger(__name__)

LOOK_S: Final = 1.0  # between looks at the file; as long must it stay as it is before it is read
EPOCHS: Final = 256

_Mark = tuple[int, int, int]  # what tells one version of a file from another without reading it


@dataclass(frozen=True)
class Version:
    """A version of the avatar."""

    ours: Ours
    """What the others are told; hashed already."""
    neutral: NDArray[np.float32] | None
    """(478, 3), its neutral shape; None if it is not that of whoever sits here, or there is no avatar."""


class OwnAvatar:
    """Reads the file, and reads it again when it was replaced.

    Args:
        path: of `--avatar`; None: none was given.
        sample: whether the sample avatar takes its place then.
        say: gets a line for people, in any thread.
    """

    def __init__(self, path: Path | None, sample: bool, say: Callable[[str], None]) -> None:
        self._path = path
        self._sample = sample
        self._say = say
        self._mark: _Mark | None = None
        self._unread = False
        self._problem = ""

    def load(self, ours: Ours) -> Version:
        """The version that the call begins with; blocks.

        Raises:
            AvatarError: the file cannot be used.
        """
        if self._path is not None:
            self._mark = _mark_of(self._path)  # before it is read: a change from here on is seen
            return _read(self._path, ours)
        if not self._sample:
            return Version(ours, None)
        from telepresence.avatar.samples import sample_avatar_bytes

        self._say("no --avatar was given: the others see the sample avatar (make your own with: telepresence enrol)")
        return Version(_hashed(replace(ours, avatar=sample_avatar_bytes())), None)

    async def watch(self, ours: Ours, changed: Callable[[Version], None]) -> None:
        """Look at the file for ever, if there is one; `changed` gets each new version, on the event loop.

        Args:
            ours: as in the version that `load` has given.
        """
        path = self._path
        while path is not None:
            await asyncio.sleep(LOOK_S)
            try:
                version = await asyncio.to_thread(self._look, path, ours)
            except AvatarError as error:
                self._complain(str(error))
            except Exception as error:  # whatever is in the file must not end the call
                logger.exception("an avatar could not be read")
                self._complain(f"{path}: cannot be used ({type(error).__name__})")
            else:
                if version is not None:
                    ours = version.ours
                    self._say(f"avatar: {path} changed; the others get the new one")
                    changed(version)
        await asyncio.Event().wait()

    def _look(self, path: Path, ours: Ours) -> Version | None:
        """The next version, once it is there and nobody writes any more. Raises AvatarError, once for each."""
        before, self._mark = self._mark, _mark_of(path)
        if self._mark != before:
            self._unread = True
            return None
        if not self._unread:
            return None
        self._unread = False
        if self._mark is None and path.exists():
            raise AvatarError(f"{path}: not a file any more")  # to read a pipe could take for ever
        version = _read(path, replace(ours, epoch=(ours.epoch + 1) % EPOCHS))
        self._problem = ""
        return None if version.ours.avatar == ours.avatar else version

    def _complain(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._say(f"avatar: {problem}; the others go on seeing the one before")


def _mark_of(path: Path) -> _Mark | None:
    """None: there is no file, or something else than a file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def _read(path: Path, ours: Ours) -> Version:
    data = load_bytes(path)
    return Version(_hashed(replace(ours, avatar=data)), unpack_named(data, path).neutral)


def _hashed(ours: Ours) -> Ours:
    """Take the milliseconds here, and not on the event loop."""
    _ = ours.offer
    return ours
