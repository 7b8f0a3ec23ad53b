"""Person-specific tensors inside an avatar: bytes <-> named float16 arrays, for one engine.

Layout, little-endian, no padding: `TPPT` and a version byte (1); a byte with the number of tensors; for each, a byte
with the length of its name, the name in ASCII, a byte with its number of axes, a uint32 for each axis, and its values
as float16, C order; nothing after the last. The first axis is the avatar's references.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import AvatarError

MAGIC: Final = b"TPPT\x01"
MAX_TENSORS: Final = 8
MAX_AXES: Final = 4
MAX_VALUES: Final = 4 * 1024 * 1024  # of all tensors together; an avatar's file would not hold more
MAX_NAME: Final = 40  # bytes

Halves = NDArray[np.float16]


def pack_personal(tensors: Mapping[str, NDArray[np.float32]]) -> bytes:
    """Make bytes of tensors by name.

    Raises:
        AvatarError: too many, too large, not finite as float16, or something that `unpack_personal` would refuse.
    """
    if not 1 <= len(tensors) <= MAX_TENSORS or sum(t.size for t in tensors.values()) > MAX_VALUES:
        raise AvatarError(f"personal tensors: 1 to {MAX_TENSORS} with at most {MAX_VALUES} values together")
    out = [MAGIC, bytes([len(tensors)])]
    for name, tensor in sorted(tensors.items()):
        if not (name.isascii() and 1 <= len(name) <= MAX_NAME and 1 <= tensor.ndim <= MAX_AXES and tensor.size):
            raise AvatarError(f"personal tensor {name[:MAX_NAME]!r}: name or shape {tensor.shape} cannot be kept")
        with np.errstate(over="ignore"):
            half = np.ascontiguousarray(tensor, "<f2")
        if not np.isfinite(half).all():
            raise AvatarError(f"personal tensor {name!r} has values that float16 cannot hold")
        out += [bytes([len(name)]), name.encode("ascii"), bytes([half.ndim])]
        out += [struct.pack(f"<{half.ndim}I", *half.shape), half.tobytes()]
    return b"".join(out)


def unpack_personal(data: bytes) -> dict[str, Halves]:
    """Read what `pack_personal` made; arrays are views of `data`.

    Raises:
        AvatarError: damaged, or of another version.
    """
    reader = _Reader(data)
    if reader.take(len(MAGIC)) != MAGIC:
        raise AvatarError("personal tensors of the avatar are not of version 1; enrol it again with --fine-tune")
    out: dict[str, Halves] = {}
    left = MAX_VALUES
    for _ in range(reader.byte(MAX_TENSORS)):
        try:
            name = reader.take(reader.byte(MAX_NAME)).decode("ascii")
        except UnicodeDecodeError as error:
            raise _damaged() from error
        axes = reader.byte(MAX_AXES)
        shape: tuple[int, ...] = struct.unpack(f"<{axes}I", reader.take(4 * axes))
        count = 1
        for length in shape:
            count *= length
        if not 1 <= count <= left or name in out:
            raise _damaged()
        left -= count
        values = np.frombuffer(reader.take(2 * count), "<f2").reshape(shape)
        if not np.isfinite(values).all():
            raise _damaged()
        out[name] = values
    if reader.at != len(data):
        raise _damaged()
    return out


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        part = self.data[self.at : self.at + count]
        if len(part) != count:
            raise _damaged()
        self.at += count
        return part

    def byte(self, largest: int) -> int:
        """1 to `largest`: nothing here may be absent."""
        value = self.take(1)[0]
        if not 1 <= value <= largest:
            raise _damaged()
        return value


def _damaged() -> AvatarError:
    return AvatarError("personal tensors of the avatar are damaged; enrol it again with --fine-tune")
