"""Looks at what a command is to write before its work starts: it can be written, and it is not its own input."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from telepresence.errors import InputError


def refuse_overwriting(outputs: Mapping[str, Path | None], inputs: Iterable[Path | None]) -> None:
    """Refuse outputs that are also an input or another output, or that cannot be written.

    Links of both kinds are followed. An earlier file of an output's name is no reason to refuse.

    Args:
        outputs: by the option that named them; None for an option that was not given.
        inputs: files that the command reads; those that do not exist are for others to complain about.

    Raises:
        InputError: the message names the option and says what to do.
    """
    given = {option: path for option, path in outputs.items() if path is not None}
    read = [path for path in inputs if path is not None]
    seen: dict[str, Path] = {}
    for option, path in given.items():
        if any(_same(path, source) for source in read):
            raise InputError(f"{option} {path}: that is a file to be read here; choose another name to write to")
        for other, earlier in seen.items():
            if _same(path, earlier):
                raise InputError(f"{option} {path}: {other} is to be written there; choose another name for one")
        _check_writable(option, path)
        seen[option] = path


def require_suffix(option: str, path: Path, suffix: str) -> None:
    """Refuse an output of another kind than its name says.

    Raises:
        InputError: the name does not end in `suffix`, such as ".mp4", in capital or small letters.
    """
    if path.suffix.lower() != suffix:
        stem = path.stem.strip(".") or "NAME"
        raise InputError(f"{option} {path}: what is written there ends in {suffix}; name it {stem}{suffix}")


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one is not there yet, or beyond reach: then the names decide
        return _resolved(one) == _resolved(other)


def _resolved(path: Path) -> str:
    return os.path.realpath(path)


def _check_writable(option: str, path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{option} {path}: that is a folder; add a file's name to it")
    if path.exists() and (path.is_symlink() or not path.is_file()):  # such as /dev/stdout
        if not os.access(path, os.W_OK):
            raise InputError(f"{option} {path}: cannot be written; choose another place")
        return
    if not path.parent.is_dir():
        raise InputError(f"{option} {path}: the folder {path.parent} does not exist; make it, or choose another place")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"{option} {path}: the folder {path.parent} may not be written to; choose another place")
