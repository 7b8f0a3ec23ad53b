"""The cache of others' avatars."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from telepresence.rtc.cache import AvatarCache


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_keeps_by_hash_and_for_its_user_only(tmp_path: Path) -> None:
    cache = AvatarCache(tmp_path / "deep" / "cache")
    assert cache.get(digest(b"one")) is None
    cache.put(b"one")
    assert cache.get(digest(b"one")) == b"one"
    (file,) = (tmp_path / "deep" / "cache").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_damaged_file_is_deleted(tmp_path: Path) -> None:
    cache = AvatarCache(tmp_path)
    cache.put(b"one")
    file = tmp_path / f"{digest(b'one')}.avatar"
    file.write_bytes(b"eno")
    assert cache.get(digest(b"one")) is None
    assert not file.exists()


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = AvatarCache(tmp_path, max_bytes=250)
    files = [bytes([n]) * 100 for n in range(3)]
    for age, data in zip((30, 20), files, strict=False):
        cache.put(data)
        os.utime(tmp_path / f"{digest(data)}.avatar", (age, age))
    assert cache.get(digest(files[0])) is not None  # used just now: the second is the oldest
    cache.put(files[2])
    assert [cache.get(digest(data)) is not None for data in files] == [True, False, True]


def test_names_cannot_leave_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.avatar").write_bytes(b"secret")
    cache = AvatarCache(tmp_path / "cache")
    assert cache.get("../secret") is None
    assert (tmp_path / "secret.avatar").exists()


def test_a_folder_that_cannot_be_used_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = AvatarCache(tmp_path / "file" / "cache")
    cache.put(b"one")
    assert cache.get(digest(b"one")) is None
