"""Two RGBA pictures, one per eye, as one JPEG: colour above, matte below, left eye left. What every decoder can read.

JPEG and not WebP, which has an alpha channel of its own: 512x512 take 1 ms against 100 (docs/headset.md).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

QUALITY: Final = 88  # of 100
BLANK: Final = 96  # grey where nobody is: nothing to encode
EDGE: Final = 12  # matte, of 255, below which a pixel is blank

Rgba = NDArray[np.uint8]


def pack(left: Rgba, right: Rgba) -> bytes:
    """Pictures (S, S, 4) uint8 RGBA -> a JPEG of 2S x 2S."""
    import cv2

    side = left.shape[0]
    packed = np.empty((2 * side, 2 * side, 3), np.uint8)
    for column, rgba in enumerate((left, right)):
        across = slice(column * side, (column + 1) * side)
        matte = rgba[..., 3]
        bgr = cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGR)
        bgr[matte < EDGE] = BLANK
        packed[:side, across] = bgr
        packed[side:, across] = matte[..., None]
    done, data = cv2.imencode(".jpg", packed, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))
    if not done:  # cv2 raises for everything that is known to go wrong
        raise RuntimeError("a picture could not be encoded")
    return bytes(data)
