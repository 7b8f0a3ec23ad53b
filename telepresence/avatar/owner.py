"""Whose an avatar is: the owner's key pair, the signature in the file, and what a reader makes of both.

The signature is Ed25519 (RFC 8032) over the rows of the file's table, and so over the hashes of all sections:
`docs/avatar-format.md`. `docs/ownership.md` says what it proves, and what it does not.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from telepresence.avatar.file import load_bytes, pack, write
from telepresence.avatar.model import MADE, Avatar
from telepresence.avatar.owner_key import (
    create,
    data_folder,
    export_key,
    fingerprint,
    key_path,
    load_key,
    own_key,
    public_bytes,
)
from telepresence.avatar.sections import (
    FIRST_SECTIONS,
    Section,
    digest,
    read_content,
    read_sections,
    read_table,
    write_sections,
)
from telepresence.errors import AvatarError

__all__ = [
    "Enrolled",
    "Ownership",
    "create",
    "data_folder",
    "export_key",
    "fingerprint",
    "key_path",
    "load_key",
    "own_key",
    "public_bytes",
    "save_enrolled",
    "save_signed",
    "sign",
    "sign_file",
    "verify",
]

KEY_BYTES: Final = 32  # a public Ed25519 key
SIGNATURE_BYTES: Final = 64
_DOMAIN: Final = b"telepresence avatar 1\0"  # nothing else that the key signs begins so
_SIGN_AGAIN: Final = "if it is yours, sign it: telepresence avatar sign FILE"
SAMPLES: Final = frozenset(
    {
        "32665900e63be9a71e0621c0ee194749010780163a7696ce9f022cdc068b29c6",
        "45e4799ab8485af9f7994287e6d3e9b2bbbb13f97db5d11bc7d34f629629141e",
    }
)
"""SHA-256 of header and table of every sample that was ever shipped, newest first: free for all without a signature."""


@dataclass(frozen=True, slots=True)
class Ownership:
    """What is known of a file whose signature, if it has one, is right."""

    owner: bytes | None
    """The public key that signed it; None for one that is free for all and unsigned."""
    made: str | None
    """One of `MADE`; None if the file does not say, or nobody signed what it says."""
    free_for_all: bool
    """Anybody may be shown as it. Either its owner has signed that, or it is a sample."""

    @property
    def label(self) -> str:
        """What everybody is shown: only who followed the poses of an enrolment in the page is a plain `avatar`."""
        if self.free_for_all:
            return "sample avatar"
        return "avatar" if self.made == "live" else "photo avatar"


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
        if hashlib.sha256(data[: table[0].start]).hexdigest() not in SAMPLES:  # anybody can write that into a copy
            raise AvatarError(f"the avatar says that it is free for all, but nobody signed that; {_SIGN_AGAIN}")
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


@dataclass(frozen=True, slots=True)
class Enrolled:
    """An avatar that was written."""

    size: int
    """Bytes."""
    sha256: str
    label: str
    """What everybody will be shown on its pictures."""
    fingerprint: str
    """Of its owner's key, for people to compare."""


def save_enrolled(
    avatar: Avatar, path: Path, enrolled: Literal["live", "photos", "video"], key: Ed25519PrivateKey | None = None
) -> Enrolled:
    """Write an avatar that was just enrolled, signed; again, with the same `enrolled`, after fine-tuning.

    Args:
        avatar: whatever it says of how it was made is replaced.
        path: of the file.
        enrolled: `live` only if this process itself saw a camera's pictures follow poses in an order that it drew at
            random: then pictures of it are labelled `avatar`, else `photo avatar`.
        key: the owner's; None: the one of this machine, made now if there is none.

    Raises:
        AvatarError: it does not fit, belongs to another key, or cannot be written.
        InputError: the key is damaged or cannot be kept.
    """
    key = key or own_key()
    data = sign(pack(avatar), key, enrolled)
    label = Ownership(public_bytes(key), enrolled, avatar.free_for_all).label
    return Enrolled(write(data, path), digest(data), label, fingerprint(public_bytes(key)))


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
