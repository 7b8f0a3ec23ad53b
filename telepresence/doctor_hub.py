"""`telepresence doctor --hub URL`: everything on the way from this machine to a hub, and from there to the others.

It never raises. The room's token is used for a moment, and is in no finding.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import ipaddress
import json
import socket
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, quote, urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.typing import Origin

from telepresence import __version__
from telepresence.doctor import Check, as_json, as_text
from telepresence.doctor_nat import stun_checks, turn_checks
from telepresence.errors import InputError, RoomError, TelepresenceError, TokenError
from telepresence.hub.client import HubClient
from telepresence.hub.messages import PROTOCOL, IceServer
from telepresence.hub.tls import client_context, tls_problem
from telepresence.hub.urls import JoinUrl, origin_of, parse_join_url

TIMEOUT_S: Final = 5.0
MAX_BODY_BYTES: Final = 1024 * 1024
CLOCK_WARN_S: Final = 30.0  # certificates and TURN credentials go by the clock
RENEW_DAYS: Final = 14
VENDOR: Final = (
    "onnxruntime-web/dist/ort.wasm.min.mjs",
    "@mediapipe/face_mesh/face_mesh.js",
    "@mediapipe/selfie_segmentation/selfie_segmentation.js",
)

_START: Final = "start it (telepresence hub --host 0.0.0.0), and check host and port of the link"
_PROXY: Final = "a proxy in between must pass WebSockets on: docs/nat.md has examples"
_NAT: Final = "docs/nat.md"


@dataclass
class _Way:
    """What is known of the way, found by one check and used by the next."""

    url: SplitResult
    room: JoinUrl | None
    addresses: list[str] = field(default_factory=list)
    ice: tuple[IceServer, ...] = ()
    relay_only: bool = False
    joined: bool = False

    @property
    def host(self) -> str:
        return self.url.hostname or ""

    @property
    def port(self) -> int:
        return self.url.port or (443 if self.secure else 80)

    @property
    def secure(self) -> bool:
        return self.url.scheme == "https"

    @property
    def prefix(self) -> str:
        """Of the paths of a hub that is not at the root of its server."""
        return self.url.path.partition("/room/")[0].rstrip("/") if self.room else self.url.path.rstrip("/")

    @property
    def origin(self) -> str:
        """As browsers write it."""
        return origin_of(f"{self.url.scheme}://{self.url.netloc.rpartition('@')[2]}")

    @property
    def signal_url(self) -> str:
        return f"{'wss' if self.secure else 'ws'}://{self.url.netloc.rpartition('@')[2]}{self.prefix}/signal"


class _StopError(Exception):
    """A finding after which looking further makes no sense."""


def run_hub_doctor(url: str, *, print_json: bool = False) -> int:
    """Examine and print; the command's exit status: 1 if something failed, else 0."""
    checks = asyncio.run(examine_hub(url))
    sys.stdout.write(as_json(checks) if print_json else as_text(checks))
    return 1 if any(check.status == "fail" for check in checks) else 0


async def examine_hub(url: str) -> list[Check]:
    """Look at everything between here and the hub. Takes some seconds; never raises."""
    try:
        way = _way(url)
    except InputError as error:
        return [Check("link", "fail", str(error), "copy the whole link that the hub printed")]
    steps: Sequence[tuple[str, Callable[[_Way], Awaitable[list[Check]]]]] = (
        ("name", _name),
        ("tcp", _tcp),
        ("tls", _tls),
        ("hub", _health),
        ("page", _page),
        ("origin", _origin),
        ("room", _enter),
        ("stun", _stun),
        ("turn", _turn),
    )
    checks: list[Check] = []
    for name, step in steps:
        try:
            found = await step(way)
        except _StopError as stop:
            check: Check = stop.args[0]
            return [*checks, check]
        except TelepresenceError as error:
            found = [Check(name, "fail", str(error))]
        except Exception as error:  # a doctor that falls ill helps nobody
            found = [Check(name, "fail", f"cannot be examined: {type(error).__name__}")]
        checks += found
    return checks


