"""The headset sink's server: HTTPS for its page, a WebSocket for the stream. Listens on all networks; tokens decide.

A client that reads slowly gets the newest picture of each avatar: at most one of each waits, besides what the
connection itself holds (64 KiB).
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from telepresence.errors import InputError, ProtocolError
from telepresence.hub.limits import TokenBucket
from telepresence.hub.serve import bind, make_server
from telepresence.hub.tls import Certificate
from telepresence.resources import shipped
from telepresence.sinks.headset import protocol
from telepresence.sinks.headset.protocol import HeadPose, Hello, Mode, Seats

logger = logging.getLogger(__name__)

MAX_CLIENTS: Final = 4  # that have said hello; the oldest gives way
HELLO_S: Final = 5.0
CLOSE_S: Final = 2.0
STALL_S: Final = 15.0  # for one message to be taken by the connection
MESSAGES_PER_S: Final = 240.0  # head poses of a 120 Hz display, twice
MAX_FAULTS: Final = 32  # broken rules of one client

# WebSocket close codes.
BAD_MESSAGE: Final = 4400
BAD_TOKEN: Final = 4401
OTHER_VERSION: Final = 4406
TIMEOUT: Final = 4408
REPLACED: Final = 4409
SLOW: Final = 4410

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "xr-spatial-tracking=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Events:
    """What the server tells, on the loop."""

    on_pose: Callable[[HeadPose], Any]
    """The viewer's head: of the client in `pictures` mode that came last."""
    on_seats: Callable[[Seats], Any]
    on_clients: Callable[[], Any]
    """Somebody came or went."""


class HeadsetServer:
    """Streams to headsets.

    Args:
        port: 0 for a free one.
        certificate: of this machine.
        room: fields of the message ROOM, at any time.

    Raises:
        InputError: the port is in use, or the certificate is no good.
    """

    def __init__(self, port: int, certificate: Certificate, room: Callable[[], dict[str, Any]], events: Events) -> None:
        self.token = secrets.token_urlsafe(16)
        self._room = room
        self._events = events
        self._clients: list[_Client] = []
        self._shown: dict[str, Any] = {}
        self.refused = 0
        """Messages that broke a rule."""
        try:
            self._socket = bind("0.0.0.0", port)
        except InputError as error:
            raise InputError(f"--sink headset:{port}: {error}; or --sink headset:0 for any free port") from error
        self.port: int = self._socket.getsockname()[1]
        self._server = make_server(self._app(), tls=certificate.context())
        self._server.capture_signals = _no_signals  # type: ignore[method-assign]  # they are the edge's
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; returns when requests are answered."""
        self._task = asyncio.ensure_future(self._server.serve(sockets=[self._socket]))
        while not self._server.started:
            if self._task.done():
                self._task.result()
                raise InputError("the headset's server has ended; try another port: --sink headset:PORT")
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Disconnect everybody and stop listening."""
        for client in list(self._clients):
            client.end(1001)
        self._server.should_exit = True
        if self._task:
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._task), 3 * CLOSE_S)
        self._socket.close()

    def wants(self, mode: Mode) -> bool:
        """Whether a client is there that wants pictures, or motion."""
        return any(client.mode == mode for client in self._clients)

    def send(self, mode: Mode, place: int, data: bytes) -> None:
        """The newest of a place, to all clients of a mode."""
        for client in self._clients:
            if client.mode == mode:
                client.newest(place, data)

    def changed(self) -> None:
        """Tell everybody of the room, if it is another than before."""
        fields = self._room()
        if fields == self._shown:
            return
        self._shown = fields
        for client in self._clients:
            client.show(protocol.json_frame(protocol.ROOM, **fields))

    def figures(self) -> dict[str, int]:
        """How many clients, and how many pictures each slow one never saw, in all."""
        return {"clients": len(self._clients), "replaced": sum(c.replaced for c in self._clients)}

    def _app(self) -> Starlette:
        web = shipped("web")
        routes: Sequence[Any] = [
            Route("/", lambda request: RedirectResponse("/headset/")),
            WebSocketRoute("/stream", self._serve),
            Mount("/headset", StaticFiles(directory=web / "headset", html=True)),
            Mount("/vendor", StaticFiles(directory=web / "vendor", check_dir=False)),
        ]
        return Starlette(routes=routes, middleware=[Middleware(_WithHeaders)])

    async def _serve(self, socket: WebSocket) -> None:
        await socket.accept()
        client = _Client(socket)
        timer = asyncio.get_running_loop().call_later(HELLO_S, self._check_greeted, client)
        try:
            await client.serve(lambda data: self._handle(client, data))
        finally:
            timer.cancel()
            if client in self._clients:
                self._clients.remove(client)
                self._events.on_clients()

    def _check_greeted(self, client: _Client) -> None:
        if client not in self._clients:
            client.refuse("timeout", "nothing came; hello is the first message", TIMEOUT)

    def _handle(self, client: _Client, data: bytes | None) -> None:
        if not client.bucket.take(asyncio.get_running_loop().time()):
            return  # head poses that come faster than any display: some are as good as all
        try:
            if data is None:
                raise ProtocolError("a text message")
            for message in protocol.parse(data):
                self._hand_on(client, message)
        except ProtocolError as error:
            self.refused += 1
            if client.fault() or client not in self._clients:
                client.refuse("message", str(error), BAD_MESSAGE)

    def _hand_on(self, client: _Client, message: protocol.FromClient) -> None:
        if isinstance(message, Hello):
            self._greet(client, message)
        elif client not in self._clients:
            raise ProtocolError("hello is the first message")
        elif client is self._steering():
            if isinstance(message, Seats):
                self._events.on_seats(message)
            else:
                self._events.on_pose(message)

    def _greet(self, client: _Client, hello: Hello) -> None:
        if client in self._clients:
            raise ProtocolError("a second hello")
        if hello.version != protocol.VERSION:
            text = f"this is version {protocol.VERSION} of the stream, and the client speaks {hello.version}"
            older = "the client" if hello.version < protocol.VERSION else "telepresence"
            client.refuse("version", f"{text}; update {older}", OTHER_VERSION)
        elif not hmac.compare_digest(hello.token.encode(), self.token.encode()):
            client.refuse("token", "the token is wrong, or of a run that has ended; use the link anew", BAD_TOKEN)
        else:
            while len(self._clients) >= MAX_CLIENTS:
                self._clients.pop(0).refuse("replaced", "newer clients have taken all places", REPLACED)
            client.mode = hello.mode
            self._clients.append(client)
            client.welcome(protocol.json_frame(protocol.WELCOME, version=protocol.VERSION, mode=hello.mode))
            client.show(protocol.json_frame(protocol.ROOM, **self._room()))
            self._events.on_clients()

    def _steering(self) -> _Client | None:
        """Whose eyes the pictures are for: the newest client that wants pictures."""
        return next((client for client in reversed(self._clients) if client.mode == "pictures"), None)


