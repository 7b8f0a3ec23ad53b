"""uvicorn's HTTP and WebSocket connections, with limits on what a client can make the server keep for it.

uvicorn by itself waits for ever for a request that does not come and for a client that does not read.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from telepresence.hub.limits import address_key

REQUEST_S: Final = 10.0  # for a whole request, from the connection or from its first byte
STALL_S: Final = 30.0  # without a byte of an answer being read
LINGER_S: Final = 5.0  # for a closed WebSocket to send what it still has
MAX_CONNECTIONS: Final = 800  # of a server; a process may usually have 1024 files open
MAX_CONNECTIONS_PER_ADDRESS: Final = 128  # a full room behind one router: a browser has up to seven
MAX_FRAGMENTS: Final = 64  # of a message: empty ones add nothing to its size
MAX_PONGS_BYTES: Final = 256 * 1024  # waiting to be sent; messages wait from 64 KiB on


class Http(H11Protocol):
    """Drops a connection on which no request comes or whose answer nobody reads, and those beyond a number."""

    by_address = True
    address = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, unless there are too many connections."""
        super().connection_made(transport)
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self.address = address_key(self.client[0] if self.client else None)
        if self._too_many():
            transport.abort()
        else:
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._arrived()
        self._moved()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Whatever is no part of a request under way has begun another one."""
        super().data_received(data)
        upgraded = self.transport.get_protocol() is not self
        if upgraded or (self.cycle is not None and not self.cycle.response_complete):
            self._arrived()
        elif not self.transport.is_closing():
            self._expect()

    def on_response_complete(self) -> None:
        """Uvicorn's own limit for idle connections holds until the next byte."""
        self._arrived()
        super().on_response_complete()

    def timeout_keep_alive_handler(self) -> None:
        """Closing waits for what was not read yet; not for ever."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(STALL_S, self.transport.abort)

    def pause_writing(self) -> None:
        """The answer is read more slowly than it is made."""
        super().pause_writing()
        self._look_again(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """It is read."""
        self._moved()
        super().resume_writing()

    def _look_again(self, before: int) -> None:
        self._moved()
        self._stalled = self.loop.call_later(STALL_S, self._check_stalled, before)

    def _check_stalled(self, before: int) -> None:
        waiting = self.transport.get_write_buffer_size()
        if waiting < before:  # a slow link
            self._look_again(waiting)
        else:
            self.transport.abort()

    def _moved(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _expect(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_S, self.transport.abort)

    def _arrived(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_many(self) -> bool:
        if len(self.connections) > MAX_CONNECTIONS:
            return True
        if not self.by_address:
            return False
        addresses = [getattr(other, "address", None) for other in self.connections]
        return addresses.count(self.address) > MAX_CONNECTIONS_PER_ADDRESS


class ProxiedHttp(Http):
    """Behind a proxy, whose connections are everybody's: only all of them together are counted."""

    by_address = False


class WebSocket(WebSocketsSansIOProtocol):
    """Drops the TCP connection of a client that does not read, and one whose frames would pile up."""

    address = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it where it came from."""
        super().connection_made(transport)
        self.address = address_key(self.client[0] if self.client else None)

    async def run_asgi(self) -> None:
        """Run the application, then let go for good."""
        try:
            await super().run_asgi()
        finally:
            self.loop.call_later(LINGER_S, self.transport.abort)

    def handle_cont(self, event: Frame) -> None:
        """Take one more piece of a message."""
        if len(self.frames) < MAX_FRAGMENTS:
            super().handle_cont(event)
        else:
            self.transport.abort()

    def handle_ping(self) -> None:
        """Answer, unless the answers are not read."""
        super().handle_ping()
        if self.transport.get_write_buffer_size() > MAX_PONGS_BYTES:
            self.transport.abort()

    def keepalive_timeout(self) -> None:
        """Closing waits for what was not read yet; not for ever."""
        super().keepalive_timeout()
        self.loop.call_later(LINGER_S, self.transport.abort)
