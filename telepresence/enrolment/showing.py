"""What the page shows of the avatar that others are shown us as."""

from __future__ import annotations

from typing import Any, Final

from telepresence.avatar.file import unpack_first
from telepresence.avatar.owner import verify
from telepresence.avatar.sections import digest
from telepresence.enrolment import own
from telepresence.errors import AvatarError

FIRST_BYTES: Final = 150_000  # of a file: whoever has them can show the person
QUALITY: Final = 90


def described(worn: bytes | None) -> dict[str, Any]:
    """Facts about it.

    Returns:
        `there` (whether there is an own avatar), `worn` ("own", "sample", "file" or "none"), `name`, `label` and `made`
        of what is worn, JSON-ready.
    """
    kept = own.kept_digest()
    facts: dict[str, Any] = {"there": bool(kept), "worn": "none", "name": "", "label": "", "made": None}
    if worn is None:
        return facts
    try:
        ownership, avatar = verify(worn), unpack_first(worn[:FIRST_BYTES])
    except AvatarError:
        return facts | {"worn": "file"}
    if avatar is not None:
        facts["name"] = avatar.name
    if ownership is not None:
        facts |= {"label": ownership.label, "made": ownership.made}
    worn_is = "own" if digest(worn) == kept else "sample" if facts["label"] == "sample avatar" else "file"
    return facts | {"worn": worn_is}


def picture(worn: bytes | None) -> bytes | None:
    """Its first reference as a JPEG; None: there is none."""
    if worn is None:
        return None
    import cv2

    try:
        avatar = unpack_first(worn[:FIRST_BYTES])
    except AvatarError:
        return None
    if avatar is None:
        return None
    rgb = avatar.references[0].picture
    _, jpeg = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return bytes(jpeg.tobytes())
