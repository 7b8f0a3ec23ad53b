"""Run a hub, or any of this project's pages, with uvicorn on its websockets implementation."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import re
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

import uvicorn
from starlette.types import ASGIApp

from telepresence.errors import InputError, SignallingError
from telepresence.hub import tokens
from telepresence.hub.app import HubConfig, create_app
from telepresence.hub.ice import IceConfig
from telepresence.hub.messages import MAX_MESSAGE_BYTES
from telepresence.hub.protocols import Http, ProxiedHttp, WebSocket
from telepresence.hub.tls import Certificate
from telepresence.hub.urls import base_url, join_url, origin_of

__all__ = ["base_url", "bind", "config_from_environment", "join_url", "make_server", "run_hub"]

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8081
SECRET_VARIABLE: Final = "TELEPRESENCE_HUB_SECRET"
PING_INTERVAL_S: Final = 10.0
SHUTDOWN_S: Final = 3  # for requests under way when the server stops

_NO_ICE: Final = IceConfig()
_ORIGIN: Final = re.compile(r"https?://[^/?#@\s]+")

_log = logging.getLogger(__name__)


def make_server(app: ASGIApp, *, tls: ssl.SSLContext | None = None, proxies: Sequence[str] = ()) -> uvicorn.Server:
    """A server for `await server.serve(sockets=[bind(host, port)])`; `server.should_exit = True` ends it.

    It logs no requests, since tokens are in their paths. `protocols` limits what one client can take.

    Args:
        app: what answers.
        tls: for HTTPS.
        proxies: addresses or networks whose word about whom they speak for is taken (X-Forwarded-For and -Proto).
    """
    config = uvicorn.Config(
        app,
        http=ProxiedHttp if proxies else Http,
        ws=WebSocket,
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_ping_interval=PING_INTERVAL_S,
        ws_ping_timeout=PING_INTERVAL_S,
        ws_per_message_deflate=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies) or "",
        ssl_context_factory=(lambda *_: tls) if tls else None,
        server_header=False,
        access_log=False,
        log_config=None,
        log_level="warning",
        lifespan="off",
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    return uvicorn.Server(config)


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


def config_from_environment(
    origins: Sequence[str] = (), environment: Mapping[str, str] = os.environ, *, ice: IceConfig = _NO_ICE
) -> HubConfig:
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
        return HubConfig(origins=tuple(origins), ice=ice)
    if len(text.encode()) < tokens.MIN_SECRET_BYTES:
        raise InputError(f"{SECRET_VARIABLE} is too short; make one with: openssl rand -hex 32")
    return HubConfig(text.encode(), tuple(origins), ice=ice)


def run_hub(
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    config: HubConfig | None = None,
    *,
    room: str | None = None,
    ttl_s: int = tokens.TOKEN_TTL_S,
    public_url: str | None = None,
    certificate: Certificate | None = None,
    proxies: Sequence[str] = (),
    announce: Callable[[str], None] = print,
) -> None:
    """Run a hub until interrupted, after announcing a join URL.

    Args:
        host: loopback unless told otherwise; `0.0.0.0` for all networks.
        port: 0 takes any free one.
        config: default: `config_from_environment()`.
        room: default: a name that nobody can guess.
        ttl_s: how long the announced URL admits people.
        public_url: where others reach the hub, such as `https://hub.example.org`, nothing after it; the page from there
            may connect.
        certificate: for HTTPS; without one plain HTTP, for this machine alone or behind a proxy.
        proxies: see `make_server`.
        announce: gets the lines for the user; they contain a token, so it must not be a log.

    Raises:
        InputError: the port is in use, or another argument cannot be used.
    """
    config = config or config_from_environment()
    tls = certificate.context() if certificate else None
    check_proxies(proxies)
    public = origin_of(public_url) if public_url else None
    listener = bind(host, port)
    with listener:
        bases = [public] if public else _bases(host, listener.getsockname()[1], certificate)
        config = replace(config, origins=(*config.origins, *map(origin_of, bases)))
        try:
            room = room or f"room-{secrets.token_hex(4)}"
            token = tokens.issue(config.secret, room, ttl_s=ttl_s, now=time.time())
        except (ValueError, SignallingError) as error:
            raise InputError(str(error)) from error
        for line in _announcement(bases[0], room, token, ttl_s):
            announce(line)
        server = make_server(create_app(config), tls=tls, proxies=proxies)
        with suppress(KeyboardInterrupt):  # uvicorn ends in good order, then raises it again
            asyncio.run(_serve(server, listener, certificate, tls))


def check_proxies(proxies: Sequence[str]) -> None:
    """Addresses or networks, each. Raises InputError."""
    for proxy in proxies:
        try:
            ipaddress.ip_network(proxy)
        except ValueError as error:
            raise InputError(f"--behind-proxy {proxy}: name the proxy's address, such as 127.0.0.1") from error


def _bases(host: str, port: int, certificate: Certificate | None) -> list[str]:
    """Where the hub is reached: with a certificate by the names in it, otherwise by the address it listens on."""
    if certificate is None:
        return [base_url(host, port)]
    plain = base_url(host, port)
    names = [f"[{name}]" if ":" in name else name for name in certificate.names()]
    return [origin_of(f"https://{name}:{port}") for name in names] or [plain.replace("http:", "https:", 1)]


def _announcement(base: str, room: str, token: str, ttl_s: int) -> list[str]:
    url = join_url(base, room, token)
    parts = urlsplit(base)
    lines = [
        f"The hub is at {base}. For {ttl_s // 60} minutes, others can join a room of it with:",
        f"    telepresence join '{url}'",
    ]
    if parts.scheme == "https" or _is_loopback(parts.hostname or ""):
        lines.append("or, with nothing but a browser, by opening that address.")
    else:
        lines.append("A browser alone can take part by HTTPS only: docs/nat.md says how.")
    return lines


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


async def _serve(
    server: uvicorn.Server, listener: socket.socket, certificate: Certificate | None, tls: ssl.SSLContext | None
) -> None:
    following = asyncio.ensure_future(certificate.follow(tls)) if certificate and tls else None
    try:
        await server.serve(sockets=[listener])
    finally:
        if following:
            following.cancel()
