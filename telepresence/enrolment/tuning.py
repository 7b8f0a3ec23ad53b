"""Fine-tuning beside a call: a process that learns, and what the page is told of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from telepresence.enrolment.tuner import written
from telepresence.errors import InputError, TelepresenceError
from telepresence.runtime.info import find_engine

if TYPE_CHECKING:
    from telepresence.enrolment.gathering import Material

MINUTES: Final = 4.0
COMMAND: Final = (sys.executable, "-m", "telepresence.enrolment.tuner")
MAX_LINE_BYTES: Final = 64 * 1024
MAX_RESULT_BYTES: Final = 8 * 1024 * 1024
STOP_S: Final = 3.0
NEEDED: Final = ("torch", "onnx")
SIZE: Final = 256  # that is tuned for
LEARNED: Final = b"modulation"  # an output of the graph `encode` of engines that learn

Progress = Callable[[float, str], None]


def why_not(engine: str, *, photos: bool = False) -> str:
    """Why an avatar cannot be refined here, in words for the page; empty: it can."""
    from importlib.util import find_spec

    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        return (
            f"Refining needs {' and '.join(missing)}, which this machine does not have (make setup-train installs "
            "them). Your avatar works without."
        )
    if not _learns(engine):
        return f"The engine {engine} is not refined in the page. Your avatar works without."
    return "An avatar made of photos is not refined here: it takes the camera." if photos else ""


@lru_cache(maxsize=4)
def _learns(engine: str) -> bool:
    """Whether an engine learns what is one person's own from a camera's pictures.

    Looked up in the graph's bytes: to load it takes torch, which is to stay out of the process that makes the call.
    """
    from telepresence.tuning import learns_from_references

    try:
        if learns_from_references(engine):
            return False
        return LEARNED in find_engine(engine).graph("encode", SIZE).read_bytes()
    except (InputError, OSError):
        return False


class Tuning:
    """One run.

    Args:
        avatar: the file to begin with.
        material: what to learn from.
        engine: what is tuned for.
        progress: told on the loop how far it is, 0..1, with a line of text.
    """

    def __init__(self, avatar: bytes, material: Material, engine: str, progress: Progress) -> None:
        self._input = written(avatar, material, engine, MINUTES)
        self._progress = progress
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> bytes | None:
        """Learn; the avatar's new file, None if nothing has become better. Cancelled, it leaves no process behind.

        Raises:
            TelepresenceError: it has failed, with words for the user.
        """
        self._process = process = await asyncio.create_subprocess_exec(
            *COMMAND,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=MAX_LINE_BYTES,
            start_new_session=True,
        )
        feeding = asyncio.create_task(self._feed(process))
        try:
            return await self._follow(process)
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            with contextlib.suppress(ProcessLookupError):
                if process.returncode is None:
                    process.kill()
            await process.wait()

    async def _feed(self, process: asyncio.subprocess.Process) -> None:
        """Its input stays open: it ends when this process does."""
        if process.stdin is None:
            return
        with contextlib.suppress(ConnectionError):
            process.stdin.write(self._input)
            self._input = b""
            await process.stdin.drain()

    async def _follow(self, process: asyncio.subprocess.Process) -> bytes | None:
        if process.stdout is None:
            raise TelepresenceError("refining could not be started")
        while line := await process.stdout.readline():
            try:
                told = json.loads(line)
                if "failed" in told:
                    raise TelepresenceError(f"refining has stopped: {told['failed']}")
                if "bytes" in told:
                    count = int(told["bytes"])
                    if not 0 <= count <= MAX_RESULT_BYTES:
                        raise TelepresenceError("refining gave something else than an avatar")
                    return await process.stdout.readexactly(count) or None
                self._progress(float(told["share"]), str(told["line"]))
            except (ValueError, KeyError, TypeError) as error:
                raise TelepresenceError("refining gave something that makes no sense") from error
            except asyncio.IncompleteReadError as error:
                raise _ended() from error
        raise _ended()


def _ended() -> TelepresenceError:
    return TelepresenceError("refining has ended before its time (is there memory for it?); your avatar is as before")
