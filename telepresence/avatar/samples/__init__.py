"""Samples that ship with the package, so that everything can be tried without a camera and without a face of one's own.

`astronaut.avatar`: Eileen Collins, NASA portrait of 1993, public domain (`skimage.data.astronaut`), free for all.
`talk.motion`: motion of a presidential weekly address, a work of the US government, public domain; no picture in it.

`telepresence/avatar/samples/make.py` makes both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from telepresence.avatar.file import load_bytes, unpack
from telepresence.avatar.model import Avatar
from telepresence.errors import MediaError
from telepresence.wire.packets import MotionPacket
from telepresence.wire.track import MAX_TRACK_BYTES, MotionTrack, unpack_track

SAMPLE_AVATAR: Final = Path(__file__).with_name("astronaut.avatar")
SAMPLE_MOTION: Final = Path(__file__).with_name("talk.motion")


def sample_avatar_bytes() -> bytes:
    """The sample avatar's file."""
    return load_bytes(SAMPLE_AVATAR)


def sample_avatar() -> Avatar:
    """The sample avatar."""
    return unpack(sample_avatar_bytes())


def sample_track() -> MotionTrack:
    """The sample motion, which loops seamlessly after its `period_us`."""
    return load_track(SAMPLE_MOTION)


def sample_motion() -> list[MotionPacket]:
    """The sample motion's packets; `capture_us` counts from the beginning."""
    return list(sample_track().packets)


def load_track(path: Path) -> MotionTrack:
    """Read a motion track from disk.

    Raises:
        MediaError: no such file, not a motion track, damaged, or of another version.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TRACK_BYTES + 1)
    except OSError as error:
        raise MediaError(f"{path}: cannot be opened ({error.strerror}); check the path") from error
    return unpack_track(data)
