"""Loss curves of a training run, out of its log: python -m telepresence.generator.curves RUN_DIR --out curves.png"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import click

from telepresence.errors import InputError, TelepresenceError
from telepresence.generator.run import LOG

MAX_LOG_BYTES: Final = 64 * 1024 * 1024
_NO_LOSS: Final = frozenset({"samples", "seconds", "rate", "skipped", "validation", "clips", "sheet"})

Curve = list[tuple[int, float]]
"""Samples seen and a value, in order."""


def read_curves(folder: Path) -> tuple[dict[str, Curve], dict[str, Curve]]:
    """A run's losses by name, and the face gap closed of people held out, by shots.

    Raises:
        InputError: there is no log, or it is not one of training.
    """
    path = folder / LOG
    losses: dict[str, Curve] = {}
    gaps: dict[str, Curve] = {}
    try:
        if path.stat().st_size > MAX_LOG_BYTES:
            raise InputError(f"{path}: larger than {MAX_LOG_BYTES >> 20} MiB; not a log of training")
        rows: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            for name in row.keys() - _NO_LOSS:
                losses.setdefault(name, []).append((int(row["samples"]), float(row[name])))
            for shots, found in row.get("validation", {}).items():
                gaps.setdefault(shots, []).append((int(row["samples"]), float(found["gap_closed"])))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give the folder of a training run") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a log of training ({type(error).__name__}: {error})") from error
    if not losses:
        raise InputError(f"{path}: no losses yet; a run writes a line every two minutes")
    return losses, gaps


def draw_curves(losses: dict[str, Curve], gaps: dict[str, Curve], out: Path) -> None:
    """Draw them, losses above and face gap closed below.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError("curves need matplotlib; run: pip install matplotlib") from error
    figure = Figure(figsize=(8, 7), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    for name, curve in sorted(losses.items()):
        upper.plot(*zip(*curve, strict=True), label=name)
    for shots, curve in gaps.items():
        lower.plot(*zip(*curve, strict=True), marker="o", label=f"{shots} reference{'s' * (shots != '1')}")
    upper.set_yscale("symlog", linthresh=0.01)
    upper.set_ylabel("weighted loss, mean over two minutes")
    lower.set_ylabel("face gap closed")
    lower.set_xlabel("samples")
    upper.legend(ncols=3, fontsize="small")
    if gaps:
        lower.legend(fontsize="small")
    figure.savefig(out, dpi=100)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The picture to write, .png.")
def main(folder: Path, out: Path) -> None:
    """Draw the loss curves of the training run in FOLDER."""
    from telepresence.paths import require_suffix

    try:
        require_suffix("--out", out, ".png")
        draw_curves(*read_curves(folder), out)
    except TelepresenceError as error:
        click.echo(f"telepresence: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
