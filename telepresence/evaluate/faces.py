"""Figures of the face in the pictures: what a tracker sees in them against what it sees in real ones. Pure.

Points are landmarks (T, 478, 3), isotropic pixels of pictures of one size. Errors are in the picture plane over the
outer eye-corner distance, as in `bench.fidelity`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.bench.fidelity import DEPTH, LEAST_OPENING, SHUT, errors
from telepresence.face.topology import (
    EYE_CORNERS_OUTER,
    EYE_OPENING_LEFT,
    EYE_OPENING_RIGHT,
    IRIS_LEFT,
    IRIS_RIGHT,
    MOUTH_OPENING,
)

Floats = NDArray[np.float32]

IRISES: Final = (*IRIS_RIGHT, *IRIS_LEFT)


def landmark_errors(shown: Floats, truth: Floats) -> dict[str, float]:
    """`nme_mean`, `nme_lips`, `nme_eyes` (lids), `nme_irises`: mean distances over the eye-corner distance."""
    found = errors(shown, truth)
    gap = np.linalg.norm((shown - truth)[:, list(IRISES), :2], axis=-1) / _gap(truth, EYE_CORNERS_OUTER)[:, None]
    return {
        "nme_mean": found["nme_mean"],
        "nme_lips": found["nme_lips"],
        "nme_eyes": found["nme_eyelids"],
        "nme_irises": float(gap.mean()),
    }


def mouth_opening(points: Floats) -> Floats:
    """(T,) distance of the inner lips over the eye-corner distance."""
    return _share(points, MOUTH_OPENING)


def eye_opening(points: Floats) -> Floats:
    """(T,) distance of the lids, both eyes together, over the eye-corner distance."""
    return _share(points, EYE_OPENING_RIGHT) + _share(points, EYE_OPENING_LEFT)


def mouth_correlation(shown: Floats, truth: Floats) -> float | None:
    """Pearson correlation of two series of mouth openings (T,); None where the real mouth hardly opens."""
    low, high = np.percentile(truth, [5, 95])
    if len(truth) < 3 or high - low < LEAST_OPENING:
        return None
    if float(shown.std()) < 1e-6:
        return 0.0
    return float(np.corrcoef(shown, truth)[0, 1])


def blinks_kept(
    shown: Floats, truth: Floats, runs: Sequence[Sequence[int]], shown_usual: float, usual: float
) -> tuple[int, int]:
    """How many blinks there are, and how many are in what is shown.

    A blink is kept if lids get three quarters as far down, both from where the real ones usually are and from where
    the drawn ones usually are: eyes that are always shut do not blink.

    Args:
        shown: (T,) eye openings in drawn pictures, NaN where no face was seen.
        truth: (T,) in the real ones.
        runs: for each blink its places in both series.
        shown_usual: the drawn eyes' usual opening.
        usual: the real eyes' usual opening.
    """
    total = kept = 0
    for run in runs:
        true, seen = truth[list(run)], shown[list(run)]
        if not np.isfinite(true).any() or np.nanmin(true) >= SHUT * usual:
            continue  # a blink in the source's own pixels, but not at this size
        total += 1
        lowest = np.nanmin(seen) if np.isfinite(seen).any() else np.inf
        kept += bool(min(usual, shown_usual) - lowest >= DEPTH * (usual - np.nanmin(true)))
    return total, kept


def _share(points: Floats, pair: tuple[int, int]) -> Floats:
    out: Floats = _gap(points, pair) / _gap(points, EYE_CORNERS_OUTER)
    return out


def _gap(points: Floats, pair: tuple[int, int]) -> Floats:
    distance: Floats = np.linalg.norm(points[:, pair[0]] - points[:, pair[1]], axis=-1)
    return distance
