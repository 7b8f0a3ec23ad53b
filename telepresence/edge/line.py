"""One WebSocket of somebody who may say what is wrong and may not read: a page of the edge, or a headset.

Receives in one task and sends in another, so that neither waits for the other, and never waits for who does not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Generic, TypeVar

from starlette.websockets import WebSocket, WebSocketDisconnect

CLOSE_S: Final = 2.0  # for the last message and the close

# Codes that a WebSocket is closed with.
GOING: Final = 1001
BAD_MESSAGE: Final = 4400
BAD_TOKEN: Final = 4401
OTHER_VERSION: Final = 4406
TIMEOUT: Final = 4408
REPLACED: Final = 4409
SLOW: Final = 4410
RATE: Final = 4429

M = TypeVar("M", str, bytes)


class Line(Generic[M]):
    """Says what `_next` gives, of type M, until either side ends it. On the event loop.

    Args:
        socket: accepted.
        kind: M itself; a message of the other type is handed on as None.
        stall_s: for one message to be taken by the connection; None for ever.
        max_faults: broken rules, after which `fault` says that it is enough.
    """

    def __init__(self, socket: WebSocket, kind: type[M], *, stall_s: float | None, max_faults: int) -> None:
        self._socket = socket
        self._name = "text" if kind is str else "bytes"
        self._stall_s = stall_s
        self._max_faults = max_faults
        self._faults = 0
        self._code: int | None = None
        self._wake = asyncio.Event()
        self._ended = asyncio.Event()

    def _next(self) -> M | None:
        """What is to be sent next; None when nothing waits. Set `_wake` when something does again."""
        raise NotImplementedError

    def _last(self) -> M | None:
        """What is still to be sent before the close, if we close."""
        return None

    @property
    def ended(self) -> bool:
        """Whether it was closed from here."""
        return self._code is not None

    def fault(self) -> bool:
        """Count a broken rule; whether there were too many."""
        self._faults += 1
        return self._faults >= self._max_faults

    def end(self, code: int) -> None:
        """Close with a code."""
        if self._code is None:
            self._code = code
            self._ended.set()

    async def serve(self, handle: Callable[[M | None], None]) -> None:
        """Run until either side ends it. `handle` gets each message, None for one of the other type."""
        tasks = {asyncio.create_task(step) for step in (self._receive(handle), self._send(), self._ended.wait())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    last = self._last() if self.ended else None
                    if last is not None:
                        await self._put(last)
                    await self._socket.close(self._code or 1000)

    async def _receive(self, handle: Callable[[M | None], None]) -> None:
        while not self.ended:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if not self.ended:
                handle(message.get(self._name))

    async def _send(self) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):  # RuntimeError: sending to a socket that was just closed
            while True:
                await self._wake.wait()
                self._wake.clear()
                while (message := self._next()) is not None:
                    try:
                        async with asyncio.timeout(self._stall_s):
                            await self._put(message)
                    except TimeoutError:
                        self.end(SLOW)
                        return

    async def _put(self, message: M) -> None:
        if isinstance(message, str):
            await self._socket.send_text(message)
        else:
            await self._socket.send_bytes(message)
