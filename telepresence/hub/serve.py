"""Run a hub, or any of this project's pages, with uvicorn on its websockets implementation."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from telepresence.errors import InputError, SignallingError
from telepresence.hub import tokens
from telepresence.hub.app import HubConfig, create_app
from telepresence.hub.messages import MAX_MESSAGE_BYTES
from telepresence.hub.urls import base_url, join_url

__all__ = ["base_url", "bind", "config_from_environment", "join_url", "make_server", "run_hub"]

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8081
SECRET_VARIABLE: Final = "TELEPRESENCE_HUB_SECRET"
PING_INTERVAL_S: Final = 10.0
LINGER_S: Final = 5.0  # for a closed WebSocket to send what it still has
SHUTDOWN_S: Final = 3  # for requests under way when the server stops

_ORIGIN: Final = re.compile(r"https?://[^/?#@\s]+")

_log = logging.getLogger(__name__)


class _Protocol(WebSocketsSansIOProtocol):
    """Drops the TCP connection of a client that does not read, which would otherwise stay for ever."""

    async def run_asgi(self) -> None:
        try:
            await super().run_asgi()
        finally:
            self.loop.call_later(LINGER_S, self.transport.abort)


def make_server(app: ASGIApp) -> uvicorn.Server:
    """A server for `await server.serve(sockets=[bind(host, port)])`; `server.should_exit = True` ends it.

    It logs no requests, since tokens are in their paths, and believes no proxy's word about addresses.
    """
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http="h11",
            ws=_Protocol,
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_ping_interval=PING_INTERVAL_S,
            ws_ping_timeout=PING_INTERVAL_S,
            ws_per_message_deflate=False,
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            log_level="warning",
            lifespan="off",
            timeout_graceful_shutdown=SHUTDOWN_S,
        )
    )


def bind(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes any free one (`getsockname()[1]` says which).

    Raises:
        InputError: the port is taken, not allowed or the host is not an address of this machine.
    """
    where = f"cannot listen on {host} port {port}"
    if not 0 <= port <= 65535:  # getaddrinfo would take the remainder
        raise InputError(f"{where}: choose a --port from 0 to 65535")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, proto, _, address = found[0]
        listener = socket.socket(family, kind, proto)
    except (OSError, UnicodeError) as error:
        raise InputError(f"{where}: {error}; give --host an address of this machine") from error
    try:
        if os.name == "posix":  # elsewhere the option would let two processes share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise InputError(f"{where}: {_advice(error)}") from error
    return listener


def _advice(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use; end the program that uses it, or choose another with --port (0 takes any free one)"
    if error.errno == errno.EACCES:
        return "this user may not use the port; choose one above 1023 with --port"
    if error.errno == errno.EADDRNOTAVAIL:
        return "the host is not an address of this machine; use 127.0.0.1, or 0.0.0.0 for all networks"
    return f"{error}; choose another with --host and --port"


def config_from_environment(origins: Sequence[str] = (), environment: Mapping[str, str] = os.environ) -> HubConfig:
    """The configuration of a hub on its own: the secret from TELEPRESENCE_HUB_SECRET, else a fresh one.

    Raises:
        InputError: the secret is too short to be one, or an origin is not one.
    """
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise InputError(
                "an --origin has the form https://hub.example.org or http://192.0.2.1:8080, nothing after it"
            )
    text = environment.get(SECRET_VARIABLE)
    if text is None:
        _log.info("%s is not set: join URLs end with this process", SECRET_VARIABLE)
        return HubConfig(origins=tuple(origins))
    if len(text.encode()) < tokens.MIN_SECRET_BYTES:
        raise InputError(f"{SECRET_VARIABLE} is too short; make one with: openssl rand -hex 32")
    return HubConfig(text.encode(), tuple(origins))


def run_hub(
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    config: HubConfig | None = None,
    *,
    room: str | None = None,
    ttl_s: int = tokens.TOKEN_TTL_S,
    public_url: str | None = None,
    announce: Callable[[str], None] = print,
) -> None:
    """Run a hub until interrupted, after announcing a join URL.

    Args:
        host: loopback unless told otherwise; `0.0.0.0` for all networks.
        port: 0 takes any free one.
        config: default: `config_from_environment()`.
        room: default: a name that nobody can guess.
        ttl_s: how long the announced URL admits people.
        public_url: where others reach the hub, such as `https://hub.example.org` behind a proxy.
        announce: gets the lines for the user; they contain a token, so it must not be a log.

    Raises:
        InputError: the port is in use, or another argument cannot be used.
    """
    config = config or config_from_environment()
    listener = bind(host, port)
    with listener:
        base = public_url or base_url(host, listener.getsockname()[1])
        try:
            room = room or f"room-{secrets.token_hex(4)}"
            token = tokens.issue(config.secret, room, ttl_s=ttl_s, now=time.time())
        except (ValueError, SignallingError) as error:
            raise InputError(str(error)) from error
        announce(f"The hub is at {base}. For {ttl_s // 60} minutes, others can join a room of it with:")
        announce(f"    telepresence join '{join_url(base, room, token)}'")
        with suppress(KeyboardInterrupt):  # uvicorn ends in good order, then raises it again
            asyncio.run(make_server(create_app(config)).serve(sockets=[listener]))
