"""The file sink's thread."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from telepresence.errors import MediaError
from telepresence.rtc.recorder import Recorder
from telepresence.rtc.renderer import Picture
from telepresence.sinks import provenance
from telepresence.sinks.label import LABELS, label
from telepresence.sinks.provenance import check_recording
from tests.clips import read_pictures


def test_when_nobody_came_that_is_said_and_an_earlier_file_stays(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_bytes(b"precious")
    problem = Recorder(tmp_path / "out.mp4", 64, lambda picture, at_us: None).close()
    assert problem is not None
    assert "nobody with a camera was in the room" in problem
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"precious"]


def record(path: Path, count: int = 5, text: str = "avatar") -> str | None:
    """A grey recording; why it failed, if it did."""
    written = threading.Semaphore(0)
    recorder = Recorder(path, 256, lambda picture, at_us: written.release())
    shared = np.full((256, 256, 3), 128, np.uint8)
    i420 = np.full((384, 256), 128, np.uint8)
    for index in range(count):
        recorder.put(Picture("a", i420, shared, None, index * 33_333, 0, text))
        assert written.acquire(timeout=10)
    assert (shared == 128).all()  # others show the same picture
    return recorder.close()


@pytest.mark.parametrize("text", LABELS)
def test_a_recording_says_what_its_pictures_are_of(tmp_path: Path, text: str) -> None:
    assert record(tmp_path / "out.mp4", text=text) is None
    wanted = np.full((256, 256, 3), 128, np.uint8)
    label(text, 256).draw(wanted)
    for picture in read_pictures(tmp_path / "out.mp4"):
        off = np.abs(picture.astype(int) - wanted).mean(2)
        assert off[:40].mean() < 4  # another text is off by more than twice that


def test_a_recording_is_labelled_and_says_where_it_comes_from(tmp_path: Path) -> None:
    pytest.importorskip("c2pa")
    out = tmp_path / "out.mp4"
    assert record(out) is None
    patch = label("avatar", 256)
    height, width = patch.keep.shape[:2]
    for picture in read_pictures(out):
        assert picture[patch.top : patch.top + height, patch.left : patch.left + width].max() > 200
        assert np.abs(picture[128:].astype(int) - 128).max() < 8
    found = check_recording(out)
    assert found is not None
    assert (found.state, found.synthetic) == ("Valid", True)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("failure", [MediaError("the disk is full"), RuntimeError("within the library")])
def test_a_recording_that_cannot_be_signed_is_there_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Path) -> None:
        raise failure

    monkeypatch.setattr(provenance, "available", lambda: True)
    monkeypatch.setattr(provenance, "sign_recording", refuse)
    assert record(tmp_path / "out.mp4") is None
    assert len(read_pictures(tmp_path / "out.mp4")) == 5
    assert "without content credentials" in caplog.text


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A disk of its own on a folder."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        warnings.warn("no disk could be mounted: a full one was not tried", stacklevel=3)
        pytest.skip("mounting a small disk takes root, and a kernel that allows it")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_up_is_said_at_once_and_costs_nothing_that_was_there(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "1500k"):
        out = disk / "call.mp4"
        out.write_bytes(b"an earlier recording")
        failed: list[str] = []
        written = threading.Semaphore(0)
        recorder = Recorder(out, 256, lambda picture, at_us: written.release(), on_failed=failed.append)
        rng = np.random.default_rng(1)
        i420 = np.zeros((384, 256), np.uint8)
        for index in range(400):
            noise = rng.integers(0, 255, (256, 256, 3), np.uint8)
            recorder.put(Picture("a", i420, noise, None, index * 33_333, 0))
            while not written.acquire(timeout=0.05) and not failed:
                pass
            if failed:
                break
        (problem,) = failed
        assert "No space left" in problem
        assert "the recording has stopped" in problem
        said = recorder.close()
        assert said is not None
        assert "what was recorded is in" in said
        assert out.read_bytes() == b"an earlier recording"
        saved = disk / "call.partial.mp4"
        count = 0
        with av.open(str(saved)) as container, contextlib.suppress(ValueError):
            for _ in container.decode(video=0):
                count += 1
        assert count > 10
        assert sorted(path.name for path in disk.iterdir()) == ["call.mp4", "call.partial.mp4"]
