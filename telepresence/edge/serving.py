"""A web server in the edge's own event loop: its page's, a headset's."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from typing import Final

import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from telepresence.errors import InputError

STOP_S: Final = 5.0  # for open requests and connections when it ends
LOOK_S: Final = 0.01


class Serving:
    """Runs a server on a socket that listens. Signals stay the edge's own.

    Args:
        server: not started.
        listener: bound; closed in the end.
        advice: for the user, should the server end by itself.
    """

    def __init__(self, server: uvicorn.Server, listener: socket.socket, advice: str) -> None:
        self._server = server
        self._listener = listener
        self._advice = advice
        self._task: asyncio.Task[None] | None = None
        setattr(server, "capture_signals", contextlib.nullcontext)  # noqa: B010 - mypy refuses the plain assignment

    async def start(self) -> None:
        """Listen; returns when requests are answered.

        Raises:
            InputError: the server has ended at once.
        """
        self._task = asyncio.ensure_future(self._server.serve(sockets=[self._listener]))
        while not self._server.started:
            if self._task.done():
                self._task.result()
                raise InputError(self._advice)
            await asyncio.sleep(LOOK_S)

    async def close(self) -> None:
        """Stop listening."""
        self._server.should_exit = True
        if self._task:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._task), STOP_S)
        self._listener.close()


class WithHeaders:
    """Middleware that adds headers to every answer, refusals included."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = dict(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does."""

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await self._app(scope, receive, add)
