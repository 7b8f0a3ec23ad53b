"""The mean face and the linear expression basis: one versioned file, shipped with the package.

`telepresence.face.fit` makes it from landmarks of face clips.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.face.topology import IRIS_LEFT, IRIS_RIGHT, N_FACE, N_LANDMARKS

Floats = NDArray[np.float32]
SCHEMA: Final = 1
_FILE: Final = Path(__file__).with_name("basis-1.npz")


@dataclass(frozen=True, slots=True)
class Basis:
    """What turns expression coefficients into displacements of a face, and back."""

    schema: int
    mean: Floats
    """(478, 3), the mean neutral shape in canonical coordinates."""
    components: Floats
    """(E, 468, 3): displacement for one standard deviation of each coefficient."""
    projector: Floats
    """(E, 1404): displacement -> coefficients, weighted least squares (lips and lids count more)."""
    identity: Floats
    """(I, 468, 3): how neutral shapes of people differ from the mean, one standard deviation each."""
    limit: float = 6.0
    """Largest sensible coefficient, in standard deviations."""
    gaze_limit: float = 0.12
    """Largest sensible iris travel, canonical units."""

    @property
    def size(self) -> int:
        """E, how many expression coefficients there are."""
        return len(self.components)

    def displacement(self, expression: Floats, gaze: Floats) -> Floats:
        """Coefficients (E,) and gaze (2, 2) -> displacement (478, 3) in canonical units."""
        out = np.empty((N_LANDMARKS, 3), np.float32)
        out[:N_FACE] = np.tensordot(expression, self.components, 1)
        for eye, (iris, socket) in enumerate(_EYES):
            out[iris] = out[socket].mean(0)  # the eyeball moves with its corners, the iris by the gaze on top
            out[iris, :2] += gaze[eye]
        return out

    def analyse(self, displacement: Floats) -> tuple[Floats, Floats]:
        """Displacement (478, 3) from neutral -> coefficients (E,) and gaze (2, 2)."""
        expression = self.projector @ displacement[:N_FACE].reshape(-1)
        gaze = np.stack([displacement[iris].mean(0)[:2] - displacement[socket].mean(0)[:2] for iris, socket in _EYES])
        return expression.astype(np.float32), gaze.astype(np.float32)


_EYES = ((list(IRIS_RIGHT), [33, 133]), (list(IRIS_LEFT), [263, 362]))


@lru_cache(maxsize=1)
def default_basis() -> Basis:
    """The shipped basis, schema 1."""
    with np.load(_FILE, allow_pickle=False) as data:
        arrays = {name: data[name].astype(np.float32) for name in ("mean", "components", "projector", "identity")}
    return Basis(SCHEMA, **arrays)
