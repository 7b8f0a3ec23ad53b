"""`bench headset`: what it says is what it has measured."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from telepresence.bench import blendshapes
from telepresence.bench.headset import HeadsetConfig, write
from telepresence.bench.headset_disparity import geometry, pinhole
from telepresence.bench.headset_eyes import eyes
from telepresence.bench.headset_parallax import lag
from telepresence.bench.headset_scene import own_data_folder
from telepresence.bench.headset_stream import Head, motion, stream
from telepresence.bench.headsettext import headset_text
from telepresence.bench.wire import Clip
from telepresence.face.basis import default_basis
from telepresence.face.motion import Motion, Pose, keypoints
from telepresence.rtc.monotonic import now_us

QUICK = HeadsetConfig(engine="prior", seconds=1.0, page=False)


def test_a_report_of_engine_and_stream_can_be_told_and_kept(tmp_path: Path) -> None:
    report = {"engine": "prior", "size": 256, "problems": ["the page: none"], **eyes(QUICK)}
    with own_data_folder():
        report["stream_1"] = asyncio.run(stream(QUICK, 1))
        report["stream_motion"] = asyncio.run(motion(QUICK))
    assert 0.5 < report["disparity"]["in_pictures"]["share"] < 1.5
    assert report["stream_1"]["pairs_per_s"][0] > 1
    assert report["stream_motion"]["bytes"] == 5995
    write(report, tmp_path / "kept.json")
    text = headset_text(json.loads((tmp_path / "kept.json").read_text()))
    assert f"{report['pair']['pairs_per_s']} a second" in text
    assert "not measured: the page: none" in text


def test_keypoints_are_within_a_tenth_of_two_cameras() -> None:
    assert 0 < geometry()["worst_share"] < 0.1  # not 0: seen from aside, the two are not the same formula


def test_a_camera_sees_what_lies_in_the_plane_where_it_is() -> None:
    right = np.array([1.0, 0.0, 0.0])
    head = np.array([[0.1, 0.0, 0.0], [0.0, 0.0, 0.5]])
    assert pinhole(head, np.array([0.0, 0.0, 1.0]), right) == pytest.approx([0.1, 0.0])
    assert pinhole(head, np.array([0.03, 0.0, 1.0]), right) == pytest.approx([0.1, -0.03])


def test_a_jump_of_the_head_is_answered_once_and_by_no_older_pose() -> None:
    head, now = Head(), now_us()
    head.pose(now, jump=True)
    assert head.seen(now - 1) == []
    assert len(head.seen(now)) == 1
    assert head.seen(now + 10) == []


def test_a_lag_is_found_in_frames_that_come_as_they_like() -> None:
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.uniform(20, 120, 150))
    sway = np.sin(times / 400)
    seen = -0.3 * np.sin((times - 84) / 400) + 0.05 + rng.normal(0, 0.01, len(times))
    found_ms, slope, rest = lag(times, sway, seen)
    assert found_ms == pytest.approx(84, abs=8)
    assert slope == pytest.approx(-0.3, abs=0.02)
    assert rest < 0.02
    assert abs(lag(times, sway, sway)[0]) <= 2


def test_weights_that_follow_the_lips_correlate_with_them() -> None:
    basis = default_basis()
    wave = np.sin(np.arange(120) / 7)
    # the motion that opens the mouth most
    opening = basis.components[:, 14, 1] - basis.components[:, 13, 1]
    gain = np.where(np.arange(len(opening)) == np.abs(opening).argmax(), np.sign(opening), 0)
    pose, still = Pose(np.zeros(3, np.float32), np.zeros(2, np.float32), 0.36), np.zeros((2, 2), np.float32)
    motions = [Motion(pose, (gain * value).astype(np.float32), still) for value in wave]
    points = np.stack([keypoints(motion, basis.mean) for motion in motions])
    row = blendshapes.measure(Clip("made up", 30.0, points, basis.mean, motions))
    assert row["pictures"] == 120 - blendshapes.SETTLED
    assert row["correlation"]["jawOpen"] > 0.8
    assert row["reached"]["tongueOut"] == 0
    found = blendshapes.report([Clip("made up", 30.0, points, basis.mean, motions)])
    assert "jawOpen: correlation" in blendshapes.report_text(found)
