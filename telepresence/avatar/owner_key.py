"""The owner's key pair on this machine: made once, never overwritten, never sent anywhere. `docs/ownership.md`."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from telepresence.errors import InputError

MAX_KEY_FILE_BYTES: Final = 4096


def data_folder() -> Path:
    """Where telepresence keeps what cannot be made anew: $XDG_DATA_HOME/telepresence. May not exist yet."""
    base = os.environ.get("XDG_DATA_HOME")
    return Path(base if base else Path.home() / ".local" / "share") / "telepresence"


def key_path() -> Path:
    """The owner's private key on this machine."""
    return data_folder() / "owner.key"


def load_key(path: Path | None = None) -> Ed25519PrivateKey | None:
    """The owner's key; None if there is none yet.

    Raises:
        InputError: the file is damaged, or cannot be read. It stays as it is: only its owner knows of a copy.
    """
    path = path or key_path()
    try:
        with path.open("rb") as file:
            data = file.read(MAX_KEY_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path}: your key cannot be read ({error.strerror}); make it readable for you") from error
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError) as error:  # TypeError: it has a passphrase
        raise _damaged(path) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _damaged(path)
    return key


def _damaged(path: Path) -> InputError:
    return InputError(
        f"{path}: your key is damaged, or not an Ed25519 key in PEM form. Put your copy of it there; without one, move "
        "the file away: the next enrolment makes a new key, and avatars signed with the old one have to be signed again"
    )


def own_key(path: Path | None = None) -> Ed25519PrivateKey:
    """The owner's key, made now if there is none yet: never overwritten, readable for its owner only.

    Raises:
        InputError: damaged, or the folder cannot be written.
    """
    path = path or key_path()
    found = load_key(path)
    if found is not None:
        return found
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        create(path, pem)
    except OSError as error:
        raise InputError(
            f"{path}: your key cannot be kept there ({error.strerror}); make room, or set XDG_DATA_HOME"
        ) from error
    kept = load_key(path)  # another process may have been first
    if kept is None:
        raise InputError(f"{path}: your key has vanished while it was made; try again")
    return kept


def create(path: Path, data: bytes) -> None:
    """Write a file that is not there yet, whole or not at all; whoever was first wins."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.unlink(name)


def export_key(out: Path, path: Path | None = None) -> None:
    """Copy the key to `out`, which must not be there yet, readable for its owner only.

    Raises:
        InputError: there is no key, it is damaged, or `out` cannot be written.
    """
    key = load_key(path)
    if key is None:
        raise InputError("there is no key yet; signing makes one: telepresence avatar sign FILE")
    if out.exists():
        raise InputError(f"{out}: is there already, and may be another key; choose another name")
    try:
        create(out, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); choose another place") from error


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The public key, 32 bytes: the section `owner`."""
    return key.public_key().public_bytes_raw()


def fingerprint(owner: bytes) -> str:
    """A public key for people to compare: 8 groups of 4 hexadecimal digits, the first half of the key."""
    text = owner.hex()[:32]
    return " ".join(text[i : i + 4] for i in range(0, 32, 4))