def _way(url: str) -> _Way:
    if "/room/" in url:
        room = parse_join_url(url)
        return _Way(urlsplit(url.strip()), room)
    try:
        parts = urlsplit(url.strip())
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of a port or an address
        fine = False
    if not fine:
        raise InputError("expected a link to a room, or the hub's address: https://hub.example.org")
    return _Way(parts, None)


async def _name(way: _Way) -> list[Check]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(way.host, way.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        remedy = "check how it is spelt; or is there no network, or a name that only another network knows?"
        raise _StopError(Check("name", "fail", f"{way.host} is not known ({_words(error)})", remedy)) from error
    way.addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    return [Check("name", "ok", f"{way.host} is {', '.join(way.addresses)}")]


async def _tcp(way: _Way) -> list[Check]:
    started = time.monotonic()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection(way.host, way.port)
    except (OSError, TimeoutError) as error:
        remedy = _START if isinstance(error, ConnectionRefusedError) else f"{_START}; a firewall may be in between"
        raise _StopError(Check("tcp", "fail", f"port {way.port} does not answer ({_words(error)})", remedy)) from error
    taken = (time.monotonic() - started) * 1000
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return [Check("tcp", "ok", f"port {way.port} answers in {taken:.0f} ms")]


async def _tls(way: _Way) -> list[Check]:
    if not way.secure:
        if _is_loopback(way.host):
            return [Check("tls", "ok", "none, and none is needed on this machine itself")]
        remedy = f"HTTPS for the hub: --certificate and --key, or a proxy ({_NAT})"
        return [Check("tls", "warn", "none: tokens and signalling can be read and changed on the way", remedy)]
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection(way.host, way.port, ssl=client_context())
    except ssl.SSLError as error:
        raise _StopError(Check("tls", "fail", tls_problem(error), f"certificates: {_NAT}")) from error
    except (OSError, TimeoutError) as error:
        raise _StopError(Check("tls", "fail", f"no handshake ({_words(error)})", f"is it HTTPS? {_NAT}")) from error
    found = writer.get_extra_info("ssl_object")
    certificate = found.getpeercert() or {}
    version = found.version()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    days = (ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) / 86_400
    if days < RENEW_DAYS:
        return [Check("tls", "warn", f"{version}; the certificate ends in {days:.0f} days", "renew it")]
    return [Check("tls", "ok", f"{version}; the certificate is good for {days:.0f} days")]


async def _health(way: _Way) -> list[Check]:
    before = time.time()
    status, _, body = await _get(way, "/healthz")
    after = time.time()
    try:
        document = json.loads(body)
        version, protocol = ascii(document["version"]).strip("'")[:32], int(document["protocol"])
    except (ValueError, KeyError, TypeError) as error:
        finding = f"what answers is no hub (HTTP status {status})"
        raise _StopError(Check("hub", "fail", finding, f"{_START}; behind a proxy: {_NAT}")) from error
    if protocol != PROTOCOL:
        finding = f"telepresence {version} there, {__version__} here: protocols {protocol} and {PROTOCOL}"
        raise _StopError(Check("hub", "fail", finding, "update the older of the two"))
    return [Check("hub", "ok", f"telepresence {version}, protocol {protocol}"), _clock(document, before, after)]


def _clock(document: dict[str, Any], before: float, after: float) -> Check:
    told = document.get("time_ms")
    if not isinstance(told, int | float) or isinstance(told, bool):
        return Check("clock", "ok", "not told by this hub")
    ahead = told / 1000 - (before + after) / 2
    finding = (
        f"the hub's is {abs(ahead):.1f} s {'ahead' if ahead > 0 else 'behind'} (within {(after - before) / 2:.1f} s)"
    )
    if abs(ahead) > CLOCK_WARN_S:
        return Check(
            "clock", "warn", finding, "set both machines' clocks by the network (NTP): certificates go by them"
        )
    return Check("clock", "ok", finding)


async def _page(way: _Way) -> list[Check]:
    """Whether somebody with nothing but a browser can take part."""
    checks = []
    if way.secure or _is_loopback(way.host):
        checks.append(Check("page", "ok", "its address is one where browsers allow camera and microphone"))
    else:
        remedy = f"HTTPS for the hub ({_NAT}); participants with telepresence installed need none"
        finding = "plain HTTP: browsers allow no camera and no microphone there"
        checks.append(Check("page", "warn", finding, remedy))
    status, headers, _ = await _get(way, f"/room/{quote(way.room.room if way.room else 'den')}", accept="text/html")
    isolated = headers.get("cross-origin-opener-policy") and headers.get("cross-origin-embedder-policy")
    if status != 200 or "text/html" not in headers.get("content-type", ""):
        finding = f"the hub has no page for browsers (HTTP status {status})"
        checks.append(Check("isolation", "warn", finding, "update the hub, or let the proxy pass /room/ on"))
    elif not isolated:
        remedy = "let the proxy pass Cross-Origin-Opener-Policy and Cross-Origin-Embedder-Policy on"
        checks.append(Check("isolation", "warn", "the page is not isolated: it draws with one thread only", remedy))
    missing = [path for path in VENDOR if (await _get(way, f"/web/vendor/{path}", method="HEAD"))[0] != 200]
    if missing:
        finding = f"the hub lacks {', '.join(missing)}: a browser alone cannot take part"
        checks.append(Check("vendor", "warn", finding, "on the hub's machine: make web, or a complete wheel"))
    else:
        checks.append(Check("vendor", "ok", "the hub has what a browser needs to draw by itself"))
    return checks


async def _origin(way: _Way) -> list[Check]:
    """Whether the WebSocket opens at all, and for the hub's own page."""
    ways: tuple[tuple[Origin | None, str], ...] = ((None, "websocket"), (Origin(way.origin), "origin"))
    for origin, name in ways:
        try:
            async with connect(
                way.signal_url,
                origin=origin,
                open_timeout=TIMEOUT_S,
                proxy=None,
                compression=None,
                close_timeout=1,
                ssl=client_context() if way.secure else None,
            ):
                pass
        except InvalidStatus as refused:
            status = refused.response.status_code
            if name == "origin" and status == 403:
                remedy = f"telepresence hub --public-url {way.origin}"
                return [Check("origin", "warn", "the hub refuses its own page under this address", remedy)]
            remedy = "wait a minute" if status == 429 else _PROXY
            raise _StopError(
                Check(name, "fail", f"the WebSocket does not open: HTTP status {status}", remedy)
            ) from refused
        except (OSError, WebSocketException, TimeoutError) as error:
            finding = f"the WebSocket does not open ({_words(error)})"
            raise _StopError(Check(name, "fail", finding, _PROXY)) from error
    return [Check("websocket", "ok", "opens, also for the hub's own page")]


async def _enter(way: _Way) -> list[Check]:
    if way.room is None:
        return [Check("room", "warn", "not entered: no token", "give the whole link to a room to have it all examined")]
    try:
        client = await HubClient.connect(way.room.signal_url, way.room.token, way.room.room, "doctor")
    except TokenError as error:
        return [Check("room", "fail", str(error), "ask for a fresh link")]
    except RoomError as error:
        return [Check("room", "fail", str(error))]
    async with client:
        way.ice, way.relay_only, way.joined = client.ice_servers, client.relay_only, True
    only = "; connections go by TURN only" if way.relay_only else ""
    return [Check("room", "ok", f"entered and left again{only}")]


async def _stun(way: _Way) -> list[Check]:
    return await stun_checks(way.ice) if way.joined else []


async def _turn(way: _Way) -> list[Check]:
    return await turn_checks(way.ice, way.relay_only) if way.joined else []


async def _get(way: _Way, path: str, *, accept: str = "*/*", method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Status, headers (lower case), body. Without the environment's proxies, as HubClient connects."""

    def ask() -> tuple[int, dict[str, str], bytes]:
        if way.secure:
            tls = client_context()
            connection: http.client.HTTPConnection
            connection = http.client.HTTPSConnection(way.host, way.port, timeout=TIMEOUT_S, context=tls)
        else:
            connection = http.client.HTTPConnection(way.host, way.port, timeout=TIMEOUT_S)
        with contextlib.closing(connection):
            connection.request(method, way.prefix + path, headers={"Accept": accept})
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, headers, answer.read(MAX_BODY_BYTES)

    return await asyncio.to_thread(ask)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing within {TIMEOUT_S:g} s"
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__
