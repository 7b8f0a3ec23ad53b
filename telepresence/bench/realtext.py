"""Runs of `telepresence bench link --real`, one after the other, as JSON and as tables."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, Final

import numpy as np

from telepresence.bench.link import DELAY_US
from telepresence.bench.real import REAL_CONDITIONS, SINKS, RealRow, run_real
from telepresence.rtc.edge import SWITCH_S
from telepresence.rtc.link import LinkConditions
from telepresence.wire.packets import MotionPacket

BOUNDS: Final = {"age_p95": DELAY_US / 1000 + 75, "freeze": 100, "fresh": 250, "stale": 2}
"""Of every link without bursts: milliseconds, and packets shown."""


def merged(rows: Sequence[RealRow]) -> dict[str, Any]:
    """Runs as one: ages pooled; the worst of freezes, stale packets, recovery; medians of rates; sums of counts."""
    freshes = [row.shown.fresh for row in rows if row.shown.fresh is not None]
    figures: dict[str, Any] = {"condition": rows[0].condition, "sink": rows[0].sink}
    figures |= _ages([age for row in rows for age in row.shown.ages])
    figures |= {n: max(getattr(r.shown, n) for r in rows) for n in ("freeze", "stale")}
    figures["fresh"] = max(freshes) if freshes else None
    figures |= {n: float(np.median([getattr(r, n) for r in rows])) for n in _MEDIANS}
    figures |= {n: sum(getattr(r, n) for r in rows) for n in _SUMS}
    return _rounded(figures)


_MEDIANS: Final = ("pictures_per_s", "payload_kbps", "wire_kbps", "lost_pct", "loop_late_p95")
_SUMS: Final = ("sent", "skipped", "left_out", "rebuilds")


def _ages(ages: Sequence[float]) -> dict[str, Any]:
    """Percentiles; none of what has no age."""
    return {f"age_p{p}": float(np.percentile(ages, p)) if ages else None for p in (50, 95, 99)}


def _rounded(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 2) if isinstance(value, float) else value for name, value in figures.items()}


def _run(row: RealRow) -> dict[str, Any]:
    """One run, without its single ages."""
    figures = asdict(row)
    shown = figures.pop("shown")
    return _rounded(figures | _ages(shown.pop("ages")) | shown)


def real_report(
    streams: Sequence[Sequence[MotionPacket]],
    runs: int,
    conditions: Mapping[str, LinkConditions] = REAL_CONDITIONS,
) -> dict[str, Any]:
    """Every run of every clip over every link, and the runs of each link as one. Takes as long as the clips.

    Raises:
        TimeoutError: two peers on loopback did not connect.
    """
    sys.setswitchinterval(SWITCH_S)  # as an edge does
    load = [os.getloadavg()[0]]
    rows = [
        row
        for run in range(runs)
        for packets in streams
        for name, link in conditions.items()
        for row in asyncio.run(run_real(packets, name, link, 1 + run))
    ]
    load.append(os.getloadavg()[0])
    groups = [[r for r in rows if (r.condition, r.sink) == (name, sink)] for sink in SINKS for name in conditions]
    versions = {name: version(name) for name in ("aiortc", "aioice", "av")}
    return {
        "runs": runs * len(streams),
        "bounds": BOUNDS,
        "load": [round(x, 2) for x in load],
        "versions": versions | {"python": platform.python_version()},
        "summary": [merged(group) for group in groups],
        "all": [_run(row) for row in rows],
    }


def real_text(figures: dict[str, Any]) -> str:
    """The tables for `docs/link.md`."""
    parts = []
    for sink in SINKS:
        lines = [
            "| link | age p50 | p95 | p99 | freeze | stale | fresh after | pictures | payload | wire |",
            "| --- |" + " ---: |" * 9,
            "| (30 ms one way) | ms | ms | ms | ms | shown | ms | 1/s | kbit/s | kbit/s |",
        ]
        lines += [_line(row) for row in figures["summary"] if row["sink"] == sink]
        parts.append(f"Sink: {sink} ({figures['runs']} runs)\n\n" + "\n".join(lines))
    late = [row["loop_late_p95"] for row in figures["summary"]]
    versions = ", ".join(f"{name} {number}" for name, number in figures["versions"].items())
    before, after = figures["load"]
    parts.append(
        f"Load {before:g} before, {after:g} after. The event loop was late by {min(late):.1f} to {max(late):.1f} ms "
        f"(95th percentiles). {versions}."
    )
    return "\n\n".join(parts)


def _line(row: Mapping[str, Any]) -> str:
    fresh = "" if row["fresh"] is None else f"{row['fresh']:.0f}"
    ages = " | ".join("" if row[f"age_p{p}"] is None else f"{row[f'age_p{p}']:.0f}" for p in (50, 95, 99))
    return (
        f"| {row['condition']} | {ages} "
        f"| {row['freeze']:.0f} | {row['stale']} | {fresh} | {row['pictures_per_s']:.0f} "
        f"| {row['payload_kbps']:.1f} | {row['wire_kbps']:.0f} |"
    )
