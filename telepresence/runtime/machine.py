"""Facts about this machine that a choice of runtime depends on, and where what was learnt about it is kept."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Final

THREADS: Final = "TELEPRESENCE_THREADS"
"""Environment variable: CPU threads for one graph, 1 to 99."""
INT8_FLAGS: Final = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})
"""Of /proc/cpuinfo: x86's VNNI and AMX, Arm's dot products."""
_STALE_S: Final = 3600.0  # a part that has not grown for so long belongs to nobody


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads() -> int:
    """Threads for one graph: half the cores and one more, four at most; the rest of a call needs the others.

    `engine.open_engine` takes one on two cores if that is enough.
    """
    return wanted_threads() or max(1, min(4, (cores() + 2) // 2))


def wanted_threads() -> int | None:
    """Threads for one graph as the environment says (`THREADS`); None if it says nothing."""
    wanted = os.environ.get(THREADS, "")
    return int(wanted) if re.fullmatch(r"[1-9]\d?", wanted) else None


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def int8_instructions() -> bool | None:
    """Whether the CPU multiplies and adds 8-bit numbers in one instruction; None where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        name, _, flags = line.partition(":")
        if name.strip() in ("flags", "Features"):  # of x86, of Arm
            return not INT8_FLAGS.isdisjoint(flags.split())
    return None


def nvidia_driver() -> str | None:
    """Version of the NVIDIA driver, or "there" if the system does not tell it; None if there is none. Cheap."""
    if sys.platform == "win32":
        found = Path(os.environ.get("SYSTEMROOT", "C:/Windows")) / "System32" / "nvcuda.dll"
        return "there" if found.exists() else None
    try:
        words = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace").split()
        return next((word for word in words if re.fullmatch(r"\d+\.\d+(\.\d+)?", word)), "there")
    except OSError:
        # in a container the folder may be hidden, and the devices are not
        signs = ("/dev/nvidiactl", "/usr/lib/wsl/lib/libcuda.so.1")
        return "there" if any(Path(sign).exists() for sign in signs) else None


def package_version(name: str) -> str | None:
    """Version of an installed package, without importing it; None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def write_whole(path: Path, *parts: bytes) -> None:
    """Write a file of this user's own, whole or not at all; its folder is made. What killed writers left is removed.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in path.parent.glob(".*.part"):
        with contextlib.suppress(OSError):  # another process may have removed it
            if time.time() - left.stat().st_mtime > _STALE_S:
                left.unlink()
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(parts)
        os.replace(name, path)  # two processes may write at once: each a whole file
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def cache_folder() -> Path:
    """Where telepresence keeps what it can make anew: $XDG_CACHE_HOME/telepresence. May not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(base if base else Path.home() / ".cache") / "telepresence"
