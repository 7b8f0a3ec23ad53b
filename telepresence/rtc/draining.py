"""Sockets are emptied when they are looked at, not read one datagram at a time.

asyncio reads one datagram of each socket in each round of its loop. A round of a loop that hardly gets any processor
time takes 50 ms, so a socket gives 20 datagrams a second; more than those arrive, and they wait in the socket's buffer,
where there is room for seconds: motion got older and older (9 s), until the connection was given up because answers to
its checks came too late. Read all at once they take one round, and what is old is dropped by those who know what is
newer.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final

import aioice.ice
from aioice.ice import Connection, StunProtocol

MOST: Final = 64
"""Datagrams of one socket in one round: the others have their turn, too."""
MAX_BYTES: Final = 65536  # of a UDP datagram


class DrainingProtocol(StunProtocol):  # type: ignore[misc]  # aioice has no types
    """aioice's protocol of a socket, which after one datagram reads whatever else is there."""

    def __init__(self, receiver: Connection) -> None:
        super().__init__(receiver)
        self._more: socket.socket | None = None

    def connection_made(self, transport: Any) -> None:
        """The socket is open; a second handle on it is kept, since a transport's own does not let itself be read."""
        super().connection_made(transport)
        own = transport.get_extra_info("socket")
        # Windows' other loop always has a read under way, which this one would overtake.
        if own is not None and isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop):
            self._more = own.dup()
            self._more.setblocking(False)

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        if self._more is not None:
            self._more.close()
            self._more = None
        super().connection_lost(exc)

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        """One datagram, and then those that wait behind it."""
        super().datagram_received(data, addr)
        for _ in range(MOST - 1):
            if self._more is None:  # closed by what the last one said
                return
            try:
                data, addr = self._more.recvfrom(MAX_BYTES)
            except OSError:  # there is none; or the socket's own trouble, which its transport meets by itself
                return
            super().datagram_received(data, addr)


def install() -> None:
    """Have all connections of this process made from now on drain their sockets."""
    setattr(aioice.ice, "StunProtocol", DrainingProtocol)  # noqa: B010
