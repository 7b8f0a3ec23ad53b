"""One `telepresence join` as a child process, kept running: its ready line, its complaints, its restarts, its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from telepresence.errors import InputError, TelepresenceError

READY_S: Final = 180.0  # the first start measures runtimes and compiles an engine
STOP_S: Final = 5.0  # for a clean leave after SIGTERM; then SIGKILL
STEADY_S: Final = 20.0  # an edge that ran this long starts again at once and with a clean slate
PAUSES_S: Final = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
MAX_FAILURES: Final = 6  # starts in a row that ended early, before the demo gives up
MAX_LINE_BYTES: Final = 64 * 1024
COMMAND: Final = (sys.executable, "-m", "telepresence.leash", "telepresence", "join")
UNMENDABLE: Final = 2  # exit status of a command whose arguments cannot be used (click, and `cli`)


@dataclass(frozen=True, slots=True)
class Ready:
    """What an edge says when it is up."""

    page: str
    """Base URL of its page server."""
    token: str = field(repr=False)
    """Opens its page server's API."""


def parse_ready(line: bytes) -> Ready:
    """The JSON ready line of `telepresence join --json-ready`.

    Raises:
        TelepresenceError: the line is something else.
    """
    try:
        fields = json.loads(line)
        page, token = fields["page"], fields["token"]
    except (ValueError, KeyError, TypeError) as error:
        raise TelepresenceError("the edge's first line is not its ready line; are two versions installed?") from error
    if not isinstance(page, str) or not isinstance(token, str):
        raise TelepresenceError("the edge's ready line lacks its page or token; are two versions installed?")
    return Ready(page, token)


class EdgeProcess:
    """An edge that is started again when it dies.

    Args:
        name: what its lines are prefixed with.
        arguments: asked at every start for what follows `telepresence join`.
        environment: asked at every start for variables to add: for tokens, which expire, and which every user of the
            machine could read among the arguments.
        say: gets its lines.
        on_ready: called at every start.
        command: the beginning of the command line.
    """

    def __init__(
        self,
        name: str,
        arguments: Callable[[], Sequence[str]],
        *,
        say: Callable[[str], None],
        environment: Callable[[], Mapping[str, str]] = dict,
        on_ready: Callable[[], None] = lambda: None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.name = name
        self.ready: Ready | None = None
        """None while it is starting."""
        self.starts = 0
        """How often it became ready."""
        self._arguments = arguments
        self._environment = environment
        self._say = say
        self._on_ready = on_ready
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._spawning = False
        self._asked_to_restart = False
        self._last_line = ""

    @property
    def pid(self) -> int | None:
        """Process id; None while there is none."""
        return self._process.pid if self._process else None

    async def run(self) -> None:
        """Keep it running until cancelled; no process is left behind.

        Raises:
            InputError: starting it again cannot help.
        """
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            starts = self.starts
            status = await self._run_once()
            if self._asked_to_restart:
                self._asked_to_restart, failures = False, 0
                continue
            if status == UNMENDABLE and starts == self.starts:
                told = self._last_line.removeprefix("telepresence: ")
                raise InputError(told or f"the {self.name}'s edge refused its arguments")
            failures = 0 if loop.time() - began > STEADY_S else failures + 1
            if failures >= MAX_FAILURES:
                raise InputError(
                    f"the {self.name}'s edge ended {failures} times in a row (last: {self._last_line or status}); "
                    "see its lines above, and run: telepresence doctor"
                )
            pause = PAUSES_S[min(failures, len(PAUSES_S) - 1)]
            self._say(f"{self.name}: the edge ended ({_ending(status)}); starting it again in {pause:g} s")
            await asyncio.sleep(pause)

    async def restart(self) -> None:
        """End it now; `run` starts it again at once with fresh arguments."""
        if self._process is not None:
            self._asked_to_restart = True
            await _stop(self._process)
        elif self._spawning:  # with the former arguments
            self._asked_to_restart = True

    async def _run_once(self) -> int:
        self._process = process = await self._spawn()
        if process.stdout is None or process.stderr is None:
            raise TelepresenceError("the edge's output cannot be read")
        complaints = asyncio.create_task(self._forward(process.stderr))
        output = asyncio.create_task(self._wait_ready(process, process.stdout))
        try:
            if self._asked_to_restart:
                await _stop(process)
            status = await process.wait()
            await asyncio.wait({complaints}, timeout=1.0)
            return status
        finally:
            self.ready = self._process = None
            for task in (output, complaints):
                task.cancel()
            await asyncio.shield(_stop(process))

    async def _spawn(self) -> asyncio.subprocess.Process:
        self._spawning = True
        command = (*self._command, *self._arguments(), "--json-ready")
        spawning = asyncio.create_subprocess_exec(
            *command,
            env={**os.environ, **self._environment()},
            # Never written to: it closes when this process ends in any way at all, and the leash ends the edge.
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=MAX_LINE_BYTES,
            # Ctrl-C in the terminal is for the demo alone, which then ends its edges in order.
            start_new_session=True,
        )
        try:
            return await spawning
        finally:
            self._spawning = False

    async def _wait_ready(self, process: asyncio.subprocess.Process, output: asyncio.StreamReader) -> None:
        try:
            line = await asyncio.wait_for(output.readline(), READY_S)
            if not line:
                return
            self.ready = parse_ready(line)
        except (TimeoutError, ValueError, TelepresenceError) as error:
            self._say(f"{self.name}: {error or f'not ready after {READY_S:g} s'}")
            await _stop(process)
            return
        self.starts += 1
        self._on_ready()
        await self._forward(output)

    async def _forward(self, lines: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await lines.readline()
            except ValueError:  # longer than MAX_LINE_BYTES; the reader has dropped it
                continue
            if not line:
                return
            self._last_line = line.decode(errors="replace").rstrip()
            self._say(f"{self.name}: {self._last_line}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, and SIGKILL if that is not heeded."""
    with contextlib.suppress(ProcessLookupError):
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_S)
            except TimeoutError:
                process.kill()
                await process.wait()


def _ending(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"
