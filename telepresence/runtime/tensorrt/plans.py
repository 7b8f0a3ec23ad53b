"""Compiled engines (plans) that are kept: which plan fits, and whether it is whole.

A plan is machine code for one GPU model and one TensorRT version. CACHE/plans/GRAPH-DIGEST.plan holds

    "TPLAN1\\n", length of the header (4 bytes, little-endian), header, plan

The header is JSON: the key, SHA-256 and length of the plan. DIGEST.timings, what TensorRT measured while it built, is
their SHA-256 (32 bytes) and they themselves.

Executing a plan means trusting it, so one that is damaged, was made for something else, or could have been written by
another user is removed and built anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import stat
import struct
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Final

from telepresence.runtime.machine import write_whole

logger = logging.getLogger(__name__)

MAGIC: Final = b"TPLAN1\n"
MAX_HEADER_BYTES: Final = 65_536
MAX_PLAN_BYTES: Final = 2 * 1024**3
MAX_TIMINGS_BYTES: Final = 64 * 1024**2
COMPATIBILITIES: Final = ("none", "version", "capability", "ampere")
"""What else a plan may run on, fastest first: nothing; later versions of TensorRT with the same major number; other
GPUs of the same compute capability; all GPUs since Ampere."""
KEPT_PLANS: Final = 48  # an engine has five for each size; the oldest go first
_LENGTH: Final = struct.Struct("<I")
_DIGEST_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class PlanKey:
    """Everything that a plan depends on."""

    graph: str
    """SHA-256 of the ONNX file, lower-case hex."""
    tensorrt: str
    """Version of TensorRT, as it names itself; of a plan for several, the major number."""
    gpu: str
    """The GPU's name, as the driver gives it; empty for a plan that fits several."""
    capability: str
    """The GPU's compute capability, such as 9.0; of a plan for several, the lowest."""
    precision: str
    """mixed or float32."""
    compatibility: str
    """One of COMPATIBILITIES."""
    rewriting: int
    """Version of what `precision.mixed` does."""
    system: str = sys.platform

    @property
    def digest(self) -> str:
        """Identifies the key; lower-case hex."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class PlanCache:
    """The folder in which plans are kept; need not exist."""

    folder: Path

    def path(self, key: PlanKey) -> Path:
        """Where the plan of a key lies, if there is one."""
        return self.folder / f"{key.graph[:8]}-{key.digest[:24]}.plan"

    def has(self, key: PlanKey) -> bool:
        """Whether there is a plan of this key, as far as its header tells."""
        try:
            with self.path(key).open("rb") as file:
                return _trusted(file) is None and _header(file).get("key") == asdict(key)
        except (OSError, ValueError, RecursionError):
            return False

    def read(self, key: PlanKey) -> bytes | None:
        """The plan of a key; None if there is none that can be trusted (it is removed then)."""
        path = self.path(key)
        try:
            with path.open("rb") as file:
                problem = _trusted(file)
                plan = b"" if problem else _plan(file, key)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            problem = str(error) or type(error).__name__
        if problem is None:
            return plan
        logger.warning("the plan %s is not used: %s; it is built anew", path, problem)
        self.remove(key)
        return None

    def write(self, key: PlanKey, plan: bytes) -> None:
        """Keep a plan; if that is not possible, the next start builds it again."""
        header = {"key": asdict(key), "sha256": hashlib.sha256(plan).hexdigest(), "length": len(plan)}
        text = json.dumps(header).encode()
        try:
            write_whole(self.path(key), MAGIC, _LENGTH.pack(len(text)), text, plan)
            self._forget_oldest()
        except OSError as error:
            logger.warning("the plan cannot be kept in %s (%s); the next start builds it again", self.folder, error)

    def remove(self, key: PlanKey) -> None:
        """Remove the plan of a key, if there is one."""
        with contextlib.suppress(OSError):
            self.path(key).unlink(missing_ok=True)

    def timings(self, key: PlanKey) -> bytes:
        """What was measured when plans for this GPU were built; empty if nothing, or if it is damaged."""
        try:
            with self._timings_path(key).open("rb") as file:
                if _trusted(file) is not None:
                    return b""
                digest, data = file.read(_DIGEST_BYTES), file.read(MAX_TIMINGS_BYTES + 1)
        except OSError:
            return b""
        return data if len(data) <= MAX_TIMINGS_BYTES and hashlib.sha256(data).digest() == digest else b""

    def keep_timings(self, key: PlanKey, data: bytes) -> None:
        """Keep measurements for the next plan; a later build does without them if that is not possible."""
        if 0 < len(data) <= MAX_TIMINGS_BYTES:
            with contextlib.suppress(OSError):
                write_whole(self._timings_path(key), hashlib.sha256(data).digest(), data)

    def _timings_path(self, key: PlanKey) -> Path:
        what = f"{key.tensorrt}\n{key.gpu}\n{key.capability}\n{key.system}"
        return self.folder / f"{hashlib.sha256(what.encode()).hexdigest()[:24]}.timings"

    def _forget_oldest(self) -> None:
        plans = sorted(self.folder.glob("*.plan"), key=_written, reverse=True)
        for path in plans[KEPT_PLANS:]:
            path.unlink(missing_ok=True)


def _written(path: Path) -> float:
    """When; seconds. Another process may have removed the file by now."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _trusted(file: BinaryIO) -> str | None:
    """None if only this user can have written an open file, else why not."""
    if os.name != "posix":
        return None
    found = os.fstat(file.fileno())
    if found.st_uid != os.geteuid():
        return "it belongs to another user"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "others may write it"
    return None


def _header(file: BinaryIO) -> dict[str, object]:
    """Read a plan's header. Raises ValueError."""
    if file.read(len(MAGIC)) != MAGIC:
        raise ValueError("it is not a plan")
    raw = file.read(_LENGTH.size)
    if len(raw) != _LENGTH.size:
        raise ValueError("it is cut off")
    (length,) = _LENGTH.unpack(raw)
    if length > MAX_HEADER_BYTES:
        raise ValueError("its header is too long")
    header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header is not one")
    return header


def _plan(file: BinaryIO, key: PlanKey) -> bytes:
    header = _header(file)
    if header.get("key") != asdict(key):
        raise ValueError("it was made for something else")
    length = header.get("length")
    if type(length) is not int or not 0 < length <= MAX_PLAN_BYTES:
        raise ValueError("its length is impossible")
    plan = file.read(length)
    if len(plan) != length or file.read(1) or hashlib.sha256(plan).hexdigest() != header.get("sha256"):
        raise ValueError("it is damaged")
    return plan
