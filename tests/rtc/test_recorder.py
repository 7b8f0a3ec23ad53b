"""The file sink's thread."""

from __future__ import annotations

from pathlib import Path

from telepresence.rtc.recorder import Recorder


def test_when_nobody_came_that_is_said_and_an_earlier_file_stays(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_bytes(b"precious")
    problem = Recorder(tmp_path / "out.mp4", 64, lambda picture, at_us: None).close()
    assert problem is not None
    assert "nobody with a camera was in the room" in problem
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"precious"]
