"""`telepresence engines bench`: what engines cost in every runtime of this machine."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from telepresence import __version__
from telepresence.errors import EngineError
from telepresence.face.basis import default_basis
from telepresence.runtime.batch import SIZES
from telepresence.runtime.choose import require_known
from telepresence.runtime.contract import Array, Compiling, Runtime
from telepresence.runtime.count import Cost, cost
from telepresence.runtime.graphs import EncodeInput, Graphs
from telepresence.runtime.info import EngineInfo, cases
from telepresence.runtime.machine import cores, cpu_model, default_threads
from telepresence.runtime.many import Batch, batches
from telepresence.runtime.offered import accelerated
from telepresence.runtime.report import every_runtime, suits
from telepresence.runtime.speed import Speed, cpu_speed

WARM_UP_PICTURES: Final = 5
ENCODINGS: Final = 5
MAX_ROW_S: Final = 4.0  # a slow runtime draws fewer pictures
MIN_PICTURES: Final = 10


def bench(
    names: Sequence[str | Path],
    sizes: Sequence[int] | None = None,
    *,
    threads: Sequence[int] | None = None,
    only: Sequence[str] = (),
    pictures: int = 100,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure engines in every runtime on pictures of nobody, the runtimes of one engine and size taking turns.

    Args:
        names: as in `open_engine`; none for all shipped ones.
        sizes: sides of the pictures, pixels; None for all that an engine has.
        threads: thread counts to try; None for what a call uses.
        only: names of runtimes; none for all but `torch-cpu`, which is slow and whose threads disturb the others.
        pictures: how many are measured for each row, unless it takes too long.
        say: gets a line before each engine and size.

    Returns:
        A JSON-ready table: machine, versions, date, and `rows`, one for each engine, size, runtime and thread count:
        render_ms_median, render_ms_p95, gmacs, params_m and more (docs/engines.md), or error. Of a GPU also `batches`,
        the same of several participants in one call.

    Raises:
        EngineError: there is no such engine, size or runtime, or an engine is damaged.
    """
    for name in only:
        require_known(name, every_runtime())
    todo = cases(names, sizes or ())
    chosen = [runtime for runtime in every_runtime() if (runtime.name in only if only else runtime.name != "torch-cpu")]
    counts = tuple(threads or [default_threads()])
    speeds = {count: cpu_speed(count) for count in counts}
    rows: list[dict[str, Any]] = []
    for info, size in todo:
        say(f"{info.name} at {size}")
        rows += _rows(info, size, speeds, [each for each in chosen if only or suits(info, size, each)], pictures)
    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "measured": {str(count): {"gflops": s.gflops, "gbytes_per_s": s.gbytes} for count, s in speeds.items()},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "telepresence": __version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": rows,
    }


@dataclass(slots=True)
class _Running:
    """An engine in one runtime, being measured."""

    row: dict[str, Any]
    graphs: Graphs
    tensors: tuple[Mapping[str, Array], Mapping[str, Array]]
    """Of two avatars."""
    times: list[float] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)
    spent_s: float = 0.0


def _rows(
    info: EngineInfo, size: int, speeds: Mapping[int, Speed], chosen: Sequence[Runtime], pictures: int
) -> list[dict[str, Any]]:
    graphs = {kind: info.graph(kind, size) for kind in ("encode", "render")}
    costs = _costs(graphs)
    rows: list[dict[str, Any]] = []
    running: list[_Running] = []
    for runtime in chosen:
        for count, speed in speeds.items():
            on_gpu = runtime.name in {other.name for other in accelerated()}
            if on_gpu and count != next(iter(speeds)):
                continue  # its threads are the GPU's
            row: dict[str, Any] = {
                "engine": info.name,
                "engine_version": info.version,
                "engine_digest": info.digest,
                "size": size,
                "runtime": runtime.name,
                "version": runtime.version,
                "threads": count,
            } | _counted(costs, None if on_gpu else speed)
            rows.append(row)
            started = _start(info, size, runtime, count, row)
            if started is not None:
                running.append(started)
    _measure(running, pictures)
    return rows


def _costs(graphs: Mapping[str, Path]) -> tuple[Cost, Cost] | None:
    """Of encode and of render; None where onnx is not installed."""
    try:
        import onnx
    except ImportError:
        return None
    return cost(onnx.load(str(graphs["encode"]))), cost(onnx.load(str(graphs["render"])))


