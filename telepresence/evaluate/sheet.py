"""Pictures for people: a sheet of every clip, and pairs for a blind look."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import InputError
from telepresence.evaluate.protocol import RUN

Picture = NDArray[np.uint8]

TILE: Final = 256  # pixels: what is drawn is shown as it is
STRIP: Final = 16  # pixels of text above each tile
EVEN, WORST = 3, 2  # moments of a clip on the sheet
SEED: Final = 4  # of the blind pairs' order and sides: the same every time, and not to be guessed


@dataclass(frozen=True, slots=True)
class Moment:
    """One test frame, drawn by everybody."""

    title: str
    real: Picture
    drawn: Mapping[str, Picture]
    ssim_face: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Block:
    """One clip on the sheet."""

    title: str
    reference: Picture
    """The first, which is the one shown still."""
    mosaic: Picture
    """All of them, small: at full size those of many clips would fill the memory."""
    references: int
    moments: Sequence[Moment]


def moments(ssim_face: Mapping[int, float]) -> list[tuple[int, str]]:
    """Frames to show and their titles: some evenly, and the worst by face SSIM, at least a run apart."""
    frames, worst = sorted(ssim_face), list[int]()
    for i in sorted(frames, key=lambda frame: ssim_face[frame]):
        if len(worst) < WORST and all(abs(i - other) >= RUN for other in worst):
            worst.append(i)
    others = [i for i in frames if i not in worst] or frames
    even = [others[round(float(p))] for p in np.linspace(0, len(others) - 1, EVEN + 2)[1:-1]]
    return [(i, f"frame {i}") for i in even] + [(i, f"worst, frame {i}") for i in worst]


def draw_sheet(blocks: Sequence[Block]) -> Picture:
    """Each clip: first reference and real frames on top, what was drawn of them below, a row for each who drew.

    In the last row stand all references, small.
    """
    rows = [row for block in blocks for row in _rows(block)]
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows]
    return np.concatenate(padded)


def _rows(block: Block) -> list[Picture]:
    names = list(block.moments[0].drawn)
    top = [_tile(block.reference, block.title)] + [_tile(m.real, f"real, {m.title}") for m in block.moments]
    rows = [np.concatenate(top, 1)]
    for name in names:
        last = name == names[-1]
        side = block.mosaic if last else np.zeros((8, 8, 3), np.uint8)
        tiles = [_tile(side, f"{block.references} reference(s)" if last else "")]
        tiles += [_tile(m.drawn[name], f"{name}, SSIM {m.ssim_face[name]:.2f}") for m in block.moments]
        rows.append(np.concatenate(tiles, 1))
    return rows


def mosaic(pictures: Sequence[Picture]) -> Picture:
    """Square pictures of one size side by side in a square (TILE, TILE, 3)."""
    import cv2

    across = int(np.ceil(np.sqrt(len(pictures))))
    side = TILE // across
    out = np.zeros((TILE, TILE, 3), np.uint8)
    for n, picture in enumerate(pictures):
        y, x = side * (n // across), side * (n % across)
        out[y : y + side, x : x + side] = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    return out


def _tile(picture: Picture, text: str) -> Picture:
    import cv2

    tile = np.zeros((TILE + STRIP, TILE, 3), np.uint8)
    shrinks = picture.shape[0] > TILE
    tile[STRIP:] = cv2.resize(picture, (TILE, TILE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    cv2.putText(tile, text, (3, STRIP - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (255, 255, 255), 1, cv2.LINE_AA)
    return tile


def write_blind(folder: Path, blocks: Sequence[Block], names: tuple[str, str]) -> int:
    """Write pairs for a blind look, A | real | B, in random order, and `key.json` that says who drew which.

    Args:
        folder: is made; must be empty.
        blocks: as on the sheet.
        names: the two to be compared.

    Returns:
        How many pairs.

    Raises:
        InputError: the folder holds files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise InputError(f"--blind {folder}: the folder is not empty; name a new one, so that no key fits wrong pairs")
    random = np.random.default_rng(SEED)
    pairs = [(block, moment) for block in blocks for moment in block.moments]
    key: dict[str, dict[str, str]] = {}
    for number, place in enumerate(random.permutation(len(pairs)), 1):
        block, moment = pairs[int(place)]
        left, right = names if random.random() < 0.5 else names[::-1]
        gap = np.full((moment.real.shape[0], 8, 3), 128, np.uint8)
        whole = np.concatenate([moment.drawn[left], gap, moment.real, gap, moment.drawn[right]], 1)
        write_png(folder / f"{number:03d}.png", whole)
        key[f"{number:03d}"] = {"A": left, "B": right, "clip": block.title, "moment": moment.title}
    (folder / "key.json").write_text(json.dumps(key, indent=2) + "\n")
    return len(key)


def write_png(path: Path, picture: Picture) -> None:
    """Write a picture (H, W, 3) RGB."""
    from PIL import Image

    Image.fromarray(picture).save(path, "PNG")
