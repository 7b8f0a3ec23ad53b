"""`telepresence demo`: a whole call on this machine.

The hub and the page are served from this process; the sender's and the receiver's edges are processes of their own.

The page sends its camera to the sender's edge and asks the receiver's edge for the avatar; this process sees neither.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
import time
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from telepresence.errors import InputError
from telepresence.processes import EdgeProcess
from telepresence.runtime.info import DEFAULT_ENGINE

if TYPE_CHECKING:
    import uvicorn

HOST: Final = "127.0.0.1"
ROOM: Final = "demo"
BROWSER: Final = "browser"
SAMPLE: Final = "sample"


@dataclass(frozen=True, slots=True)
class DemoConfig:
    """What `telepresence demo` was asked for."""

    camera: str = BROWSER
    """`browser`, `sample` (recorded motion), or a file or device that the sender's edge reads."""
    avatar: Path | None = None
    """Who the sender is shown as; None: one's own avatar, or the sample."""
    port: int = 8080
    """Of the page and the hub; 0 takes any free one."""
    open_browser: bool = True
    engine: str = DEFAULT_ENGINE
    size: int = 256
    """Side of the pictures, pixels."""
    runtime: str | None = None
    """None: the fastest."""


def run_demo(config: DemoConfig) -> None:
    """Run until Ctrl-C or SIGTERM; leaves no process behind.

    Raises:
        InputError: what was asked for cannot be used, the port is in use, or an edge cannot be started.
    """
    check_config(config)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Demo(config).run())


def check_config(config: DemoConfig) -> None:
    """Look at all that the edges would complain of, while nothing has started and nobody was told an address.

    Raises:
        InputError: the camera, the avatar or the engine cannot be used.
    """
    from telepresence.rtc.camera import kind_of, moving_clip
    from telepresence.rtc.own_avatar import check_own
    from telepresence.runtime.engine import check_engine

    kind = kind_of(config.camera)
    if kind == "none":
        raise InputError("--camera none: then nothing would move; the demo takes browser, sample, a file or a device")
    if kind == "file":
        moving_clip(Path(config.camera))
    if config.avatar is not None:
        check_own(config.avatar)
    check_engine(config.engine, config.size, runtime=config.runtime)


class Demo:
    """The hub, the page and two edges, and what each must know of the others."""

    def __init__(self, config: DemoConfig, *, say: Callable[[str], None] | None = None) -> None:
        from telepresence.hub.app import HubConfig
        from telepresence.hub.serve import bind

        self.config = config
        self.camera = config.camera
        """Where motion comes from now: as configured, or what the page has switched to."""
        self._say = say or _say
        self._listener = bind(HOST, config.port)
        self.port: int = self._listener.getsockname()[1]
        self.origins = (f"http://{HOST}:{self.port}", f"http://localhost:{self.port}")
        self._hub = HubConfig(origins=self.origins)
        self.sender = EdgeProcess("sender", self.sender_arguments, say=self._say, environment=self.edge_environment)
        self.receiver = EdgeProcess(
            "receiver",
            self.receiver_arguments,
            say=self._say,
            environment=self.edge_environment,
            on_ready=self._on_receiver,
        )
        self._telling: set[asyncio.Task[None]] = set()

    @property
    def secret(self) -> bytes:
        """Signs the edges' tokens; lives as long as this process."""
        return self._hub.secret

    def close(self) -> None:
        """Free the port, if `run` is not called."""
        self._listener.close()

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"{self.origins[0]}/"

    async def run(self) -> None:
        """Serve until told to stop.

        Raises:
            InputError: an edge cannot be started.
        """
        from telepresence.demo_page import page_routes
        from telepresence.hub.app import create_app
        from telepresence.hub.serve import make_server

        server = make_server(create_app(self._hub, page_routes(self)))
        with self._listener:
            serving = asyncio.create_task(server.serve(sockets=[self._listener]))
            try:
                await _started(server, serving)
                await self._supervise(serving)
            finally:
                server.should_exit = True
                await asyncio.wait({serving})

    async def _supervise(self, serving: asyncio.Task[None]) -> None:
        stop = asyncio.Event()
        _on_signals(stop.set)
        self._announce()
        tasks: list[asyncio.Task[None]] = [asyncio.create_task(edge.run()) for edge in (self.sender, self.receiver)]
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({serving, stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in (serving, *tasks):
                if task.done():
                    task.result()  # raises why it ended
        finally:
            stopping.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def use_camera(self, camera: str) -> None:
        """Take motion from `browser` or `sample` from now on; the sender's edge starts anew."""
        if camera != self.camera:
            self.camera = camera
            await self.sender.restart()

    @property
    def may_switch(self) -> bool:
        """Whether the page may choose between the camera and recorded motion."""
        return self.config.camera in (BROWSER, SAMPLE)

    def _announce(self) -> None:
        print(f"The call is at {self.url}", flush=True)
        if self.camera == BROWSER:
            print("Allow the camera there. Ctrl-C ends it.", flush=True)
        else:
            print("Ctrl-C ends it.", flush=True)
        if self.config.open_browser:
            # Some browsers block until they are closed; neither the call nor its end must wait for them.
            threading.Thread(target=webbrowser.open, args=(self.url,), daemon=True, name="browser").start()

    def _on_receiver(self) -> None:
        telling = asyncio.create_task(self._tell_engine())
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    async def _tell_engine(self) -> None:
        from telepresence.demo_page import read_stats

        stats = await read_stats(self.receiver) or {}
        if stats.get("runtime"):
            size = stats.get("size", self.config.size)
            print(f"Pictures: engine {stats.get('engine')}, {size}x{size}, runtime {stats['runtime']}", flush=True)

    def sender_arguments(self) -> list[str]:
        """What follows `telepresence join` for the sender's edge."""
        avatar = ["--avatar", str(self.config.avatar)] if self.config.avatar else []
        return [*self._common("you"), "--camera", self.camera, "--sink", "null", *avatar, *self._drawn_by()]

    def receiver_arguments(self) -> list[str]:
        """What follows `telepresence join` for the receiver's edge."""
        drawing = [*self._drawn_by(), "--size", str(self.config.size)]
        return [*self._common("far end"), "--camera", "none", "--sink", BROWSER, *drawing]

    def _drawn_by(self) -> list[str]:
        """What draws: the receiver everything, the sender only an avatar that is being made."""
        return ["--engine", self.config.engine, *(["--runtime", self.config.runtime] if self.config.runtime else [])]

    def edge_environment(self) -> dict[str, str]:
        """The link by which an edge joins; a fresh token each time. Among the arguments, `ps` would show it to all."""
        from telepresence.hub import tokens
        from telepresence.hub.urls import URL_VARIABLE, join_url

        token = tokens.issue(self.secret, ROOM, now=time.time())
        return {URL_VARIABLE: join_url(self.origins[0], ROOM, token)}

    def _common(self, name: str) -> list[str]:
        origins = [argument for origin in self.origins for argument in ("--page-origin", origin)]
        return ["-", "--name", name, *origins]


def _say(line: str) -> None:
    # The edges' own pages work, but there is to be one address that the user is told.
    if ": page: http" not in line:
        print(line, file=sys.stderr, flush=True)


async def _started(server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    """Until the server answers; signals are ours only from then on, since it takes them when it starts."""
    while not server.started and not serving.done():  # noqa: ASYNC110  # uvicorn offers no event
        await asyncio.sleep(0.01)


def _on_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C arrives as KeyboardInterrupt
            loop.add_signal_handler(number, stop)
