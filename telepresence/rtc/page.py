"""The edge's own page server: the page, its API, who may use it. It listens on this machine's loopback only."""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from telepresence.edge.serving import Serving, WithHeaders
from telepresence.errors import InputError, ProtocolError
from telepresence.page_headers import PAGE_HEADERS
from telepresence.resources import shipped

HOST: Final = "127.0.0.1"
MAX_BODY_BYTES: Final = 64 * 1024  # an offer of a page has 5 to 20 KiB
MAX_SOCKET_BYTES: Final = 512 * 1024  # a message on a WebSocket: enrolment takes pictures, /api/room allows far less
BODY_S: Final = 5.0  # for the whole body to arrive
STOP_S: Final = 1.0  # for open requests when the edge ends

Answer = Callable[[str], Awaitable[str]]


class _RefusedError(Exception):
    """An HTTP status and what to say."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class PageServer:
    """Serves one edge's page on a free or given port.

    Args:
        port: 0 for a free one.
        origins: further origins whose pages may use the API, such as the demo's.
        answer: a page's offer -> the answer; raises ProtocolError.
        stats: the figures, JSON-ready.
        takes_camera: whether the page is to send its camera.
        gives_avatar: whether the page is to show avatars.
        enrols: whether an avatar can be made in the page.
        headset: where the page finds the way into a headset; None: there is none.
        routes: further ones of the API.

    Raises:
        InputError: the port is in use.
    """

    def __init__(
        self,
        port: int,
        origins: Sequence[str],
        answer: Answer,
        stats: Callable[[], dict[str, Any]],
        *,
        takes_camera: bool,
        gives_avatar: bool,
        enrols: bool = False,
        headset: str | None = None,
        routes: Sequence[BaseRoute] = (),
    ) -> None:
        self._socket = _bound(port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{HOST}:{self.port}"
        self.token = secrets.token_urlsafe(32)
        self._origins = frozenset({self.url, f"http://localhost:{self.port}", *(o.rstrip("/") for o in origins)})
        self._answer = answer
        self._stats = stats
        self._roles = {"camera": takes_camera, "avatar": gives_avatar}
        self._enrols = enrols
        self._headset = headset
        self._more = routes
        config = uvicorn.Config(
            self.app(),
            log_config=None,
            access_log=False,
            server_header=False,
            ws="websockets-sansio",
            ws_max_size=MAX_SOCKET_BYTES,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=int(STOP_S),
        )
        self._serving = Serving(
            uvicorn.Server(config), self._socket, "the page server has ended; try another --page-port"
        )

    def app(self) -> Starlette:
        """The ASGI application."""
        cors = Middleware(
            CORSMiddleware,
            allow_origins=sorted(self._origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
        )
        hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])  # against DNS rebinding
        routes = [
            Route("/api/page", self._page, methods=["POST"]),
            Route("/api/stats", self._show_stats),
            Route("/api/page-config", self._page_config),
            *self._more,
            Mount("/web", StaticFiles(directory=shipped("web"))),  # as the hub serves the same files
            Mount("/", StaticFiles(directory=shipped("web"), html=True)),
        ]
        return Starlette(routes=routes, middleware=[Middleware(WithHeaders, headers=PAGE_HEADERS), hosts, cors])

    async def start(self) -> None:
        """Listen; returns when requests are answered."""
        await self._serving.start()

    async def close(self) -> None:
        """Stop listening."""
        await self._serving.close()

    async def _page(self, request: Request) -> JSONResponse:
        try:
            self._authorise(request)
            answer = await self._answer(_offer(await _body(request)))
        except _RefusedError as refused:
            return JSONResponse({"error": str(refused)}, refused.status)
        except ProtocolError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"type": "answer", "sdp": answer})

    async def _show_stats(self, request: Request) -> JSONResponse:
        return JSONResponse(self._stats())

    async def _page_config(self, request: Request) -> JSONResponse:
        """Tells our own page its token; another origin's page, which CORS would let read it, gets none."""
        origin = request.headers.get("origin")
        if origin is not None and origin not in (self.url, f"http://localhost:{self.port}"):
            return JSONResponse({"error": "this page has a configuration of its own"}, 403)
        edge = {"url": str(request.base_url).rstrip("/"), "token": self.token}
        roles = {name: edge if has else None for name, has in self._roles.items()}
        config = {"mode": "edge", "stats": ["/api/stats"], "shows": self._roles["avatar"], "headset": self._headset}
        enrol = {"url": "/api/enrol", "token": self.token} if self._enrols else None
        return JSONResponse(roles | config | {"room": {"url": "/api/room", "token": self.token}, "enrol": enrol})

    def admits(self, origin: str | None) -> bool:
        """Whether pages of an origin may use the API; None is no browser."""
        return origin is None or origin in self._origins

    def _authorise(self, request: Request) -> None:
        if not self.admits(request.headers.get("origin")):
            raise _RefusedError(403, "pages of this origin may not use this edge; add it with --page-origin")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), self.token.encode()):
            raise _RefusedError(401, "the token is wrong or of an edge that has been restarted; reload the page")


def _bound(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except (OSError, OverflowError) as error:
        raise InputError(
            f"port {port} cannot be used for the page ({error}); choose another --page-port, or 0 for a free one"
        ) from error


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                if len(body) + len(chunk) > MAX_BODY_BYTES:
                    raise _RefusedError(413, f"an offer has at most {MAX_BODY_BYTES} bytes")
                body += chunk
    except TimeoutError as error:
        raise _RefusedError(408, "the offer did not arrive in time") from error
    return bytes(body)


def _offer(body: bytes) -> str:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _RefusedError(400, "the body is not JSON") from error
    sdp = fields.get("sdp") if isinstance(fields, dict) else None
    if not isinstance(sdp, str) or fields.get("type") != "offer":
        raise _RefusedError(400, 'the body is not {"type": "offer", "sdp": "..."}')
    return sdp
