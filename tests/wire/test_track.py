from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telepresence.avatar.samples import load_track, sample_motion, sample_track
from telepresence.errors import MediaError
from telepresence.face.motion import Motion, Pose
from telepresence.wire.codec import MotionPacket
from telepresence.wire.track import MotionTrack, pack_track, unpack_track


def motion(turn: float) -> Motion:
    pose = Pose(np.array([0, turn, 0], np.float32), np.zeros(2, np.float32), 0.3)
    return Motion(pose, np.zeros(3, np.float32), np.zeros((2, 2), np.float32))


TRACK = MotionTrack(tuple(MotionPacket(i, i * 40_000, motion(i / 10)) for i in range(4)), 160_000)
FILE = pack_track(TRACK)


def test_round_trip() -> None:
    back = unpack_track(FILE)
    assert back.period_us == 160_000
    assert [p.capture_us for p in back.packets] == [0, 40_000, 80_000, 120_000]
    assert [round(float(p.motion.pose.rotation[1]), 3) for p in back.packets] == [0.0, 0.1, 0.2, 0.3]


def test_layout_is_as_documented() -> None:
    assert FILE[:24] == b"\x89MOTION\n" + bytes([0, 1, 0, 0, 0, 0, 0, 4]) + (160_000).to_bytes(8, "big")
    length = int.from_bytes(FILE[24:26], "big")
    assert len(FILE) == 24 + 4 * (2 + length)


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, len(FILE)), junk=st.binary(max_size=12), cut=st.integers(0, len(FILE)))
def test_whatever_a_file_holds_only_media_errors_come(at: int, junk: bytes, cut: int) -> None:
    for data in (FILE[:at] + junk + FILE[at + len(junk) :], FILE[:cut], junk):
        with contextlib.suppress(MediaError):
            unpack_track(data)


def test_times_must_ascend() -> None:
    for packets, period in ((TRACK.packets[::-1], 160_000), (TRACK.packets, 120_000)):
        with pytest.raises(MediaError, match="ascend"):
            unpack_track(pack_track(MotionTrack(packets, period)))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="check the path"):
        load_track(tmp_path / "nobody.motion")


def test_the_sample_moves_and_loops_without_a_jump() -> None:
    packets, track = sample_motion(), sample_track()
    assert 15_000_000 <= track.period_us <= 20_000_000
    poses = np.array([(*p.motion.pose.rotation, *p.motion.pose.translation, p.motion.pose.scale) for p in packets])
    step = np.abs(np.diff(poses, axis=0))
    assert np.ptp(poses[:, 0]) > 0.1
    assert (np.abs(poses[0] - poses[-1]) <= step.max(0)).all()
    expression = np.array([p.motion.expression for p in packets])
    assert np.linalg.norm(expression[0] - expression[-1]) < np.linalg.norm(np.diff(expression, axis=0), axis=1).max()
    assert not any(p.rest for p in packets)
