"""Deleting one's own avatars, and the wish that others do too."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telepresence.avatar.deletion import MAX_TOMBSTONES, delete, message, tombstones, tombstones_path, wished
from telepresence.avatar.owner import own_key
from telepresence.avatar.samples import sample_avatar_bytes
from telepresence.avatar.sections import digest
from telepresence.errors import AvatarError
from tests.rtc.pair import avatar_file

OTHER = Ed25519PrivateKey.from_private_bytes(bytes([2]) * 32)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_what_is_deleted_leaves_a_wish_that_only_its_owner_can_sign(tmp_path: Path) -> None:
    path, data = tmp_path / "me.avatar", avatar_file(2_000, own_key())
    path.write_bytes(data)
    tombstone = delete(path)
    assert tombstone is not None
    assert not path.exists()
    assert tombstones() == (tombstone,)
    assert tombstone.sha256 == digest(data)
    assert wished(data, tombstone.signature)
    assert not wished(data, OTHER.sign(message(digest(data))))
    assert not wished(avatar_file(2_000, own_key()), tombstone.signature)  # another file of the same owner's
    assert not wished(sample_avatar_bytes(), tombstone.signature)
    assert not wished(b"no avatar", b"")


def test_others_cannot_be_asked_for_what_is_not_ours(tmp_path: Path) -> None:
    own_key()
    for data in (avatar_file(2_000, OTHER), avatar_file(2_000, None), b"damaged"):
        path = tmp_path / "theirs.avatar"
        path.write_bytes(data)
        assert delete(path) is None
        assert not path.exists()
    assert tombstones() == ()
    with pytest.raises(AvatarError, match="cannot be read"):
        delete(tmp_path / "nobody.avatar")


def test_the_newest_are_kept_and_a_damaged_list_counts_as_none(tmp_path: Path) -> None:
    path, last = tmp_path / "me.avatar", ""
    for _ in range(MAX_TOMBSTONES + 1):
        data = avatar_file(10, own_key())
        path.write_bytes(data)
        delete(path)
        last = digest(data)
    assert len(tombstones()) == MAX_TOMBSTONES
    assert tombstones()[0].sha256 == last
    assert tombstones_path().stat().st_mode & 0o777 == 0o600
    for damaged in (b"{", b"[1]", b'[{"sha256":"xy","signature":"","deleted_s":0}]', b"[" * 100_000):
        tombstones_path().write_bytes(damaged)
        assert tombstones() == ()
