"""One's own avatar on this machine: kept, shown by default, replaced whole, deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from telepresence.avatar.deletion import tombstones
from telepresence.avatar.file import load, load_bytes, pack
from telepresence.avatar.model import Avatar
from telepresence.avatar.owner import data_folder, verify
from telepresence.avatar.samples import sample_avatar
from telepresence.avatar.sections import digest
from telepresence.enrolment import own, showing
from telepresence.errors import InputError


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


def mine(name: str = "Ada") -> Avatar:
    sample = sample_avatar()
    return Avatar(name, sample.references, sample.neutral, sample.background)


def test_nobody_has_an_avatar_at_first() -> None:
    assert own.own_avatar(print) is None
    assert own.kept_digest() == ""


@pytest.mark.parametrize(("made", "label"), [("live", "avatar"), ("video", "photo avatar"), ("photos", "photo avatar")])
def test_what_is_kept_is_signed_says_how_it_was_made_and_is_found(made: str, label: str) -> None:
    sha256 = own.keep(pack(mine()), made)
    path = own.own_avatar(print)
    assert path == own.own_avatar_path()
    assert path.stat().st_mode & 0o777 == 0o600
    assert digest(load_bytes(path)) == sha256 == own.kept_digest()
    found = verify(load_bytes(path))
    assert found is not None
    assert (found.label, found.made) == (label, made)


def test_a_damaged_one_is_said_and_keeps_nobody_from_a_call() -> None:
    own.keep(pack(mine()), "live")
    own.own_avatar_path().write_bytes(b"nonsense")
    said: list[str] = []
    assert own.own_avatar(said.append) is None
    assert len(said) == 1
    assert str(own.own_avatar_path()) in said[0]


def test_what_cannot_be_written_leaves_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    before = own.keep(pack(mine()), "live")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("telepresence.avatar.file.tempfile.NamedTemporaryFile", full)
    with pytest.raises(InputError, match=r"No space left on device.*The one before is still there"):
        own.keep(pack(mine("Another")), "live")
    assert own.kept_digest() == before


def test_deleted_is_deleted_and_others_are_asked_to_delete_theirs() -> None:
    assert own.forget() is False
    sha256 = own.keep(pack(mine()), "live")
    left = data_folder() / f".{own.NAME}.abc"
    left.write_bytes(b"half of a file, of a crash")
    assert own.forget() is True
    assert not own.own_avatar_path().exists()
    assert not left.exists()
    assert [one.sha256 for one in tombstones()] == [sha256]
    assert own.own_avatar(print) is None


def test_what_is_worn_is_described(tmp_path: Path) -> None:
    assert showing.described(None)["worn"] == "none"
    sample = pack(sample_avatar())
    assert showing.described(sample)["there"] is False
    own.keep(pack(mine()), "live")
    data = load_bytes(own.own_avatar_path())
    assert showing.described(data) == {"there": True, "worn": "own", "name": "Ada", "label": "avatar", "made": "live"}
    assert showing.described(b"nonsense" * 50)["worn"] == "file"
    jpeg = showing.picture(data)
    assert jpeg is not None
    assert jpeg.startswith(b"\xff\xd8")
    assert showing.picture(None) is None
    assert load(own.own_avatar_path()).name == "Ada"
