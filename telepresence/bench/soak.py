"""`telepresence bench soak`: does anything grow in a long call? Age of pictures, memory, threads, file descriptors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from telepresence.bench import results
from telepresence.bench.camera import find_source, prepare
from telepresence.bench.paths import Avatar
from telepresence.bench.rig import Rig, RigConfig, loads, started
from telepresence.errors import InputError

MINUTES: Final = 30.0
READINGS: Final = 180  # of a soak, however long; at most one a second
LEAST_MINUTES: Final = 0.5
WARM_UP: Final = 0.2  # of the readings: caches fill, encoders find their level
LEAST_READINGS: Final = 8
LEAST_TOLD_MINUTES: Final = 3.0  # before growth is spoken of: the machine's other work grows for a minute or two
TOO_WIDE: Final = 2.0  # of a straight line's standard error: neighbours in time are alike, so it is more than it seems
SPAN_MINUTES: Final = 30.0  # that growth is stated for
EDGES: Final = ("sender's edge", "receiver's edge")
BROWSERS: Final = ("sender's browser", "receiver's browser")

WATCHED: Final[Mapping[str, tuple[str, float]]] = {
    "age_ms_p50": ("age of pictures, ms, median", 10.0),
    "age_ms_p95": ("age of pictures, ms, p95", 20.0),
    "memory_mib": ("memory of both edges, MiB", 20.0),
    "browser_mib": ("memory of both browsers, MiB", 60.0),
    "threads": ("threads of both edges", 2.0),
    "files": ("open files of both edges", 2.0),
}
"""What is watched, and by how much it may grow in SPAN_MINUTES."""


@dataclass(frozen=True)
class SoakConfig:
    """What `telepresence bench soak` was asked for."""

    minutes: float = MINUTES
    clip: Path | None = None
    rig: RigConfig = field(default_factory=RigConfig)


async def run_soak(
    config: SoakConfig, folder: Path, say: Callable[[str], None], keep: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """One call, read again and again; `keep` gets the report as far as it is there.

    Raises:
        TelepresenceError: something cannot be used, or has ended.
    """
    if config.minutes < LEAST_MINUTES:
        raise InputError(f"--minutes {config.minutes:g}: at least {LEAST_MINUTES:g}")
    before = results.machine()
    source, name = await asyncio.to_thread(find_source, config.clip, folder)
    clip = await asyncio.to_thread(prepare, source, name, folder)
    began, readings, engine = time.time(), list[dict[str, Any]](), dict[str, Any]()

    def report(complete: bool) -> dict[str, Any]:
        about = {"machine": before, "clip": {"name": name}, "engine": engine, "problems": []}
        return results.report("soak", began, about | {"soak": summary(readings)}, [], complete=complete)

    async with started(config.rig, clip, say) as rig:
        stats = await rig.ask("receiver", "/api/stats")
        engine |= {key: stats.get(key) for key in ("engine", "size", "runtime")}
        way = Avatar()
        await way.connect(rig)
        begun, gap_s = time.monotonic(), max(1.0, config.minutes * 60 / READINGS)
        while (minutes := (time.monotonic() - begun) / 60) < config.minutes:
            await asyncio.sleep(gap_s)
            readings.append({"minutes": round(minutes + gap_s / 60, 3), **await _reading(rig)})
            if len(readings) % 10 == 0:
                say(f"{readings[-1]['minutes']:.1f} min: " + ", ".join(f"{k} {readings[-1][k]}" for k in WATCHED))
                keep(report(complete=False))
        await way.disconnect(rig)
        return report(complete=True)


async def _reading(rig: Rig) -> dict[str, Any]:
    stats = await rig.ask("receiver", "/api/stats")
    for role in rig.edges:
        await rig.ask(role, "/api/trace")  # what is not fetched would be kept, and grow
    costs = await asyncio.to_thread(loads, rig, memory=True)
    edges = [costs[name] for name in EDGES if name in costs]
    browsers = [costs[name] for name in BROWSERS if name in costs]
    return {
        "age_ms_p50": stats["age_ms_p50"],
        "age_ms_p95": stats["age_ms_p95"],
        "fps": stats["fps"],
        "memory_mib": round(sum(one.memory_mib for one in edges), 1) if edges else None,
        "browser_mib": round(sum(one.memory_mib for one in browsers), 1) if browsers else None,
        "threads": sum(one.threads for one in edges) if edges else None,
        "files": sum(one.files for one in edges) if edges else None,
    }


def summary(readings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The readings, and what to think of them."""
    minutes = readings[-1]["minutes"] if readings else 0.0
    verdicts = []
    for key, (what, limit) in WATCHED.items():
        points = [(one["minutes"], one[key]) for one in readings if one.get(key) is not None]
        if len(points) >= LEAST_READINGS:
            verdicts.append({"figure": key, "what": what, **verdict(points, limit)})
    return {"minutes": minutes, "readings": list(readings), "verdicts": verdicts}


def verdict(points: Sequence[tuple[float, float]], limit: float) -> dict[str, Any]:
    """Whether a figure grows: a straight line through what follows the warm-up.

    Args:
        points: (minutes, value), ascending.
        limit: growth in SPAN_MINUTES that counts as none.
    """
    fifth = max(1, len(points) // 5)
    kept = np.array(points[int(WARM_UP * len(points)) :], np.float64)
    at, values = kept[:, 0] - kept[:, 0].mean(), kept[:, 1]
    spread = float((at**2).sum())
    slope = float((at * values).sum() / spread) if spread else 0.0
    rest = values - values.mean() - slope * at
    error = float(np.sqrt((rest**2).sum() / max(1, len(at) - 2) / spread)) if spread else float("inf")
    growth, uncertain = slope * SPAN_MINUTES, 2 * TOO_WIDE * error * SPAN_MINUTES
    if growth - uncertain > limit and points[-1][0] - points[0][0] >= LEAST_TOLD_MINUTES:
        said = "grows"
    elif growth + uncertain <= limit:
        said = "does not grow"
    else:
        said = "too short to tell"
    return {
        "first": round(float(np.median([v for _, v in points[:fifth]])), 2),
        "last": round(float(np.median([v for _, v in points[-fifth:]])), 2),
        "growth": round(growth, 2),
        "uncertain": round(uncertain, 2),
        "limit": limit,
        "verdict": said,
    }


def soak_text(soak: Mapping[str, Any]) -> str:
    """The verdicts as a table."""
    lines = [f"{'':34} {'first fifth':>11} {'last fifth':>11} {'in 30 min':>10} {'+-':>8}"]
    for row in soak["verdicts"]:
        lines.append(
            f"{row['what']:34} {row['first']:11.1f} {row['last']:11.1f} {row['growth']:+10.1f} {row['uncertain']:8.1f}"
            f"  {row['verdict']}"
        )
    if not soak["verdicts"]:
        lines.append("too few readings to tell anything")
    return "\n".join(lines)
