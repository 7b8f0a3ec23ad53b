"""The headset sink's server: HTTPS for its page, WebSockets for the stream and for the sound. Listens on all networks;
tokens decide.

A client that reads slowly gets the newest picture of each avatar: at most one of each waits, besides what the
connection itself holds (64 KiB).
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import FileResponse, RedirectResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from telepresence.edge.line import BAD_MESSAGE, BAD_TOKEN, GOING, OTHER_VERSION, REPLACED, TIMEOUT, Line
from telepresence.edge.pages import Door
from telepresence.edge.serving import Serving, WithHeaders
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
STALL_S: Final = 15.0  # for one message to be taken by the connection
MESSAGES_PER_S: Final = 240.0  # head poses of a 120 Hz display, twice
MAX_FAULTS: Final = 32  # broken rules of one client

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "xr-spatial-tracking=(self), microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Events:
    """What the server tells, on the loop."""

    on_pose: Callable[[HeadPose], Any]
    """The viewer's head: of the client in `pictures` mode that came last."""
    on_seats: Callable[[Seats], Any]
    on_clients: Callable[[bool], Any]
    """Somebody came or went; whether pictures are for other eyes now, of which nothing is known yet."""


class HeadsetServer:
    """Streams to headsets.

    Args:
        port: 0 for a free one.
        certificate: of this machine.
        room: fields of the message ROOM, at any time.
        sound: makes the route by which the page takes part in the room's sound; None: it does not.

    Raises:
        InputError: the port is in use, or the certificate is no good.
    """

    def __init__(
        self,
        port: int,
        certificate: Certificate,
        room: Callable[[], dict[str, Any]],
        events: Events,
        sound: Callable[[Door], BaseRoute] | None = None,
    ) -> None:
        self.token = secrets.token_urlsafe(16)
        self._room = room
        self._events = events
        self._has_sound = sound is not None
        self._clients: list[_Client] = []
        self._steering: _Client | None = None
        self._shown: dict[str, Any] = {}
        self.refused = 0
        """Messages that broke a rule."""
        try:
            listener = bind("0.0.0.0", port)
        except InputError as error:
            raise InputError(f"--sink headset:{port}: {error}; or --sink headset:0 for any free port") from error
        self.port: int = listener.getsockname()[1]
        door = Door(lambda: self.token, lambda origin: True, headset=True)  # the token is in no cookie: it decides
        server = make_server(self._app([sound(door)] if sound else []), tls=certificate.context())
        self._serving = Serving(server, listener, "the headset's server has ended; try another: --sink headset:PORT")

    async def start(self) -> None:
        """Listen; returns when requests are answered."""
        await self._serving.start()

    async def close(self) -> None:
        """Disconnect everybody and stop listening."""
        for client in list(self._clients):
            client.end(GOING)
        await self._serving.close()

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

    def _app(self, more: list[BaseRoute]) -> Starlette:
        web = shipped("web")
        routes: list[BaseRoute] = [
            Route("/", lambda request: RedirectResponse("/headset/")),
            WebSocketRoute("/stream", self._serve),
            Mount("/headset", StaticFiles(directory=web / "headset", html=True)),
            Mount("/vendor", StaticFiles(directory=web / "vendor", check_dir=False)),
            Mount("/call", StaticFiles(directory=web / "call")),
            Route("/voice.js", lambda request: FileResponse(web / "voice.js")),
        ]
        return Starlette(routes=routes + more, middleware=[Middleware(WithHeaders, headers=HEADERS)])

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
                self._changed_clients()

    def _check_greeted(self, client: _Client) -> None:
        if client not in self._clients:
            client.refuse("timeout", "nothing came; hello is the first message", TIMEOUT)

    def _handle(self, client: _Client, data: bytes | None) -> None:
        if not client.bucket.take(asyncio.get_running_loop().time()):
            return  # head poses that come faster than any display: some are as good as all
        try:
            if data is None:
                raise ProtocolError("a text message")
            for message in _newest(protocol.parse(data)):
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
        else:
            if isinstance(message, Seats):
                client.seats = message
            if client is not self._steering:
                return
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
        elif not hmac.compare_digest(hello.token.encode(errors="replace"), self.token.encode()):
            client.refuse("token", "the token is wrong, or of a run that has ended; use the link anew", BAD_TOKEN)
        else:
            while len(self._clients) >= MAX_CLIENTS:
                self._clients.pop(0).refuse("replaced", "newer clients have taken all places", REPLACED)
            client.mode = hello.mode
            self._clients.append(client)
            fields = {"version": protocol.VERSION, "mode": hello.mode, "sound": self._has_sound}
            client.welcome(protocol.json_frame(protocol.WELCOME, **fields))
            client.show(protocol.json_frame(protocol.ROOM, **self._room()))
            self._changed_clients()

    def _changed_clients(self) -> None:
        """Pictures are for the eyes of the newest client that wants some."""
        before = self._steering
        self._steering = next((client for client in reversed(self._clients) if client.mode == "pictures"), None)
        others = self._steering is not before
        self._events.on_clients(others)
        if others:
            self._events.on_seats(self._steering.seats if self._steering else Seats())


def _newest(messages: list[protocol.FromClient]) -> list[protocol.FromClient]:
    """Of several head poses that came together the last, and so of seats; in their order."""
    last = {type(message): message for message in messages}
    return [message for message in messages if isinstance(message, Hello) or last[type(message)] is message]


class _Client(Line[bytes]):
    """One client's WebSocket: keeps one thing of each place."""

    def __init__(self, socket: WebSocket) -> None:
        super().__init__(socket, bytes, stall_s=STALL_S, max_faults=MAX_FAULTS)
        now = asyncio.get_running_loop().time()
        self.mode: Mode | None = None
        self.seats = Seats()
        self.bucket = TokenBucket(MESSAGES_PER_S, MESSAGES_PER_S, updated=now)
        self.replaced = 0
        self._first = b""
        self._room = b""
        self._newest: dict[int, bytes] = {}

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

    def refuse(self, code: str, text: str, close: int) -> None:
        """Say why, then end."""
        self._first = protocol.json_frame(protocol.ERROR, code=code, message=text)
        self.end(close)

    def _last(self) -> bytes | None:
        return self._first or None

    def _next(self) -> bytes | None:
        if self.ended:
            return None  # what is last is said by itself
        if self._first:
            data, self._first = self._first, b""
            return data
        if self._room:
            data, self._room = self._room, b""
            return data
        if self._newest:
            return self._newest.pop(next(iter(self._newest)))
        return None
