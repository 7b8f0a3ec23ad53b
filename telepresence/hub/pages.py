"""The page of those who have only a browser: the hub serves it, with the engines that it draws with."""

from __future__ import annotations

import asyncio
import json
import tomllib
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from telepresence.errors import SignallingError
from telepresence.hub.codec import parse_room
from telepresence.hub.files import Files
from telepresence.page_headers import HUB_PAGE_HEADERS
from telepresence.resources import shipped

DEFAULT_ENGINE: Final = "live"
PAGE: Final = "index.html"
VENDOR_STAMP: Final = ("vendor", ".fetched")  # scripts/fetch_web.py writes it when all is there
MISSING_VENDOR: Final = (
    "this hub lacks what a browser needs to take part by itself (web/vendor); "
    "whoever runs it has to say: make web, or install telepresence from a complete wheel"
)
HINT: Final = (
    "This is a telepresence room. Enter it with this page's address, in quotes:\n\n    telepresence join 'URL'\n"
)
SAMPLES: Final = ("astronaut.avatar",)

_HEAD: Final = b"<head>"
_BASE: Final = b'<head>\n<base href="../web/">'  # the page's own addresses are relative to the folder web/


class Pages:
    """Routes of the page and its files. Reads files only; what it says is the same for everybody."""

    def __init__(self) -> None:
        from telepresence.avatar import samples  # here: with it comes what reads avatars

        self._web = Files(shipped("web"), HUB_PAGE_HEADERS)
        self._engines = Files(shipped("engines"), HUB_PAGE_HEADERS, frozenset({".toml", ".onnx", ".md"}))
        self._samples = Files(samples.SAMPLE_AVATAR.parent, HUB_PAGE_HEADERS, frozenset({".avatar"}))

    def routes(self) -> list[BaseRoute]:
        """All of them; GET and HEAD only."""
        return [
            Route("/", self._root),
            Route("/room/{room}", self._room),
            Route("/api/page-config", self._config),
            Route("/web/{name:path}", self._web_file),
            Route("/engines/{engine}/engine.json", self._engine_json),
            Route("/engines/{name:path}", self._engine_file),
            Route("/samples/{name}", self._sample),
        ]

    async def _root(self, request: Request) -> Response:
        text = "This is a telepresence hub. Open the link to a room that you were given.\n"
        return PlainTextResponse(text, headers=HUB_PAGE_HEADERS)

    async def _room(self, request: Request) -> Response:
        """The page for a browser; for everything else, how to enter."""
        try:
            parse_room(request.path_params["room"])
        except SignallingError:
            text = "no room can have that name; use the link as it was given\n"
            return PlainTextResponse(text, 404, HUB_PAGE_HEADERS)
        headers = HUB_PAGE_HEADERS | {"Cache-Control": "no-store", "Vary": "Accept"}
        if "text/html" not in request.headers.get("accept", ""):
            return PlainTextResponse(HINT, headers=headers)
        path = self._web.find(PAGE)
        if path is None:
            return PlainTextResponse("the page is missing from this hub's installation\n", 500, headers)
        page = await asyncio.to_thread(path.read_bytes)
        return Response(page.replace(_HEAD, _BASE, 1), headers=headers, media_type="text/html")

    async def _config(self, request: Request) -> Response:
        """What the page has to know. The token is in the page's own address."""
        complete = self._web.folder.joinpath(*VENDOR_STAMP).is_file()
        config = {
            "mode": "browser",
            "signal": "/signal",
            "engine": DEFAULT_ENGINE,
            "engines": "/engines/",
            "sample_avatar": f"/samples/{SAMPLES[0]}",
            "problem": None if complete else MISSING_VENDOR,
        }
        return JSONResponse(config, headers=HUB_PAGE_HEADERS | {"Cache-Control": "no-store"})

    async def _web_file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name in ("", PAGE):  # it works under a room's address only
            return RedirectResponse("../", headers=HUB_PAGE_HEADERS)
        return await self._web.answer(request, name)

    async def _engine_file(self, request: Request) -> Response:
        return await self._engines.answer(request, request.path_params["name"])

    async def _engine_json(self, request: Request) -> Response:
        """engine.toml for those who cannot read TOML."""
        path = self._engines.find(f"{request.path_params['engine']}/engine.toml")
        if path is None:
            return PlainTextResponse("no such engine\n", 404, HUB_PAGE_HEADERS)
        document = tomllib.loads(await asyncio.to_thread(path.read_text, "utf-8"))
        headers = HUB_PAGE_HEADERS | {"Cache-Control": "no-cache"}
        return Response(json.dumps(document), headers=headers, media_type="application/json")

    async def _sample(self, request: Request) -> Response:
        return await self._samples.answer(request, request.path_params["name"])
