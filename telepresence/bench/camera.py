"""What the browser's fake camera plays: a face clip, 640x480, 30 pictures a second, each numbered in its margin.

The numbers (twelve blocks at the left edge: white, black, then ten bits) tell a page which of the camera's pictures it
shows, whatever a codec has done to it, so that the age of an ordinary call's pictures needs no word of any codec,
transport or peer. They survive being drawn at a quarter of the size and at 30 kbit/s. An avatar does not carry them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.bench.lips import write_microphone
from telepresence.errors import FaceError, MediaError

Picture = NDArray[np.uint8]

WIDTH: Final = 640
HEIGHT: Final = 480
FPS: Final = 30
FRAME_US: Final = 1_000_000 / FPS
MARGIN: Final = 48  # pixels at both sides that the clip leaves free
MARK_WIDTH: Final = 40
BLOCKS: Final = 12
BITS: Final = 10
GREY: Final = 128
SECONDS: Final = 6  # of the clip: forwards, then backwards, since a camera plays it in a loop, which must not jump
LEAST_SECONDS: Final = 2
LOOKED_AT: Final = 12  # pictures in which a face is looked for
FACES_VARIABLE: Final = "TELEPRESENCE_FACES"
SAMPLE_NAME: Final = "the sample avatar, drawn by the engine prior"
FAVOURITE: Final = "lia_vox3.mp4"  # webcam framing, turns its head, opens its mouth wide


@dataclass(frozen=True)
class CameraClip:
    """A clip that Chromium's fake camera can play."""

    path: Path
    """YUV4MPEG2; some 170 MB."""
    source: Path
    name: str
    frames: int
    """Of the loop; the numbers in the pictures are 0 to frames - 1."""
    microphone: Path
    """What the fake microphone plays beside it."""


def find_source(given: Path | None, folder: Path) -> tuple[Path, str]:
    """The clip to play and what to call it: the one given, else a real face, else the sample avatar, drawn now.

    Raises:
        MediaError: the clip given does not exist.
    """
    if given is not None:
        if not given.is_file():
            raise MediaError(f"--clip {given}: there is no such file")
        return given, given.name
    faces = os.environ.get(FACES_VARIABLE)
    if faces:
        found = sorted(Path(faces).glob("**/*.mp4"), key=lambda path: (path.name != FAVOURITE, path.name))
        if found:
            return found[0], found[0].name
    from telepresence.render import render_files

    out = folder / "sample.mp4"
    render_files(None, None, out, engine="prior", size=256)
    return out, SAMPLE_NAME


def prepare(source: Path, name: str, folder: Path) -> CameraClip:
    """Write the fake camera's file.

    Raises:
        MediaError: the clip cannot be read or is too short.
        FaceError: no face in it.
    """
    pictures = paced(source)
    if len(pictures) < LEAST_SECONDS * FPS:
        raise MediaError(f"{source}: {len(pictures) / FPS:.1f} s long; at least {LEAST_SECONDS} are needed")
    _require_face(source, pictures)
    planes = [_planes(fitted(picture)) for picture in pictures]
    loop = [*planes, *planes[-2:0:-1]]
    path = folder / "camera.y4m"
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{FPS}:1 Ip A1:1 C420jpeg\n".encode())
        for number, picture in enumerate(loop):
            file.write(b"FRAME\n" + marked(picture, number).tobytes())
    return CameraClip(path, source, name, len(loop), write_microphone(folder / "microphone.wav"))


def paced(source: Path, seconds: float = SECONDS) -> list[Picture]:
    """A clip's beginning at FPS: for each moment the latest picture.

    Raises:
        MediaError: it cannot be read.
    """
    from telepresence.media import read_frames

    taken: list[Picture] = []
    latest: Any = None
    first_us = 0
    for frame in read_frames(source):
        if latest is None:
            first_us = frame.time_us
        while latest is not None and len(taken) * FRAME_US < frame.time_us - first_us:
            taken.append(latest.picture)
            if len(taken) >= seconds * FPS:
                return taken
        latest = frame
    if latest is not None:
        taken.append(latest.picture)
    return taken


def fitted(picture: Picture) -> Picture:
    """The whole picture between the margins of (HEIGHT, WIDTH, 3), grey beside it."""
    import cv2

    height, width = picture.shape[:2]
    scale = min((WIDTH - 2 * MARGIN) / width, HEIGHT / height)
    size = (round(width * scale), round(height * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    canvas = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)
    left, top = (WIDTH - size[0]) // 2, (HEIGHT - size[1]) // 2
    canvas[top : top + size[1], left : left + size[0]] = cv2.resize(picture, size, interpolation=way)
    return canvas


def marked(planes: Picture, number: int) -> Picture:
    """Planar YUV 4:2:0 (HEIGHT * 3 / 2, WIDTH), full range, with a number in its left margin; a copy."""
    out = planes.copy()
    step = HEIGHT // BLOCKS
    bits = [1, 0, *((number >> shift) & 1 for shift in range(BITS - 1, -1, -1))]
    for block, bit in enumerate(bits):
        out[block * step : (block + 1) * step, :MARK_WIDTH] = 235 if bit else 16
    chroma = out[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
    chroma[:, :, : MARK_WIDTH // 2] = 128
    return out


def _planes(picture: Picture) -> Picture:
    import av

    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuvj420p")
    planes: Picture = frame.to_ndarray()
    return planes


def _require_face(source: Path, pictures: list[Picture]) -> None:
    from telepresence.face.landmarks import LandmarkTracker

    step = max(1, len(pictures) // LOOKED_AT)
    with LandmarkTracker(still=True) as tracker:
        seen = sum(tracker(fitted(picture)) is not None for picture in pictures[::step])
    if 2 * seen < len(pictures[::step]):
        raise FaceError(
            f"{source}: a face was found in {seen} of {len(pictures[::step])} pictures looked at; choose a clip that "
            "shows one face from the front all the time"
        )
