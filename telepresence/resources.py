"""Where the shipped folders `engines/` and `web/` are: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped(name: str) -> Path:
    """Return the folder `engines` or `web` as installed.

    Raises:
        FileNotFoundError: the installation lacks it, which means that the wheel was built wrongly.
    """
    for candidate in (_PACKAGE / "shipped" / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(
        f"{name}/ is missing from this installation; reinstall with: pip install --force-reinstall telepresence"
    )
