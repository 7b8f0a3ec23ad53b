"""Which runtime executes an engine: the one asked for, the one remembered, or the fastest measured on this machine.

What was measured is remembered in CACHE/runtime.json under everything that it depends on: processor, cores, threads,
engine, picture size and the runtimes' versions. The file is only a memory: delete it to measure again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

from telepresence.errors import EngineError
from telepresence.runtime.contract import Runtime, first_line
from telepresence.runtime.machine import cores, cpu_model, write_whole

logger = logging.getLogger(__name__)

WARM_UP_RUNS: Final = 3
ROUNDS: Final = 15  # measured pictures a runtime
MIN_ROUNDS: Final = 3
MAX_MEASURE_S: Final = 2.0  # a slow machine measures fewer rounds: the user is waiting
MAX_MEMORY_BYTES: Final = 262_144
MAX_ENTRIES: Final = 64
_VERSION: Final = 2  # 1 had medians


class Loaded(Protocol):
    """A loaded engine that can be tried out."""

    def trial(self) -> None:
        """Draw one picture."""

    def close(self) -> None:
        """Free it."""


L = TypeVar("L", bound=Loaded)


@dataclass(frozen=True, slots=True)
class Choice(Generic[L]):
    """A loaded engine and why this runtime executes it."""

    loaded: L
    runtime: str
    reason: str
    """One sentence for the user."""
    warnings: tuple[str, ...]
    """What did not go as wished, to be said loudly: runtimes missing or failed."""
    measured_ms: Mapping[str, float]
    """Milliseconds of the cheapest picture by runtime, measured now or remembered; empty if there was nothing to
    compare."""
    later: Runtime | None = None
    """A better one that must compile first."""


@dataclass(slots=True)
class Chooser(Generic[L]):
    """Loads and compares. `load` loads the engine in a runtime and raises EngineError if that cannot be done."""

    runtimes: Sequence[Runtime]
    """Those to compare. Those of `extra` are taken only if asked for by name."""
    load: Callable[[Runtime], L]
    key: str
    """See `memory_key`."""
    memory: Path
    """The file runtime.json; need not exist."""
    extra: Sequence[Runtime] = ()
    clock: Callable[[], float] = time.perf_counter  # seconds
    first: Sequence[Runtime] = ()
    """Of a GPU, best first: taken before all others, without a measurement."""
    ready: Callable[[Runtime], bool] = lambda runtime: True
    """Whether `load` is quick; a runtime that must compile first is left for later."""
    optional: Collection[str] = ()
    """Names of those without which a measurement is remembered too: whether they can be used does not change."""
    cost: Callable[[], float] | None = None
    """Seconds that are compared where those of `clock` depend on what else the machine does: of CPU time."""
    _warnings: list[str] = field(default_factory=list)

    def choose(self, requested: str | None = None) -> Choice[L]:
        """Choose and load.

        Args:
            requested: a runtime's name; it is taken without a measurement. If it cannot be used, the others are tried
                and a warning says so. None or "auto": the fastest.

        Raises:
            EngineError: no such runtime, or none can execute the engine; the message says why for each.
        """
        if requested in (None, "auto"):
            return self._with_gpu(self.first)
        known = (*self.first, *self.runtimes, *self.extra)
        require_known(requested, known)
        wanted = next(runtime for runtime in known if runtime.name == requested)
        if _why_not(wanted) is None and not self._at_once(wanted):
            return replace(self._with_gpu([runtime for runtime in self.first if runtime is not wanted]), later=wanted)
        loaded = self._try(wanted)
        if loaded is not None:
            return self._made(wanted, loaded, "asked for", {})
        return self._automatic([runtime for runtime in self.runtimes if runtime is not wanted])

    def _with_gpu(self, first: Sequence[Runtime]) -> Choice[L]:
        later: Runtime | None = None
        for runtime in first:
            if not self._usable(runtime):
                continue
            if not self._at_once(runtime):
                later = later or runtime
                continue
            loaded = self._try(runtime)
            if loaded is not None:
                return replace(self._made(runtime, loaded, "the best for a GPU that can be used here", {}), later=later)
        return replace(self._automatic(self.runtimes), later=later)

    def _automatic(self, runtimes: Sequence[Runtime]) -> Choice[L]:
        usable = [runtime for runtime in runtimes if self._usable(runtime)]
        remembered = recall(self.memory, self.key)
        for runtime in usable:
            if remembered and runtime.name == min(remembered, key=remembered.__getitem__):
                loaded = self._try(runtime)
                if loaded is not None:
                    why = f"{self._compared(runtime.name, remembered)}, measured earlier"
                    return self._made(runtime, loaded, why, remembered)
                usable.remove(runtime)
                break
        return self._fastest(usable)

    def _fastest(self, usable: Sequence[Runtime]) -> Choice[L]:
        candidates = [(runtime, loaded) for runtime in usable if (loaded := self._try(runtime)) is not None]
        if not candidates:
            raise EngineError("no runtime can execute the engine: " + "; ".join(self._warnings))
        if len(candidates) == 1:
            return self._made(*candidates[0], "the only runtime that can be used here", {})
        measured = self._measure(candidates)
        if not measured:
            for _, loaded in candidates:
                loaded.close()
            raise EngineError("no runtime can execute the engine: " + "; ".join(self._warnings))
        if all(runtime.name in measured or runtime.name in self.optional for runtime in self.runtimes):
            remember(self.memory, self.key, measured)
        candidates.sort(key=lambda candidate: measured.get(candidate[0].name, math.inf))
        for _, loaded in candidates[1:]:
            loaded.close()
        runtime, loaded = candidates[0]
        return self._made(runtime, loaded, f"{self._compared(runtime.name, measured)}, measured now", measured)

    def _measure(self, candidates: Sequence[tuple[Runtime, L]]) -> dict[str, float]:
        times: dict[str, list[float]] = {runtime.name: [] for runtime, _ in candidates}
        start, cost = self.clock(), self.cost or self.clock
        # interleaved, so that what else the machine does in the meantime hits all alike
        for turn in range(WARM_UP_RUNS + ROUNDS):
            if turn >= WARM_UP_RUNS + MIN_ROUNDS and self.clock() - start > MAX_MEASURE_S:
                break
            for runtime, loaded in candidates:
                if runtime.name not in times:
                    continue
                begin = cost()
                try:
                    loaded.trial()
                except EngineError as error:
                    self._warnings.append(f"{runtime.name} cannot be used: {error}")
                    del times[runtime.name]
                    continue
                if turn >= WARM_UP_RUNS:
                    times[runtime.name].append((cost() - begin) * 1e3)
        # the fastest: on a busy machine medians say who was interrupted, and what is remembered holds for long
        return {name: round(min(values), 3) for name, values in times.items()}

    def _compared(self, best: str, measured: Mapping[str, float]) -> str:
        others = ", ".join(f"{name} {ms:.1f} ms" for name, ms in measured.items() if name != best)
        unit = "ms of CPU time" if self.cost else "ms"
        return f"{measured[best]:.1f} {unit} a picture" + (f" against {others}" if others else "")

    def _at_once(self, runtime: Runtime) -> bool:
        """Whether a runtime can be loaded now; if asking fails, whoever prepares it later will say why."""
        try:
            return self.ready(runtime)
        except Exception as error:
            logger.debug("%s cannot say whether it is ready: %s", runtime.name, error)
            return False

    def _usable(self, runtime: Runtime) -> bool:
        why_not = _why_not(runtime)
        if why_not is not None:
            self._warnings.append(f"{runtime.name} cannot be used: {why_not}")
        return why_not is None

    def _try(self, runtime: Runtime) -> L | None:
        if _why_not(runtime) is not None:
            self._usable(runtime)
            return None
        try:
            return self.load(runtime)
        except EngineError as error:
            self._warnings.append(f"{runtime.name} cannot be used: {error}")
            return None

    def _made(self, runtime: Runtime, loaded: L, why: str, measured: Mapping[str, float]) -> Choice[L]:
        version = f" {runtime.version}" if runtime.version else ""
        where = "the GPU" if runtime in self.first else f"the CPU ({cpu_model()}, {cores()} cores)"
        reason = f"{runtime.name}{version} on {where}: {why}"
        return Choice(loaded, runtime.name, reason, tuple(self._warnings), measured)


def _why_not(runtime: Runtime) -> str | None:
    """See Runtime.available; a broken installation may raise what it likes."""
    try:
        return runtime.available()
    except Exception as error:
        return f"its installation is broken ({first_line(error)})"


def require_known(requested: str | None, runtimes: Sequence[Runtime]) -> None:
    """Refuse the name of a runtime that there is not; whether it is installed is not asked.

    Raises:
        EngineError: the message lists those that there are.
    """
    names = [runtime.name for runtime in runtimes]
    if requested not in (None, "auto", *names):
        raise EngineError(f"there is no runtime {requested!r}; choose auto or one of: {', '.join(names)}")


def memory_key(digest: str, size: int, threads: int, runtimes: Sequence[Runtime]) -> str:
    """Everything that a measurement depends on, as one readable line."""
    versions = ", ".join(f"{runtime.name} {runtime.version}" for runtime in runtimes)
    return f"{cpu_model()}, {cores()} cores, {threads} threads, engine {digest}, size {size}, {versions}"


def recall(memory: Path, key: str) -> dict[str, float]:
    """Milliseconds by runtime's name as remembered; empty if there are none or the file is damaged."""
    entry = _entries(memory).get(key)
    if not isinstance(entry, dict):
        return {}
    if not all(isinstance(ms, (int, float)) and not isinstance(ms, bool) and 0 < ms < 1e6 for ms in entry.values()):
        return {}
    return {str(name): float(ms) for name, ms in entry.items()}


def remember(memory: Path, key: str, measured: Mapping[str, float]) -> None:
    """Write a measurement down; if that is not possible, the next start measures again."""
    entries = _entries(memory)
    entries.pop(key, None)
    entries[key] = dict(measured)
    kept = dict(list(entries.items())[-MAX_ENTRIES:])
    with contextlib.suppress(OSError):
        write_whole(memory, json.dumps({"version": _VERSION, "choices": kept}, indent=1).encode())


def _entries(memory: Path) -> dict[str, Any]:
    try:
        with memory.open("rb") as file:
            data = file.read(MAX_MEMORY_BYTES + 1)
        table = json.loads(data) if len(data) <= MAX_MEMORY_BYTES else None
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(table, dict) or table.get("version") != _VERSION or not isinstance(table.get("choices"), dict):
        return {}
    return dict(table["choices"])
