"""`telepresence engines build` and `verify`: which engines, sizes and runtimes, and what is said of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from telepresence.errors import EngineError
from telepresence.runtime import verify
from telepresence.runtime.batch import SIZES
from telepresence.runtime.choose import require_known
from telepresence.runtime.contract import Progress, Runtime
from telepresence.runtime.info import EngineInfo, cases
from telepresence.runtime.many import batch_path
from telepresence.runtime.report import every_runtime, suits, write_bench
from telepresence.runtime.tensorrt.runtime import TensorRt

STEPS = 1000  # of a progress bar


def build_plans(
    names: Sequence[str], sizes: Sequence[int], compatibility: str, runtime: TensorRt | None = None
) -> Iterator[str]:
    """Compile with TensorRT, with a progress bar for each graph; a line for each that is done.

    Args:
        names: engines; none for all shipped ones.
        sizes: pixels; none for all that an engine has.
        compatibility: see `tensorrt.build.build_plan`.
        runtime: for tests.

    Raises:
        EngineError: no such engine or size, or TensorRT cannot be used.
    """
    runtime = runtime or TensorRt(compatibility=compatibility)
    why_not = runtime.available()
    if why_not is not None:
        raise EngineError(f"tensorrt cannot be used: {why_not}")
    for info, size in cases(names, sizes):
        for what, path in _graphs(info, size):
            if runtime.ready(path):
                yield f"{info.name} {what}: there already"
                continue
            with click.progressbar(length=STEPS, label=f"{info.name} {what}") as bar:
                runtime.build(path, _advance(bar))
            yield f"{info.name} {what}: built"


def verify_engines(
    names: Sequence[str], sizes: Sequence[int], only: Sequence[str], json_out: Path | None = None
) -> tuple[str, bool]:
    """Compare runtimes with the reference.

    Args:
        names, sizes: as in `build_plans`.
        only: names of runtimes; none for all. One that is named and cannot be used counts as wrong.
        json_out: a file to write the findings to.

    Returns:
        What to print, and whether everything is as it should be: nothing differs, and nothing that is here fails.

    Raises:
        EngineError: no such engine, size or runtime.
        InputError: the file cannot be written.
    """
    runtimes = every_runtime()
    for name in only:
        require_known(name, runtimes)
    found: dict[str, verify.Found] = {}
    for info, size in cases(names, sizes):
        for runtime in runtimes:
            if runtime.name in only or (not only and suits(info, size, runtime)):
                found[f"{info.name} {size} {runtime.name}"] = _verified(info, size, runtime)
    if json_out is not None:
        write_bench({"findings": verify.as_rows(found)}, json_out)
    return verify.text(found), all(_fine(result, bool(only)) for result in found.values())


def _fine(result: verify.Found, asked_for: bool) -> bool:
    if isinstance(result, str):
        return not asked_for
    return not isinstance(result, EngineError) and all(finding.ok for finding in result)


def _verified(info: EngineInfo, size: int, runtime: Runtime) -> verify.Found:
    why_not = runtime.available()
    if why_not is not None:
        return why_not
    try:
        return verify.verify(info, size, runtime)
    except EngineError as error:
        return error


def _graphs(info: EngineInfo, size: int) -> Iterator[tuple[str, Path]]:
    """All that a call may want to have compiled: what it is called, and its file."""
    for kind in ("encode", "render"):
        yield f"{kind}-{size}", info.graph(kind, size)
    for count in SIZES:
        yield f"render-{size} for {count}", batch_path(info, size, count)


def _advance(bar: Any) -> Progress:
    def advance(share: float, what: str) -> bool:
        bar.update(max(0, int(share * STEPS) - bar.pos))
        return True

    return advance
