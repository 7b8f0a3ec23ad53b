"""The page on one's own computer that shows the way in: the link, its QR code, the certificate's fingerprint."""

from __future__ import annotations

import html
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from telepresence.sinks.headset.qr import svg

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Into your headset</title>
<link rel="icon" href="icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="headset/style.css">
</head>
<body class="link">
<h1>Into your headset</h1>
<p>Scan this with your headset, or open the link in its browser. Both have to be on the same network.</p>
<img src="headset-link.svg" alt="QR code of the link below">
<p><a href="{link}">{link}</a></p>
<p>The browser asks once whether it may trust this computer's own certificate. Its SHA-256 is</p>
<p><code>{fingerprint}</code></p>
<p class="note">The link lets whoever has it see the room. It ends with this call.</p>
</body>
</html>
"""


def routes(link: Callable[[], str], fingerprint: Callable[[], str]) -> list[BaseRoute]:
    """`/headset-link`, its picture, and both's words as JSON; made when asked for: the port is not known before."""

    def page(request: Request) -> Response:
        return HTMLResponse(_PAGE.format(link=html.escape(link()), fingerprint=fingerprint()))

    def picture(request: Request) -> Response:
        return Response(svg(link()), media_type="image/svg+xml")

    def words(request: Request) -> Response:
        return JSONResponse({"link": link(), "fingerprint": fingerprint()})

    return [
        Route("/headset-link", page),
        Route("/headset-link.svg", picture),
        Route("/headset-link.json", words),
    ]
