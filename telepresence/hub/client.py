"""The client's end of signalling: joins a room, reconnects by itself, hands on events and payloads.

    client = await HubClient.connect(signal_url, token, room, name="Ada", schemas=(1,))
    async with client:
        async for event in client:   # Joined first, and again after every reconnect
            ...

`parse_join_url` takes the URL that people pass around apart. `docs/signalling.md` specifies what is said.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket as sockets
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from telepresence.errors import InputError, RoomError, RoomFullError, SignallingError, TokenError
from telepresence.hub.codec import (
    encode,
    parse_from_client,
    parse_from_hub,
    parse_name,
    parse_room,
    parse_schemas,
    parse_token,
)
from telepresence.hub.ice import is_turn
from telepresence.hub.messages import (
    MAX_MESSAGE_BYTES,
    Arrived,
    FromClient,
    FromHub,
    IceServer,
    Join,
    Joined,
    Leave,
    Left,
    Participant,
    Payload,
    Refused,
    Relay,
    Relayed,
)
from telepresence.hub.tls import client_context, tls_problem
from telepresence.hub.urls import JoinUrl, parse_join_url

__all__ = [
    "Arrived",
    "Backoff",
    "Disconnected",
    "Event",
    "HubClient",
    "IceServer",
    "JoinUrl",
    "Joined",
    "Left",
    "Participant",
    "Payload",
    "Refused",
    "Relayed",
    "parse_join_url",
]

OPEN_TIMEOUT_S: Final = 5.0  # for the connection, and again for the answer to `join`
PING_INTERVAL_S: Final = 5.0  # a dead link to the hub is noticed within twice this
CLOSE_TIMEOUT_S: Final = 1.0
BACKOFF_FIRST_S: Final = 0.25
BACKOFF_EAGER_S: Final = 0.5  # most of the first EAGER_ATTEMPTS: a call's connections may be waiting for this one
BACKOFF_MOST_S: Final = 5.0  # later; well within the hub's grace period of 20 s
EAGER_ATTEMPTS: Final = 40  # about 20 s of a hub that refuses, and more than a minute of a link that is cut
# A SYN that was lost is repeated after 1 s, then after 2, 4 ...: to begin anew is faster, unless the link is that slow.
REOPEN_S: Final = 1.4
REOPEN_TIMES: Final = 3  # what the last attempt that succeeded took
PATIENT_ATTEMPTS: Final = 15  # after so many, every third gets OPEN_TIMEOUT_S: the link may be a slower one by now
UNANSWERED_MS: Final = 3_000  # then a connection is given up; the kernel itself would try for a quarter of an hour
STEADY_S: Final = 10.0  # a connection that lasted this long starts the backoff over

_FINAL: Final = {"token": TokenError, "full": RoomFullError}
_UNREACHABLE: Final = (OSError, WebSocketException, TimeoutError, SignallingError)
_RETRY: Final = frozenset({"rate", "slow", "timeout"})  # refusals that pass by themselves

_log = logging.getLogger(__name__)
# websockets logs whole messages at DEBUG: tokens and session descriptions stay out of logs whatever the root level
_quiet = logging.getLogger(f"{__name__}.websocket")
_quiet.setLevel(logging.WARNING)


class _BusyError(RoomError):
    """A refusal that passes by itself: final only for the first join."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The hub cannot be reached for now; the client goes on trying. Peer connections are not affected."""

    retry_s: float
    """Seconds until the next attempt."""


Event = Joined | Arrived | Left | Relayed | Refused | Disconnected