def _counted(costs: tuple[Cost, Cost] | None, speed: Speed | None) -> dict[str, Any]:
    if costs is None:
        return dict.fromkeys(("gmacs", "encode_gmacs", "params_m", "moved_mb", "floor_ms"))
    encode, render = costs
    return {
        "gmacs": round(render.macs / 1e9, 4),
        "encode_gmacs": round(encode.macs / 1e9, 4),
        "params_m": round((encode.parameters + render.parameters) / 1e6, 4),
        "moved_mb": round(render.moved_bytes / 1e6, 2),
        "floor_ms": None if speed is None else round(speed.floor_ms(render.macs, render.moved_bytes), 3),
    }


def _start(info: EngineInfo, size: int, runtime: Runtime, count: int, row: dict[str, Any]) -> _Running | None:
    """Load and encode; None, and `row` says why, if that is not possible."""
    try:
        why_not = runtime.available()
        if why_not is not None:
            raise EngineError(why_not)
        if isinstance(runtime, Compiling):
            begin = time.perf_counter()
            for kind in ("encode", "render"):
                runtime.build(info.graph(kind, size))
            row["build_s"] = round(time.perf_counter() - begin, 1)
        begin = time.perf_counter()
        graphs = Graphs(info, size, runtime, count)
        row["load_ms"] = round((time.perf_counter() - begin) * 1e3, 1)
    except EngineError as error:
        row["error"] = str(error)
        return None
    try:
        tensors = (_nobody(graphs, 0), _nobody(graphs, 1))
        begin = time.perf_counter()
        graphs.render(tensors[0], _POINTS)
        row["first_picture_ms"] = round((time.perf_counter() - begin) * 1e3, 1)
        row |= _statistics("encode_ms", [_timed(lambda: _nobody(graphs, 0, 1)) for _ in range(ENCODINGS)])
    except EngineError as error:
        row["error"] = str(error)
        graphs.close()
        return None
    return _Running(row, graphs, tensors)


_POINTS: Final = default_basis().mean * np.float32(0.4)


def _nobody(graphs: Graphs, seed: int, references: int = 2) -> Mapping[str, Array]:
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (graphs.size, graphs.size, 3), np.uint8)
    return graphs.tensors([EncodeInput(picture, picture[..., 0], _POINTS)] * references, picture)


def _measure(running: Sequence[_Running], pictures: int) -> None:
    """Fill the rows in and close the graphs; interleaved, so that a busy moment hits all alike."""
    for turn in range(WARM_UP_PICTURES + pictures):
        for one in running:
            if "error" in one.row or (len(one.times) >= MIN_PICTURES and one.spent_s > MAX_ROW_S):
                continue
            try:
                taken = _timed(lambda one=one: one.graphs.render(one.tensors[0], _POINTS))  # type: ignore[misc]
            except EngineError as error:
                one.row["error"] = str(error)
                continue
            one.spent_s += taken / 1e3
            if turn >= WARM_UP_PICTURES:
                one.times.append(taken)
    for one in running:
        if "error" not in one.row:
            one.row["pictures"] = len(one.times)
            one.row |= _statistics("render_ms", one.times)
            _measure_changes(one)
            if batches(one.graphs.runtime):
                one.row["batches"] = {str(count): _measure_batch(one, count, pictures) for count in SIZES}
        one.graphs.close()


def _measure_batch(one: _Running, count: int, pictures: int) -> dict[str, Any]:
    """Several participants in one call, two avatars in turn."""
    pairs = [(one.tensors[place % 2], _POINTS) for place in range(count)]
    times: list[float] = []
    try:
        begin = time.perf_counter()
        batch = Batch(one.graphs.info, one.graphs.size, one.graphs.runtime, count)
        row: dict[str, Any] = {"load_s": round(time.perf_counter() - begin, 3)}
        try:
            for _ in range(WARM_UP_PICTURES):
                batch.draw(pairs)
            while len(times) < pictures and (len(times) < MIN_PICTURES or sum(times) < 1e3 * MAX_ROW_S):
                times.append(_timed(lambda: batch.draw(pairs)))
        finally:
            batch.close()
    except EngineError as error:
        return {"error": str(error)}
    row |= _statistics("render_ms", times)
    row["throughput"] = round(count * one.row["render_ms_median"] / row["render_ms_median"], 2)
    return row


def _measure_changes(one: _Running) -> None:
    """What it costs more to draw another avatar than the one before."""
    for turn in range(6):
        taken = _timed(lambda turn=turn: one.graphs.render(one.tensors[turn % 2], _POINTS))  # type: ignore[misc]
        if turn >= 2:
            one.changes.append(max(0.0, taken - one.row["render_ms_median"]))
    one.row |= _statistics("change_ms", one.changes)


def _timed(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) * 1e3


def _statistics(name: str, times: Sequence[float]) -> dict[str, float]:
    return {
        f"{name}_median": round(statistics.median(times), 3),
        f"{name}_p95": round(sorted(times)[min(len(times) - 1, int(0.95 * len(times)))], 3),
    }