class _Client:
    """One client's WebSocket: receives in one task, sends in another, keeps one thing of each place."""

    def __init__(self, socket: WebSocket) -> None:
        now = asyncio.get_running_loop().time()
        self.mode: Mode | None = None
        self.bucket = TokenBucket(MESSAGES_PER_S, MESSAGES_PER_S, updated=now)
        self.replaced = 0
        self._socket = socket
        self._first = b""
        self._room = b""
        self._newest: dict[int, bytes] = {}
        self._wake = asyncio.Event()
        self._ended = asyncio.Event()
        self._code: int | None = None
        self._faults = 0

    def newest(self, place: int, data: bytes) -> None:
        """Send this of a place, instead of one before that still waits; the one that waits longest goes first."""
        self.replaced += place in self._newest
        self._newest[place] = data
        self._wake.set()

    def show(self, data: bytes) -> None:
        """Send the room, instead of one before that still waits, and before pictures."""
        self._room = data
        self._wake.set()

    def welcome(self, data: bytes) -> None:
        """Send this before all else."""
        self._first = data
        self._wake.set()

    def fault(self) -> bool:
        """Count a broken rule; whether there were too many."""
        self._faults += 1
        return self._faults >= MAX_FAULTS

    def refuse(self, code: str, text: str, close: int) -> None:
        """Say why, then end."""
        self._first = protocol.json_frame(protocol.ERROR, code=code, message=text)
        self.end(close)

    def end(self, code: int) -> None:
        """Close with a code."""
        if self._code is None:
            self._code = code
            self._ended.set()

    async def serve(self, handle: Callable[[bytes | None], None]) -> None:
        """Run until either side ends it. `handle` gets each message, None for one that is text."""
        tasks = {asyncio.create_task(step) for step in (self._receive(handle), self._send(), self._ended.wait())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    if self._first and self._code:
                        await self._socket.send_bytes(self._first)
                    await self._socket.close(self._code or 1000)

    async def _receive(self, handle: Callable[[bytes | None], None]) -> None:
        while self._code is None:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if self._code is None:
                handle(message.get("bytes"))

    async def _send(self) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):  # RuntimeError: sending to a socket that was just closed
            while True:
                await self._wake.wait()
                self._wake.clear()
                while (data := self._next()) is not None:
                    try:
                        async with asyncio.timeout(STALL_S):
                            await self._socket.send_bytes(data)
                    except TimeoutError:
                        self.end(SLOW)
                        return

    def _next(self) -> bytes | None:
        if self._first:
            data, self._first = self._first, b""
            return data
        if self._room:
            data, self._room = self._room, b""
            return data
        if self._newest and self._code is None:
            return self._newest.pop(next(iter(self._newest)))
        return None


class _WithHeaders:
    """Adds HEADERS to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, add)


@contextmanager
def _no_signals() -> Iterator[None]:
    yield
