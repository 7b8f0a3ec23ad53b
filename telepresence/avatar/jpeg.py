"""JPEG inside avatars: one narrow profile, checked marker by marker before any decoder sees it.

Baseline only (ITU-T T.81 SOF0): a progressive file may ask for thousands of passes over the picture in a few kilobytes.
"""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import AvatarError

Picture = NDArray[np.uint8]

QUALITIES: Final = (95, 92, 88, 84, 78, 70, 60, 45, 30, 18, 10)  # tried in this order until a budget fits
_SOI: Final = b"\xff\xd8"
_EOI: Final = b"\xff\xd9"
_SOF0, _SOS, _DRI = 0xC0, 0xDA, 0xDD
_ALLOWED: Final = frozenset({0xE0, 0xDB, 0xC4, _SOF0, _DRI, 0xFE, _SOS})  # APP0, DQT, DHT, SOF0, DRI, COM, SOS
MAX_SEGMENTS: Final = 32  # markers before the scan; our own files have eight


def encode(picture: Picture, budget: int) -> bytes:
    """Encode (S, S, 3) RGB or (S, S) grey at the best quality that fits in `budget` bytes. Deterministic.

    Raises:
        AvatarError: not even the lowest quality fits.
    """
    from PIL import Image

    image = Image.fromarray(picture)
    for quality in QUALITIES:
        out = io.BytesIO()
        image.save(out, "JPEG", quality=quality, subsampling=0 if quality >= 84 else 2)
        if out.tell() <= budget:
            return out.getvalue()
    raise AvatarError(f"a {picture.shape[1]} pixel picture does not fit in {budget} bytes; use a smaller or calmer one")


def decode(data: bytes, side: int, channels: int) -> Picture:
    """Decode a square JPEG of exactly this side and number of channels (1 or 3).

    Raises:
        AvatarError: anything else, found before a pixel is allocated wherever the header tells.
    """
    from PIL import Image

    _check(data, side, channels)
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            if image.size != (side, side) or image.mode != {1: "L", 3: "RGB"}[channels]:
                raise AvatarError(f"a picture inside is {image.size} {image.mode}, not what its section says")
            return np.array(image, np.uint8)
    except AvatarError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error ... on damage
        raise AvatarError(f"a picture inside is damaged ({type(error).__name__})") from error


def _check(data: bytes, side: int, channels: int) -> None:
    """Walk the markers up to the scan; see the module's docstring."""
    if not (data.startswith(_SOI) and data.endswith(_EOI)):
        raise AvatarError("a picture inside is not a whole JPEG")
    at, framed = 2, False
    for _ in range(MAX_SEGMENTS):
        if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] not in _ALLOWED:
            raise AvatarError("a picture inside is not a plain baseline JPEG")
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        if length < 2 or len(body) != length - 2:
            raise AvatarError("a picture inside is cut short")
        at += 2 + length
        if marker == _SOF0:
            size = (8, side.to_bytes(2, "big") * 2, channels)
            if framed or len(body) < 6 or (body[0], body[1:5], body[5]) != size:
                raise AvatarError(f"a picture inside is not {side} x {side} x {channels}, as its section says")
            framed = True
        if marker == _SOS:
            if not framed or not body or body[0] != channels or data.find(b"\xff\xda", at) >= 0:
                raise AvatarError("a picture inside has more than one scan")
            return
    raise AvatarError("a picture inside has too many markers")
