"""The hub as an ASGI application: `GET /healthz`, the WebSocket `/signal` and the page. See `docs/signalling.md`.

Logs say what happened and how often, never who or where: no names, rooms, addresses, tokens or session descriptions.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from telepresence import __version__
from telepresence.errors import RoomFullError, SignallingError, TokenError
from telepresence.hub import limits, tokens
from telepresence.hub.codec import parse_from_client
from telepresence.hub.connection import Connection
from telepresence.hub.ice import IceConfig
from telepresence.hub.limits import AddressLimits, TokenBucket, address_key, origin_allowed
from telepresence.hub.messages import (
    MAX_PARTICIPANTS,
    PROTOCOL,
    Arrived,
    FromHub,
    IceServer,
    Join,
    Joined,
    Leave,
    Left,
    Refused,
    Relay,
    Relayed,
)
from telepresence.hub.pages import HINT, Pages
from telepresence.hub.rooms import GRACE_S, Rooms

JOIN_TIMEOUT_S: Final = 10.0  # from the connection to the join

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HubConfig:
    """How a hub behaves. The defaults suit a call among a few people."""

    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    """Signs tokens; at least 16 bytes. Clients survive a restart of the hub only if it stays the same."""
    origins: tuple[str, ...] = ()
    """Pages that may connect beside the hub's own, such as `https://hub.example.org`."""
    ice_servers: tuple[IceServer, ...] = field(default=(), repr=False)
    """STUN and TURN servers that all participants are told of, as they are."""
    ice: IceConfig = field(default=IceConfig(), repr=False)
    """Further ones, with credentials that are each participant's own; and whether connections go by TURN only."""
    capacity: int = MAX_PARTICIPANTS
    """Places in a room."""
    grace_s: float = GRACE_S
    """Seconds that a place is kept for somebody whose connection dropped."""
    join_timeout_s: float = JOIN_TIMEOUT_S
    """Seconds that a connection may take to join."""
    connections_per_address: int = limits.CONNECTIONS_PER_ADDRESS
    """Open at a time."""
    joins_burst: int = limits.JOINS_BURST
    """Join attempts from one address at once."""
    joins_per_s: float = limits.JOINS_PER_S
    """Join attempts from one address in the long run."""
    messages_burst: int = limits.MESSAGES_BURST
    """Messages on one connection at once."""
    messages_per_s: float = limits.MESSAGES_PER_S
    """Messages on one connection in the long run."""

    def __post_init__(self) -> None:
        if len(self.secret) < tokens.MIN_SECRET_BYTES:
            raise ValueError(f"the hub's secret must have at least {tokens.MIN_SECRET_BYTES} bytes")


def create_app(config: HubConfig, routes: Sequence[BaseRoute] | None = None) -> Starlette:
    """The hub with its page, or with `routes` of the caller's own in place of the page."""
    hub = _Hub(config)
    pages = Pages().routes() if routes is None else [*routes, Route("/room/{room}", _room)]
    app = Starlette(routes=[*pages, Route("/healthz", _healthz), WebSocketRoute("/signal", hub.signal)])
    app.router.redirect_slashes = False  # it names scheme and host, by plain HTTP behind a proxy: with the token
    return app


async def _healthz(request: Request) -> Response:
    now_ms = round(time.time() * 1000)  # for `doctor`: tokens and TURN credentials go by the clock
    document = {"status": "ok", "version": __version__, "protocol": PROTOCOL, "time_ms": now_ms}
    return JSONResponse(document, headers={"Cache-Control": "no-store"})


async def _room(request: Request) -> Response:
    """For those who open a join URL in a browser, where there is no page for them."""
    return PlainTextResponse(HINT, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})


