"""Golden vectors of an engine: inputs that are made by rule and the pictures they must give, in every runtime.

`engines/NAME/golden-S.npz` holds uint8 and float32 arrays, R references, N pictures:

    picture (R,S,S,3), matte (R,S,S), reference_keypoints (R,478,3), background (S,S,3), keypoints (N,478,3)
    -> pictures (N,S,S,4)

Nobody's face is in it: the references are stripes, the keypoints the mean face.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import EngineError
from telepresence.face.basis import default_basis
from telepresence.face.motion import Pose
from telepresence.runtime.contract import Array
from telepresence.runtime.graphs import EncodeInput, Graphs

# Float arithmetic in another order moves a triangle's edge by a hair: single pixels may differ much, a picture may not.
TOLERANCE: Final = 3  # grey levels
MAX_BEYOND: Final = 0.004  # share of values that may differ by more than TOLERANCE; a textured portrait had 0.0022
MAX_MEAN: Final = 0.1  # grey levels, mean difference of a picture
MAX_PSNR: Final = 100.0  # dB
MIN_INT8_PSNR: Final = 40.0  # dB; where a CPU's 8 bits give less, they are not used
MIN_PSNR: Final = 35.0  # dB; a runtime or a batch whose pictures have less draws something else, and is not used
MAX_FILE_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Difference:
    """How far pictures are from the golden ones, the worst of them."""

    mean: float
    """Grey levels."""
    beyond: float
    """Share of values that differ by more than TOLERANCE."""
    psnr: float = MAX_PSNR
    """dB, of the worst picture; at most MAX_PSNR, which equal ones have."""

    @property
    def fits(self) -> bool:
        """Whether this is float arithmetic in another order and nothing else."""
        return self.mean <= MAX_MEAN and self.beyond <= MAX_BEYOND


def compare(pictures: NDArray[np.uint8], golden: NDArray[np.uint8]) -> Difference:
    """Compare pictures (N, S, S, 4) with golden ones."""
    difference = np.abs(pictures.astype(np.int16) - golden)
    each = difference.reshape(len(difference), -1)
    squared = float(np.square(each.astype(np.float64)).mean(1).max())
    psnr = min(MAX_PSNR, 10 * math.log10(255**2 / squared)) if squared else MAX_PSNR
    return Difference(float(each.mean(1).max()), float((each > TOLERANCE).mean(1).max()), psnr)


def inputs(size: int, references: int) -> dict[str, Array]:
    """Everything of a golden file but the pictures, for an engine of `references` slots (two are used at most)."""
    count = min(references, 2)
    line = np.arange(size)
    y, x = np.meshgrid(line, line, indexing="ij")
    pictures = []
    for number in range(count):
        period = size // (8 + 4 * number)
        stripes = (x // period + y // period) % 2 * 90
        pictures.append(np.stack([stripes + x * 160 // size, stripes + y * 160 // size, stripes + 40], -1))
    half = size / 2
    matte = np.clip((0.8 - np.hypot((x - half) / half, (y - half) / half)) * size / 4, 0, 1) * 255
    return {
        "picture": np.stack(pictures).astype(np.uint8),
        "matte": np.stack([matte] * count).astype(np.uint8),
        "reference_keypoints": np.stack([_face(0.15 * number, 0.0, 0.0) for number in range(count)]),
        "background": np.stack([y * 255 // size, x * 255 // size, 0 * x], -1).astype(np.uint8),
        "keypoints": np.stack([_face(0.0, 0.0, 0.0), _face(0.35, 0.05, 2.0), _face(-0.25, -0.08, -1.5)]),
    }


def draw(graphs: Graphs, given: Mapping[str, Array]) -> NDArray[np.uint8]:
    """Render golden inputs: pictures (N, S, S, 4).

    Raises:
        EngineError: the runtime failed.
    """
    references = map(EncodeInput, given["picture"], given["matte"], given["reference_keypoints"])
    tensors = graphs.tensors(references, given["background"])
    return np.stack([graphs.render(tensors, keypoints).copy() for keypoints in given["keypoints"]])


def check(graphs: Graphs, path: Path) -> Difference:
    """Render the inputs of a golden file and compare.

    Raises:
        EngineError: the file cannot be read, or the runtime failed.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise EngineError(f"{path} is larger than {MAX_FILE_BYTES} bytes; this is not a golden file")
        with np.load(path, allow_pickle=False) as data:
            given = {name: data[name] for name in data.files}
        return compare(draw(graphs, given), given["pictures"])
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise EngineError(f"{path} is not a golden file: {error}; restore the engine's folder") from error


def save(path: Path, given: Mapping[str, Array], pictures: NDArray[np.uint8]) -> None:
    """Write a golden file."""
    np.savez_compressed(path, pictures=pictures, **given)


def _face(turn: float, right: float, expression: float) -> NDArray[np.float32]:
    """The mean face in the middle, turned by `turn` radians, with some of the first coefficient's expression."""
    basis = default_basis()
    coefficients = np.zeros(basis.size, np.float32)
    coefficients[0] = expression
    pose = Pose(np.array([0.1 * turn, turn, 0], np.float32), np.array([right, 0], np.float32), 0.45)
    return pose.apply(basis.mean + basis.displacement(coefficients, np.zeros((2, 2), np.float32)))
