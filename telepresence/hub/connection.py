"""One client's WebSocket: receives in one task, sends in another, never lets a slow reader hold up anybody else."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from telepresence.hub.codec import encode
from telepresence.hub.limits import MAX_FAULTS, TokenBucket
from telepresence.hub.messages import FromHub, Refused

CLOSE_CODES: Final = {
    "bad-message": 4400,
    "out-of-turn": 4400,
    "token": 4401,
    "timeout": 4408,
    "replaced": 4409,
    "slow": 4410,
    "full": 4423,
    "rate": 4429,
}
MAX_OUTBOX_BYTES: Final = 512 * 1024  # waiting for one client
MESSAGE_OVERHEAD_BYTES: Final = 256  # what a waiting message costs beside its text
FLUSH_S: Final = 1.0  # for the last messages and the close frame


class Connection:
    """Create, then `serve` in the WebSocket's own task. All other methods return at once."""

    def __init__(self, socket: WebSocket, address: str, bucket: TokenBucket) -> None:
        self._socket = socket
        self._outbox: deque[str] = deque()
        self._outbox_bytes = 0
        self._wake = asyncio.Event()
        self._ending: str | None = None
        self._sender: asyncio.Task[None] | None = None
        self._faults = 0

        self.address = address
        """What limits per address go by."""
        self.bucket = bucket
        """Limits this connection's messages."""
        self.seat: tuple[str, str] | None = None
        """Room and id once joined."""

    @property
    def ending(self) -> str | None:
        """A key of CLOSE_CODES, empty for an ordinary goodbye, None while all is well."""
        return self._ending

    def send(self, message: FromHub) -> None:
        """Queue a message; a client that lets MAX_OUTBOX_BYTES pile up is disconnected."""
        if self._ending is not None:
            return
        text = encode(message)
        cost = len(text.encode()) + MESSAGE_OVERHEAD_BYTES
        if self._outbox_bytes + cost > MAX_OUTBOX_BYTES:
            self.end("slow")
            if self._sender is not None:
                self._sender.cancel()  # it waits for a reader that does not read
            return
        self._outbox.append(text)
        self._outbox_bytes += cost
        self._wake.set()

    def refuse(self, code: str, explanation: str) -> None:
        """Say why, then close."""
        self.send(Refused(code, explanation))
        self.end(code)

    def fault(self, code: str, explanation: str) -> None:
        """Answer a message that was malformed, too frequent or out of turn; close when there were too many."""
        self._faults += 1
        self.send(Refused(code, explanation))
        if self._faults >= MAX_FAULTS:
            self.end(code)

    def end(self, code: str = "") -> None:
        """Close once the outbox is empty."""
        if self._ending is None:
            self._ending = code
            self._wake.set()

    async def serve(self, handle: Callable[[str | None], None]) -> None:
        """Run until either side ends it. `handle` gets each text message, None for a binary one."""
        receiver = asyncio.create_task(self._receive(handle))
        self._sender = asyncio.create_task(self._send())
        try:
            done, _ = await asyncio.wait({receiver, self._sender}, return_when=asyncio.FIRST_COMPLETED)
            if self._ending is not None and receiver in done:
                await asyncio.wait({self._sender}, timeout=FLUSH_S)
        finally:
            receiver.cancel()
            self._sender.cancel()
            results = await asyncio.gather(receiver, self._sender, return_exceptions=True)
        await self._close()
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _receive(self, handle: Callable[[str | None], None]) -> None:
        while self._ending is None:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            handle(message.get("text"))

    async def _send(self) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):  # RuntimeError: sending to a socket that was just closed
            while True:
                await self._wake.wait()
                while self._outbox:
                    text = self._outbox.popleft()
                    await self._socket.send_text(text)
                    self._outbox_bytes -= len(text.encode()) + MESSAGE_OVERHEAD_BYTES
                if self._ending is not None:
                    return
                self._wake.clear()

    async def _close(self) -> None:
        code = CLOSE_CODES.get(self._ending or "", 1000)
        with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
            await asyncio.wait_for(self._socket.close(code, self._ending or None), FLUSH_S)
