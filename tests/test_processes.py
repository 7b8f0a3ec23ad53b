"""A child that is kept running, with small scripts in the place of an edge."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from telepresence import processes
from telepresence.errors import InputError, TelepresenceError
from telepresence.processes import EdgeProcess, parse_ready

PATIENCE_S = 20.0  # only ever waited for in full by a test that fails

UP = """
import json, sys
print("hello", file=sys.stderr, flush=True)
print(json.dumps({"page": "http://127.0.0.1:1", "token": sys.argv[1]}), flush=True)
sys.stdin.read()
"""


def edge(script: str, argument: str = "t", lines: list[str] | None = None) -> EdgeProcess:
    said = lines if lines is not None else []
    return EdgeProcess("sender", lambda: [argument], say=said.append, command=(sys.executable, "-c", script))


@asynccontextmanager
async def running(process: EdgeProcess) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(process.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(process: EdgeProcess, starts: int) -> int:
    await true(lambda: process.starts >= starts and process.ready is not None)
    assert process.pid is not None
    return process.pid


async def true(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_is_ready_forwards_its_lines_and_ends_when_cancelled() -> None:
    async def scenario() -> None:
        lines: list[str] = []
        process = edge(UP, "token", lines)
        async with running(process):
            pid = await until(process, 1)
            assert process.ready is not None
            assert (process.ready.page, process.ready.token) == ("http://127.0.0.1:1", "token")
            assert "token" not in repr(process.ready)
            await true(lambda: lines == ["sender: hello"])
        assert not alive(pid)
        assert process.ready is None

    asyncio.run(scenario())


def test_one_that_dies_is_started_again() -> None:
    async def scenario() -> None:
        lines: list[str] = []
        process = edge(UP, lines=lines)
        async with running(process):
            first = await until(process, 1)
            os.kill(first, signal.SIGKILL)
            assert await until(process, 2) != first
        assert any("signal 9" in line for line in lines)

    asyncio.run(scenario())


def test_a_restart_takes_fresh_arguments() -> None:
    async def scenario() -> None:
        arguments = iter(["first", "second"])
        process = EdgeProcess(
            "sender", lambda: [next(arguments)], say=lambda line: None, command=(sys.executable, "-c", UP)
        )
        async with running(process):
            await until(process, 1)
            await process.restart()
            await until(process, 2)
            assert process.ready is not None
            assert process.ready.token == "second"

    asyncio.run(scenario())


def test_a_restart_while_it_is_being_started_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    spawn = asyncio.create_subprocess_exec

    async def scenario() -> None:
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def slow(*command: str, **options: Any) -> asyncio.subprocess.Process:
            asked.set()
            await go_on.wait()
            return await spawn(*command, **options)

        monkeypatch.setattr(asyncio, "create_subprocess_exec", slow)
        arguments = iter(["first", "second"])
        process = EdgeProcess(
            "sender", lambda: [next(arguments)], say=lambda line: None, command=(sys.executable, "-c", UP)
        )
        async with running(process):
            await asked.wait()
            await process.restart()
            go_on.set()
            await true(lambda: process.ready is not None and process.ready.token == "second")

    asyncio.run(scenario())


def test_variables_are_added_to_the_environment_afresh_at_each_start() -> None:
    script = UP.replace("import json, sys", "import json, os, sys").replace("sys.argv[1]", "os.environ['SECRET']")
    secrets = iter(["first", "second"])

    async def scenario() -> None:
        process = EdgeProcess(
            "sender",
            lambda: [],
            say=lambda line: None,
            environment=lambda: {"SECRET": next(secrets)},
            command=(sys.executable, "-c", script),
        )
        async with running(process):
            await until(process, 1)
            assert process.ready is not None
            assert process.ready.token == "first"
            await process.restart()
            await true(lambda: process.ready is not None and process.ready.token == "second")
        assert "SECRET" not in os.environ

    asyncio.run(scenario())


def test_arguments_that_cannot_be_used_are_reported_not_retried() -> None:
    script = "import sys; print('telepresence: no such camera', file=sys.stderr); sys.exit(2)"
    with pytest.raises(InputError, match=r"^no such camera$"):
        asyncio.run(edge(script).run())


def test_one_that_never_stays_up_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PAUSES_S", (0.0,))
    with pytest.raises(InputError, match=r"ended 6 times in a row \(last: no luck\).*telepresence doctor"):
        asyncio.run(edge("import sys; sys.exit('no luck')").run())


def test_one_that_ignores_the_request_to_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_S", 0.2)
    deaf = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        + UP.replace("sys.stdin.read()", "")
        + ("import time\nwhile True: time.sleep(1)")
    )

    async def scenario() -> int:
        process = edge(deaf)
        async with running(process):
            return await until(process, 1)

    assert not alive(asyncio.run(scenario()))


@pytest.mark.parametrize("line", [b"", b"ready", b"[]", b"{}", b'{"page": 1, "token": "t"}', b'{"page": "x"}', b"\xff"])
def test_a_line_that_is_not_the_ready_line_is_refused(line: bytes) -> None:
    with pytest.raises(TelepresenceError, match="two versions"):
        parse_ready(line)
