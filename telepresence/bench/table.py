"""A report's figures as Markdown tables, for documents: `python -m telepresence.bench.table bench.json [second.json]`.

Of two runs each cell has both figures. Every table says which path was measured and what shared the cores with it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from telepresence.bench.compare import load_report
from telepresence.bench.plots import SHORT, TITLES
from telepresence.bench.report import ROWS, TARGETS
from telepresence.errors import TelepresenceError

SHARED: Final = (
    "One path at a time, in turns; two browsers, two edges, the relay and the hub share the cores all the time, and "
    "what a path does not need idles."
)
PACKAGES: Final = ("python", "aiortc", "av", "mediapipe", "openvino")
LINK_KEYS: Final = ("display_ms_p50", "display_ms_p95", "lag_ms_face", "kbps", "fps")
LIPS: Final = (
    ("picture_ms_p50", "age of pictures when shown, p50"), ("picture_ms_p95", "the same, p95"),
    ("sound_ms_p50", "age of sound when heard, p50"), ("sound_ms_p95", "the same, p95"),
    ("skew_ms_p5", "lips later than their sound, p5"), ("skew_ms_p50", "p50"), ("skew_ms_p95", "p95"),
    ("skew_ms_abs_p95", "apart either way, p95 (45 is the aim)"),
)  # fmt: skip

Report = Mapping[str, Any]


def markdown(reports: Sequence[Report]) -> str:
    """All tables of one run, or of several side by side."""
    first = reports[0]
    machine, versions = first["machine"], first["versions"]
    named = ", ".join(f"{name} {versions[name]}" for name in PACKAGES if name in versions)
    head = (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}; {named}, "
        f"Chromium {first.get('browser')}; {' and '.join(one['date'] for one in reports)} UTC; load average before: "
        f"{' and '.join(str(one['machine']['load_average']) for one in reports)}. {SHARED}"
    )
    tables = [make(reports) for make in (_paths, _steps, _link, _lips)]
    return "\n\n".join([head, *filter(None, tables)])


def _paths(reports: Sequence[Report]) -> str:
    names = [name for name in TITLES if reports[0].get(name)]
    rows = []
    for key, title, unit in ROWS:
        cells = [_cells([one.get(name) for one in reports], key) for name in names]
        rows.append([f"{title}, {unit}", *cells, f"{TARGETS[key]:g}" if key in TARGETS else ""])
    return _table(["", *(TITLES[name] for name in names), "aim"], rows)


def _steps(reports: Sequence[Report]) -> str:
    steps = [((one.get("avatar") or {}).get("steps_ms") or {}) for one in reports]
    rows = [
        [name, *(_join([step[name][q] for step in steps if name in step]) for q in ("p50", "p95"))] for name in steps[0]
    ]
    return _table(["step of the avatar's way, ms", "p50", "p95"], rows) if rows else ""


def _link(reports: Sequence[Report]) -> str:
    found = [one.get("link") or {} for one in reports]
    names = [name for name in TITLES if name in found[0]]
    rows = [
        [f"{title}, {unit}", *(_cells([one.get(name) for one in found], key) for name in names)]
        for key, title, unit in ROWS
        if key in LINK_KEYS
    ]
    return _table(["256 kbit/s, 5 % loss, 30 ms one way", *(SHORT[name] for name in names)], rows) if names else ""


def _lips(reports: Sequence[Report]) -> str:
    found = [one["lips"] for one in reports if one.get("lips")]
    rows = [[title, _join([one.get(key) for one in found])] for key, title in LIPS]
    return _table(["the avatar's path with sound beside it", "ms"], rows) if found else ""


def _cells(paths: Sequence[Mapping[str, Any] | None], key: str) -> str:
    said = []
    for one in paths:
        value = (one or {}).get(key)
        noise = ((one or {}).get("noise") or {}).get(key)
        if value is not None:
            said.append(f"{value:g}" + (f" \u00b1 {noise:.1f}" if noise is not None else ""))
    return "; ".join(said) or "-"


def _join(values: Sequence[float | None]) -> str:
    return "; ".join("-" if value is None else f"{value:g}" for value in values)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Print the tables of the reports named."""
    try:
        print(markdown([load_report(Path(name)) for name in sys.argv[1:]]))
    except (TelepresenceError, IndexError) as error:
        raise SystemExit(f"telepresence.bench.table: {error or 'name a report'}") from error


if __name__ == "__main__":
    main()
