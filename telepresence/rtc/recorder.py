"""The file sink: the first participant's pictures, as they come, into an MP4. Encoding has a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from telepresence.errors import MediaError
from telepresence.rtc.mailbox import Mailbox
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.renderer import Picture
from telepresence.sinks.recording import VideoWriter

logger = logging.getLogger(__name__)

NOMINAL_FPS: Final = 30.0  # in the file's header; every picture carries its own time


class Recorder:
    """Writes pictures to a file until it is closed.

    Args:
        on_written: told of each picture and when it was written, in the recorder's thread.

    Raises:
        MediaError: the file cannot be written.
    """

    def __init__(self, path: Path, size: int, on_written: Callable[[Picture, int], Any]) -> None:
        self._path = path
        self._on_written = on_written
        self._writer = VideoWriter(path, size, NOMINAL_FPS)
        self._mailbox: Mailbox[Picture] = Mailbox()
        self._any = False
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def put(self, picture: Picture) -> None:
        """A picture with RGB, from any thread."""
        self._mailbox.put(picture)

    def close(self) -> str | None:
        """Finish the file; None if it is there, else why not."""
        self._mailbox.close()
        self._thread.join(timeout=10)
        if not self._any:
            self._writer.discard()
            return f"{self._path}: no picture came, for nobody with a camera was in the room"
        try:
            self._writer.close()
        except MediaError as error:
            return str(error)
        return None

    def _work(self) -> None:
        first_us: int | None = None
        while not self._mailbox.closed:
            picture = self._mailbox.take()
            if picture is None or picture.rgb is None:
                continue
            first_us = picture.rendered_us if first_us is None else first_us
            self._any = True
            try:
                self._writer.write(picture.rgb, picture.rendered_us - first_us)
            except (OSError, ValueError):
                logger.exception("a picture could not be recorded to %s", self._path.name)
                return
            self._on_written(picture, now_us())
