"""One page's WebSocket of enrolment: receives in one task, sends in another, waits for no page that does not read."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from telepresence.edge.line import SLOW
from telepresence.hub.limits import TokenBucket

MESSAGES_PER_S: Final = 60  # pictures at most 30 of them
MAX_FAULTS: Final = 8
MAX_WAITING: Final = 400  # messages for a page that does not read
CLOSE_S: Final = 1.0


class Line:
    """A page that enrols."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._outbox: deque[str] = deque()
        self._picture: bytes | None = None  # newest wins
        self._wake = asyncio.Event()
        self._code: int | None = None
        self._ended = asyncio.Event()
        self._faults = 0
        self.entered = False
        """Whether it has shown its token."""
        self.bucket = TokenBucket(2 * MESSAGES_PER_S, MESSAGES_PER_S, updated=asyncio.get_running_loop().time())

    def send(self, message: dict[str, Any] | bytes) -> None:
        """Queue a message; bytes are a picture, and replace one that still waits."""
        if isinstance(message, bytes):
            self._picture = message
        elif len(self._outbox) >= MAX_WAITING:
            self.end(SLOW)
        else:
            self._outbox.append(json.dumps(message, ensure_ascii=False, separators=(",", ":")))
        self._wake.set()

    def fault(self, code: int) -> None:
        """Count a broken rule; close when there were too many."""
        self._faults += 1
        if self._faults >= MAX_FAULTS:
            self.end(code)

    def end(self, code: int) -> None:
        """Close with a code, once what waits is sent."""
        if self._code is None:
            self._code = code
            self._ended.set()

    async def serve(self, handle: Callable[[str | bytes], None]) -> None:
        """Run until either side ends it. `handle` gets each message."""
        tasks = {asyncio.create_task(step) for step in (self._receive(handle), self._send(), self._ended.wait())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    for text in self._outbox:
                        await self._socket.send_text(text)
                    await self._socket.close(self._code or 1000)

    async def _receive(self, handle: Callable[[str | bytes], None]) -> None:
        while self._code is None:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if self._code is None:
                text = message.get("text")
                handle(message.get("bytes") or b"" if text is None else text)

    async def _send(self) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):  # RuntimeError: sending to a socket that was just closed
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._outbox:
                    await self._socket.send_text(self._outbox.popleft())
                if self._picture is not None:
                    picture, self._picture = self._picture, None
                    await self._socket.send_bytes(picture)
