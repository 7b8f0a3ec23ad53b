"""The one place that calls fine-tuning, which needs torch and may not be installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.model import Avatar
from telepresence.errors import InputError

MODULE = "telepresence.generator.finetune"


def require_tuning() -> None:
    """Say at once, not after minutes, that fine-tuning cannot be had.

    Raises:
        InputError: torch, or the module, is missing.
    """
    _fine_tune()


def tune(
    avatar: Avatar,
    pictures: Sequence[NDArray[np.uint8]],
    landmarks: Sequence[NDArray[np.float32]],
    *,
    engine: str,
    minutes: float,
) -> Avatar:
    """The avatar with tensors learned from pictures (S, S, 3) and their landmarks (478, 3), pixels of those.

    Raises:
        InputError: torch, or the module, is missing.
    """
    import_module("telepresence.generator.start").settle()
    return _fine_tune()(avatar, pictures, landmarks, engine=engine, minutes=minutes)


def _fine_tune() -> Callable[..., Avatar]:
    try:
        found: Callable[..., Avatar] = import_module(MODULE).fine_tune  # its module is only there with torch
        return found
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"--fine-tune: fine-tuning is not installed here ({error}); it needs torch: make setup-train"
        ) from error
