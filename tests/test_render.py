from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from telepresence.avatar.enrol import enrol
from telepresence.avatar.file import save
from telepresence.avatar.samples import SAMPLE_MOTION, sample_avatar, sample_track
from telepresence.errors import AvatarError, EngineError, FaceError, InputError, MediaError
from telepresence.face.landmarks import LandmarkTracker
from telepresence.face.topology import MOUTH_OPENING
from telepresence.media import clip_info, read_frames
from telepresence.render import render, render_files
from telepresence.runtime.info import DEFAULT_ENGINE
from telepresence.wire.track import MotionTrack, pack_track
from tests.clips import moving_portrait, portrait, read_pictures, write_clip

FASTSTART = {"movflags": "+faststart"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of the portrait wandering sideways, with sound; the face is gone for ten frames."""
    pictures = moving_portrait(50)
    for i in range(20, 30):
        pictures[i] = np.full_like(pictures[i], 40)
    return write_clip(tmp_path_factory.mktemp("render") / "drive.mp4", pictures, sound="aac")


def test_one_picture_comes_out_per_frame(clip: Path, tmp_path: Path) -> None:
    done: list[tuple[int, int | None]] = []
    report = render(sample_avatar(), clip, tmp_path / "out.mp4", progress=lambda n, of: done.append((n, of)))
    info = clip_info(tmp_path / "out.mp4")
    assert (info.width, info.height, info.fps, info.frames, info.has_sound) == (256, 256, 25.0, 50, True)
    assert (report.frames, report.lost, report.sound) == (50, 10, True)
    assert done[-1] == (50, 50)
    assert 0 < report.payload_bytes <= 50 * 1160
    assert set(report.stages_ms) == {"decode", "landmarks", "motion", "keypoints", "engine", "recording"}
    fields = json.loads(report.json())
    assert fields["engine"].startswith(f"{DEFAULT_ENGINE} ")
    assert fields["versions"]["mediapipe"]
    assert "50 pictures, 10 without a face" in report.text()


def test_without_a_face_the_avatar_holds_still(clip: Path, tmp_path: Path) -> None:
    render(sample_avatar(), clip, tmp_path / "out.mp4")
    pictures = [picture.astype(int) for picture in read_pictures(tmp_path / "out.mp4")]
    assert max(np.abs(pictures[i] - pictures[19]).mean() for i in range(20, 30)) < 1
    assert np.abs(pictures[49] - pictures[19]).mean() > 1


def test_before_the_first_face_the_avatar_is_at_rest_and_that_is_said(tmp_path: Path) -> None:
    pictures = moving_portrait(6)
    pictures[:4] = [np.full_like(pictures[0], 99)] * 4
    report = render(sample_avatar(), write_clip(tmp_path / "late.mp4", pictures), tmp_path / "out.mp4")
    assert (report.frames, report.lost) == (6, 4)
    assert [warning.partition(": ")[2] for warning in report.warnings] == [
        "no face was found in 4 of 6 pictures; the avatar held still there"
    ]
    shown = read_pictures(tmp_path / "out.mp4")[3].astype(int)
    assert np.abs(shown - cv2.resize(portrait(), (256, 256), interpolation=cv2.INTER_AREA)).mean() < 12


def test_a_clip_without_any_face_is_refused_and_the_old_file_kept(tmp_path: Path) -> None:
    empty = write_clip(tmp_path / "wall.mp4", [np.full((48, 64, 3), 99, np.uint8)] * 5)
    (tmp_path / "out.mp4").write_bytes(b"precious")
    with pytest.raises(FaceError, match=r"wall\.mp4: no face was found in any of its 5 pictures"):
        render(sample_avatar(), empty, tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").read_bytes() == b"precious"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_clip_that_ends_early_is_rendered_and_that_is_said(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mp4", moving_portrait(50))
    with av.open(str(whole)) as source, av.open(str(tmp_path / "moved.mp4"), "w", options=FASTSTART) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    with av.open(str(tmp_path / "moved.mp4")) as moved:
        places = [packet.pos for packet in moved.demux(video=0) if packet.pos is not None]
    cut = tmp_path / "cut.mp4"
    cut.write_bytes((tmp_path / "moved.mp4").read_bytes()[: places[30]])
    report = render(sample_avatar(), cut, tmp_path / "out.mp4")
    assert report.frames == 30
    assert [warning.partition(": ")[2] for warning in report.warnings] == [
        "ends early, after 30 of 50 pictures; was it copied completely?"
    ]
    assert render(sample_avatar(), whole, tmp_path / "out.mp4").warnings == []


def test_absolute_framing_is_aligned_with_the_clip_it_was_enrolled_from(tmp_path: Path) -> None:
    drive = write_clip(tmp_path / "me.mp4", moving_portrait(40, width=380, step=1))
    avatar = enrol([drive], name="Me")
    render(avatar, drive, tmp_path / "out.mp4", framing="absolute")
    with LandmarkTracker() as one, LandmarkTracker() as other:
        pairs = zip(read_frames(drive), read_pictures(tmp_path / "out.mp4"), strict=True)
        for index, (frame, shown) in enumerate(pairs):
            square = cv2.resize(frame.picture[:, 30:350], (256, 256), interpolation=cv2.INTER_AREA)
            wanted, found = one(square), other(shown)
            if index % 8 == 0:
                assert wanted is not None
                assert found is not None
                assert np.abs(found - wanted)[:, :2].mean() < 2  # of 256 pixels


def test_the_sample_moves_without_any_camera(tmp_path: Path) -> None:
    track = sample_track()
    (tmp_path / "short.motion").write_bytes(pack_track(MotionTrack(track.packets[:60], track.packets[60].capture_us)))
    report = render_files(None, tmp_path / "short.motion", tmp_path / "out.mp4", json_out=tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["frames"] == report.frames == 60
    assert clip_info(tmp_path / "out.mp4").fps == pytest.approx(25, abs=0.1)
    with LandmarkTracker() as tracker:
        found = [tracker(frame.picture) for frame in read_frames(tmp_path / "out.mp4")]
    faces = [f for f in found if f is not None]
    assert len(faces) >= 58
    assert np.ptp([np.linalg.norm(f[MOUTH_OPENING[0]] - f[MOUTH_OPENING[1]]) for f in faces]) > 2
    assert SAMPLE_MOTION.stat().st_size < 200_000


def test_an_avatar_file_and_512_pixels(clip: Path, tmp_path: Path) -> None:
    save(sample_avatar(), tmp_path / "me.avatar")
    short = write_clip(tmp_path / "short.mp4", moving_portrait(3))
    render_files(tmp_path / "me.avatar", short, tmp_path / "out.mp4", size=512)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.width == 512


def test_bad_input_says_what_to_do_and_keeps_the_old_file(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"precious")
    (tmp_path / "corrupt.mp4").write_bytes(clip.read_bytes()[:3000])
    (tmp_path / "cut.avatar").write_bytes(b"\x89AVATAR\n\0\1")
    with pytest.raises(MediaError, match=r"corrupt\.mp4"):
        render(sample_avatar(), tmp_path / "corrupt.mp4", out)
    with pytest.raises(MediaError, match=r"nobody\.mp4"):
        render(sample_avatar(), tmp_path / "nobody.mp4", out)
    with pytest.raises(AvatarError, match=r"cut\.avatar: .*cut short"):
        render_files(tmp_path / "cut.avatar", clip, out)
    with pytest.raises(EngineError):
        render(sample_avatar(), clip, out, engine="nothing")
    with pytest.raises(InputError, match=r"name it out\.mp4"):
        render(sample_avatar(), clip, tmp_path / "out.avi")
    with pytest.raises(InputError, match="to be read here"):
        render(sample_avatar(), clip, clip)
    assert out.read_bytes() == b"precious"
    assert not list(tmp_path.glob(".out*"))


def test_a_clip_that_breaks_off_in_the_middle_leaves_no_half_recording(clip: Path, tmp_path: Path) -> None:
    data = clip.read_bytes()
    hurt = tmp_path / "hurt.mp4"
    middle = data.index(b"mdat") + 60_000
    hurt.write_bytes(data[:middle] + bytes(30_000) + data[middle + 30_000 :])
    with pytest.raises(MediaError, match="damaged"):
        render(sample_avatar(), hurt, tmp_path / "out.mp4")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hurt.mp4"]


def test_a_stranger_drives_a_photo(faces: Path, tmp_path: Path) -> None:
    avatar = enrol([faces / "photos" / "obama.jpg"], name="Someone")
    report = render(avatar, faces / "dev" / "mouth_source_256.mp4", tmp_path / "out.mp4")
    assert report.lost <= report.frames // 10
    with LandmarkTracker() as tracker:
        seen = [tracker(frame.picture) is not None for frame in read_frames(tmp_path / "out.mp4")]
    assert np.mean(seen) > 0.9
