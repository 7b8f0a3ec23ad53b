"""What the page asks of the demo: its files, where the edges are, the figures, and another source of motion."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from telepresence.hub.limits import origin_allowed
from telepresence.page_headers import PAGE_HEADERS
from telepresence.resources import shipped

if TYPE_CHECKING:
    from telepresence.demo import Demo
    from telepresence.processes import EdgeProcess

STATS_S: Final = 1.0  # for an edge to answer; a busy one is shown as unknown rather than waited for
MAX_STATS_BYTES: Final = 64 * 1024
MAX_BODY_BYTES: Final = 1024

SENDER_FIGURES: Final = ("payload_kbps", "wire_kbps", "sent", "skipped", "faces", "camera_fps")
RECEIVER_FIGURES: Final = (
    "fps", "edge_ms_p50", "edge_ms_p95", "age_ms_p50", "age_ms_p95", "dropped",
    "rtt_ms", "state", "participants", "engine", "size", "runtime",
)  # fmt: skip

SHARED: Final = ("connection.js", "overlay.js", "icon.svg", "ui/dom.js", "call/devices.js")
SHARED_FOLDER: Final = "enrol"

_MEDIA_TYPES: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

# Without proxies from the environment: the edges are on this machine.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

Endpoint = Callable[[Request], Awaitable[Response]]


def page_routes(demo: Demo) -> list[BaseRoute]:
    """The routes of the page; the hub's own come after them."""
    files = _files(shipped("web"))

    async def page_config(request: Request) -> Response:
        return JSONResponse(_config(demo), headers=PAGE_HEADERS)

    async def stats(request: Request) -> Response:
        sender, receiver = await asyncio.gather(read_stats(demo.sender), read_stats(demo.receiver))
        figures = merge_stats(sender, receiver)
        edges = {edge.name: {"up": bool(edge.ready), "starts": edge.starts} for edge in (demo.sender, demo.receiver)}
        return JSONResponse({**figures, "source": _source(demo), "edges": edges}, headers=PAGE_HEADERS)

    async def source(request: Request) -> Response:
        camera = await _chosen_camera(request)
        if camera is None or not demo.may_switch:
            return JSONResponse({"error": 'send {"camera": "browser"} or {"camera": "sample"}'}, 400, PAGE_HEADERS)
        await demo.use_camera(camera)
        return JSONResponse({"source": camera}, headers=PAGE_HEADERS)

    guard = _guard(demo.port)
    return [
        Route("/", guard(_file(files["index.html"]))),
        Route("/api/page-config", guard(page_config)),
        Route("/api/stats", guard(stats)),
        Route("/api/source", guard(source), methods=["POST"]),
        *(Route(f"/{name}", guard(_file(path))) for name, path in sorted(files.items())),
    ]


def _files(web: Path) -> dict[str, Path]:
    """What is served under which name: the demo's own files at the root, and what it shares with the room's page."""
    own = {path.name: path for path in (web / "demo").iterdir() if path.suffix in _MEDIA_TYPES}
    enrolment = {f"{SHARED_FOLDER}/{path.name}": path for path in (web / SHARED_FOLDER).iterdir()}
    return {name: web / name for name in SHARED} | enrolment | own


def merge_stats(sender: Mapping[str, Any] | None, receiver: Mapping[str, Any] | None) -> dict[str, Any]:
    """One set of figures from those of both edges (docs/demo.md); None for what is not known now."""
    merged = {key: (sender or {}).get(key) for key in SENDER_FIGURES}
    merged |= {key: (receiver or {}).get(key) for key in RECEIVER_FIGURES}
    return {**merged, "sender": sender, "receiver": receiver}


async def read_stats(edge: EdgeProcess) -> dict[str, Any] | None:
    """An edge's own figures; None if it is not up or does not answer in time."""
    ready = edge.ready
    if ready is None:
        return None
    url = f"{ready.page.rstrip('/')}/api/stats"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {ready.token}"})

    def read() -> dict[str, Any] | None:
        with _open(request, timeout=STATS_S) as response:
            figures = json.loads(response.read(MAX_STATS_BYTES))
        return figures if isinstance(figures, dict) else None

    try:
        return await asyncio.to_thread(read)
    except (OSError, ValueError):
        return None


def _config(demo: Demo) -> dict[str, Any]:
    def place(edge: EdgeProcess) -> dict[str, str] | None:
        return {"url": edge.ready.page, "token": edge.ready.token} if edge.ready else None

    return {
        "camera": place(demo.sender) if _source(demo) == "browser" else None,
        "avatar": place(demo.receiver),
        "enrol": _enrolment(demo),
        "stats": ["/api/stats"],
        "shows": True,
        "own_avatar": True,
        "recorded": {"url": "/api/source"} if demo.may_switch else None,
        "source": _source(demo),
    }


def _enrolment(demo: Demo) -> dict[str, str] | None:
    """Where an avatar is made: at the edge that shows one."""
    ready = demo.sender.ready
    return {"url": f"{ready.page.rstrip('/')}/api/enrol", "token": ready.token} if ready else None


def _source(demo: Demo) -> str:
    return demo.camera if demo.may_switch else "file"


async def _chosen_camera(request: Request) -> str | None:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    try:
        camera = json.loads(body)["camera"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return camera if camera in ("browser", "sample") else None


def _file(path: Path) -> Endpoint:
    async def file(request: Request) -> Response:
        return FileResponse(path, media_type=_MEDIA_TYPES[path.suffix], headers=PAGE_HEADERS)

    return file


def _guard(port: int) -> Callable[[Endpoint], Endpoint]:
    """Only for programs on this machine, under this machine's own names: the page is handed the edges' tokens.

    The Host check stops a foreign page that has pointed its own DNS name at 127.0.0.1 (DNS rebinding); the Origin check
    stops one that posts from elsewhere.
    """
    hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}

    def wrap(endpoint: Endpoint) -> Endpoint:
        async def guarded(request: Request) -> Response:
            host = request.headers.get("host", "").lower()
            own_page = host in hosts and origin_allowed(request.headers.get("origin"), host)
            if not own_page or not _is_loopback(request):
                text = f"open http://127.0.0.1:{port}/ on the machine where the demo runs"
                return JSONResponse({"error": text}, 403, PAGE_HEADERS)
            return await endpoint(request)

        return guarded

    return wrap


def _is_loopback(request: Request) -> bool:
    try:
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
