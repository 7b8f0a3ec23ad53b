"""A bad link between two browsers: a UDP relay with the link emulator in both directions, put into their descriptions.

Each browser is told the relay's address in place of the other's. What arrives for one goes out to it by the socket that
it knows as the other, so that ICE finds nothing odd. Its checks cross the link too, as they would.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from telepresence.errors import InputError
from telepresence.rtc.link import LinkConditions, LinkModel
from telepresence.rtc.monotonic import now_us

OVERHEAD_BYTES: Final = 28  # IPv4 and UDP headers
_CANDIDATE: Final = re.compile(
    r"a=candidate:\S+ 1 udp \d+ (?P<host>\d+\.\d+\.\d+\.\d+) (?P<port>\d+) typ host[^\r\n]*", re.IGNORECASE
)
Address = tuple[str, int]


def host_of(sdp: str) -> Address:
    """The first address of a description that UDP over IPv4 reaches.

    Raises:
        InputError: it has none.
    """
    found = _CANDIDATE.search(sdp)
    if found is None:
        raise InputError("a browser offers no IPv4 address; the link between two browsers cannot be emulated here")
    return found["host"], int(found["port"])


def replaced(sdp: str, address: Address) -> str:
    """A description with one candidate, this one, in place of all others."""
    found = _CANDIDATE.search(sdp)
    if found is None:
        return sdp
    line = found[0].replace(f" {found['host']} {found['port']} ", f" {address[0]} {address[1]} ", 1)
    kept = [row for row in sdp.split("\r\n") if not row.startswith("a=candidate:")]
    at = next(i for i, row in enumerate(kept) if row.startswith("a=ice-ufrag"))
    return "\r\n".join([*kept[:at], line, *kept[at:]])


class Hop:
    """Between one browser and another. `begin`, hand out the addresses, then tell it where the browsers are."""

    def __init__(self, conditions: LinkConditions, seed: int) -> None:
        self.there = LinkModel(conditions, seed)
        self.back = LinkModel(replace(conditions), seed + 1000)
        self.bytes_there = 0
        self._sockets: list[asyncio.DatagramTransport] = []
        self._first: Address | None = None
        self._second: Address | None = None
        self._timers: set[asyncio.TimerHandle] = set()

    async def begin(self, host: str) -> tuple[Address, Address]:
        """Listen; returns the address that stands for the first browser, and the one for the second."""
        loop = asyncio.get_running_loop()
        for take in (self._to_first, self._to_second):
            transport, _ = await loop.create_datagram_endpoint(partial(_Socket, take), local_addr=(host, 0))
            self._sockets.append(transport)
        first, second = (socket.get_extra_info("sockname")[:2] for socket in self._sockets)
        return first, second

    def between(self, first: Address, second: Address) -> None:
        """Where the browsers are."""
        self._first, self._second = first, second

    def close(self) -> None:
        """Stop; what is under way is lost."""
        for timer in self._timers:
            timer.cancel()
        for socket in self._sockets:
            socket.close()

    def _to_first(self, data: bytes) -> None:
        """Came in at the address that stands for the first: from the second."""
        self._pass(data, self.back, self._sockets[1], self._first)

    def _to_second(self, data: bytes) -> None:
        self.bytes_there += len(data) + OVERHEAD_BYTES
        self._pass(data, self.there, self._sockets[0], self._second)

    def _pass(self, data: bytes, model: LinkModel, out: asyncio.DatagramTransport, to: Address | None) -> None:
        if to is None:
            return
        now, loop = now_us(), asyncio.get_running_loop()
        for at_us in model.send(len(data) + OVERHEAD_BYTES, now):
            self._later(loop, max(0, at_us - now) / 1e6, data, out, to)

    def _later(
        self,
        loop: asyncio.AbstractEventLoop,
        seconds: float,
        data: bytes,
        out: asyncio.DatagramTransport,
        to: Address,
    ) -> None:
        def deliver() -> None:
            self._timers.discard(timer)
            if not out.is_closing():
                out.sendto(data, to)

        timer = loop.call_later(seconds, deliver)
        self._timers.add(timer)


class _Socket(asyncio.DatagramProtocol):
    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self._take(data)
