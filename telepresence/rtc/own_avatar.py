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
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from telepresence.avatar.deletion import tombstones
from telepresence.avatar.file import load_bytes, unpack_named
from telepresence.avatar.owner import fingerprint, load_key, public_bytes, verify
from telepresence.errors import AvatarError, InputError
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
            AvatarError: the file cannot be used, or the others would refuse it.
            InputError: the owner's key is damaged.
        """
        ours = replace(ours, deleted=tombstones())
        if self._path is not None:
            self._mark = _mark_of(self._path)  # before it is read: a change from here on is seen
            return _read(self._path, ours)
        if not self._sample:
            return Version(ours, None)
        from telepresence.avatar.samples import sample_avatar_bytes

        self._say("no --avatar was given: the others see the sample avatar (make your own with: telepresence enrol)")
        return Version(_hashed(replace(ours, avatar=sample_avatar_bytes())), None)

    async def watch(self, ours: Ours, changed: Callable[[Version], None]) -> None:
        """Look at the file for ever, once there is one; `changed` gets each new version, on the event loop.

        Args:
            ours: as in the version that `load` has given.
        """
        while True:
            await asyncio.sleep(LOOK_S)
            path = self._path
            if path is None:
                continue
            try:
                version = await asyncio.to_thread(self._look, path, ours)
            except InputError as error:  # of the file, or of the key
                self._complain(str(error))
            except Exception as error:  # whatever is in the file must not end the call
                logger.exception("an avatar could not be read")
                self._complain(f"{path}: cannot be used ({type(error).__name__})")
            else:
                if version is not None:
                    ours = version.ours
                    self._say(
                        f"avatar: {path} was deleted; the others see nothing of you, and are asked to delete copies"
                        if ours.avatar is None
                        else f"avatar: {path} changed; the others get the new one"
                    )
                    changed(version)

    def wear(self, path: Path) -> None:
        """Show us as this file from now on, once it is there; call it where `watch` runs."""
        self._path, self._mark, self._unread, self._problem = path, None, False, ""

    def _look(self, path: Path, ours: Ours) -> Version | None:
        """The next version, once it is there and nobody writes any more. Raises InputError, once for each."""
        before, self._mark = self._mark, _mark_of(path)
        if self._mark != before:
            self._unread = True
            return None
        if not self._unread:
            return None
        self._unread = False
        deleted = tombstones()
        if self._mark is None and ours.offer and ours.offer.sha256 in {one.sha256 for one in deleted}:
            self._problem = ""
            return Version(
                _hashed(replace(ours, avatar=None, key=None, deleted=deleted, epoch=_next(ours.epoch))), None
            )
        if self._mark is None and path.exists():
            raise AvatarError(f"{path}: not a file any more")  # to read a pipe could take for ever
        version = _read(path, replace(ours, epoch=_next(ours.epoch), deleted=deleted))
        self._problem = ""
        return None if version.ours.avatar == ours.avatar else version

    def _complain(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._say(f"avatar: {problem}; the others go on seeing the one before")


def check_own(path: Path) -> None:
    """Whether we could be shown as this file.

    Raises:
        AvatarError: it cannot be used, or the others would refuse it.
        InputError: the owner's key is damaged.
    """
    data = load_bytes(path)
    unpack_named(data, path)
    _key_of(data, path)


def _mark_of(path: Path) -> _Mark | None:
    """None: there is no file, or something else than a file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def _next(epoch: int) -> int:
    return (epoch + 1) % EPOCHS


def _read(path: Path, ours: Ours) -> Version:
    data = load_bytes(path)
    neutral = unpack_named(data, path).neutral
    return Version(_hashed(replace(ours, avatar=data, key=_key_of(data, path))), neutral)


def _key_of(data: bytes, path: Path) -> Ed25519PrivateKey | None:
    """The key that proves that an avatar is ours; None if it is free for all. Nobody would be shown what it refuses.

    Raises:
        AvatarError: it is not signed, or somebody else's.
        InputError: our key is damaged.
    """
    try:
        ownership = verify(data)
    except AvatarError as error:
        raise AvatarError(f"{path}: {error}".replace("sign FILE", f"sign {path}")) from error
    if ownership is None or ownership.free_for_all or ownership.owner is None:
        return None
    key = load_key()
    if key is None or public_bytes(key) != ownership.owner:
        here = "no key" if key is None else f"the key {fingerprint(public_bytes(key))}"
        raise AvatarError(
            f"{path}: it is signed with another key ({fingerprint(ownership.owner)}; on this machine is {here}), so "
            "nobody would be shown it: bring your key here from where you enrolled (telepresence avatar export-key), "
            "or enrol here"
        )
    return key


def _hashed(ours: Ours) -> Ours:
    """Take the milliseconds here, and not on the event loop."""
    _ = ours.offer
    return ours
