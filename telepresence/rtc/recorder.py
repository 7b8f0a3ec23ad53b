"""The file sink: the first participant's pictures, as they come, into an MP4. Encoding has a thread of its own.

Pictures carry their label; the finished file says that it is synthetic media, where the library for that is installed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from telepresence.errors import MediaError, TelepresenceError
from telepresence.rtc.mailbox import Mailbox
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.renderer import Picture
from telepresence.rtc.sound_mixer import OPEN_US, Samples, SoundMixer
from telepresence.rtc.sound_playout import RATE
from telepresence.sinks import provenance
from telepresence.sinks.label import label
from telepresence.sinks.recording import VideoWriter

logger = logging.getLogger(__name__)

NOMINAL_FPS: Final = 30.0  # in the file's header; every picture carries its own time


class Recorder:
    """Writes pictures to a file until it is closed.

    Args:
        on_written: told of each picture and when it was written, in the recorder's thread.
        mixer: what is heard; None: the recording is silent.
        on_failed: told once, in the recorder's thread, that no more is recorded, and why.

    Raises:
        MediaError: the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        size: int,
        on_written: Callable[[Picture, int], Any],
        mixer: SoundMixer | None = None,
        on_failed: Callable[[str], Any] = logger.warning,
    ) -> None:
        self._path = path
        self._on_written = on_written
        self._on_failed = on_failed
        self._writer = VideoWriter(path, size, NOMINAL_FPS, lasting=True)  # a call cannot be had again
        self._mixer = mixer
        if mixer is not None:
            self._writer.add_live_sound(RATE)
        self._mailbox: Mailbox[Picture] = Mailbox()
        self._any = False
        self._last_us = 0
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def put(self, picture: Picture) -> None:
        """A picture with RGB, from any thread."""
        self._mailbox.put(picture)

    def close(self) -> str | None:
        """Finish the file; None if it is there, else why not, and where what was recorded is."""
        self._mailbox.close()
        self._thread.join(timeout=10)
        if not self._any:
            self._writer.discard()
            return f"nothing was recorded: {self._path}: no picture came, for nobody with a camera was in the room"
        try:
            if self._mixer is not None:
                self._finish_sound(self._mixer)
            self._writer.close()
        except MediaError as error:
            return str(error)
        self._sign()
        return None

    def _sign(self) -> None:
        """Say in the file where it comes from. Whatever happens, it is there and plays."""
        if not provenance.available():
            logger.info("recorded without content credentials, which need c2pa-python: docs/recording.md")
            return
        try:
            provenance.sign_recording(self._path)
        except TelepresenceError as error:
            logger.warning("the recording is there, without content credentials: %s", error)
        except Exception:
            logger.exception("the recording is there, without content credentials")

    def _work(self) -> None:
        first_us: int | None = None
        while not self._mailbox.closed:
            picture = self._mailbox.take()
            if picture is None or picture.rgb is None:
                continue
            if first_us is None:
                first_us = picture.rendered_us
                if self._mixer is not None:
                    self._mixer.begin(first_us)
            self._any = True
            try:
                labelled = label(picture.label, picture.rgb.shape[0]).on_copy(picture.rgb)
                self._writer.write(labelled, picture.rendered_us - first_us)
                self._write_sound(picture)
            except (OSError, ValueError) as error:
                logger.info("a picture could not be recorded to %s", self._path.name, exc_info=True)
                self._on_failed(
                    f"{self._path}: the recording has stopped ({error}); is the disk full? What came until then is "
                    "kept: make room before the call ends, and record the rest by joining again"
                )
                return
            self._on_written(picture, now_us())

    def _write_sound(self, picture: Picture) -> None:
        self._last_us = picture.rendered_us
        if self._mixer is None:
            return
        if picture.capture_us is not None:
            self._mixer.picture(picture.rendered_us - picture.capture_us)
        self._append(self._mixer.take(picture.rendered_us))

    def _finish_sound(self, mixer: SoundMixer) -> None:
        """What was still open, up to the last picture."""
        self._append(mixer.take(self._last_us + OPEN_US))

    def _append(self, samples: Samples) -> None:
        if len(samples):
            self._writer.write_sound(samples)
