"""The commands about whose an avatar is, and where a recording comes from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from telepresence.avatar.enrol import enrol
from telepresence.avatar.file import load, load_bytes, save
from telepresence.avatar.owner import key_path, load_key, public_bytes, verify
from telepresence.avatar.samples import sample_avatar_bytes, sample_track
from telepresence.avatar.sections import digest
from telepresence.cli import main
from telepresence.rtc.cache import AvatarCache
from telepresence.sinks.label import label
from telepresence.sinks.recording import VideoWriter
from telepresence.wire.track import MotionTrack, pack_track
from tests.clips import moving_portrait, portrait, read_pictures, write_clip
from tests.rtc.pair import avatar_file


def call(*arguments: str | Path, **given: str) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments], input=given.get("input"))


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "telepresence"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    cv2.imwrite(str(tmp_path / "me.png"), cv2.cvtColor(portrait(), cv2.COLOR_RGB2BGR))
    return tmp_path / "me.png"


@pytest.fixture
def motion(tmp_path: Path) -> Path:
    track = sample_track()
    (tmp_path / "short.motion").write_bytes(pack_track(MotionTrack(track.packets[:4], track.packets[4].capture_us)))
    return tmp_path / "short.motion"


def test_who_enrols_is_the_owner_and_it_says_how(photo: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "me.mp4", moving_portrait(12))
    for source, made in ((photo, "photos"), (clip, "video")):
        done = call("enrol", source, "--out", tmp_path / f"{made}.avatar", "--references", "2")
        assert done.exit_code == 0, done.output
        found, key = verify(load_bytes(tmp_path / f"{made}.avatar")), load_key()
        assert found is not None
        assert key is not None
        assert (found.owner, found.made, found.label) == (public_bytes(key), made, "photo avatar")
    shown = call("avatar", "show", tmp_path / "photos.avatar", tmp_path / "video.avatar")
    assert shown.exit_code == 0
    assert shown.stdout.count("photo avatar, yours, key ") == 2


def test_a_damaged_key_stops_an_enrolment_before_its_work(photo: Path, data: Path, tmp_path: Path) -> None:
    data.mkdir(parents=True)
    (data / "owner.key").write_bytes(b"damaged")
    (tmp_path / "me.avatar").write_bytes(b"precious")
    done = call("enrol", photo, "--out", tmp_path / "me.avatar")
    assert done.exit_code == 2
    assert "your key is damaged" in done.stderr
    assert (data / "owner.key").read_bytes() == b"damaged"
    assert (tmp_path / "me.avatar").read_bytes() == b"precious"


def test_an_older_file_is_shown_signed_and_its_key_exported(photo: Path, data: Path, tmp_path: Path) -> None:
    path, copy = tmp_path / "old.avatar", tmp_path / "copy.key"
    save(enrol([photo], name="Old"), path)
    assert call("avatar", "export-key", copy).exit_code == 2  # none yet
    before = call("avatar", "show", path)
    assert before.exit_code == 1
    assert "not signed" in before.stdout
    assert not data.exists()
    assert "signed, key" in call("avatar", "sign", path).stdout
    assert "Old: photo avatar, yours, key" in call("avatar", "show", path).stdout
    assert call("avatar", "export-key", copy).exit_code == 0
    assert copy.read_bytes() == key_path().read_bytes()
    again = call("avatar", "export-key", copy)
    assert again.exit_code == 2
    assert "is there already" in again.stderr


def test_somebody_elses_avatar_is_not_signed_again(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "theirs.avatar"
    save(enrol([photo], name="Theirs"), path)
    call("avatar", "sign", path)
    data = path.read_bytes()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "other"))
    refused = call("avatar", "sign", path)
    assert refused.exit_code == 2
    assert "theirs.avatar: the avatar belongs to another key" in refused.stderr
    assert path.read_bytes() == data
    assert "somebody's, key" in call("avatar", "show", path).stdout
    assert load(path).name == "Theirs"


def test_a_rendered_video_is_labelled_unless_told_otherwise(motion: Path, tmp_path: Path) -> None:
    def first(*more: str) -> np.ndarray:
        out = tmp_path / f"out{len(more)}.mp4"
        done = call("render", "--drive", motion, "--out", out, "--engine", "prior", *more)
        assert done.exit_code == 0, done.output
        return read_pictures(out)[0].astype(int)

    changed = np.abs(first() - first("--no-label")).max(2) > 40
    patch = label("sample avatar", 256)
    height, width = patch.keep.shape[:2]
    assert changed[patch.top : patch.top + height, patch.left : patch.left + width].mean() > 0.2
    changed[: patch.top + height + 8, : patch.left + width + 8] = False
    assert not changed.any()


def test_recordings_are_checked_and_rescued(tmp_path: Path) -> None:
    pytest.importorskip("c2pa")
    from telepresence.sinks.provenance import sign_recording

    path = tmp_path / "call.mp4"
    with VideoWriter(path, 64, 30) as writer:
        for level in range(10):
            writer.write(np.full((64, 64, 3), level, np.uint8))
    bare = call("recording", "check", path)
    assert (bare.exit_code, bare.stdout) == (1, f"{path}: no content credentials\n")
    sign_recording(path)
    good = call("recording", "check", path)
    assert good.exit_code == 0
    assert "valid: synthetic media, made with telepresence" in good.stdout
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    assert call("recording", "check", path).exit_code == 1
    assert call("recording", "check", tmp_path / "absent.mp4").exit_code == 2
    assert "nothing was left behind" in call("recording", "rescue", path).stdout
    (tmp_path / ".call.mp4.abcdefgh.mp4").write_bytes(path.read_bytes())
    rescued = call("recording", "rescue", path)
    assert rescued.stdout == f"{tmp_path / 'call.partial.mp4'}: rescued\n"
    assert len(read_pictures(tmp_path / "call.partial.mp4")) == 10


def test_what_is_deleted_is_gone_and_others_are_asked(photo: Path, data: Path, tmp_path: Path) -> None:
    path, foreign = tmp_path / "me.avatar", tmp_path / "foreign.avatar"
    assert call("enrol", photo, "--out", path).exit_code == 0
    save(load(path), foreign)
    kept = call("avatar", "delete", path, input="n\n")
    assert kept.exit_code == 1
    assert path.exists()
    missing = call("avatar", "delete", path, tmp_path / "nobody.avatar", "--yes")
    assert missing.exit_code == 2
    assert path.exists()  # nothing goes when one of them cannot
    gone = call("avatar", "delete", path, "--yes")
    assert gone.exit_code == 0
    assert "is asked to delete it" in gone.stdout
    assert not path.exists()
    assert (data / "deleted.json").exists()
    unsigned = tmp_path / "unsigned.avatar"
    save(replace(load(foreign), owner=None, signature=None), unsigned)
    assert "others cannot be asked" in call("avatar", "delete", unsigned, "--yes").stdout


def test_copies_of_others_are_listed_and_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telepresence.rtc.cache.cache_folder", lambda: tmp_path / "cache")
    assert "no copies" in call("avatar", "cached").stdout
    files = [avatar_file(2_000), sample_avatar_bytes(), b"damaged"]
    for file in files:
        AvatarCache().put(file)
    listed = call("avatar", "cached").stdout
    assert listed.count("7.0 days left") == 3
    for words in ("photo avatar, 8a88", "sample avatar, nobody's", "unusable, nobody's"):
        assert words in listed
    assert call("avatar", "forget").exit_code == 2
    assert call("avatar", "forget", "abc").exit_code == 2
    assert call("avatar", "forget", digest(files[0])[:12]).stdout == "1 deleted\n"
    assert len(AvatarCache().copies()) == 2
    assert call("avatar", "forget", "--all").stdout == "2 deleted\n"
    assert AvatarCache().copies() == []
