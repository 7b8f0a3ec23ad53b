"""Camera sources and the landmark worker."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from telepresence.avatar.samples import sample_motion
from telepresence.edge.pacing import LOOKS, STEPS_PER_S
from telepresence.errors import InputError, MediaError, TelepresenceError
from telepresence.media import read_frames
from telepresence.rtc.camera import Source, file_source, kind_of, sample_source
from telepresence.rtc.landmarker import REST_EVERY_US, CameraPicture, Landmarker, MotionMaker, Tracked
from telepresence.rtc.mailbox import Mailbox
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.sender import Sender
from telepresence.wire.codec import MotionPacket
from telepresence.wire.plain import decode, encode


@pytest.mark.parametrize("word", ["browser", "sample", "none"])
def test_words(word: str) -> None:
    assert kind_of(word) == word


def test_what_is_no_camera_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"")
    assert kind_of(str(tmp_path / "clip.mp4")) == "file"
    with pytest.raises(InputError, match="ls /dev/video"):
        kind_of("/dev/video99")
    with pytest.raises(InputError, match="--camera"):
        kind_of(str(tmp_path))


def test_a_clip_that_cannot_be_read_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"not a clip")
    with pytest.raises(MediaError):
        file_source(tmp_path / "clip.mp4", lambda picture: None, lambda running: None)


def short_clip(path: Path, pictures: int = 6, fps: int = 60) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for n in range(pictures):
            grey = np.full((64, 64, 3), n * 40, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_a_clip_runs_at_its_own_pace_over_and_over(tmp_path: Path) -> None:
    got: list[CameraPicture] = []
    states: list[bool] = []
    done: Mailbox[bool] = Mailbox()

    def put(picture: CameraPicture) -> None:
        got.append(picture)
        if len(got) == 14:  # more than twice through
            done.put(True)

    source = file_source(short_clip(tmp_path / "clip.mp4"), put, states.append)
    before_us = now_us()
    source.start()
    assert done.take(10)
    source.close()
    times = [picture.capture_us for picture in got]
    assert times == sorted(times)
    assert times[13] - before_us >= 13 * 1e6 / 60 * 0.99  # never early, however busy the machine
    greys = [int(picture.rgb().mean()) // 20 for picture in got[:12]]
    assert greys[:6] == greys[6:]
    assert states[0] is True


def test_recorded_motion_loops_with_times_of_now() -> None:
    got: list[MotionPacket] = []
    done: Mailbox[bool] = Mailbox()

    def put(packet: MotionPacket) -> None:
        got.append(packet)
        if len(got) == 9:
            done.put(True)

    before = now_us()
    source = sample_source(sample_motion()[:4], put, lambda running: None)
    source.start()
    assert done.take(10)
    source.close()
    assert [packet.sequence for packet in got[:9]] == list(range(1, 10))
    times = [packet.capture_us for packet in got]
    assert before <= times[0]
    assert times == sorted(times)
    with pytest.raises(MediaError):
        sample_source([], put, lambda running: None)


def test_a_face_becomes_motion_and_its_absence_rare_rest(faces: Path) -> None:
    clip = sorted((faces / "dev").glob("*.mp4"))[0]
    maker = MotionMaker()
    try:
        for n, frame in enumerate(itertools.islice(read_frames(clip), 5)):
            tracked = maker(CameraPicture(av.VideoFrame.from_ndarray(frame.picture, format="rgb24"), n))
            assert tracked.face
            assert tracked.packet is not None
            assert (tracked.packet.sequence, tracked.packet.capture_us, tracked.packet.rest) == (n + 1, n, False)
            assert isinstance(decode(encode(tracked.packet)), MotionPacket)
        last = tracked.packet
        dark = np.zeros((480, 640, 3), np.uint8)
        sent = [maker(CameraPicture(dark, 10 + n * 33_333)) for n in range(31)]
        assert not any(t.face for t in sent)
        rests = [t.packet for t in sent if t.packet is not None]
        assert len(rests) == 1 + 30 * 33_333 // (-(-REST_EVERY_US // 33_333) * 33_333)
        assert all(packet.rest for packet in rests)
        assert last is not None
        assert rests[0].motion is last.motion
    finally:
        maker.close()


@pytest.fixture(scope="module")
def maker() -> Iterator[MotionMaker]:
    made = MotionMaker()
    yield made
    made.close()


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 4000, 3), (2, 5000, 3), (5000, 1, 3), (4, 4), (4, 4, 4), (0, 0, 3)])
def test_pictures_of_any_size_are_survived(maker: MotionMaker, shape: tuple[int, ...]) -> None:
    with contextlib.suppress(TelepresenceError, ValueError):  # what the worker takes as one picture lost
        assert not maker(CameraPicture(np.zeros(shape, np.uint8), 7)).face
    assert not maker(CameraPicture(np.zeros((64, 64, 3), np.uint8), 8)).face


def test_the_worker_goes_on_after_a_picture_that_is_none(caplog: pytest.LogCaptureFixture) -> None:
    box: Mailbox[Tracked] = Mailbox()
    taken: Mailbox[bool] = Mailbox()

    class Nonsense(CameraPicture):
        def rgb(self) -> NDArray[np.uint8]:
            taken.put(True)
            raise RuntimeError("no picture")

    worker = Landmarker(box.put)
    worker.start()
    try:
        worker.mailbox.put(Nonsense(None, now_us()))
        assert taken.take(20)  # not replaced by the next
        worker.mailbox.put(CameraPicture(np.zeros((64, 64, 3), np.uint8), now_us()))
        assert box.take(10) is not None
    finally:
        worker.close()
    assert not worker._thread.is_alive()
    assert "could not be used" in caplog.text


def test_a_camera_that_stays_away_is_spoken_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("telepresence.rtc.camera.RETRY_S", 0)
    done: Mailbox[bool] = Mailbox()
    tries = itertools.count(1)

    def produce(source: Source) -> Iterator[None]:
        attempt = next(tries)
        if attempt == 5:
            yield
        if attempt == 8:
            done.put(True)
        raise MediaError("unplugged")

    source = Source("device", produce, lambda running: None)
    source.start()
    assert done.take(10)
    source.close()
    assert [record.getMessage() for record in caplog.records] == ["camera: unplugged"] * 2  # before and after it ran


def test_a_sender_that_never_saw_a_face_sends_rest() -> None:
    maker = MotionMaker()
    try:
        tracked = maker(CameraPicture(np.zeros((64, 64, 3), np.uint8), 7))
        assert tracked.packet is not None
        assert tracked.packet.rest
        assert encode(tracked.packet)
    finally:
        maker.close()


def test_a_missing_file_and_a_photo_are_no_cameras(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nosuch\.mp4: there is no such file"):
        kind_of(str(tmp_path / "nosuch.mp4"))
    (tmp_path / "still.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(MediaError, match=r"still\.jpg: a photo does not move"):
        file_source(tmp_path / "still.jpg", lambda picture: None, lambda running: None)


def test_a_slowed_sender_looks_at_fewer_of_its_cameras_pictures_and_then_at_all_again() -> None:
    async def looked_at(measured: float) -> int:
        sender = Sender("browser", None, *([lambda _: None] * 4))
        taken: list[CameraPicture] = []
        assert sender._landmarker is not None
        sender._landmarker.mailbox.put = taken.append  # type: ignore[method-assign,assignment]
        for _ in range(LOOKS):
            sender.pace.measured(measured)
        for n in range(90):
            sender.put(CameraPicture(np.zeros((4, 4, 3), np.uint8), 10_000_000 + n * 33_333))
        return len(taken)

    assert asyncio.run(looked_at(2.0)) == 90
    assert asyncio.run(looked_at(0.5)) == pytest.approx(3 * STEPS_PER_S[0], abs=1)
