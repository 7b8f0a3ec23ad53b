"""Where one's own avatar lies, which is shown wherever no other is named."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from telepresence.avatar.deletion import delete
from telepresence.avatar.file import digest, load_bytes, write
from telepresence.avatar.owner import data_folder, own_key, sign
from telepresence.errors import AvatarError, InputError

NAME: Final = "me.avatar"


def own_avatar_path() -> Path:
    """One's own avatar on this machine: $XDG_DATA_HOME/telepresence/me.avatar. May not exist yet."""
    return data_folder() / NAME


def own_avatar(say: Callable[[str], None]) -> Path | None:
    """The path, if there is an avatar that we can be shown as. Of one that cannot be used it is said, and no more."""
    from telepresence.rtc.own_avatar import check_own

    path = own_avatar_path()
    if not path.is_file():
        return None
    try:
        check_own(path)
    except InputError as error:
        say(f"your own avatar is left out: {error}")
        return None
    return path


def keep(data: bytes, made: str) -> str:
    """Sign an avatar's file and keep it as one's own, in place of the one before; the SHA-256 of what was written.

    Args:
        data: from `pack`.
        made: one of `model.MADE`.

    Raises:
        InputError: the key is damaged, or there is no room; the one before stays.
    """
    path = own_avatar_path()
    signed = sign(data, own_key(), made)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write(signed, path)
    except (OSError, AvatarError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).split(";")[0]
        raise InputError(f"your avatar could not be saved ({reason}); make room on the disk and accept it again. "
                         "The one before is still there") from error  # fmt: skip
    return digest(signed)


def kept_digest() -> str:
    """SHA-256 of one's own avatar's file; empty: there is none."""
    try:
        return digest(load_bytes(own_avatar_path()))
    except AvatarError:
        return ""


def forget() -> bool:
    """Delete one's own avatar, and see to it that others are asked to delete their copies; whether there was one.

    Raises:
        InputError: it cannot be deleted.
    """
    path = own_avatar_path()
    for left in path.parent.glob(f".{NAME}.*"):  # of a writing that a crash ended
        with contextlib.suppress(OSError):
            left.unlink()
    if not path.exists():
        return False
    delete(path)
    return True
