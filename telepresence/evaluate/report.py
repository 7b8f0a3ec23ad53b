"""What an evaluation found: JSON for programs, a table for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np

DIGITS: Final = 4
SEEN: Final = "*"  # after the clip's name
FIGURES: Final = (
    "gap_closed", "psnr_gain", "nme_lips", "nme_eyes", "mouth_corr", "blink_recall", "sharpness",
    "gap_closed_whole", "ssim", "ssim_face", "ms_ssim", "ms_ssim_face", "psnr", "psnr_face", "sharpness_mouth",
    "nme_mean", "nme_irises", "flicker", "flicker_excess", "lpips", "csim",
)  # fmt: skip
_COLUMNS: Final = ("gap_closed", "psnr_gain", "sharpness", "nme_lips", "nme_eyes", "mouth_corr", "flicker")


@dataclass(slots=True)
class Report:
    """An evaluation; keys of the JSON are these fields."""

    engine: dict[str, Any]
    protocol: dict[str, Any]
    clips: list[dict[str, Any]] = field(default_factory=list)
    """A row for each clip and shots: the engine's figures, and under `prior` and `still` theirs."""
    summary: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By shots: medians over clips."""
    cross: list[dict[str, Any]] = field(default_factory=list)
    """Avatars driven by somebody else."""
    left_out: list[dict[str, str]] = field(default_factory=list)
    missing: list[dict[str, str]] = field(default_factory=list)
    """Figures that need files which are not there."""
    versions: dict[str, str] = field(default_factory=dict)

    def json(self) -> str:
        """One JSON object; docs/evaluate.md describes it."""
        return json.dumps(_rounded(asdict(self)), indent=2) + "\n"

    def text(self) -> str:
        """Tables for a terminal."""
        return "\n".join(_lines(self))


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Medians over the rows of one kind of shots; clips without a figure (nobody blinks) do not count in it."""
    out: dict[str, Any] = {"clips": len(rows), "people": len({row["identity"] for row in rows})}
    out |= _medians(rows)
    gaps = [(row["gap_closed"], row["prior"]["gap_closed"]) for row in rows]
    out["beats_prior"] = sum(own is not None and prior is not None and own > prior for own, prior in gaps)
    out["blinks"] = sum(row["blinks"] for row in rows)
    out["blinks_kept"] = sum(_kept(row, row) for row in rows)
    out["faces_lost"] = sum(row["faces_lost"] for row in rows)
    for who in ("prior", "still"):
        out[who] = _medians([row[who] for row in rows]) | {"blinks_kept": sum(_kept(row, row[who]) for row in rows)}
    return out


def _kept(row: Mapping[str, Any], figures: Mapping[str, Any]) -> int:
    """How many of the blinks of a row's clip were drawn by whom the figures are of."""
    return round(int(row["blinks"]) * float(figures.get("blink_recall") or 0))


def _medians(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    found = {name: [row[name] for row in rows if row.get(name) is not None] for name in FIGURES}
    had = {name for name in FIGURES if any(name in row for row in rows)}
    return {name: float(np.median(values)) if values else None for name, values in found.items() if name in had}


def _lines(report: Report) -> Iterable[str]:
    name = report.engine["name"]
    for shots, summary in report.summary.items():
        rows = [row for row in report.clips if row["shots"] == shots]
        yield f"{name}, shots {shots}: {summary['clips']} clips of {summary['people']} people"
        yield _row("", "gap", "prior", "dB", "sharp", "lips %", "lids %", "mouth", "flick", "blinks", "refs")
        for row in rows:
            blinks = f"{_kept(row, row)}/{row['blinks']}"
            refs = f"{row['references_used']}/{row['references']}"
            yield _row(_marked(row), *_cells(row, row["prior"]), blinks, refs)
        yield _row("median", *_cells(summary, summary["prior"]), f"{summary['blinks_kept']}/{summary['blinks']}", "")
        prior = summary["prior"]
        yield _row("of the prior", *_cells(prior, prior), f"{prior['blinks_kept']}/{summary['blinks']}", "")
        if any(row.get("held_out") is False for row in rows):
            yield f"{SEEN} = training may have seen this person"
        yield f"better than the prior on {summary['beats_prior']} of {summary['clips']} clips"
        yield ""
    for row in report.cross:
        yield (
            f"{row['target']} driven by {row['driver']}: identity kept {row['kept']:.2f} "
            f"(to target {row['to_target']:.4f} of which noise {row['floor']:.4f}, to driver {row['to_driver']:.4f}, "
            f"apart {row['apart']:.4f})"
        )
    for entry in report.left_out:
        yield f"left out: {entry['clip']}{' shots ' + entry['shots'] if 'shots' in entry else ''}: {entry['reason']}"
    for entry in report.missing:
        yield f"missing: {entry['figure']}; put {entry['put']}"


def _marked(row: Mapping[str, Any]) -> str:
    return f"{row['clip']}{SEEN}" if row.get("held_out") is False else str(row["clip"])


def _cells(row: Mapping[str, Any], prior: Mapping[str, Any]) -> list[str]:
    shown: dict[str, Callable[[float], str]] = dict.fromkeys(_COLUMNS, "{:.2f}".format)
    shown |= {"gap_closed": "{:.3f}".format, "nme_lips": _percent, "nme_eyes": _percent, "mouth_corr": "{:.3f}".format}
    cells = ["-" if row.get(name) is None else form(row[name]) for name, form in shown.items()]
    cells.insert(1, "-" if prior.get("gap_closed") is None else f"{prior['gap_closed']:.3f}")
    return cells


def _percent(value: float) -> str:
    return f"{value * 100:.2f}"


def _row(first: str, *cells: str) -> str:
    return f"{first:22s}" + "".join(f"{cell:>8s}" for cell in cells)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    return value
