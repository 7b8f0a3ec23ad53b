"""Whose an avatar is: the owner's key pair, the signature in the file, and what a reader makes of both.

The signature is Ed25519 (RFC 8032) over the rows of the file's table, and so over the hashes of all sections:
`docs/avatar-format.md`. `docs/ownership.md` says what it proves, and what it does not.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from telepresence.avatar.file import load_bytes, pack, write
from telepresence.avatar.model import MADE, Avatar
from telepresence.avatar.sections import (
    FIRST_SECTIONS,
    Section,
    read_content,
    read_sections,
    read_table,
    write_sections,
)
from telepresence.errors import AvatarError, InputError

KEY_BYTES: Final = 32  # a public Ed25519 key
SIGNATURE_BYTES: Final = 64
MAX_KEY_FILE_BYTES: Final = 4096
_DOMAIN: Final = b"telepresence avatar 1\0"  # nothing else that the key signs begins so
_SIGN_AGAIN: Final = "if it is yours, sign it: telepresence avatar sign FILE"


@dataclass(frozen=True, slots=True)
class Ownership:
    """What is known of a file whose signature, if it has one, is right."""

    owner: bytes | None
    """The public key that signed it; None for one that is free for all and unsigned."""
    made: str | None
    """One of `MADE`; None if the file does not say, or nobody signed what it says."""
    free_for_all: bool

    @property
    def label(self) -> str:
        """What everybody is shown: only who followed the poses of an enrolment in the page is a plain `avatar`."""
        if self.free_for_all:
            return "sample avatar"
        return "avatar" if self.made == "live" else "photo avatar"


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


def sign(data: bytes, key: Ed25519PrivateKey, made: str | None = None) -> bytes:
    """A file -> the same, signed; an earlier signature goes. Pictures are not encoded again.

    Args:
        data: the file.
        key: its owner's.
        made: one of `MADE`, to go into the file; None leaves what it says.

    Raises:
        AvatarError: damaged, or signed by somebody else: that takes an enrolment of one's own.
    """
    sections = read_sections(data)
    earlier = sections.pop("owner", None)
    sections.pop("signature", None)
    if earlier not in (None, public_bytes(key)):
        raise AvatarError("the avatar belongs to another key; only its owner can sign it again")
    if made is not None:
        if made not in MADE:
            raise ValueError(f"made is one of {', '.join(MADE)}, not {made}")
        meta = json.loads(sections["meta"]) | {"made": made}
        sections["meta"] = json.dumps(meta, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    # Next to what is shown first, so that its owner is known before the rest has come.
    begin = {name: sections.pop(name) for name in FIRST_SECTIONS} | {"owner": public_bytes(key)}
    table = read_table(write_sections(begin | {"signature": bytes(SIGNATURE_BYTES)} | sections))
    if table is None:
        raise AvatarError("the avatar has no table; get it again")
    signed = write_sections(begin | {"signature": key.sign(_signed_bytes(table))} | sections)
    return signed


def _signed_bytes(table: list[Section]) -> bytes:
    """What a signature covers: every row but its own, as in the file."""
    rows = (
        bytes([len(row.name)]) + row.sha256 + (row.end - row.start).to_bytes(4, "big") + row.name.encode()
        for row in table
        if row.name != "signature"
    )
    return _DOMAIN + b"".join(rows)


def verify(data: bytes) -> Ownership | None:
    """A file, or its beginning -> whose it is; None until enough of it is there: 150 kB, or the whole file.

    Raises:
        AvatarError: damaged, signed wrongly, or unsigned and not free for all.
    """
    table = read_table(data)
    if table is None:
        return None
    rows = {row.name: row for row in table}
    if ("owner" in rows) != ("signature" in rows):
        raise AvatarError(f"the avatar has an owner or a signature, and lacks the other; {_SIGN_AGAIN}")
    needed = ["meta"] + (["owner", "signature"] if "owner" in rows else [])
    if any(len(data) < rows[name].end for name in needed):
        return None
    meta = _meta(read_content(data, rows["meta"]))
    free = meta.get("free_for_all") is True
    if "owner" not in rows:
        if not free:
            raise AvatarError(f"the avatar is not signed, so nobody can tell whose it is; {_SIGN_AGAIN}")
        return Ownership(None, None, free)
    owner = read_content(data, rows["owner"])
    _check(owner, read_content(data, rows["signature"]), _signed_bytes(table))
    made = meta.get("made")
    return Ownership(owner, made if made in MADE else None, free)


def _meta(raw: bytes) -> dict[str, Any]:
    try:
        meta = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise AvatarError("the avatar's meta section is not JSON; get it again") from error
    if not isinstance(meta, dict):
        raise AvatarError("the avatar's meta section is not a JSON object; get it again")
    return meta


def _check(owner: bytes, signature: bytes, signed: bytes) -> None:
    wrong = "the avatar's signature is wrong: it was changed after its owner signed it, or never signed by them"
    if len(owner) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        raise AvatarError(wrong)
    try:
        Ed25519PublicKey.from_public_bytes(owner).verify(signature, signed)
    except (InvalidSignature, ValueError) as error:
        raise AvatarError(wrong) from error


def save_signed(avatar: Avatar, path: Path, key: Ed25519PrivateKey | None = None, made: str | None = None) -> int:
    """Pack, sign with the owner's key (made now if there is none), write; how many bytes the file has.

    Raises:
        AvatarError: it does not fit, belongs to another key, or cannot be written.
        InputError: the key is damaged or cannot be kept.
    """
    return write(sign(pack(avatar), key or own_key(), made), path)


def sign_file(path: Path, key: Ed25519PrivateKey | None = None) -> int:
    """Sign a file that is there, as one made before avatars had owners; how many bytes it has then.

    What the file says of how it was made stays; where it says nothing, that is `photos`, and nobody is told more.

    Raises:
        AvatarError: damaged, another's, or cannot be written.
        InputError: the key is damaged or cannot be kept.
    """
    data = load_bytes(path)
    meta = _meta(read_sections(data)["meta"])
    signed_before = "signature" in read_sections(data)
    if signed_before:
        verify(data)  # a wrong signature is not made right: what was changed, the owner did not see
    made = None if signed_before and meta.get("made") in MADE else "photos"
    return write(sign(data, key or own_key(), made), path)


def fingerprint(owner: bytes) -> str:
    """A public key for people to compare: 8 groups of 4 hexadecimal digits, the first half of the key."""
    text = owner.hex()[:32]
    return " ".join(text[i : i + 4] for i in range(0, 32, 4))
