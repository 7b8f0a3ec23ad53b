"""The one place that calls fine-tuning, which needs torch and may not be installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.model import Avatar
from telepresence.errors import InputError
from telepresence.tuning import LIVE, learns_from_references, tuner
from telepresence.tuning import require_tuning as require_weights

__all__ = ["MODULE", "learns_from_references", "require_tuning", "tune"]

MODULE = LIVE


def require_tuning(engine: str) -> None:
    """Say at once, not after minutes, that fine-tuning cannot be had.

    Raises:
        InputError: torch, or the module, is missing.
        EngineError: no such engine, or not one that can be fine-tuned.
    """
    _fine_tune(tuner(engine))
    require_weights(engine)


def tune(
    avatar: Avatar,
    pictures: Sequence[NDArray[np.uint8]],
    landmarks: Sequence[NDArray[np.float32]],
    *,
    engine: str,
    minutes: float,
    whole: Path | None = None,
    from_reference_s: NDArray[np.float32] | None = None,
) -> Avatar:
    """The avatar with tensors learned from pictures (S, S, 3) and their landmarks (478, 3), pixels of those.

    `whole` is a new folder for an engine of the person's own; of engines that can be fine-tuned so. `from_reference_s`
    (T, K) is of each picture how many seconds it is from each reference; of engines that learn from a video.

    Raises:
        InputError: torch, or the module, is missing.
    """
    import_module("telepresence.generator.start").settle()
    how: dict[str, Any] = {} if whole is None else {"whole": whole}
    if from_reference_s is not None and not learns_from_references(engine):
        how["from_reference_s"] = from_reference_s
    return _fine_tune(tuner(engine))(avatar, pictures, landmarks, engine=engine, minutes=minutes, **how)


def _fine_tune(module: str) -> Callable[..., Avatar]:
    try:
        found: Callable[..., Avatar] = import_module(module).fine_tune  # its module is only there with torch
        return found
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"--fine-tune: fine-tuning is not installed here ({error}); it needs torch: make setup-train"
        ) from error
