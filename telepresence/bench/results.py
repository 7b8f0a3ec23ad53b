"""Stretches of measurement -> the report's figures, its noise and its ratios. Pure, but for the machine's description.

The names are specified in `docs/bench.md`.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from telepresence import __version__
from telepresence.bench.lag import Lag, summary
from telepresence.bench.stages import CAME, CAPTURED, SHOWN, STEPS, WAYS, percentiles
from telepresence.runtime.machine import cores, cpu_model

if TYPE_CHECKING:
    from telepresence.bench.call import Stretch

SCHEMA: Final = "telepresence-bench/1"
WAY_NAMES: Final = tuple(WAYS)
MOMENTS: Final = (
    CAPTURED, "decoded", "taken", "landmarks", "motion", "sent", "received", "drawing", "keypoints", "rendered",
    "encoder", CAME, SHOWN,
)  # fmt: skip
FIGURES: Final = (
    "edge_ms_p50", "edge_ms_p95", "age_ms_p50", "age_ms_p95", "display_ms_p50", "display_ms_p95", "display_ms_p99",
    "lag_ms_face", "kbps", "payload_kbps", "fps", "cpu_s",
)  # fmt: skip
ORDINARY: Final = ("ordinary_direct", "ordinary_relayed")
OWN: Final = "benchmark and hub"  # its CPU time is no part of any call
USED_BY: Final[Mapping[str, Sequence[str]]] = {
    "avatar": ("sender's edge", "receiver's edge", "sender's browser", "receiver's browser"),
    "ordinary_direct": ("sender's browser", "receiver's browser"),
    "ordinary_relayed": ("relay", "sender's browser", "receiver's browser"),
}
"""Processes that a path needs; the others idle meanwhile and are counted nowhere."""
STUDENT: Final = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)  # 97.5 %, of 1, 2, ... degrees of freedom
MOST_POINTS: Final = 6000  # of a series in the report
PACKAGES: Final = ("aiortc", "aioice", "av", "mediapipe", "numpy", "onnxruntime", "openvino", "playwright")


def stretch_figures(values: Mapping[str, Sequence[float]], seconds: float) -> dict[str, Any]:
    """Percentiles of one stretch's figures."""
    found: dict[str, Any] = {}
    for name in WAY_NAMES:
        found |= {f"{name}_{p}": v for p, v in percentiles(values.get(name, [])).items() if p != "count"}
    return found


def lag_figures(found: Lag | None) -> dict[str, Any]:
    """One stretch's lag; null where the two faces are not alike enough."""
    return {
        "lag_ms_face": round(found.ms, 1) if found and found.likely else None,
        "yaw_correlation": round(found.yaw, 3) if found else None,
        "mouth_correlation": round(found.mouth, 3) if found else None,
    }


def cpu_a_minute(cpu_s: Mapping[str, float], seconds: float) -> float | None:
    """CPU seconds in a minute of call, of all processes but the benchmark's own; None where nobody tells."""
    spent = [s for name, s in cpu_s.items() if name != OWN]
    return round(sum(spent) * 60 / seconds, 1) if spent else None


def line(figures: Mapping[str, Any]) -> str:
    """One stretch on one line."""
    parts = (
        ("display", "display_ms_p50", "ms"), ("p95", "display_ms_p95", "ms"), ("edge", "edge_ms_p50", "ms"),
        ("lag by faces", "lag_ms_face", "ms"), ("", "kbps", "kbit/s"), ("", "fps", "pictures/s"),
        ("", "cpu_s", "CPU s/min"),
    )  # fmt: skip
    said = [f"{name} {figures[key]} {unit}".strip() for name, key, unit in parts if figures.get(key) is not None]
    return ", ".join(said)


