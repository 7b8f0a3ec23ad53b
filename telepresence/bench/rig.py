"""All that a measured call needs, started and ended: a hub, two edges, a relay for ordinary calls, two browsers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from telepresence.avatar.samples import SAMPLE_AVATAR
from telepresence.bench import browser, load
from telepresence.bench.browser import Browser
from telepresence.bench.camera import CameraClip
from telepresence.bench.pages import Pages
from telepresence.errors import InputError, TelepresenceError
from telepresence.processes import EdgeProcess
from telepresence.rtc.trace import VARIABLE as TRACE_VARIABLE

HOST: Final = "127.0.0.1"
ROOM: Final = "bench"
EDGES_S: Final = 180.0  # until both edges are connected; the first start measures runtimes
ANSWER_S: Final = 30.0  # of an edge or the relay, on a busy machine
RELAY_COMMAND: Final = (sys.executable, "-m", "telepresence.bench.relay")
MAX_LINE_BYTES: Final = 256 * 1024

# Without proxies from the environment: everything is on this machine.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

Say = Callable[[str], None]


@dataclass(frozen=True)
class RigConfig:
    """What the benchmark was asked for, as far as starting things goes."""

    avatar: Path | None = None
    engine: str = "live"
    size: int = 256
    runtime: str | None = None
    port: int = 0
    """Of the hub and the pages; 0 takes any free one."""
    headless: bool = True
    relay: bool = True
    """Whether ordinary calls are to be measured too."""


class RelayProcess:
    """The relay of `bench.relay`, by its commands."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._asking = asyncio.Lock()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def ask(self, **command: Any) -> dict[str, Any]:
        """Carry a command out.

        Raises:
            TelepresenceError: it failed, or the relay has ended.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise TelepresenceError("the relay has no pipes")
        async with self._asking:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            line = await asyncio.wait_for(self._process.stdout.readline(), ANSWER_S)
        if not line:
            raise TelepresenceError("the relay of the ordinary call has ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise TelepresenceError(f"the relay of the ordinary call: {answer['error']}")
        return answer


class Rig:
    """What runs, and how to reach it."""

    def __init__(self, config: RigConfig, clip: CameraClip, say: Say) -> None:
        self.config = config
        self.clip = clip
        self.pages = Pages()
        self.url = ""
        """Where the pages are, without a slash at the end."""
        self.sender: Browser
        self.receiver: Browser
        self.relay: RelayProcess | None = None
        self.secret = b""
        self._say = say
        self.edges = {
            "sender": EdgeProcess("sender", self._sender, say=self._note, environment=self._environment),
            "receiver": EdgeProcess("receiver", self._receiver, say=self._note, environment=self._environment),
        }

    @property
    def roots(self) -> dict[str, int | None]:
        """The processes that share this machine during the measurement, by what they are."""
        return {
            "benchmark and hub": os.getpid(),
            "sender's edge": self.edges["sender"].pid,
            "receiver's edge": self.edges["receiver"].pid,
            "sender's browser": self.sender.pid,
            "receiver's browser": self.receiver.pid,
            "relay": self.relay.pid if self.relay else None,
        }

    def where(self, role: str) -> dict[str, str]:
        """An edge's page server, for its page.

        Raises:
            TelepresenceError: the edge does not run.
        """
        ready = self.edges[role].ready
        if ready is None:
            raise TelepresenceError(f"the {role}'s edge has ended; its lines above say why")
        return {"url": ready.page, "token": ready.token}

    async def ask(self, role: str, path: str, body: Any = ...) -> Any:
        """Ask an edge: GET, or POST with a body.

        Raises:
            TelepresenceError: it does not answer, or refuses.
        """
        edge = self.where(role)
        data = None if body is ... else json.dumps(body).encode()
        request = urllib.request.Request(edge["url"] + path, data, {"Authorization": f"Bearer {edge['token']}"})
        return await asyncio.to_thread(_answer, request, role)

    def _note(self, line: str) -> None:
        if ": page: http" not in line:
            self._say(line)

    def _sender(self) -> list[str]:
        avatar = self.config.avatar or SAMPLE_AVATAR  # not one's own: figures of two machines are to be comparable
        return [*self._common("sender"), "--camera", "browser", "--sink", "null", "--avatar", str(avatar)]

    def _receiver(self) -> list[str]:
        config = self.config
        runtime = ["--runtime", config.runtime] if config.runtime else []
        drawing = ["--engine", config.engine, "--size", str(config.size), *runtime]
        return [*self._common("receiver"), "--camera", "none", "--sink", "browser", *drawing]

    def _common(self, name: str) -> list[str]:
        return ["-", "--name", name, "--page-origin", self.url]

    def _environment(self) -> dict[str, str]:
        from telepresence.hub import tokens
        from telepresence.hub.urls import URL_VARIABLE, join_url

        token = tokens.issue(self.secret, ROOM, now=time.time())
        return {URL_VARIABLE: join_url(self.url, ROOM, token), TRACE_VARIABLE: "1"}


def _answer(request: urllib.request.Request, role: str) -> Any:
    try:
        with _open(request, timeout=ANSWER_S) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise TelepresenceError(f"the {role}'s edge refused {request.selector}: {error.read().decode()}") from error
    except OSError as error:
        raise TelepresenceError(f"the {role}'s edge does not answer ({error})") from error


@contextlib.asynccontextmanager
async def started(config: RigConfig, clip: CameraClip, say: Say) -> AsyncIterator[Rig]:
    """Everything up, both edges connected, both pages open; ended in reverse order.

    Raises:
        InputError: a browser, a port, the avatar or the engine cannot be used.
        TelepresenceError: something did not come up in time.
    """
    driver, program = browser.playwright(), browser.find_chromium()
    rig = Rig(config, clip, say)
    async with contextlib.AsyncExitStack() as ending:
        await ending.enter_async_context(_serving(rig))
        running = await ending.enter_async_context(_edges(rig))
        if config.relay:
            rig.relay = await ending.enter_async_context(_relay())
        say(f"starting two browsers ({program})")
        driven = await ending.enter_async_context(driver())
        url, headless = f"{rig.url}/bench/", config.headless
        plays = browser.opened(driven, url, camera=clip.path, microphone=clip.microphone, headless=headless)
        rig.sender = await ending.enter_async_context(plays)
        rig.receiver = await ending.enter_async_context(browser.opened(driven, url, headless=headless))
        await rig.sender.call("openCamera")
        await _connected(rig, running)
        yield rig


@contextlib.asynccontextmanager
async def _serving(rig: Rig) -> AsyncIterator[None]:
    from telepresence.hub.app import HubConfig, create_app
    from telepresence.hub.serve import bind, make_server

    listener = bind(HOST, rig.config.port)
    rig.url = f"http://{HOST}:{listener.getsockname()[1]}"
    hub = HubConfig(origins=(rig.url,))
    rig.secret = hub.secret
    server = make_server(create_app(hub, rig.pages.routes()))
    setattr(server, "capture_signals", contextlib.nullcontext)  # noqa: B010 - signals stay ours
    with listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            while not server.started and not serving.done():  # noqa: ASYNC110  # uvicorn offers no event
                await asyncio.sleep(0.01)
            yield
        finally:
            server.should_exit = True
            await asyncio.wait({serving})


@contextlib.asynccontextmanager
async def _edges(rig: Rig) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = [asyncio.create_task(edge.run()) for edge in rig.edges.values()]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _connected(rig: Rig, running: list[asyncio.Task[None]]) -> None:
    end = time.monotonic() + EDGES_S
    while True:
        for task in running:
            if task.done():
                task.result()  # raises why it ended
        if all(edge.ready for edge in rig.edges.values()):
            stats = await rig.ask("receiver", "/api/stats")
            if stats["avatar_errors"]:
                raise InputError(f"the avatar cannot be drawn: {stats['avatar_errors'][0]}")
            others = stats["participants"]
            if stats["state"] == "connected" and others and others[0]["avatar"] in (None, 1.0):
                return
        if time.monotonic() > end:
            raise TelepresenceError(f"the two edges did not connect within {EDGES_S:g} s; try: telepresence doctor")
        await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def _relay() -> AsyncIterator[RelayProcess]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *RELAY_COMMAND, stdin=pipe, stdout=pipe, limit=MAX_LINE_BYTES, start_new_session=True
    )
    try:
        if process.stdout is None or process.stdin is None:
            raise TelepresenceError("the relay has no pipes")
        if not await asyncio.wait_for(process.stdout.readline(), ANSWER_S):
            raise TelepresenceError("the relay of the ordinary call did not start")
        yield RelayProcess(process)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), ANSWER_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def loads(rig: Rig, *, memory: bool = False) -> dict[str, load.Load]:
    """What each of the rig's processes has cost so far."""
    return load.read(rig.roots, memory=memory)
