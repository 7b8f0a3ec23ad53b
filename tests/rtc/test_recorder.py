"""The file sink's thread."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from telepresence.errors import MediaError
from telepresence.rtc.recorder import Recorder
from telepresence.rtc.renderer import Picture
from telepresence.sinks import provenance
from telepresence.sinks.label import label
from telepresence.sinks.provenance import check_recording
from tests.clips import read_pictures


def test_when_nobody_came_that_is_said_and_an_earlier_file_stays(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_bytes(b"precious")
    problem = Recorder(tmp_path / "out.mp4", 64, lambda picture, at_us: None).close()
    assert problem is not None
    assert "nobody with a camera was in the room" in problem
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"precious"]


def record(path: Path, count: int = 5) -> str | None:
    """A grey recording; why it failed, if it did."""
    written = threading.Semaphore(0)
    recorder = Recorder(path, 256, lambda picture, at_us: written.release())
    shared = np.full((256, 256, 3), 128, np.uint8)
    i420 = np.full((384, 256), 128, np.uint8)
    for index in range(count):
        recorder.put(Picture("a", i420, shared, None, index * 33_333, 0))
        assert written.acquire(timeout=10)
    assert (shared == 128).all()  # others show the same picture
    return recorder.close()


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
