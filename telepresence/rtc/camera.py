"""Where camera pictures come from besides the page: a file in real time, a device, or recorded motion without a camera.

Each source is a thread. A source that fails says so once and tries again, so that a camera may be plugged in late.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from telepresence.errors import InputError, MediaError
from telepresence.rtc.landmarker import CameraPicture
from telepresence.rtc.monotonic import now_us
from telepresence.wire.codec import MotionPacket

if TYPE_CHECKING:
    from telepresence.media import ClipInfo

logger = logging.getLogger(__name__)

RETRY_S: Final = 2.0  # after a camera was lost
DEVICE_SIZE: Final = "640x480"
DEVICE_FPS: Final = "30"
MAX_LAG_US: Final = 500_000  # a file that cannot be decoded in time skips ahead rather than lag
WORDS: Final = ("browser", "sample", "none")


def kind_of(camera: str) -> str:
    """`browser`, `sample`, `none`, `file` or `device`, from what `--camera` was given.

    Raises:
        InputError: neither a word nor something that exists.
    """
    if camera in WORDS:
        return camera
    path = Path(camera)
    if re.fullmatch(r"/dev/video\d+", camera) or path.is_char_device():
        if not path.exists():
            raise InputError(f"{camera}: there is no such camera; ls /dev/video* shows those that are connected")
        return "device"
    words = ", ".join(WORDS)
    if not path.exists():
        raise InputError(
            f"--camera {camera}: there is no such file; {words} and devices such as /dev/video0 do as well"
        )
    if not path.is_file():
        raise InputError(f"--camera {camera}: neither {words} nor a video file nor a device such as /dev/video0")
    return "file"


class Source:
    """A thread that produces until it is closed.

    Args:
        name: for the log.
        produce: one run of the source: an iterator of steps; what it yields is ignored.
        on_state: gets True when the source runs, False when it is lost; in the source's thread.
    """

    def __init__(
        self, name: str, produce: Callable[[Source], Iterator[None]], on_state: Callable[[bool], None]
    ) -> None:
        self._name = name
        self._produce = produce
        self._on_state = on_state
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"camera-{name}", daemon=True)

    def start(self) -> None:
        """Start producing."""
        self._thread.start()

    def close(self) -> None:
        """Stop, and wait for the thread a little: a device may block."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2)

    def wait_until(self, time_us: int) -> bool:
        """Sleep until then; False if the source is being closed."""
        return not self._stop.wait(max(0, time_us - now_us()) / 1e6)

    def _work(self) -> None:
        said = ""
        while not self._stop.is_set():
            try:
                running = False
                for _ in self._produce(self):
                    if not running:
                        running, said = True, ""
                        self._on_state(True)
                    if self._stop.is_set():
                        return
            except (MediaError, OSError) as error:
                if str(error) != said:
                    said = str(error)
                    logger.warning("camera: %s", said)
            except Exception:
                logger.exception("camera %s failed", self._name)
            self._on_state(False)
            self._stop.wait(RETRY_S)


def moving_clip(path: Path) -> ClipInfo:
    """What a file's header says that is to be a camera.

    Raises:
        MediaError: it cannot be read, or is a photo.
    """
    from telepresence.media import clip_info, is_photo

    if is_photo(path):
        raise MediaError(f"{path}: a photo does not move; use a clip, and the photo with: telepresence enrol")
    return clip_info(path)


def file_source(
    path: Path,
    put: Callable[[CameraPicture], Any],
    on_state: Callable[[bool], None],
    on_begin: Callable[[int], None] = lambda start_us: None,
) -> Source:
    """A video file as a camera: at its own pace, over and over.

    `on_begin` is told, in the source's thread, where the file's first picture lies on our clock: at every beginning,
    and when it had to skip.

    Raises:
        MediaError: it cannot be read.
    """
    gap_us = round(1e6 / max(moving_clip(path).fps, 1.0))

    def produce(source: Source) -> Iterator[None]:
        from telepresence.media import read_frames

        start_us = now_us()
        while True:
            last_us = 0
            on_begin(start_us)
            for frame in read_frames(path):
                last_us = frame.time_us
                due_us = start_us + frame.time_us
                if now_us() > due_us + MAX_LAG_US:
                    start_us = now_us() - frame.time_us
                    on_begin(start_us)
                if not source.wait_until(due_us):
                    return
                put(CameraPicture(frame.picture, now_us()))
                yield
            start_us += last_us + gap_us

    return Source("file", produce, on_state)


def device_source(device: str, put: Callable[[CameraPicture], Any], on_state: Callable[[bool], None]) -> Source:
    """A camera of this machine, such as /dev/video0 (Video4Linux)."""

    def produce(source: Source) -> Iterator[None]:
        import av

        with _opened_device(av, device) as container:
            for frame in container.decode(video=0):
                put(CameraPicture(frame, now_us()))
                yield
        raise MediaError(f"{device}: the camera was disconnected")

    return Source("device", produce, on_state)


def _opened_device(av: Any, device: str) -> Any:
    try:
        options = {"video_size": DEVICE_SIZE, "framerate": DEVICE_FPS}
        return av.open(device, format="v4l2", options=options)
    except av.FFmpegError:
        try:
            return av.open(device, format="v4l2")  # a camera without that mode gets to choose
        except av.FFmpegError as error:
            raise MediaError(
                f"{device} cannot be opened ({error.strerror}); does another program use it, "
                "and are you in the group 'video'?"
            ) from error


def sample_source(
    packets: list[MotionPacket], put: Callable[[MotionPacket], Any], on_state: Callable[[bool], None]
) -> Source:
    """Recorded motion, at its own pace, over and over: moves with no camera at all."""
    if len(packets) < 2:
        raise MediaError("the recorded motion is empty; reinstall telepresence")
    first_us = packets[0].capture_us
    length_us = (packets[-1].capture_us - first_us) * len(packets) // (len(packets) - 1)

    def produce(source: Source) -> Iterator[None]:
        start_us, sequence = now_us(), 0
        while True:
            for packet in packets:
                if not source.wait_until(start_us + packet.capture_us - first_us):
                    return
                sequence = (sequence + 1) & 0xFFFFFFFF
                put(replace(packet, sequence=sequence, capture_us=now_us()))
                yield
            start_us += length_us

    return Source("sample", produce, on_state)
