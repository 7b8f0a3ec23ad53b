"""The URL that people pass around to meet in a room: `http://HOST:PORT/room/NAME?token=TOKEN`."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

from telepresence.errors import InputError, SignallingError
from telepresence.hub.codec import parse_room, parse_token

URL_VARIABLE: Final = "TELEPRESENCE_URL"  # environment variable with a join URL, which `ps` does not show to others


@dataclass(frozen=True, slots=True)
class JoinUrl:
    """The parts of `http://HOST:PORT/room/NAME?token=TOKEN`."""

    signal_url: str
    """`ws://HOST:PORT/signal`, or `wss:` for `https:`."""
    room: str
    """The room's name."""
    token: str
    """Opaque. Never log it."""


def parse_join_url(url: str) -> JoinUrl:
    """Take apart the URL that the hub prints.

    Raises:
        InputError: it is not such a URL; the message says what is wrong, without the token.
    """
    form = "expected http://HOST:PORT/room/NAME?token=TOKEN as the hub prints it (quote it: the shell eats ? and &)"
    try:
        parts = urlsplit(url.strip())
        port, query = parts.port, parse_qs(parts.query)
    except ValueError as error:
        raise InputError(f"the join URL cannot be read; {form}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise InputError(f"the join URL has no http(s) scheme or no host; {form}")
    prefix, found, room = parts.path.rstrip("/").rpartition("/room/")
    if not found:
        raise InputError(f"the join URL names no room; {form}")
    tokens = query.get("token", [])
    if len(tokens) != 1:
        raise InputError(f"the join URL has no token, or several; {form}")
    try:
        room, token = parse_room(unquote(room)), parse_token(tokens[0])
    except SignallingError as error:
        raise InputError(f"the join URL cannot be used ({error}); {form}") from error
    scheme = "wss" if parts.scheme == "https" else "ws"
    return JoinUrl(f"{scheme}://{parts.netloc.rpartition('@')[2]}{prefix}/signal", room, token)


def join_url(base: str, room: str, token: str) -> str:
    """`http://HOST:PORT`, room and token -> the URL to pass on."""
    return f"{base.rstrip('/')}/room/{quote(room)}?token={quote(token)}"


def origin_of(url: str) -> str:
    """`https://Hub.example.org:443/` -> `https://hub.example.org`, as browsers write it.

    Raises:
        InputError: no such URL, or there is more of it: a hub is at the root of its name.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    more = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in ("http", "https") or not parts.hostname or more:
        raise InputError("a --public-url is like https://hub.example.org or http://192.0.2.1:8081, nothing after it")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    usual = port in (None, {"http": 80, "https": 443}[parts.scheme])
    return f"{parts.scheme}://{name}" if usual else f"{parts.scheme}://{name}:{port}"


def base_url(host: str, port: int) -> str:
    """Where others find a server that listens on `host`: for all addresses, the one that leads to the network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if address.is_unspecified:
        address = ipaddress.ip_address(_network_address(address.version))
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"


def _network_address(version: int) -> str:
    family, far, near = (
        (socket.AF_INET6, "2001:db8::1", "::1") if version == 6 else (socket.AF_INET, "192.0.2.1", "127.0.0.1")
    )
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((far, 9))  # a documentation address (RFC 5737): connecting UDP sends nothing
            return str(probe.getsockname()[0])
        except OSError:
            return near
