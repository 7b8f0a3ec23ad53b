"""What processes cost: CPU seconds, memory, threads and file descriptors, from Linux's /proc. Elsewhere: unknown."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PARENT, _USER, _SYSTEM, _THREADS = 1, 11, 12, 17  # of /proc/PID/stat, counted behind the command's closing bracket


@dataclass(frozen=True)
class Load:
    """One process, or several together."""

    cpu_s: float = 0.0
    """User and system time since the processes began."""
    memory_mib: float = 0.0
    """Proportional set size: what several processes share is divided among them."""
    threads: int = 0
    files: int = 0
    """Open file descriptors."""

    def __add__(self, other: Load) -> Load:
        return Load(
            self.cpu_s + other.cpu_s,
            self.memory_mib + other.memory_mib,
            self.threads + other.threads,
            self.files + other.files,
        )


def known() -> bool:
    """Whether this system tells."""
    return (PROC / "self" / "stat").exists()


def read(roots: Mapping[str, int | None], *, memory: bool = True) -> dict[str, Load]:
    """Each root with all its descendants; a root that is another's descendant counts for itself only.

    Args:
        roots: by name, process ids; None for one that does not run.
        memory: also memory, threads and files; reading memory takes milliseconds a process.
    """
    if not known():
        return {}
    parents = parents_of_all()
    own = {pid for pid in roots.values() if pid is not None}
    return {
        name: sum((_one(pid, memory) for pid in family(root, parents, own - {root})), Load())
        for name, root in roots.items()
        if root is not None
    }


def spent(before: Mapping[str, Load], after: Mapping[str, Load]) -> dict[str, float]:
    """CPU seconds between two readings; a process that was started anew counts from its beginning."""
    return {
        name: max(0.0, load.cpu_s - before[name].cpu_s) if name in before else load.cpu_s
        for name, load in after.items()
    }


def busy_s() -> float | None:
    """CPU seconds that all cores together have been busy with anything, since the machine started."""
    try:
        fields = (PROC / "stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return None
    numbers = [int(field) for field in fields[:8]]  # user, nice, system, idle, iowait, irq, softirq, steal
    return (sum(numbers) - numbers[3] - numbers[4]) / _TICKS


def parents_of_all() -> dict[int, int]:
    """Every process's parent."""
    found = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) is not None:
            found[int(entry.name)] = int(fields[_PARENT])
    return found


def family(root: int, parents: Mapping[int, int], others: Iterable[int]) -> list[int]:
    """A process and its descendants, without `others` and theirs."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    found, waiting, stop = [], [root], set(others)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += [child for child in children.get(pid, []) if child not in stop]
    return found


def _stat(pid: int) -> list[str] | None:
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has just ended
        return None


def _one(pid: int, memory: bool) -> Load:
    fields = _stat(pid)
    if fields is None:
        return Load()
    cpu_s = (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS
    if not memory:
        return Load(cpu_s)
    return Load(cpu_s, _memory_mib(pid), int(fields[_THREADS]), _files(pid))


def _memory_mib(pid: int) -> float:
    for name, key in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            lines = (PROC / str(pid) / name).read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith(key):
                return int(line.split()[1]) / 1024
    return 0.0


def _files(pid: int) -> int:
    try:
        return len(os.listdir(PROC / str(pid) / "fd"))
    except OSError:
        return 0
