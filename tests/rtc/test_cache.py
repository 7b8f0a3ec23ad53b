"""The cache of others' avatars."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telepresence.avatar.deletion import message
from telepresence.avatar.owner import public_bytes
from telepresence.avatar.sections import read_sections, write_sections
from telepresence.rtc.cache import KEPT_S, AvatarCache
from tests.rtc.pair import KEY, avatar_file


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
    for ago, data in zip((20, 10), files, strict=False):
        cache.put(data)
        used = time.time() - ago
        os.utime(tmp_path / f"{digest(data)}.avatar", (used, used))
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


class Clock:
    now_s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s


def test_what_nobody_uses_for_a_week_goes(tmp_path: Path) -> None:
    clock = Clock()
    cache = AvatarCache(tmp_path, clock_s=clock)
    for data in (b"one", b"two", b"three"):
        cache.put(data)
    clock.now_s += KEPT_S - 10
    assert cache.get(digest(b"one")) == b"one"  # used again: stays
    clock.now_s += 20
    assert cache.get(digest(b"two")) is None
    assert not (tmp_path / f"{digest(b'two')}.avatar").exists()
    assert (tmp_path / f"{digest(b'three')}.avatar").exists()
    cache.sweep()
    assert [copy.sha256 for copy in cache.copies()] == [digest(b"one")]
    clock.now_s += KEPT_S + 1
    cache.put(b"four")  # and whenever something new comes
    assert [copy.sha256 for copy in cache.copies()] == [digest(b"four")]


def test_copies_tell_whose_they_are_wherever_the_signature_is(tmp_path: Path) -> None:
    cache = AvatarCache(tmp_path)
    early = avatar_file(300_000)
    sections = read_sections(early)
    owner = {name: sections.pop(name) for name in ("owner", "signature")}
    late = write_sections(sections | owner)  # signed over other rows: wrong, but found
    for data in (early, late, b"damaged"):
        cache.put(data)
    found = {copy.sha256: copy.ownership() for copy in cache.copies()}
    mine = found[digest(early)]
    assert mine is not None
    assert mine.owner == public_bytes(KEY)
    assert found[digest(b"damaged")] is None


def test_only_who_owns_a_copy_has_it_deleted(tmp_path: Path) -> None:
    cache, data = AvatarCache(tmp_path), avatar_file(1_000)
    cache.put(data)
    other = Ed25519PrivateKey.from_private_bytes(bytes([2]) * 32)
    assert not cache.forget_for(digest(data), other.sign(message(digest(data))))
    assert not cache.forget_for("../x", bytes(64))
    assert cache.get(digest(data)) == data
    assert cache.forget_for(digest(data), KEY.sign(message(digest(data))))
    assert cache.get(digest(data)) is None
