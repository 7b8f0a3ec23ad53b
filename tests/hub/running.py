"""A real hub on a free port, and real clients of it."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import uvicorn
from starlette.routing import BaseRoute
from websockets.asyncio.client import ClientConnection, connect

from telepresence.hub import tokens
from telepresence.hub.app import HubConfig, create_app
from telepresence.hub.client import Backoff, Event, HubClient
from telepresence.hub.serve import bind, make_server

E = TypeVar("E")

SECRET = b"0123456789abcdef"
SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
PATIENCE_S = 5.0  # only ever waited for in full by a test that fails


@dataclass
class Hub:
    port: int
    server: uvicorn.Server

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/signal"


@asynccontextmanager
async def hub(
    port: int = 0,
    *,
    tls: ssl.SSLContext | None = None,
    proxies: Sequence[str] = (),
    routes: Sequence[BaseRoute] | None = None,
    **options: Any,
) -> AsyncIterator[Hub]:
    listener = bind("127.0.0.1", port)
    port = listener.getsockname()[1]  # it listens already, so clients need not wait for the server
    app = create_app(HubConfig(**({"secret": SECRET} | options)), routes)
    server = make_server(app, tls=tls, proxies=proxies)
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[listener])  # serve() itself would take 0.2 s to notice that it is to end
    try:
        yield Hub(port, server)
    finally:
        await server.shutdown(sockets=[listener])


def token(room: str = "den", **options: Any) -> str:
    return tokens.issue(SECRET, room, **({"now": time.time()} | options))


async def impatient(url: str, name: str = "", room: str = "den") -> HubClient:
    """A joined client with backoff as short as it gets."""
    return await HubClient.connect(url, token(room), room, name, backoff=Backoff(lambda low, high: 0.02))


async def member(running: Hub, name: str = "", room: str = "den") -> HubClient:
    """Somebody in a room of the hub."""
    return await impatient(running.url, name, room)


class Events:
    """The events of a client one by one, without waiting for ever."""

    def __init__(self, client: HubClient) -> None:
        self._iterator = aiter(client)

    async def next(self) -> Event:
        async with asyncio.timeout(PATIENCE_S):
            return await anext(self._iterator)

    async def next_of(self, kind: type[E]) -> E:
        while True:
            event = await self.next()
            if isinstance(event, kind):
                return event


@asynccontextmanager
async def raw(running: Hub, **options: Any) -> AsyncIterator[ClientConnection]:
    """A WebSocket that says nothing by itself."""
    async with connect(running.url, proxy=None, close_timeout=0.2, open_timeout=PATIENCE_S, **options) as socket:
        yield socket


async def say(socket: ClientConnection, **fields: Any) -> None:
    await socket.send(json.dumps(fields))


async def hear(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_S):
        fields: dict[str, Any] = json.loads(await socket.recv())
    return fields


async def join(socket: ClientConnection, **fields: Any) -> dict[str, Any]:
    standard = {"type": "join", "protocol": 1, "token": token(), "room": "den", "name": "", "schemas": [1]}
    await say(socket, **(standard | fields))
    return await hear(socket)


async def closed(socket: ClientConnection) -> int:
    """The close code, once it comes."""
    async with asyncio.timeout(PATIENCE_S):
        await socket.wait_closed()
    return socket.close_code or 0
