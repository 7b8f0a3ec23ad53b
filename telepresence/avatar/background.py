"""The background plate: what is behind the person, as far as it was ever seen, and something calm where it was not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

CLEAR: Final = 10  # of 255: a pixel counts as background only where the matte is this low
# Background nearer to the person than this part of the side is not kept: soft edge, rim of light. In one photo loose
# hair comes on top, which the median over a clip takes out. More would blur what shows beside a moving head.
KEPT: Final = 0.012
KEPT_PHOTO: Final = 0.02
SOURCE: Final = 0.04  # of the side: nor is its colour spread behind them unless it is so far away (hair, shadow)
MIN_SHARE: Final = 0.1  # of the pictures in which a pixel must be background: seen less often, it is mostly loose hair
ROWS: Final = 64  # at a time, so that the median's copies stay small
FEATHER: Final = 0.015  # of the side, passage from seen to filled


def background_plate(pictures: Sequence[Picture], mattes: Sequence[Picture]) -> Picture:
    """Plate (S, S, 3) uint8 from pictures (S, S, 3) of one framing and their mattes (S, S).

    Each pixel is the median of what was seen there beside the person. Where nothing was seen, the surroundings are
    spread smoothly over the gap, so that nothing of the person is left in it.
    """
    import cv2

    side = pictures[0].shape[0]
    margin = side * (KEPT_PHOTO if len(pictures) == 1 else KEPT)
    clear = np.stack([cv2.dilate(matte, _disc(margin)) <= CLEAR for matte in mattes])
    seen = clear.sum(0) >= max(1, round(MIN_SHARE * len(pictures)))
    source = cv2.erode(seen.astype(np.uint8), _disc(side * SOURCE - margin)).astype(np.float32)
    plate = np.zeros((side, side, 3), np.float32)
    for row in range(0, side, ROWS):
        part = slice(row, row + ROWS)
        stack = np.stack([picture[part] for picture in pictures]).astype(np.float32)
        stack[~clear[:, part]] = np.nan
        stack[:, ~seen[part]] = 0
        plate[part] = np.nanmedian(stack, 0)
    return _calm(plate, seen.astype(np.float32), source if source.any() else seen.astype(np.float32))


def _calm(plate: Floats, seen: Floats, source: Floats) -> Picture:
    import cv2

    if not seen.any():  # the person fills every picture: nothing is known, so a plain wall
        return np.full(plate.shape, 96, np.uint8)
    filled = spread(plate, source)
    soft = cv2.GaussianBlur(seen, (0, 0), max(1.0, plate.shape[0] * FEATHER))
    trust = np.clip(2 * soft - 1, 0, 1)[..., None]  # nothing of an unseen pixel passes
    mixed: Floats = np.clip(trust * plate + (1 - trust) * filled, 0, 255)
    return np.rint(mixed).astype(np.uint8)


def _disc(radius: float) -> Picture:
    import cv2

    across = 2 * round(radius) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (across, across)), np.uint8)


def spread(picture: Floats, known: Floats) -> Floats:
    """Fill the unknown pixels of a picture (H, W, 3) smoothly from the known ones (H, W; 0 or 1), near ones first.

    Source: pull-push, Gortler et al. 1996, "The Lumigraph", section 3.4.
    """
    import cv2

    weights, sums = [known], [picture * known[..., None]]
    while min(weights[-1].shape) > 1:
        weights.append(cv2.pyrDown(weights[-1]))
        sums.append(cv2.pyrDown(sums[-1]))
    filled = sums[-1] / np.maximum(weights[-1], 1e-6)[..., None]
    for weight, total in zip(weights[-2::-1], sums[-2::-1], strict=True):
        height, width = weight.shape
        coarse = cv2.GaussianBlur(cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR), (0, 0), 1.5)
        own = total / np.maximum(weight, 1e-6)[..., None]
        sure = np.clip(2 * weight, 0, 1)[..., None]
        filled = sure * own + (1 - sure) * coarse
    return np.asarray(filled, np.float32)
