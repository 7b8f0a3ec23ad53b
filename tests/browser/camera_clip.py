"""A clip for Chromium's fake camera: 640x480, 30 pictures a second, uncompressed (YUV4MPEG2)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from telepresence.media import Frame, read_frames

WIDTH, HEIGHT, FPS = 640, 480, 30
SECONDS = 6  # forwards, then the same backwards: Chromium plays it in a loop, which must not jump
PACE = 0.5  # of life: a busy machine delays single pictures by a few hundred ms, which must not look like other motion
GREY = 128


def write_camera_clip(source: Path, out: Path) -> Path:
    """Make the fake camera's file from any clip: the whole picture inside, grey beside it."""
    import av

    frames = _paced(source)
    with out.open("wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{FPS}:1 Ip A1:1 C420jpeg\n".encode())
        planes = [
            av.VideoFrame.from_ndarray(_fitted(frame.picture), format="rgb24").to_ndarray(format="yuv420p").tobytes()
            for frame in frames
        ]
        for picture in [*planes, *planes[-2:0:-1]]:
            file.write(b"FRAME\n" + picture)
    return out


def _paced(source: Path) -> list[Frame]:
    """The clip at FPS, slowed down: for each moment the latest frame."""
    paced: list[Frame] = []
    latest: Frame | None = None
    first_us = 0
    for frame in read_frames(source):
        if latest is None:
            first_us = frame.time_us
        while latest is not None and len(paced) * PACE * 1_000_000 / FPS < frame.time_us - first_us:
            paced.append(latest)
            if len(paced) == SECONDS * FPS:
                return paced
        latest = frame
    return paced


def _fitted(picture: np.ndarray) -> np.ndarray:
    import cv2

    height, width = picture.shape[:2]
    scale = min(WIDTH / width, HEIGHT / height)
    size = (round(width * scale), round(height * scale))
    canvas = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)
    left, top = (WIDTH - size[0]) // 2, (HEIGHT - size[1]) // 2
    canvas[top : top + size[1], left : left + size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return canvas
