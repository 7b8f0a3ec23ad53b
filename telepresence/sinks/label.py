"""The small mark on rendered pictures that says what they are: `avatar`, `photo avatar` or `sample avatar`.

Drawn once for each size and text; a picture costs a blend of a few hundred pixels. Top left, as the page's own label.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

LABELS: Final = ("avatar", "photo avatar", "sample avatar")
_FROM_EDGE: Final = 10 / 256  # of the side; in the page: 10 of a tile's pixels
_LETTERS: Final = 12 / 256  # height of the font, of the side
_LEAST_LETTERS: Final = 10  # pixels; smaller ones cannot be read
_BEHIND: Final = 0.62  # how much of the picture the pill hides
_FINER: Final = 4  # times, in which the patch is drawn before it is made smaller: round ends without steps


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A label for pictures of one size."""

    top: int
    left: int
    keep: NDArray[np.uint16]
    """(H, W, 3): 0..256, how much of the picture stays."""
    add: NDArray[np.uint16]
    """(H, W, 3): 256 times what is added."""

    def draw(self, picture: Picture) -> None:
        """Draw it on a picture (S, S, 3 or 4) uint8 of RGB, in place."""
        height, width = self.keep.shape[:2]
        under = picture[self.top : self.top + height, self.left : self.left + width, :3]
        under[...] = (under * self.keep + self.add) >> 8

    def on_copy(self, picture: Picture) -> Picture:
        """A copy of a picture (S, S, 3 or 4) with it, (S, S, 3): pictures are shared with other sinks."""
        copy = picture[..., :3].copy()
        self.draw(copy)
        return copy


@cache
def label(text: str, side: int) -> Patch:
    """The patch for a text and pictures of `side` pixels; made once, 1 to 5 ms.

    Raises:
        ValueError: not one of `LABELS`.
    """
    if text not in LABELS:
        raise ValueError(f"a label is one of {', '.join(LABELS)}, not {text}")
    ink, pill = _drawn(text, max(_LEAST_LETTERS, round(side * _LETTERS)))
    edge = max(4, round(side * _FROM_EDGE))
    ink, pill = ink[: side - edge, : side - edge, None], pill[: side - edge, : side - edge, None]
    # Three equal channels: a last axis of one would be spread out anew for every picture.
    keep = np.repeat(np.round(256 * (1 - _BEHIND * pill) * (1 - ink)).astype(np.uint16), 3, 2)
    add = np.repeat(np.floor(256 * 255 * ink).astype(np.uint16), 3, 2)
    return Patch(edge, edge, keep, add)


def _drawn(text: str, letters: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Letters and the pill behind them, (H, W) each, 0..1."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(letters * _FINER)
    left, top, _, bottom = font.getbbox("".join(LABELS))  # one height for all texts
    wide = font.getlength(text)
    beside, above = letters * _FINER * 0.5, letters * _FINER * 0.22
    width, height = (int(np.ceil(n / _FINER)) for n in (wide + 2 * beside, bottom - top + 2 * above))
    ink, pill = (Image.new("L", (width * _FINER, height * _FINER)) for _ in range(2))
    ImageDraw.Draw(pill).rounded_rectangle((0, 0, *(n - 1 for n in pill.size)), radius=height * _FINER / 2, fill=255)
    ImageDraw.Draw(ink).text(((ink.width - wide) / 2 - left, above - top), text, fill=255, font=font)
    small = [np.asarray(one.resize((width, height), Image.Resampling.BOX), np.float32) / 255 for one in (ink, pill)]
    return small[0], small[1]
