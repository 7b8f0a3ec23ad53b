"""What `telepresence engines list` and `telepresence engines bench` say."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from telepresence import __version__
from telepresence.errors import EngineError, InputError
from telepresence.runtime.contract import Runtime
from telepresence.runtime.engine import runtimes
from telepresence.runtime.graphs import Graphs
from telepresence.runtime.info import engine_folders, find_engine, read_info
from telepresence.runtime.machine import cores, cpu_model

WARM_UP_PICTURES: Final = 5


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
    ordinary, extra = runtimes()
    for runtime in (*ordinary, *extra):
        why_not = runtime.available()
        by_name = "; only with --runtime" if runtime in extra else ""
        lines.append(f"  {runtime.name:16} {why_not or f'{runtime.version}{by_name}'}")
    return "\n".join(lines)


def bench_engine(
    name: str | Path,
    size: int = 256,
    *,
    threads: Sequence[int] | None = None,
    pictures: int = 100,
) -> dict[str, Any]:
    """Measure an engine in every runtime on pictures of nobody, the runtimes taking turns.

    Args:
        name: as in `open_engine`.
        size: side of the pictures, pixels.
        threads: thread counts to try; None for one and for all cores.
        pictures: how many are measured for each runtime and thread count.

    Returns:
        A JSON-ready table: engine, machine, versions, date, and `results`, each with runtime, version, threads and
        either load_ms, median_ms, p95_ms or error.

    Raises:
        EngineError: there is no such engine or size, or it is damaged.
    """
    info = find_engine(name)
    for kind in ("encode", "render"):
        info.graph(kind, size)
    counts = tuple(threads or sorted({1, cores()}))
    ordinary, extra = runtimes()
    results: list[dict[str, Any]] = []
    running: list[tuple[dict[str, Any], Graphs, list[float]]] = []
    for runtime in (*ordinary, *extra):
        for count in counts:
            result: dict[str, Any] = {"runtime": runtime.name, "version": runtime.version, "threads": count}
            results.append(result)
            begin = time.perf_counter()
            try:
                graphs = Graphs(info, size, _usable(runtime), count)
            except EngineError as error:
                result["error"] = str(error)
                continue
            result["load_ms"] = round((time.perf_counter() - begin) * 1e3, 1)
            running.append((result, graphs, []))
    _measure(running, pictures)
    return {
        "engine": info.name,
        "engine_version": info.version,
        "engine_digest": info.digest,
        "size": size,
        "pictures": pictures,
        "cpu": cpu_model(),
        "cores": cores(),
        "python": platform.python_version(),
        "telepresence": __version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "results": results,
    }


def bench_text(figures: Mapping[str, Any]) -> str:
    """What `bench_engine` measured, as a table to read."""
    lines = [
        f"engine {figures['engine']} {figures['engine_version']}, size {figures['size']}",
        f"{figures['pictures']} pictures, {figures['cpu']}, {figures['cores']} cores, {figures['date']}",
        f"{'runtime':16} {'version':24} {'threads':>7} {'load ms':>9} {'median ms':>10} {'p95 ms':>8}",
    ]
    for result in figures["results"]:
        head = f"{result['runtime']:16} {(result['version'] or '-')[:24]:24} {result['threads']:7}"
        if "error" in result:
            lines.append(f"{head} {result['error']}")
        else:
            lines.append(f"{head} {result['load_ms']:9.1f} {result['median_ms']:10.2f} {result['p95_ms']:8.2f}")
    return "\n".join(lines)


def write_bench(figures: Mapping[str, Any], path: Path) -> None:
    """Write figures as JSON.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); choose another place for --json") from error


def _usable(runtime: Runtime) -> Runtime:
    why_not = runtime.available()
    if why_not is not None:
        raise EngineError(why_not)
    return runtime


def _measure(running: Sequence[tuple[dict[str, Any], Graphs, list[float]]], pictures: int) -> None:
    """Fill the results in and close the graphs; interleaved, so that a busy moment hits all alike."""
    for turn in range(WARM_UP_PICTURES + pictures):
        for result, graphs, times in running:
            if "error" in result:
                continue
            begin = time.perf_counter()
            try:
                graphs.trial()
            except EngineError as error:
                result["error"] = str(error)
                continue
            if turn >= WARM_UP_PICTURES:
                times.append((time.perf_counter() - begin) * 1e3)
    for result, graphs, times in running:
        graphs.close()
        if "error" not in result:
            result["median_ms"] = round(statistics.median(times), 3)
            result["p95_ms"] = round(sorted(times)[min(len(times) - 1, int(0.95 * len(times)))], 3)
