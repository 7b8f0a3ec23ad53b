"""Prepared clips made on the spot, without a camera, a face or MediaPipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from telepresence.face.basis import default_basis
from telepresence.generator.data.clips import SUFFIX, Clip, ClipMeta, build_clip, parse_clip
from telepresence.generator.data.jpeg import encode_jpeg

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

SIDE = 64
STEP_US = 80_000


def face_points(scale: float = 0.35, x: float = 0.0, y: float = 0.0) -> Floats:
    """A mean face in square coordinates."""
    points = default_basis().mean * scale
    points[:, :2] += (x, y)
    return points.astype(np.float32)


def frame_picture(index: int, side: int = SIDE) -> Picture:
    """A smooth picture whose mean tells which frame it is: 3 levels a frame."""
    ramp = np.linspace(-20, 20, side)
    level = 40 + 3.0 * (index % 50)
    return np.clip(np.stack([level + ramp[None] + 0 * ramp[:, None]] * 3, -1), 0, 255).astype(np.uint8)


def frame_matte(side: int = SIDE) -> Picture:
    """A person from the lower edge up to a third of the height, with hard edges."""
    matte = np.zeros((side, side), np.uint8)
    matte[side // 3 :, side // 4 : -side // 4] = 255
    return matte


def clip_bytes(
    count: int = 40,
    *,
    name: str = "clip",
    identity: str = "ann",
    rights: str = "A",
    scored: bool = True,
    side: int = SIDE,
) -> bytes:
    """A clip file; frame i wears its number in its brightness and in how far to the right its face is."""
    return build_clip(
        ClipMeta(name, identity, rights, scored, "0" * 64, side, frames=count, every=2, most=700),
        times_us=np.arange(count) * STEP_US,
        points=np.stack([face_points(x=i / 1000) for i in range(count)]),
        pictures=[encode_jpeg(frame_picture(i, side), 95) for i in range(count)],
        mattes=[encode_jpeg(frame_matte(side), 90) for _ in range(count)],
        plate=encode_jpeg(np.full((side, side, 3), 200, np.uint8), 95),
    )


def made_clip(count: int = 40, **described: object) -> Clip:
    return parse_clip(clip_bytes(count, **described), "made")  # type: ignore[arg-type]


def write_clips(folder: Path, *described: dict[str, object]) -> Path:
    """A cache folder with a clip file for each description, which must have a name."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in described:
        (folder / f"{one['name']}{SUFFIX}").write_bytes(clip_bytes(**one))  # type: ignore[arg-type]
    return folder
