"""Changes of light and colour, the same for all pictures of a sample, and other backgrounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

UNCHANGED_SHARE: Final = 0.2
GREY_SHARE: Final = 0.04
BRIGHTNESS: Final = 0.07  # of full scale
CONTRAST: Final = (0.85, 1.15)
GAMMA: Final = (0.8, 1.25)
SATURATION: Final = (0.6, 1.3)
WHITE: Final = 0.10  # each channel's gain, in logarithms
PLATE_CELLS: Final = (1, 6)  # colours of a drawn plate, along a side
_LUMA: Final = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True, slots=True, eq=False)
class Colour:
    """A tone curve for each channel, then a mixing of the channels."""

    curves: Picture
    """(1, 256, 3) uint8."""
    mixing: Floats
    """(3, 3): output channel from input channels."""

    def __call__(self, picture: Picture) -> Picture:
        """Recolour a picture (S, S, 3)."""
        import cv2

        return np.asarray(cv2.transform(cv2.LUT(picture, self.curves), self.mixing), np.uint8)


def draw_colour(random: np.random.Generator) -> Colour | None:
    """Draw a change; None for none."""
    if random.random() < UNCHANGED_SHARE:
        return None
    ramp = np.linspace(0, 1, 256)[:, None] * np.exp(random.uniform(-WHITE, WHITE, 3))
    curve = np.clip(ramp, 0, None) ** np.exp(random.uniform(*np.log(GAMMA)))
    curve = (curve - 0.5) * random.uniform(*CONTRAST) + 0.5 + random.uniform(-BRIGHTNESS, BRIGHTNESS)
    saturation = 0.0 if random.random() < GREY_SHARE else random.uniform(*SATURATION)
    mixing = saturation * np.eye(3) + (1 - saturation) * np.tile(_LUMA, (3, 1))
    return Colour(np.rint(np.clip(curve, 0, 1) * 255).astype(np.uint8)[None], mixing.astype(np.float32))


def draw_plate(random: np.random.Generator, side: int) -> Picture:
    """Draw a smooth background (S, S, 3)."""
    import cv2

    cells = int(random.integers(*PLATE_CELLS, endpoint=True))
    base, spread = random.uniform(20, 235, 3), random.uniform(5, 60)
    colours = np.clip(base + random.normal(0, spread, (cells, cells, 3)), 0, 255).astype(np.float32)
    plate = cv2.resize(colours, (side, side), interpolation=cv2.INTER_LINEAR if cells > 1 else cv2.INTER_NEAREST)
    return np.asarray(np.rint(plate), np.uint8)


def replace_background(picture: Picture, matte: Picture, old: Picture, new: Picture) -> Picture:
    """Cut the person of a picture (S, S, 3) out by its matte (S, S) and lay them over another plate.

    At soft edges the old plate's part of the colour is taken out first, so that no rim of it stays.
    """
    alpha = matte.astype(np.float32)[..., None] / 255
    behind = 1 - alpha
    person = np.clip(picture - behind * old, 0, 255 * alpha)
    return np.asarray(np.rint(person + behind * new), np.uint8)
