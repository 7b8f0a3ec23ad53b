"""Deleting one's own avatar, and asking others to delete their copies. `docs/ownership.md`.

What is deleted leaves a tombstone here: the file's hash and the owner's signature over the wish. Edges hand them to
everybody they meet (`rtc.presence_messages.Forget`). Whoever has a copy can check the wish against the key in it, so
that nobody can have somebody else's avatar deleted.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from telepresence.avatar.file import load_bytes, write
from telepresence.avatar.owner import SIGNATURE_BYTES, data_folder, load_key, public_bytes, verify
from telepresence.avatar.sections import digest
from telepresence.errors import AvatarError, InputError

MAX_TOMBSTONES: Final = 64  # the newest; more are not kept
MAX_FILE_BYTES: Final = 64 * 1024
_DOMAIN: Final = b"telepresence forget 1\0"


@dataclass(frozen=True, slots=True)
class Tombstone:
    """An avatar that its owner has deleted."""

    sha256: str
    """Of the file, 64 lower-case hexadecimal digits."""
    signature: bytes
    deleted_s: int
    """When, seconds since 1970."""


def message(sha256: str) -> bytes:
    """What the owner signs: `telepresence forget 1`, a zero byte, the file's SHA-256."""
    return _DOMAIN + bytes.fromhex(sha256)


def wished(data: bytes, signature: bytes) -> bool:
    """Whether the owner of an avatar file, in `data`, has signed the wish that it goes. Never raises."""
    try:
        ownership = verify(data)
        if ownership is None or ownership.owner is None:
            return False
        Ed25519PublicKey.from_public_bytes(ownership.owner).verify(signature, message(digest(data)))
    except (AvatarError, InvalidSignature, ValueError):
        return False
    return True


def tombstones_path() -> Path:
    """Where they are kept."""
    return data_folder() / "deleted.json"


def tombstones() -> tuple[Tombstone, ...]:
    """Of this machine, newest first. A file that is damaged counts as none: it is only a courtesy."""
    try:
        with tombstones_path().open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        entries = json.loads(data) if len(data) <= MAX_FILE_BYTES else []
        found = [_read(entry) for entry in entries[:MAX_TOMBSTONES]]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ()
    return tuple(found)


def _read(entry: dict[str, Any]) -> Tombstone:
    signature, sha256 = bytes.fromhex(entry["signature"]), str(entry["sha256"])
    if len(signature) != SIGNATURE_BYTES or len(bytes.fromhex(sha256)) != 32:
        raise ValueError("not a tombstone")
    return Tombstone(sha256, signature, int(entry["deleted_s"]))


def delete(path: Path, key: Ed25519PrivateKey | None = None) -> Tombstone | None:
    """Delete an avatar file; its tombstone, or None if it is not signed with our key, so that no wish can be signed.

    The tombstone is written first: a file that could not be deleted after all is only shown to nobody any more.

    Raises:
        AvatarError: no such file, or it cannot be deleted.
        InputError: the key is damaged, or the tombstone cannot be kept.
    """
    data = load_bytes(path)
    key = key or load_key()
    tombstone = _bury(data, key) if key is not None else None
    try:
        path.unlink()
    except OSError as error:
        raise AvatarError(f"{path}: cannot be deleted ({error.strerror}); delete it by hand") from error
    return tombstone


def _bury(data: bytes, key: Ed25519PrivateKey) -> Tombstone | None:
    try:
        ownership = verify(data)
    except AvatarError:
        return None
    if ownership is None or ownership.owner != public_bytes(key):
        return None
    sha256 = digest(data)
    new = Tombstone(sha256, key.sign(message(sha256)), int(time.time()))
    kept = [new, *(one for one in tombstones() if one.sha256 != sha256)][:MAX_TOMBSTONES]
    fields = [{"sha256": one.sha256, "signature": one.signature.hex(), "deleted_s": one.deleted_s} for one in kept]
    path = tombstones_path()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write(json.dumps(fields, indent=1).encode(), path)
    except (OSError, AvatarError) as error:
        raise InputError(f"{path}: cannot be written, so nothing was deleted; make room ({error})") from error
    return new
