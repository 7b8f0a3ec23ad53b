from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from telepresence.errors import MediaError
from telepresence.sinks.recording import VideoWriter
from telepresence.sinks.unfinished import left_behind, rescue

WRITE = """
import sys, resource, signal, numpy as np
from pathlib import Path
from telepresence.sinks.recording import VideoWriter
limit = int(sys.argv[2])
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
rng = np.random.default_rng(1)
writer = VideoWriter(Path(sys.argv[1]), 64, 30, lasting=True)
for index in range(180 if not limit else 600):
    try:
        writer.write(rng.integers(0, 255, (64, 64, 3), np.uint8))
    except OSError:
        break
if limit:
    writer.close()
print("written", flush=True)
sys.stdin.read()
"""


def seconds(path: Path) -> float:
    """How much of it a player gets to show before it meets the end, or what was cut off."""
    count = 0
    with av.open(str(path)) as container, contextlib.suppress(ValueError):
        for _ in container.decode(video=0):
            count += 1
    return count / 30


def test_what_a_killed_recorder_wrote_plays_and_can_be_rescued(tmp_path: Path) -> None:
    out = tmp_path / "call.mp4"
    out.write_bytes(b"an earlier recording")
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(out), "0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    process.kill()
    process.communicate()
    (fragments,) = left_behind(out)
    assert seconds(fragments) >= 6 - 2.5  # of six: a fragment, and what the encoder looks ahead
    (saved,) = rescue(out)
    assert seconds(saved) >= 3.5
    assert out.read_bytes() == b"an earlier recording"
    assert not left_behind(out)


def test_a_full_disk_keeps_what_was_recorded_and_what_was_there_before(tmp_path: Path) -> None:
    out = tmp_path / "call.mp4"
    out.write_bytes(b"an earlier recording")
    done = subprocess.run(
        [sys.executable, "-c", WRITE, str(out), "600000"], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert "MediaError" in done.stderr
    assert "what was recorded is in" in done.stderr
    assert out.read_bytes() == b"an earlier recording"
    assert seconds(tmp_path / "call.partial.mp4") > 1


def test_a_finished_one_is_an_ordinary_file(tmp_path: Path) -> None:
    out = tmp_path / "call.mp4"
    with VideoWriter(out, 64, 30, lasting=True) as writer:
        for level in range(20):
            writer.write(np.full((64, 64, 3), level, np.uint8))
    assert out.read_bytes().find(b"moof") == -1
    assert seconds(out) == pytest.approx(20 / 30)
    assert list(tmp_path.iterdir()) == [out]


def test_a_recording_without_a_picture_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no picture"), VideoWriter(tmp_path / "a.mp4", 64, 30, lasting=True):
        pass
    assert not list(tmp_path.iterdir())