class _Hub:
    """The rooms and who is connected. Only `signal` awaits anything, so that every message is handled in one piece."""

    def __init__(self, config: HubConfig) -> None:
        self._config = config
        self._rooms = Rooms(capacity=config.capacity, grace_s=config.grace_s)
        self._addresses = AddressLimits(config.connections_per_address, config.joins_burst, config.joins_per_s)
        self._connections: dict[tuple[str, str], Connection] = {}

    async def signal(self, socket: WebSocket) -> None:
        """One client, from its request to its end."""
        if not origin_allowed(socket.headers.get("origin"), socket.headers.get("host"), self._config.origins):
            _log.warning("a page of another origin was refused; allow it with --origin if it is yours")
            await socket.send_denial_response(PlainTextResponse("this origin may not connect to the hub\n", 403))
            return
        address = address_key(socket.client.host if socket.client else None)
        if not self._addresses.connect(address):
            _log.warning("a connection was refused: too many from one address")
            await socket.send_denial_response(PlainTextResponse("too many connections from this address\n", 429))
            return
        loop = asyncio.get_running_loop()
        bucket = TokenBucket(self._config.messages_burst, self._config.messages_per_s, updated=loop.time())
        connection = Connection(socket, address, bucket)
        timer = loop.call_later(self._config.join_timeout_s, self._check_joined, connection)
        try:
            await socket.accept()
            await connection.serve(lambda text: self._handle(connection, text))
        finally:
            timer.cancel()
            self._addresses.disconnect(address)
            self._gone(connection)

    def _check_joined(self, connection: Connection) -> None:
        if connection.seat is None:
            connection.refuse("timeout", f"no join within {self._config.join_timeout_s:g} s; connect again")

    def _handle(self, connection: Connection, text: str | None) -> None:
        if connection.seat is not None and self._connections.get(connection.seat) is not connection:
            return  # replaced: what it had sent before it knew must not act on its successor's place
        if not connection.bucket.take(_now()):
            connection.fault("rate", f"too many messages; at most {self._config.messages_per_s:g} a second")
            return
        try:
            if text is None:
                raise SignallingError("a binary message; send JSON as text")
            message = parse_from_client(text)
        except SignallingError as error:
            connection.fault("bad-message", str(error))
            return
        if isinstance(message, Join) == (connection.seat is not None):
            connection.fault("out-of-turn", "join first, and once")
        elif isinstance(message, Join):
            self._join(connection, message)
        elif isinstance(message, Relay):
            self._relay(connection, message)
        elif isinstance(message, Leave):
            self._leave(connection)

    def _join(self, connection: Connection, join: Join) -> None:
        if not self._addresses.may_join(connection.address, _now()):
            connection.refuse("rate", "too many attempts to join from this address; wait a minute")
            return
        self._sweep()
        try:
            claims = self._claims(join)
            name, vouched = claims.name or join.name, bool(claims.name)
            entry = self._rooms.join(join.room, name, join.schemas, resume_id=claims.participant, vouched=vouched)
        except (TokenError, RoomFullError) as error:
            connection.refuse("token" if isinstance(error, TokenError) else "full", str(error))
            return
        seat = join.room, entry.participant.id
        replaced = self._connections.pop(seat, None)
        if replaced is not None:
            replaced.refuse("replaced", "the same participant joined on another connection")
        self._connections[seat] = connection
        connection.seat = seat
        resume = tokens.issue(
            self._config.secret,
            join.room,
            ttl_s=tokens.RESUME_TTL_S,
            now=time.time(),
            name=claims.name,
            participant=entry.participant.id,
            kind="resume",
        )
        resumed = bool(claims.participant)
        ice = self._config.ice
        servers = (*self._config.ice_servers, *ice.servers(entry.participant.id, time.time()))
        told = Joined(entry.participant.id, resume, entry.others, servers, resumed, ice.relay_only, claims.name)
        connection.send(told)
        if not entry.returned:
            self._tell(join.room, Arrived(entry.participant), but=entry.participant.id)
        _log.info("a participant %s; %d connected", "resumed" if resumed else "joined", len(self._connections))

    def _claims(self, join: Join) -> tokens.Claims:
        """The resume token's if it is good, even after a restart of the hub; otherwise the join token's."""
        if join.resume is not None:
            try:
                return tokens.verify(self._config.secret, join.resume, join.room, now=time.time(), kind="resume")
            except TokenError:
                _log.info("a resume token was not good any more; going by the join token")
        return tokens.verify(self._config.secret, join.token, join.room, now=time.time())

    def _relay(self, connection: Connection, relay: Relay) -> None:
        room, sender = connection.seat or ("", "")
        other = self._connections.get((room, relay.to))
        if other is None:
            connection.send(Refused("away", "that participant is not connected now", relay.to))
        else:
            other.send(Relayed(sender, relay.payload))

    def _leave(self, connection: Connection) -> None:
        room, participant_id = connection.seat or ("", "")
        del self._connections[room, participant_id]
        connection.seat = None
        connection.end()
        if self._rooms.leave(room, participant_id):
            self._tell(room, Left(participant_id))
        _log.info("a participant left; %d connected", len(self._connections))

    def _gone(self, connection: Connection) -> None:
        """The connection is over. If its place is still its own, the grace period starts."""
        if connection.ending:
            _log.warning("a connection was closed: %s", connection.ending)
        if connection.seat is None or self._connections.get(connection.seat) is not connection:
            return
        del self._connections[connection.seat]
        self._rooms.disconnect(*connection.seat, now=_now())
        # a little late rather than early: a timer that fires before its time would leave the place taken for ever
        asyncio.get_running_loop().call_later(self._config.grace_s + 0.01, self._sweep)

    def _sweep(self) -> None:
        for departure in self._rooms.expire(_now()):
            self._tell(departure.room, Left(departure.id))

    def _tell(self, room: str, message: FromHub, *, but: str = "") -> None:
        for member in self._rooms.members(room):
            connection = self._connections.get((room, member.id))
            if connection is not None and member.id != but:
                connection.send(message)


def _now() -> float:
    """The loop's monotonic clock, seconds."""
    return asyncio.get_running_loop().time()
