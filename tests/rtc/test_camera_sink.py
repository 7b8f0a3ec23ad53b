"""The camera sink, with a camera that only listens in the place of the library's."""

from __future__ import annotations

import sys
import threading
import types
from pathlib import Path

import numpy as np
import pytest

from telepresence.errors import InputError
from telepresence.rtc import camera_sink
from telepresence.rtc.camera_sink import CameraSink
from telepresence.rtc.stage import Picture
from telepresence.sinks.label import label
from telepresence.sinks.virtual_camera import canvas
from tests.rtc.call import edge, hub
from tests.rtc.pair import run, until


class Device:
    """As `pyvirtualcam.Camera`."""

    def __init__(self, width: int, height: int, fps: float, *, device: str | None = None) -> None:
        if device == "/dev/nothing":
            raise RuntimeError("no such device")
        self.shape = (height, width, 3)
        self.device = device or "/dev/video10"
        self.sent: list[np.ndarray] = []
        self.came = threading.Semaphore(0)
        self.broken = False
        self.closed = False
        devices.append(self)

    def send(self, picture: np.ndarray) -> None:
        if self.broken:
            raise RuntimeError("unplugged")
        assert picture.shape == self.shape
        assert picture.dtype == np.uint8
        self.sent.append(picture.copy())
        self.came.release()

    def close(self) -> None:
        self.closed = True


devices: list[Device] = []


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    devices.clear()
    module = types.ModuleType("pyvirtualcam")
    module.Camera = Device  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyvirtualcam", module)
    monkeypatch.setattr(camera_sink, "AGAIN_S", 0.02)


def picture(level: int, text: str = "photo avatar") -> Picture:
    return Picture("a", np.zeros((384, 256), np.uint8), np.full((256, 256, 3), level, np.uint8), None, 0, 0, text)


def test_pictures_come_labelled_and_the_last_one_again() -> None:
    shown: list[Picture] = []
    sink = CameraSink("", lambda one, at_us: shown.append(one), pytest.fail)
    device = devices[0]
    assert sink.device == "/dev/video10"
    assert device.came.acquire(timeout=5)  # grey before anybody is there: programs find a camera
    assert len(np.unique(device.sent[0])) <= 3
    sink.put(picture(200))
    wanted = canvas(label("photo avatar", 256).on_copy(picture(200).rgb))  # type: ignore[arg-type]
    for _ in range(100):
        assert device.came.acquire(timeout=5)
        if np.array_equal(device.sent[-1], wanted):
            break
    count = len(device.sent)
    for _ in range(3):
        assert device.came.acquire(timeout=5)
    assert len(device.sent) > count
    assert np.array_equal(device.sent[-1], wanted)
    sink.close()
    assert device.closed
    assert [one.label for one in shown] == ["photo avatar"]  # repeating it is not showing it


def test_a_camera_that_fails_is_said_once_and_ends_nothing() -> None:
    failed: list[str] = []
    told = threading.Event()
    sink = CameraSink("/dev/video3", lambda one, at_us: None, lambda why: (failed.append(why), told.set()))
    devices[0].broken = True
    assert told.wait(5)
    sink.put(picture(1))
    sink.close()
    assert len(failed) == 1
    assert "unplugged" in failed[0]


def test_without_a_device_it_says_what_to_install() -> None:
    with pytest.raises(InputError, match="virtual camera needs"):
        CameraSink("/dev/nothing", lambda one, at_us: None, pytest.fail)


def test_a_call_is_shown_recorded_and_in_the_camera_at_once(tmp_path: Path) -> None:
    out = tmp_path / "call.mp4"

    async def test() -> None:
        async with (
            hub() as url,
            edge(url, camera="none", sink=("browser", "camera", str(out))) as receiver,
            edge(url, camera="sample", sink="null"),
        ):
            drawing = receiver._drawing
            assert drawing is not None
            await until(lambda: bool(receiver.stats()["fps"]), 20)
            bright = canvas(label("sample avatar", 256).on_copy(np.zeros((256, 256, 3), np.uint8))) > 200
            await until(lambda: bool((devices[0].sent[-1][bright] > 150).mean() > 0.8), 10)
            assert drawing.recorder is not None
            await until(lambda: drawing.recorder._writer._count > 5, 15)  # type: ignore[union-attr]
            (someone,) = receiver.page_room.fields()["participants"]
            assert (someone["label"], someone["unshown"]) == ("sample avatar", "")
            assert receiver.page_room.fields()["size"] == 256

    run(test, 60)
    assert devices[0].closed
    assert out.stat().st_size > 1000
