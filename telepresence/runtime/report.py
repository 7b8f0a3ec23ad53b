"""What `telepresence engines list` and `telepresence engines bench` say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from telepresence.errors import EngineError, InputError
from telepresence.runtime.contract import Runtime
from telepresence.runtime.graphs import takes_int8
from telepresence.runtime.info import EngineInfo, engine_folders, read_info
from telepresence.runtime.offered import accelerated, runtimes


def list_engines_text() -> str:
    """The shipped engines, one a line (damaged ones say so), and the runtimes of this machine."""
    lines = ["engines"]
    for folder in engine_folders():
        try:
            info = read_info(folder)
        except EngineError as error:
            lines.append(f"  {folder.name:16} damaged: {error}")
            continue
        sizes = ", ".join(str(size) for size in info.sizes)
        lines.append(f"  {info.name:16} {info.version:8} sizes {sizes}; {info.references} reference(s); {info.licence}")
        lines.append(f"  {'':16} {info.description}")
    if len(lines) == 1:
        lines.append("  none")
    lines.append("runtimes")
    _, extra = runtimes()
    for runtime in every_runtime():
        why_not = runtime.available()
        by_name = "; only with --runtime" if runtime.name in {other.name for other in extra} else ""
        if takes_int8(runtime):
            by_name = "; of engines that have graphs in 8 bits"
        lines.append(f"  {runtime.name:16} {why_not or f'{runtime.version}{by_name}'}")
    return "\n".join(lines)


def every_runtime() -> list[Runtime]:
    """All runtimes that there are, whether they can be used here or not, best first."""
    ordinary, extra = runtimes()
    return [*accelerated(), *ordinary, *extra]


def suits(info: EngineInfo, size: int, runtime: Runtime) -> bool:
    """Whether an engine has what a runtime draws with, for pictures of that size."""
    return not takes_int8(runtime) or info.has_int8(size)


def bench_text(figures: Mapping[str, Any]) -> str:
    """What `bench` measured, as a table to read."""
    lines = [f"{figures['cpu']}, {figures['cores']} cores, {figures['date']}"]
    for count, speed in figures["measured"].items():
        lines.append(f"{count} thread(s): {speed['gflops']} GFLOP/s float32, {speed['gbytes_per_s']} GB/s")
    lines.append(
        f"{'engine':8} {'size':>4} {'runtime':14} {'threads':>7} {'load':>6} {'encode':>7} {'p95':>7} {'change':>6} "
        f"{'p95':>6} {'render':>7} {'p95':>7} {'floor':>6} {'Gmac':>5} {'Mpar':>5} {'MB':>5}   times in ms"
    )
    for row in figures["rows"]:
        head = f"{row['engine']:8} {row['size']:4} {row['runtime']:14} {row['threads']:7}"
        if "error" in row:
            lines.append(f"{head} {row['error']}")
            continue
        counted = [
            f"{row[key]:{width}}" if row[key] is not None else f"{'-':>{width.split('.')[0]}}"
            for key, width in (("floor_ms", "6.1f"), ("gmacs", "5.2f"), ("params_m", "5.2f"), ("moved_mb", "5.0f"))
        ]
        lines.append(
            f"{head} {row['load_ms']:6.0f} {row['encode_ms_median']:7.1f} {row['encode_ms_p95']:7.1f} "
            f"{row['change_ms_median']:6.2f} {row['change_ms_p95']:6.2f} {row['render_ms_median']:7.2f} "
            f"{row['render_ms_p95']:7.2f} {' '.join(counted)}"
        )
        lines += [_batch_text(count, batch) for count, batch in row.get("batches", {}).items()]
    return "\n".join(lines)


def _batch_text(count: str, batch: Mapping[str, Any]) -> str:
    if "error" in batch:
        return f"{'':14}{count} in one call: {batch['error']}"
    return (
        f"{'':14}{count} in one call: {batch['render_ms_median']:.2f}, p95 {batch['render_ms_p95']:.2f}; "
        f"{batch['throughput']:.1f} times as many pictures as one by one"
    )


def write_bench(figures: Mapping[str, Any], path: Path) -> None:
    """Write figures as JSON.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); choose another place for --json") from error