class Backoff:
    """Waits between attempts: doubling up to a bound, each cut by a random part so that clients spread out.

    The bound is BACKOFF_EAGER_S for the first EAGER_ATTEMPTS, BACKOFF_MOST_S after them.
    """

    def __init__(self, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._uniform = uniform
        self._attempts = 0

    def next_s(self) -> float:
        """Seconds to wait before the next attempt: between half of the doubled wait and all of it."""
        later = max(0, self._attempts - EAGER_ATTEMPTS)
        eager = min(BACKOFF_EAGER_S, BACKOFF_FIRST_S * 2 ** min(self._attempts, 16))
        whole = min(BACKOFF_MOST_S, eager * 2 ** min(later, 16))
        self._attempts += 1
        return self._uniform(whole / 2, whole)

    def patience_s(self, took_s: float) -> float:
        """Seconds that the present attempt may take, if the last good one took so long."""
        if self._attempts > PATIENT_ATTEMPTS and self._attempts % 3 == 0:
            return OPEN_TIMEOUT_S
        return min(OPEN_TIMEOUT_S, max(REOPEN_S, REOPEN_TIMES * took_s))

    def calm(self) -> None:
        """The hub asks for time: no more eagerness."""
        self._attempts = max(self._attempts, EAGER_ATTEMPTS)

    def reset(self) -> None:
        """Start over with the shortest wait."""
        self._attempts = 0


class HubClient:
    """One participant's connection to the hub. Make it with `connect`; iterate over it in exactly one task."""

    def __init__(self, url: str, join: Join, *, backoff: Backoff | None = None) -> None:
        self._url = url
        self._tls = client_context() if url.startswith("wss:") else None
        self._join = join
        self._backoff = backoff or Backoff()
        self._socket: ClientConnection | None = None
        self._joined: Joined | None = None
        self._closing = asyncio.Event()
        self._patience_s, self._took_s = OPEN_TIMEOUT_S, 0.0  # of an attempt to connect; the last good one

        self.id = ""
        """Own id; may change at a reconnect that could not resume (`Joined.resumed` is then False)."""
        self.ice_servers: tuple[IceServer, ...] = ()
        """What the hub recommended last; made for this participant, and for a limited time."""
        self.relay_only = False
        """Whether the hub wants peer connections to go by TURN only."""
        self.vouched_name = ""
        """The name that our token gives us; empty: we choose."""
        self.malformed = 0
        """Messages from the hub that could not be parsed and were skipped."""
        self.reconnects = 0
        """How many times the connection was made anew."""

    @classmethod
    async def connect(
        cls,
        url: str,
        token: str,
        room: str,
        name: str = "",
        schemas: Sequence[int] = (1,),
        *,
        relay_only: bool = False,
        backoff: Backoff | None = None,
    ) -> Self:
        """Connect to `ws://HOST:PORT/signal` and join the room. Iterate over the client next, without long pauses.

        Args:
            url: `JoinUrl.signal_url`.
            token: `JoinUrl.token`.
            room: `JoinUrl.room`.
            name: shown to the others; may be empty.
            schemas: motion schemas that this participant can decode (`wire.codec.SCHEMAS`).
            relay_only: that this participant wants to connect by TURN only.
            backoff: for tests.

        Raises:
            TokenError: the hub does not take the token.
            RoomFullError: no free place.
            RoomError: the hub refused for another reason.
            InputError: no hub answers at `url`, or name, room or schemas cannot be used; or the hub names no TURN
                server, without which `relay_only` connects nobody.
        """
        try:
            join = Join(parse_token(token), parse_room(room), parse_name(name), parse_schemas(schemas))
        except SignallingError as error:
            raise InputError(str(error)) from error
        client = cls(url, join, backoff=backoff)
        try:
            await client._open()
        except (*_UNREACHABLE, UnicodeError) as error:  # UnicodeError: a host name that cannot be one
            where = urlsplit(url).netloc
            if isinstance(error, ssl.SSLError):
                raise InputError(f"{where}: {tls_problem(error)}") from error
            raise InputError(
                f"no hub answers at {where} ({_reason(error)}); check that it runs (telepresence hub) "
                "and that host and port of the join URL are right"
            ) from error
        if relay_only and not any(is_turn(url) for server in client.ice_servers for url in server.urls):
            await client.close()
            raise InputError(
                "--relay-only: this hub names no TURN server, so nobody could be connected; whoever runs it has to "
                "give it --turn and --turn-secret-file (docs/nat.md), or join without --relay-only"
            )
        return client

    @property
    def connected(self) -> bool:
        """Whether the hub can be reached right now."""
        return self._socket is not None

    async def relay(self, to: str, payload: Payload) -> bool:
        """Hand a payload to another participant; False if the hub cannot be reached now: try again after `Joined`.

        True means that it was sent. If the other is away, a `Refused` with code `away` and its id follows.

        Raises:
            SignallingError: the payload breaks a rule of `messages`; the hub would refuse it.
        """
        relay = Relay(to, payload)
        parse_from_client(encode(relay))
        return await self._send(relay)

    async def close(self) -> None:
        """Leave the room and end the iteration. Safe to call twice and from any task."""
        if self._closing.is_set():
            return
        self._closing.set()
        await self._hang_up()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Yield events until `close`.

        Raises:
            TokenError, RoomFullError: a reconnect was refused for good.
            RoomError: refused for good for another reason, such as the same participant joining from elsewhere.
        """
        loop = asyncio.get_running_loop()
        while not self._closing.is_set():
            if self._socket is None:
                wait_s = self._backoff.next_s()
                yield Disconnected(wait_s)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), wait_s)
                await self._reopen()
                continue
            since = loop.time()
            try:
                async for event in self._events(self._socket):
                    yield event
            except RoomError:
                self._socket = None
                raise
            self._socket = None
            if loop.time() - since > STEADY_S:
                self._backoff.reset()

    async def _events(self, socket: ClientConnection) -> AsyncIterator[FromHub]:
        """The answer to the join, then the messages of one connection until it ends."""
        if self._joined is not None:
            joined, self._joined = self._joined, None
            yield joined
        refused: Refused | None = None
        while True:
            try:
                message = await self._receive(socket)
            except SignallingError:
                self.malformed += 1
                continue
            except ConnectionClosed as closed:
                if refused is not None and closed.rcvd is not None and closed.rcvd.reason == refused.code:
                    _refuse(refused, final_only=True)
                return
            refused = message if isinstance(message, Refused) else None
            yield message

    async def _reopen(self) -> None:
        if self._closing.is_set():
            return
        self._patience_s = self._backoff.patience_s(self._took_s)
        try:
            await self._open()
        except (*_UNREACHABLE, _BusyError) as error:
            if isinstance(error, _BusyError):
                self._backoff.calm()
            _log.info("hub not reachable (%s); trying again", _reason(error))
        else:
            self.reconnects += 1
            if self._closing.is_set():  # closed while it was connecting
                await self._hang_up()

    async def _open(self) -> None:
        """Connect and join. Raises _BusyError or another RoomError when refused."""
        begun_s = asyncio.get_running_loop().time()
        socket = await connect(
            self._url,
            open_timeout=self._patience_s,
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_INTERVAL_S,
            close_timeout=CLOSE_TIMEOUT_S,
            max_size=MAX_MESSAGE_BYTES,
            compression=None,
            proxy=None,
            ssl=self._tls,
            logger=_quiet,
        )
        try:
            _notice_a_cut(socket)
            async with asyncio.timeout(self._patience_s):
                await socket.send(encode(self._join))
                answer = await self._receive(socket)
            if isinstance(answer, Refused):
                _refuse(answer)
            if not isinstance(answer, Joined):
                raise SignallingError("the hub did not answer the join")
        except BaseException:
            await socket.close()
            raise
        self._took_s = asyncio.get_running_loop().time() - begun_s
        self._socket, self._joined = socket, answer
        self._join = replace(self._join, resume=answer.resume)
        self.id, self.ice_servers, self.relay_only = answer.id, answer.ice_servers, answer.relay_only
        self.vouched_name = answer.name

    async def _hang_up(self) -> None:
        await self._send(Leave())
        if self._socket is not None:
            await self._socket.close()

    async def _receive(self, socket: ClientConnection) -> FromHub:
        message = await socket.recv()
        if not isinstance(message, str):
            raise SignallingError("a binary message")
        return parse_from_hub(message)

    async def _send(self, message: FromClient) -> bool:
        text = encode(message)
        if self._socket is None:
            return False
        try:
            await self._socket.send(text)
        except ConnectionClosed:
            return False
        return True


def _refuse(refused: Refused, *, final_only: bool = False) -> None:
    """Raise the refusal; with `final_only`, not one that passes by itself."""
    if refused.code not in _RETRY:
        raise _FINAL.get(refused.code, RoomError)(refused.message)
    if not final_only:
        raise _BusyError(refused.message)


def _notice_a_cut(socket: ClientConnection) -> None:
    """Have the connection fail soon after nothing gets through, where the system can (RFC 5482)."""
    raw = socket.transport.get_extra_info("socket")
    option = getattr(sockets, "TCP_USER_TIMEOUT", None)
    if raw is not None and option is not None:
        with suppress(OSError):
            raw.setsockopt(sockets.IPPROTO_TCP, option, UNANSWERED_MS)


def _reason(error: BaseException) -> str:
    """What went wrong, in words that neither a hub nor the user wrote."""
    if isinstance(error, InvalidStatus):
        return f"HTTP status {error.response.status_code}"
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__
