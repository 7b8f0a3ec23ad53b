"""The virtual camera sink: pictures -> a camera that Zoom, Meet and Teams list, through `pyvirtualcam`.

Its format never changes while a call goes on, whatever the engine's size: programs open a camera once.
"""

from __future__ import annotations

import sys
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import InputError

Picture = NDArray[np.uint8]

WIDTH: Final = 1280
HEIGHT: Final = 720
FPS: Final = 30
_BESIDE: Final = 6  # a side strip's width in the picture that is spread over it: no detail, only its colours
_DIMMED: Final = 0.45  # how bright what is beside the picture is

_LINUX: Final = (
    "a virtual camera needs the kernel module v4l2loopback; run: sudo apt install v4l2loopback-dkms && "
    "sudo modprobe v4l2loopback exclusive_caps=1 card_label=telepresence"
)
_OBS: Final = "a virtual camera needs OBS Studio (obsproject.com): install it, start its virtual camera once"
MISSING: Final = "a virtual camera needs pyvirtualcam; run: pip install 'telepresence[camera]'"


def canvas(picture: Picture, width: int = WIDTH, height: int = HEIGHT) -> Picture:
    """A square picture (S, S, 3) uint8 -> (height, width, 3): as high as it goes, in the middle.

    Beside it are its own edges, blurred and dimmed, as broadcasters do with upright video.
    """
    import cv2

    side = min(width, height)
    top, left = (height - side) // 2, (width - side) // 2
    tiny = cv2.resize(np.ascontiguousarray(picture[..., :3]), (_BESIDE, _BESIDE), interpolation=cv2.INTER_AREA)
    out: Picture = cv2.resize((tiny * _DIMMED).astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    how = cv2.INTER_CUBIC if picture.shape[0] < side else cv2.INTER_AREA
    out[top : top + side, left : left + side] = cv2.resize(picture[..., :3], (side, side), interpolation=how)
    return out


class VirtualCamera:
    """A camera of 1280 x 720 at 30 pictures a second, labelled. Not thread-safe.

    Args:
        device: such as /dev/video10, or OBS's name; None for the first that is there.

    Raises:
        InputError: the module or the device is missing; the message says how to get it.
    """

    def __init__(self, device: str | None = None) -> None:
        try:
            import pyvirtualcam
        except (ImportError, OSError) as error:
            raise InputError(MISSING) from error
        try:
            self._camera: Any = pyvirtualcam.Camera(WIDTH, HEIGHT, FPS, device=device)
        except (RuntimeError, OSError, ValueError) as error:
            raise InputError(f"{_LINUX if sys.platform.startswith('linux') else _OBS} ({error})") from error

    @property
    def device(self) -> str:
        """What other programs list it as."""
        return str(self._camera.device)

    def write(self, picture: Picture, text: str | None = "avatar") -> None:
        """Show a picture (S, S, 3 or 4) uint8 RGB, labelled so; None: it is of nobody. Returns at once."""
        from telepresence.sinks.label import label

        labelled = picture if text is None else label(text, picture.shape[0]).on_copy(picture)
        self._camera.send(canvas(labelled))

    def close(self) -> None:
        """Give the device back. Safe to call twice."""
        self._camera.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
