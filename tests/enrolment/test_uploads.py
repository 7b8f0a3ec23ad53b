"""Photos from the page: measured before they are read, and gone when they have served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from telepresence.enrolment import uploads
from telepresence.enrolment.uploads import MAX_PHOTO_BYTES, MAX_PHOTOS, TooLargeError, Uploads, clean


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def never() -> AsyncIterator[bytes]:
    await asyncio.sleep(60)
    yield b""


def take(kept: Uploads, name: str, *chunks: bytes) -> None:
    asyncio.run(kept.take(name, pieces(*chunks)))


def test_photos_are_kept_under_their_own_names_for_their_owner_alone_and_deleted() -> None:
    kept = Uploads()
    take(kept, "me.jpg", b"one", b" and more")
    take(kept, "me.jpg", b"another of that name")
    assert [path.name for path in kept.paths] == ["me.jpg", "me.jpg"]
    assert [path.read_bytes() for path in kept.paths] == [b"one and more", b"another of that name"]
    folder = kept.paths[0].parent.parent
    assert folder.stat().st_mode & 0o777 == 0o700
    kept.clear()
    assert not folder.exists()
    assert kept.paths == []


def test_what_is_announced_too_large_or_not_announced_is_refused_before_it_is_read() -> None:
    kept = Uploads()
    for announced in (None, MAX_PHOTO_BYTES + 1, 2 << 30):
        with pytest.raises(TooLargeError):
            kept.check(announced)
    kept.check(MAX_PHOTO_BYTES)


def test_more_than_was_announced_is_refused_while_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_PHOTO_BYTES", 10)
    kept = Uploads()
    with pytest.raises(TooLargeError):
        take(kept, "me.jpg", b"12345", b"678901")
    assert kept.paths == []
    kept.clear()


def test_there_are_limits_to_all_of_them_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_ALL_BYTES", 100)
    kept = Uploads()
    take(kept, "a", bytes(60))
    with pytest.raises(TooLargeError):
        kept.check(50)
    kept.check(40)
    kept.paths *= MAX_PHOTOS
    with pytest.raises(TooLargeError):
        kept.check(1)
    kept.clear()


def test_a_photo_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "UPLOAD_S", 0.05)
    kept = Uploads()
    with pytest.raises(uploads.InputError, match="in time"):
        asyncio.run(kept.take("me.jpg", never()))
    kept.clear()


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("me.jpg", "me.jpg"), ("../../etc/passwd", "passwd"), ("C:\\photos\\Me at sea.png", "Me at sea.png"),
        ("..", "photo"), ("", "photo"), ("a\0b\nc.jpg", "a_b_c.jpg"), ("Zoë.jpg", "Zoë.jpg"),
        ("x" * 300 + ".jpg", "x" * 56 + ".jpg"),
    ],
)  # fmt: skip
def test_names_lead_nowhere_else(name: str, kept: str) -> None:
    assert clean(name) == kept
