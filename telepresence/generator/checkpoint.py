"""What a training run leaves on disk: each file whole or not at all, and one run a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any, Final

import torch

from telepresence.errors import InputError

CHECKPOINT: Final = "checkpoint.pt"
WEIGHTS: Final = "weights.pt"
FORMAT: Final = 1
LOCK: Final = ".training"
PARTS: Final = ("network", "average", "judge", "optimiser", "judge_optimiser", "progress")


def write(state: Any, path: Path) -> None:
    """Write a file of tensors so that at any moment either the old or the new one is there."""
    temporary = path.with_suffix(".writing")
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())  # or a power cut could leave the new name without the new content
    os.replace(temporary, path)


def read(path: Path, device: torch.device) -> dict[str, Any] | None:
    """A run's state; None if there is none yet.

    Raises:
        InputError: the file is damaged, or of another version.
    """
    if not path.exists():
        return None
    try:
        state: Any = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises what it likes on a file that is none of its own
        raise InputError(
            f"{path} is damaged ({type(error).__name__}); put a copy of it in its place, or delete it to begin anew"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(state.get(part), dict) for part in PARTS):
        raise InputError(f"{path} is not a checkpoint of training; train into another folder")
    if state.get("format") != FORMAT:
        raise InputError(f"{path} is of version {state.get('format')}, this is {FORMAT}; train into another folder")
    return state


def lock(folder: Path) -> IO[str] | None:
    """Keep other runs out of a folder for as long as the returned file is open; None where files cannot be locked.

    Raises:
        InputError: another run is in it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    file = (folder / LOCK).open("w")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike flock, not kept up by workers that outlive a kill
    except OSError as error:
        file.close()
        raise InputError(
            f"{folder}: another training run writes there; stop it, or train into another folder"
        ) from error
    return file
