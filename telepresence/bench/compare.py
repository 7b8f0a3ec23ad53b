"""`telepresence bench compare A.json B.json`: what differs between two runs, and what is no more than noise."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from telepresence.bench.results import FIGURES, SCHEMA
from telepresence.errors import InputError

PATHS: Final = ("avatar", "ordinary_direct", "ordinary_relayed")
GROUPS: Final = ("link", "squeezed")
LEAST_PCT: Final = 3.0  # of a figure, whatever its noise: less is not told apart
MOST_LOAD: Final = 0.5  # by which the machine's load may differ
MORE_IS_BETTER: Final = ("fps",)


def load_report(path: Path) -> dict[str, Any]:
    """A report from its file.

    Raises:
        InputError: it is none, or of another version.
    """
    try:
        report = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); give a file that `telepresence bench --json` wrote") from error
    if not isinstance(report, dict) or report.get("schema") != SCHEMA:
        found = report.get("schema") if isinstance(report, dict) else None
        raise InputError(f"{path}: not a report of this version ({found} instead of {SCHEMA}); measure anew")
    return report


def compared(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each figure that both have: both values, the difference, its noise, and what to think of it."""
    rows = []
    for name, a, b in _paths(first, second):
        path = name.partition(",")[0]
        for figure in FIGURES:
            if a.get(figure) is None or b.get(figure) is None:
                continue
            noise = _noise(a, b, figure) or _borrowed((first.get(path), second.get(path)), (a, b), figure)
            gap = b[figure] - a[figure]
            better = (gap > 0) == (figure in MORE_IS_BETTER)
            verdict = "same" if abs(gap) <= noise else "better" if better else "worse"
            row = {"path": name, "figure": figure, "first": a[figure], "second": b[figure]}
            rows.append(row | {"difference": round(gap, 2), "noise": round(noise, 2), "verdict": verdict})
    return rows


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """What makes the two hard to compare: another machine, clip, engine, or a run that was cut short."""
    out = []
    for name, key in (("machine", "cpu"), ("machine", "cores"), ("clip", "name"), ("engine", "engine"),
                      ("engine", "runtime"), ("engine", "size"), ("versions", "telepresence")):  # fmt: skip
        a, b = ((run.get(name) or {}).get(key) for run in (first, second))
        if a != b:
            out.append(f"{name} {key}: {a} and {b}")
    out += [f"the {which} run is not complete" for which, run in (("first", first), ("second", second))
            if not run.get("complete")]  # fmt: skip
    before, after = ((run.get("machine") or {}).get("load_average") for run in (first, second))
    if before is not None and after is not None and abs(before - after) > MOST_LOAD:
        out.append(f"load average before: {before} and {after}; something else ran")
    return out


def compare_text(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """The table, and whether the two agree."""
    rows = compared(first, second)
    if not rows:
        raise InputError("the two reports have no figure in common")
    lines = [f"first {first['date']}, second {second['date']}; noise is half the 95 % interval of both together"]
    lines += [f"careful: {one}" for one in differences(first, second)]
    lines.append(f"{'path':28} {'figure':16} {'first':>9} {'second':>9} {'change':>9} {'noise':>8}")
    for row in rows:
        lines.append(
            f"{row['path']:28} {row['figure']:16} {row['first']:9.1f} {row['second']:9.1f} {row['difference']:+9.1f} "
            f"{row['noise']:8.1f}  {'' if row['verdict'] == 'same' else row['verdict']}".rstrip()
        )
    apart = sum(row["verdict"] != "same" for row in rows)
    lines.append(f"{len(rows) - apart} of {len(rows)} figures agree within noise")
    return "\n".join(lines)


def _paths(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    for name in PATHS:
        if first.get(name) and second.get(name):
            yield name, first[name], second[name]
    for group in GROUPS:
        one, other = first.get(group) or {}, second.get(group) or {}
        for name in PATHS:
            if one.get(name) and other.get(name):
                yield f"{name}, {group}", one[name], other[name]


def _noise(a: Mapping[str, Any], b: Mapping[str, Any], figure: str) -> float | None:
    """Of the difference; where one run knows none, the other's counts for both. None: neither does."""
    known = [one for run in (a, b) if (one := (run.get("noise") or {}).get(figure)) is not None]
    if not known:
        return None
    return max(_least((a, b), figure), math.hypot(*(known * 2 if len(known) == 1 else known)))


def _borrowed(plain: Sequence[Mapping[str, Any] | None], both: Sequence[Mapping[str, Any]], figure: str) -> float:
    """Of a path that was measured in one stretch only: as many per cent as of the same path at its natural bitrate.

    How stretches differ cannot be seen in one: where Chromium's clock for pictures stands to the camera's, above all,
    is drawn anew for each, so that one stretch agrees with itself and not with the next.
    """
    shares = [
        run["noise"][figure] / run[figure]
        for run in plain
        if run and run.get(figure) and (run.get("noise") or {}).get(figure) is not None
    ]
    share = math.sqrt(sum(one * one for one in shares) / len(shares)) if shares else 0.0
    return max(_least(both, figure), math.hypot(*(share * run[figure] for run in both)))


def _least(both: Sequence[Mapping[str, Any]], figure: str) -> float:
    return float(LEAST_PCT / 100 * max(abs(run[figure]) for run in both))
