"""What the render worker knows of each participant, and what it makes: pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.rtc.puppet import Puppet
from telepresence.wire.playout import Playout

if TYPE_CHECKING:
    from telepresence.runtime.engine import Prepared

PHOTO: Final = "photo avatar"  # of an avatar of which nobody knows more
BLANK: Final = 128  # grey level in place of an avatar that was taken back: a page repeats the last picture it has


@dataclass(frozen=True, slots=True)
class Picture:
    """A rendered picture."""

    participant: str
    i420: NDArray[np.uint8]
    """(S * 3 / 2, S) uint8, planar YUV 4:2:0, BT.601 limited range, composed over the avatar's background."""
    rgb: NDArray[np.uint8] | None
    """(S, S, 3), if the sink asked for it."""
    capture_us: int | None
    """When the sender's camera picture was decoded, on OUR clock; None at rest, or while its clock is unknown."""
    rendered_us: int
    """When the picture was ready, on our clock."""
    render_us: int
    """How long drawing and conversion took."""
    label: str = PHOTO
    """What it is labelled with wherever people see it: one of `sinks.label.LABELS`."""


@dataclass(slots=True)
class Stage:
    """What the worker knows of one participant."""

    playout: Playout = field(default_factory=lambda: Playout(forget=True))
    """Outlives the avatar that it moves."""
    puppet: Puppet | None = None
    prepared: Prepared | None = None
    size: int = 0
    """What it is prepared for."""
    spares: dict[int, Prepared] = field(default_factory=dict)
    """The same avatar in other sizes."""
    resizing: bool = False
    """Whether it waits to be prepared for another size."""
    points: NDArray[np.float32] | None = None
    """Drawn last."""
    redraw: bool = False
    """Whether they are to be drawn again, since the size is another."""
    arrived: bool = False
    offset_us: int | None = None
    """Our clock less the sender's, as last known."""
    avatar: bytes = b""
    """The newest that came."""
    whole: bool = False
    """Whether that is a whole one."""
    label: str = PHOTO
    """Of what is prepared."""
    provisional: bool = False
    overtaken: int = 0
    blank: bool = False


@dataclass(frozen=True, slots=True)
class Due:
    """A picture to be drawn."""

    participant: str
    prepared: Prepared
    size: int
    keypoints: NDArray[np.float32]
    capture_us: int | None
    started_us: int
    label: str = PHOTO


def blank(participant: str, size: int, now_us: int, *, keep_rgb: bool) -> Picture:
    """Grey, in place of an avatar that was taken back."""
    grey = np.full((size, size, 4), BLANK, np.uint8)
    return Picture(participant, to_i420(grey), grey[..., :3] if keep_rgb else None, None, now_us, 0)


def to_i420(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(S, S, 4) RGBA, composed -> planar YUV 4:2:0 (S * 3 / 2, S); a copy. S is even."""
    import cv2

    i420: NDArray[np.uint8] = cv2.cvtColor(rgba, cv2.COLOR_RGBA2YUV_I420)
    return i420
