"""Enrolment as an edge serves it to its own page: the WebSocket `/api/enrol`, the upload of photos, one's own picture.

Nothing that a page sends can raise out of here. docs/enrolment.md, "In the page", has the messages.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from telepresence.avatar.file import pack
from telepresence.avatar.owner import own_key
from telepresence.avatar.samples import SAMPLE_AVATAR
from telepresence.edge.line import BAD_MESSAGE, BAD_TOKEN, GOING, RATE, REPLACED, TIMEOUT
from telepresence.enrolment import guide, own, showing, wire
from telepresence.enrolment.line import Line
from telepresence.enrolment.orders import Accepted, Photos
from telepresence.enrolment.refining import Refining
from telepresence.enrolment.studio import Studio
from telepresence.enrolment.tuning import why_not
from telepresence.enrolment.uploads import TooLargeError, Uploads
from telepresence.enrolment.wire import Delete, Enter, FromPhotos, Leave, StopTuning, Tune
from telepresence.errors import InputError, ProtocolError, TelepresenceError

logger = logging.getLogger(__name__)

ENTER_S: Final = 5.0  # from the connection to the token
LOOK_S: Final = 0.2
WORN_S: Final = 6.0  # for a file to be taken up: it is looked at every second
IDLE_S: Final = 120.0  # without a page: it may be reloading; then pictures that nobody accepted are forgotten


class Enrolment:
    """One edge's enrolment. Made on the event loop; `close` it there.

    Args:
        engine, runtime: what draws, as `join` was given them.
        token: gives the page token that a page has to show.
        admits: whether pages of an origin may connect.
        wear: show us as this file from now on.
        worn: the avatar file that others are shown us as; None: none.
        say: gets a line for people.
    """

    def __init__(
        self,
        engine: str,
        runtime: str | None,
        token: Callable[[], str],
        admits: Callable[[str | None], bool],
        wear: Callable[[Path], None],
        worn: Callable[[], bytes | None],
        say: Callable[[str], None],
    ) -> None:
        self._drawn_by = engine, runtime
        self._token = token
        self._admits = admits
        self._wear = wear
        self._worn = worn
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._line: Line | None = None
        self._studio: Studio | None = None
        self._uploads = Uploads()
        self._refining = Refining(engine, self._send, self._wear_own, lambda: self._in_background(self._tell_own()))
        self._idle: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def routes(self) -> list[BaseRoute]:
        """To be served by the edge's page server."""
        return [
            WebSocketRoute("/api/enrol", self._serve),
            Route("/api/enrol/photo", self._photo, methods=["POST"]),
            Route("/api/enrol/picture", self._picture),
        ]

    async def close(self) -> None:
        """End everything; what was not accepted is gone."""
        if self._idle is not None:
            self._idle.cancel()
        if self._line is not None:
            self._line.end(GOING)
        await self._refining.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._forget)

    def _forget(self) -> None:
        studio, self._studio = self._studio, None
        if studio is not None:
            studio.close()
        self._uploads.clear()

    # the WebSocket

    async def _serve(self, socket: WebSocket) -> None:
        if not self._admits(socket.headers.get("origin")):
            text = "pages of this origin may not use this edge; add it with --page-origin\n"
            await socket.send_denial_response(PlainTextResponse(text, 403))
            return
        await socket.accept()
        line = Line(socket)
        timer = self._loop.call_later(ENTER_S, lambda: None if line.entered else line.end(TIMEOUT))
        try:
            await line.serve(lambda message: self._handle(line, message))
        finally:
            timer.cancel()
            if line is self._line:
                self._line = None
                self._idle = self._loop.call_later(IDLE_S, self._on_idle)

    def _on_idle(self) -> None:
        if self._line is None:
            self._refining.forget()
            self._in_background(asyncio.to_thread(self._forget))

    def _handle(self, line: Line, message: str | bytes) -> None:
        if not line.bucket.take(self._loop.time()):
            line.fault(RATE)
            return
        try:
            if isinstance(message, bytes):
                number, jpeg = wire.parse_picture(message)
                if line is self._line:
                    self._at_work().put(number, jpeg)
                return
            command = wire.parse(message)
            if not line.entered:
                self._enter(line, command)
            elif command is not None and line is self._line:
                self._obey(command)
        except ProtocolError as error:
            logger.warning("a message of the page was not understood: %s", error)
            if line.entered:
                line.fault(BAD_MESSAGE)
            else:
                line.end(BAD_MESSAGE)
        except TelepresenceError as error:
            line.send({"type": "said", "text": str(error), "level": "error"})
        except Exception:  # what a page can cause must not end the call
            logger.exception("a message of the page could not be handled")

    def _enter(self, line: Line, message: wire.FromPage | None) -> None:
        if not isinstance(message, Enter) or not hmac.compare_digest(message.token.encode(), self._token().encode()):
            line.end(BAD_TOKEN)
            return
        line.entered = True
        before, self._line = self._line, line
        if before is not None:
            before.send({"type": "superseded"})
            before.end(REPLACED)
        if self._idle is not None:
            self._idle.cancel()
        self._in_background(self._tell_own())
        if self._studio is not None:
            self._studio.tell_again()
        if self._refining.told is not None:
            line.send(self._refining.told)

    def _obey(self, command: wire.FromPage) -> None:
        if isinstance(command, Tune):
            self._refining.start()
        elif isinstance(command, StopTuning):
            self._refining.stop()
        elif isinstance(command, Delete):
            self._delete()
        elif isinstance(command, Leave):
            self._leave()
        elif isinstance(command, FromPhotos):
            own_key()
            self._at_work().do(Photos(tuple(self._uploads.paths)))
        else:
            if isinstance(command, wire.Begin):
                own_key()  # a damaged one is told before the work
            self._at_work().do(command)

    def _leave(self) -> None:
        """What was not accepted is forgotten, and what was loaded for it is freed."""
        self._uploads.clear()
        self._refining.forget()
        if self._studio is not None:
            studio, self._studio = self._studio, None
            self._in_background(asyncio.to_thread(studio.close))
        self._send({"type": "guide", "state": "look", "step": None, "phase": "act", "steps": []})

    def _at_work(self) -> Studio:
        if self._studio is None:
            studio = Studio(
                *self._drawn_by, lambda message: self._from_studio(studio, message), self._keep, lambda: guide.draw()
            )
            self._studio = studio
            studio.start()
        return self._studio

    def _from_studio(self, studio: Studio, message: dict[str, Any] | bytes) -> None:
        """In the studio's thread; nobody hears one that was left."""
        self._on_loop(lambda: self._send(message) if studio is self._studio else None)

    def _on_loop(self, act: Callable[[], None]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(act)

    def _send(self, message: dict[str, Any] | bytes) -> None:
        if self._line is not None:
            self._line.send(message)

    def _problem(self, text: str) -> None:
        self._send({"type": "said", "text": text, "level": "error"})

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # one's own avatar

    async def _tell_own(self) -> None:
        found = await asyncio.to_thread(showing.described, self._worn())
        can = await asyncio.to_thread(why_not, self._drawn_by[0], photos=found["made"] == "photos")
        self._send({"type": "own", **found, "refine": {"can": not can and self._refining.possible, "why": can}})

    async def _tell_when_worn(self, before: bytes | None) -> None:
        """At once what can be done now; once more when the others are shown another avatar than before."""
        await self._tell_own()
        for _ in range(round(WORN_S / LOOK_S)):
            await asyncio.sleep(LOOK_S)
            if self._worn() is not before:
                await self._tell_own()
                return

    def _keep(self, accepted: Accepted) -> None:
        """In the studio's thread."""
        sha256 = own.keep(pack(accepted.avatar), accepted.how)
        self._on_loop(lambda: self._on_kept(accepted, sha256))

    def _on_kept(self, accepted: Accepted, sha256: str) -> None:
        self._refining.offer(accepted, sha256)
        self._uploads.clear()
        self._wear_own()
        self._send({"type": "kept"})

    def _wear_own(self) -> None:
        """One's own avatar is another one now."""
        before = self._worn()
        self._wear(own.own_avatar_path())
        self._in_background(self._tell_when_worn(before))

    def _delete(self) -> None:
        self._refining.forget(even_running=True)
        before = self._worn()
        if own.forget():
            self._wear(SAMPLE_AVATAR)
            self._say("your avatar is deleted; others are shown the sample")
        self._send({"type": "deleted"})
        self._in_background(self._tell_when_worn(before))

    # HTTP

    def _refusal(self, request: Request) -> JSONResponse | None:
        if not self._admits(request.headers.get("origin")):
            return JSONResponse({"error": "pages of this origin may not use this edge"}, 403)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), self._token().encode()):
            return JSONResponse({"error": "the token is wrong; reload the page"}, 401)
        return None

    async def _photo(self, request: Request) -> Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        announced = request.headers.get("content-length", "")
        try:
            self._uploads.check(int(announced) if announced.isdecimal() else None)
            path = await self._uploads.take(request.query_params.get("name", "photo"), request.stream())
        except TooLargeError as error:
            return JSONResponse({"error": str(error)}, 413, {"Connection": "close"})  # the rest is not read
        except InputError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"name": path.name})

    async def _picture(self, request: Request) -> Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        jpeg = await asyncio.to_thread(showing.picture, self._worn())
        return Response(jpeg, media_type="image/jpeg") if jpeg else Response(status_code=404)