def report(
    what: str, began: float, about: Mapping[str, Any], stretches: Sequence[Stretch], *, complete: bool
) -> dict[str, Any]:
    """The whole report, JSON-ready."""
    natural = [s for s in stretches if s.group == "natural"]
    found: dict[str, Any] = {
        "schema": SCHEMA,
        "what": what,
        "complete": complete,
        "date": datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        **about,
        "avatar": merged([s for s in natural if s.path == "avatar"]),
        **{name: merged([s for s in natural if s.path == name]) for name in ORDINARY},
    }
    for group in ("squeezed", "link"):
        paths = {s.path: [t for t in stretches if (t.path, t.group) == (s.path, group)] for s in stretches}
        found[group] = {path: merged(some) for path, some in paths.items() if some} or None
    found["lips"] = next((s.lips for s in stretches if s.lips), None)
    found["ratios"] = {name: ratios(found["avatar"], found[name]) for name in ORDINARY}
    found["segments"] = [_segment(s) for s in stretches]
    return found


def merged(stretches: Sequence[Stretch]) -> dict[str, Any] | None:
    """All stretches of one path as one: every picture counts alike; the noise comes from how the stretches differ."""
    if not stretches:
        return None
    seconds = sum(s.seconds for s in stretches)
    names = dict.fromkeys(name for s in stretches for name in s.values)
    pooled = {name: [v for s in stretches for v in s.values.get(name, [])] for name in names}
    out = stretch_figures(pooled, seconds) | summary([s.lag for s in stretches])
    for name in ("fps", "kbps", "payload_kbps", "cpu_s"):
        out[name] = _mean([s.figures[name] for s in stretches])
    out["seconds"] = round(seconds, 1)
    out["noise"] = {name: noise([s.figures.get(name) for s in stretches]) for name in FIGURES}
    out["steps_ms"] = {name: percentiles(pooled[name]) for name in STEPS if name in pooled}
    out["to_visible_ms"] = percentiles(pooled.get("to visible", []))
    out["processes"] = {
        name: {
            "cpu_s": round(sum(s.cpu_s.get(name, 0.0) for s in stretches) * 60 / seconds, 1),
            "memory_mib": max(s.memory_mib.get(name, 0.0) for s in stretches),
            "used": name in USED_BY.get(stretches[0].path, ()),
        }
        for name in stretches[0].cpu_s
    }
    out["busy_cores"] = _mean([s.busy_cores for s in stretches], 2)
    return out


def noise(values: Sequence[float | None]) -> float | None:
    """By how much a figure may be off: half the 95 % confidence interval of its stretches' mean; None of one."""
    known = [v for v in values if v is not None]
    if len(known) < 2:
        return None
    wide = STUDENT[min(len(known) - 2, len(STUDENT) - 1)]
    return round(wide * float(np.std(known, ddof=1)) / math.sqrt(len(known)), 2)


def ratios(ours: Mapping[str, Any] | None, theirs: Mapping[str, Any] | None) -> dict[str, float | None] | None:
    """The avatar's figures over an ordinary call's; of kbit/s the other way round: how many times less."""
    if ours is None or theirs is None:
        return None
    out: dict[str, float | None] = {}
    for name in ("display_ms_p50", "display_ms_p95", "lag_ms_face", "cpu_s", "fps"):
        out[name] = _ratio(ours[name], theirs[name])
    out["kbps_times_less"] = _ratio(theirs["kbps"], ours["kbps"])
    return out


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    try:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
        memory: float | None = round(pages * size / 2**30, 1)
        busy: float | None = round(os.getloadavg()[0], 2)
    except (AttributeError, OSError, ValueError):
        memory = busy = None
    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "memory_gib": memory,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load_average": busy,
    }


def versions() -> dict[str, str]:
    """Of what was measured, and of what it stands on."""
    found = {"telepresence": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _segment(stretch: Stretch) -> dict[str, Any]:
    step = max(1, math.ceil(len(stretch.series) / MOST_POINTS))
    return {
        "path": stretch.path,
        "group": stretch.group,
        "seconds": round(stretch.seconds, 2),
        "figures": stretch.figures,
        "steps_ms": {name: percentiles(stretch.values[name]) for name in STEPS if name in stretch.values},
        "cpu_s": stretch.cpu_s,
        "busy_cores": stretch.busy_cores,
        "counts": stretch.counts,
        "display_ms": stretch.series[::step],
    }


def _mean(values: Sequence[float | None], digits: int = 1) -> float | None:
    known = [v for v in values if v is not None]
    return round(float(np.mean(known)), digits) if known else None


def _ratio(one: float | None, other: float | None) -> float | None:
    return round(one / other, 2) if one is not None and other else None
