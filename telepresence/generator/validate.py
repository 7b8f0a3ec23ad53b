"""A quick look at a run: held-out people drawn with the weights so far, figures and a sheet of pictures.

The figures that are published come from `telepresence evaluate`; these are the same idea in seconds, in torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from telepresence.errors import InputError
from telepresence.face.topology import OVAL
from telepresence.generator.batches import GROWN
from telepresence.generator.data.clips import Clip, write_atomically
from telepresence.generator.live import LiveEncode, LiveRender, Network
from telepresence.generator.losses import ssim_map

SIDE: Final = 256  # pixels
Floats = NDArray[np.float32]

FIRST_PART: Final = 0.2  # of a clip's frames: where references come from
SHOTS: Final = (1, 8)
MOST_CLIPS: Final = 6


@dataclass(frozen=True, slots=True)
class Row:
    """One clip."""

    name: str
    gap: float
    """Face gap closed."""
    gain_db: float
    """PSNR of the whole picture less that of the first reference shown still."""
    pictures: list[NDArray[np.uint8]]
    """Real ones and drawn ones, in turns."""


Draw = Callable[[Floats], NDArray[np.uint8]]
"""Landmarks (478, 3) float32 -> the picture (S, S, 3) uint8, S the clip's."""
Start = Callable[[Clip, list[int]], Draw]
"""A clip and the numbers of the frames that are references -> how to draw others."""


def live_start(network: Network, shots: int) -> Start:
    """How the live engine draws a clip."""
    device = next(network.parameters()).device
    encode, render = LiveEncode(network, SIDE).eval().to(device), LiveRender(network, SIDE).eval().to(device)

    def start(clip: Clip, slots: list[int]) -> Draw:
        encoded = [_encode(encode, clip, i, device) for i in slots]
        encoded += encoded[:1] * (max(SHOTS[-1], shots) - len(encoded))
        features = [torch.cat(part) for part in zip(*encoded, strict=True)]
        plate = torch.from_numpy(clip.plate)[None].to(device)

        def draw(points: Floats) -> NDArray[np.uint8]:
            now = torch.from_numpy(np.array(points))[None].to(device)
            picture: NDArray[np.uint8] = render(now, *features, plate)[0, ..., :3].cpu().numpy()
            return picture

        return draw

    return start


@torch.no_grad()
def validate(start: Start, clips: Sequence[Clip], shots: int, frames: int = 8) -> list[Row]:
    """Draw some frames of every clip from `shots` references of its first part.

    Args:
        start: how clips are drawn.
        clips: prepared at 256 pixels.
        shots: references, at most so many different ones as the first part has frames.
        frames: of each clip's rest.
    """
    rows = []
    for clip in clips:
        first = max(1, int(FIRST_PART * len(clip)))
        numbers = np.linspace(0, first - 1, shots).astype(int) if shots > 1 else np.zeros(1, int)
        slots = [*dict.fromkeys(numbers.tolist())]
        draw = start(clip, slots)
        still = clip.picture(slots[0])
        shown: list[tuple[float, float, float]] = []
        pictures: list[NDArray[np.uint8]] = [still]
        for index in np.linspace(first, len(clip) - 1, frames).astype(int):
            real = clip.picture(int(index))
            drawn = draw(clip.points[index])
            mask = _face(clip.points[index], clip.side)
            shown.append((_unlike(drawn, real, mask), _unlike(still, real, mask), _gain(drawn, still, real)))
            pictures += [real, drawn]
        means = np.mean(shown, 0)
        rows.append(Row(clip.name, float(1 - means[0] / max(means[1], 1e-6)), float(means[2]), pictures))
    return rows


def look(
    start: Callable[[int], Start], clips: Sequence[Clip], path: Path, frames: int = 4
) -> dict[str, dict[str, float]]:
    """A look at some clips: medians by shots, for the log, and a sheet of pictures in `path`."""
    figures, rows = {}, []
    for shots in SHOTS:
        drawn = validate(start(shots), clips, shots, frames)
        gap, gain = np.median([[row.gap, row.gain_db] for row in drawn], 0)
        figures[str(shots)] = {"gap_closed": round(float(gap), 4), "psnr_gain": round(float(gain), 3)}
        rows += drawn
    # Each person's rows together: one reference above, several below.
    sheet([row for pair in zip(*_chunks(rows, len(clips)), strict=True) for row in pair], path)
    return figures


def choose_clips(clips: Sequence[Clip], most: int = MOST_CLIPS) -> list[Clip]:
    """At most so many clips to look at, of as many people as possible; always the same ones."""
    people: dict[str, int] = {}
    ranked = []
    for clip in sorted(clips, key=lambda clip: clip.name):
        ranked.append((people.get(clip.identity, 0), clip.name, clip))
        people[clip.identity] = people.get(clip.identity, 0) + 1
    return [clip for *_, clip in sorted(ranked, key=lambda row: row[:2])[:most]]


def sheet(rows: Sequence[Row], path: Path) -> None:
    """Write real (upper) and drawn (lower) pictures of every clip.

    Raises:
        InputError: the file cannot be written.
    """
    lines = []
    for row in rows:
        real, drawn = row.pictures[1::2], row.pictures[2::2]
        blank = np.zeros_like(row.pictures[0])
        lines += [np.concatenate([row.pictures[0], *real], 1), np.concatenate([blank, *drawn], 1)]
    whole, data = cv2.imencode(".png", cv2.cvtColor(np.concatenate(lines), cv2.COLOR_RGB2BGR))
    if not whole:
        raise InputError(f"{path}: the sheet of {len(rows)} rows is too large for a PNG; look at fewer clips")
    write_atomically(path, data.tobytes())


def _chunks(rows: Sequence[Row], length: int) -> list[Sequence[Row]]:
    return [rows[start : start + length] for start in range(0, len(rows), length)]


def _encode(encode: LiveEncode, clip: Clip, index: int, device: torch.device) -> tuple[torch.Tensor, ...]:
    picture = torch.from_numpy(clip.picture(index))[None]
    matte = torch.from_numpy(clip.matte(index))[None, ..., None]
    points = torch.from_numpy(np.array(clip.points[index]))[None]
    out: tuple[torch.Tensor, ...] = encode(picture.to(device), matte.to(device), points.to(device))
    return out


def _face(points: NDArray[np.float32], side: int) -> NDArray[np.bool_]:
    pixels = (points[:, :2] + 1) * side / 2
    mask = np.zeros((side, side), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(pixels).astype(np.int32)), 1)
    across = 2 * round(GROWN * float(np.ptp(pixels[list(OVAL), 0]))) + 1
    grown = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (across, across)))
    return np.asarray(grown > 0)


def _unlike(a: NDArray[np.uint8], b: NDArray[np.uint8], mask: NDArray[np.bool_]) -> float:
    grey_a, grey_b = (torch.from_numpy(p.astype(np.float32).mean(-1) / 255)[None, None] for p in (a, b))
    return float(1 - ssim_map(grey_a, grey_b)[0, 0][torch.from_numpy(mask[3:-3, 3:-3])].mean())


def _gain(drawn: NDArray[np.uint8], still: NDArray[np.uint8], real: NDArray[np.uint8]) -> float:
    errors = [((p.astype(np.float32) - real) ** 2).mean() for p in (drawn, still)]
    return float(10 * np.log10((errors[1] + 1e-3) / (errors[0] + 1e-3)))
