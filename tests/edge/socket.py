"""A page's WebSocket to its edge, without a page."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from telepresence.rtc.edge import Edge


class PageSocket:
    """Keeps what comes."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.messages: list[dict[str, Any]] = []
        self.code: int | None = None
        self._reader = asyncio.ensure_future(self._read())

    async def send(self, **fields: Any) -> None:
        await self._socket.send(json.dumps(fields))

    async def raw(self, data: str | bytes) -> None:
        await self._socket.send(data)

    async def close(self) -> None:
        await self._socket.close()
        await self._reader

    @property
    def room(self) -> dict[str, Any]:
        """The newest snapshot; empty before the first."""
        return next((m for m in reversed(self.messages) if m["type"] == "room"), {})

    @property
    def others(self) -> dict[str, dict[str, Any]]:
        """Participants by name."""
        return {p["name"]: p for p in self.room.get("participants", [])}

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [m for m in self.messages if m["type"] == kind]

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in self._socket:
                self.messages.append(json.loads(message))
        self.code = self._socket.close_code


@contextlib.asynccontextmanager
async def page_socket(edge: Edge, token: str | None = None, origin: str | None = None) -> AsyncIterator[PageSocket]:
    """A page that has shown its token."""
    url = edge.page.url.replace("http", "ws") + "/api/room"
    async with connect(url, origin=origin, proxy=None) as socket:  # type: ignore[arg-type]  # any text will do
        page = PageSocket(socket)
        await page.send(type="page", token=edge.page.token if token is None else token)
        yield page
        await page.close()
