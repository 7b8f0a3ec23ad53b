"""The camera sink: the first participant's pictures, as they come, into a virtual camera. In a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.rtc.mailbox import Mailbox
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.stage import Picture
from telepresence.sinks.virtual_camera import VirtualCamera

logger = logging.getLogger(__name__)

AGAIN_S: Final = 0.1  # without a new picture the last one goes again: programs take silence for an unplugged camera
WAITING: Final = 40  # grey level before the first picture


class CameraSink:
    """Shows pictures until it is closed.

    Args:
        device: of the camera; empty for the first that is there.
        on_shown: told of each picture and when it was handed on, in the sink's thread.
        on_failed: told once, in the sink's thread, that the camera takes no more, and why.

    Raises:
        InputError: there is no virtual camera; the message says how to get one.
    """

    def __init__(self, device: str, on_shown: Callable[[Picture, int], Any], on_failed: Callable[[str], Any]) -> None:
        self._camera = VirtualCamera(device or None)
        self._on_shown = on_shown
        self._on_failed = on_failed
        self._mailbox: Mailbox[Picture] = Mailbox()
        self._thread = threading.Thread(target=self._work, name="virtual camera", daemon=True)
        self._thread.start()

    @property
    def device(self) -> str:
        """What other programs list it as."""
        return self._camera.device

    def put(self, picture: Picture) -> None:
        """A picture with RGB, from any thread."""
        self._mailbox.put(picture)

    def close(self) -> None:
        """Give the device back."""
        self._mailbox.close()
        self._thread.join(timeout=5)
        self._camera.close()

    def _work(self) -> None:
        last: tuple[NDArray[np.uint8], str | None] = np.full((64, 64, 3), WAITING, np.uint8), None
        while not self._mailbox.closed:
            picture = self._mailbox.take(AGAIN_S)
            if picture is not None and picture.rgb is not None:
                last = picture.rgb, picture.label
            if self._mailbox.closed:
                return
            try:
                self._camera.write(*last)
            except Exception as error:  # whatever a driver does, the call goes on
                logger.info("the virtual camera failed", exc_info=True)
                self._on_failed(f"the virtual camera takes no more pictures ({error}); start again once it is back")
                return
            if picture is not None:
                self._on_shown(picture, now_us())
