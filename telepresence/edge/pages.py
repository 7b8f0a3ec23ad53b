"""The WebSocket `/api/room`: the room as it is goes to every page, the sound's messages to the newest one, and back.

A headset's page may have the sound instead, for as long as it is there; the page before keeps everything else.
Nothing that a page sends can raise out of here; a page that floods or sends nonsense is disconnected.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from telepresence.edge import messages
from telepresence.edge.line import BAD_MESSAGE, BAD_TOKEN, GOING, RATE, REPLACED, SLOW, TIMEOUT, Line
from telepresence.edge.messages import Enter, FromPage, Level, Microphone, Take, Voice
from telepresence.errors import ProtocolError
from telepresence.hub.limits import TokenBucket
from telepresence.hub.messages import Payload, Relay

logger = logging.getLogger(__name__)

MAX_PAGES: Final = 8  # WebSockets of one edge; the oldest gives way
ENTER_S: Final = 5.0  # from the connection to the token
SNAPSHOT_S: Final = 0.1  # between two snapshots, at the least
MESSAGES_PER_S: Final = 100  # of one page: voice 30, the rest few
RELAYS_PER_S: Final = 10  # of one page, of the 20 that the hub takes from this edge
RELAYS_BURST: Final = 40  # offers to a full room, and some again
STRANGERS_PER_S: Final = 5  # sound messages of one other participant that reach the page
STRANGERS_BURST: Final = 30
MAX_FAULTS: Final = 8  # malformed or too frequent messages before a page is disconnected
MAX_OUTBOX_BYTES: Final = 512 * 1024  # waiting for one page

M = TypeVar("M")

_OF_A_HEADSET: Final = (Relay, Voice, Microphone)
"""What a headset's page may say: it hears and speaks. Everything else is the page's on one's own computer."""


@dataclass(frozen=True, slots=True)
class Door:
    """A way in for pages."""

    token: Callable[[], str]
    """What a page has to show."""
    admits: Callable[[str | None], bool]
    """Whether pages of an origin may connect."""
    headset: bool = False
    """Whether the pages are a headset's."""


class Pages:
    """All pages that follow the room, newest last. The newest one, or the one that asked for it, is the active one: it
    has the sound. While a headset's page is it, the newest of the others, `desk`, still speaks for all but the sound.

    Args:
        token: gives the page token that a page has to show.
        admits: whether pages of an origin may connect.
        snapshot: the fields of a `room` message.
        on_active: told on the loop whether there is a page for sound.
    """

    def __init__(
        self,
        token: Callable[[], str],
        admits: Callable[[str | None], bool],
        snapshot: Callable[[], dict[str, Any]],
        on_active: Callable[[bool], None],
    ) -> None:
        self._door = Door(token, admits)
        self._snapshot = snapshot
        self._on_active = on_active
        self._lines: list[_Line] = []
        self._active: _Line | None = None
        self._desk: _Line | None = None
        self._handlers: dict[type[Any], Callable[[Any], Any]] = {}
        self._strangers: dict[str, TokenBucket] = {}
        self._shown = ""
        self._shown_s = 0.0
        self._soon: asyncio.TimerHandle | None = None
        self.dropped = 0
        """Messages of other participants that came too fast to be passed on."""

    @property
    def active(self) -> bool:
        """Whether a page is there for sound."""
        return self._active is not None

    @property
    def headset(self) -> bool:
        """Whether a headset's page has the sound."""
        return self._active is not None and self._active.headset

    @property
    def desk(self) -> bool:
        """Whether a page on one's own computer is there, which may have a camera."""
        return self._desk is not None

    def route(self, door: Door | None = None) -> WebSocketRoute:
        """To be served at /api/room; None: by the door of the edge's own pages."""
        way = door or self._door

        async def serve(socket: WebSocket) -> None:
            await self._serve(socket, way)

        return WebSocketRoute("/api/room", serve)

    def listen(self, kind: type[M], handler: Callable[[M], Any]) -> None:
        """Hand the active page's messages of a kind to `handler`, on the loop; one handler a kind."""
        self._handlers[kind] = handler

    def changed(self) -> None:
        """The room may look different now: every page is told, soon, if it does."""
        if self._soon is not None or not self._lines:
            return
        loop = asyncio.get_running_loop()
        wait_s = max(0.0, self._shown_s + SNAPSHOT_S - loop.time())
        self._soon = loop.call_later(wait_s, self._show)

    def relay(self, sender: str, payload: Payload) -> bool:
        """Hand another participant's payload to the active page; False if there is none."""
        if self._active is None:
            return False
        now = asyncio.get_running_loop().time()
        bucket = self._strangers.setdefault(sender, TokenBucket(STRANGERS_BURST, STRANGERS_PER_S, updated=now))
        if bucket.take(now):
            self._active.send(messages.relayed(sender, payload))
        else:
            self.dropped += 1
        return True

    def forget(self, participant: str) -> None:
        """A participant has left."""
        self._strangers.pop(participant, None)

    def tell(self, text: str) -> None:
        """Send a message of `messages` to the active page, if there is one."""
        if self._active is not None:
            self._active.send(text)

    def say(self, text: str, level: Level = "info") -> None:
        """Something for the user, on every page."""
        for line in self._lines:
            line.send(messages.said(text, level))

    def close(self) -> None:
        """Disconnect every page."""
        if self._soon:
            self._soon.cancel()
        for line in list(self._lines):
            line.end(GOING)

    async def _serve(self, socket: WebSocket, door: Door) -> None:
        """One page, from its request to its end."""
        if not door.admits(socket.headers.get("origin")):
            text = "pages of this origin may not use this edge; add it with --page-origin\n"
            await socket.send_denial_response(PlainTextResponse(text, 403))
            return
        await socket.accept()
        line = _Line(socket, door)
        timer = asyncio.get_running_loop().call_later(ENTER_S, self._check_entered, line)
        try:
            await line.serve(lambda text: self._handle(line, text))
        finally:
            timer.cancel()
            self._gone(line)

    def _check_entered(self, line: _Line) -> None:
        if line not in self._lines:
            line.end(TIMEOUT)

    def _handle(self, line: _Line, text: str | None) -> None:
        now = asyncio.get_running_loop().time()
        if not line.bucket.take(now):
            line.broke(RATE)
            return
        try:
            if text is None:
                raise ProtocolError("a binary message")
            message = messages.parse(text)
            if line not in self._lines:
                self._enter(line, message)
            elif isinstance(message, Take):
                self._activate(line)
            elif isinstance(message, Relay) and not line.relays.take(now):
                line.broke(RATE)
            elif message is not None and self._may_say(line, message):
                self._hand_on(message)
        except ProtocolError as error:
            logger.warning("a message of the page was not understood: %s", error)
            line.broke(BAD_MESSAGE)

    def _may_say(self, line: _Line, message: FromPage) -> bool:
        """Whether it is this page's turn."""
        if isinstance(message, Enter):
            return False
        if line.headset:
            return line is self._active and isinstance(message, _OF_A_HEADSET)
        sounds = isinstance(message, _OF_A_HEADSET)
        return line is (self._active if sounds else self._desk) and not isinstance(message, Microphone)

    def _hand_on(self, message: FromPage) -> None:
        handler = self._handlers.get(type(message))
        if handler is None:
            return
        try:
            handler(message)
        except Exception:  # what a page can cause must not end the call
            logger.exception("a message of the page could not be handled")

    def _enter(self, line: _Line, message: FromPage | None) -> None:
        token = line.door.token().encode()
        if not isinstance(message, Enter) or not hmac.compare_digest(message.token.encode(), token):
            line.end(BAD_TOKEN)
            return
        while len(self._lines) >= MAX_PAGES:
            oldest = self._lines.pop(0)
            oldest.end(REPLACED)
        self._lines.append(line)
        self._shown = messages.room(self._snapshot())
        line.show(self._shown)
        if line.headset or not self.headset:
            self._activate(line)
        else:  # whoever wears the headset would not know why it falls silent
            self._sit_down(line)
            line.send(messages.superseded("headset"))

    def _sit_down(self, line: _Line | None) -> None:
        """A page is the one that speaks for all but the sound; the one before is told."""
        if self._desk is not None and self._desk is not line and self._desk in self._lines:
            self._desk.send(messages.superseded("page"))
        self._desk = line

    def _activate(self, line: _Line | None) -> None:
        if line is self._active:
            return
        before, self._active = self._active, line
        if line is not None and not line.headset:
            self._sit_down(line)
        if before is not None and before in self._lines and (before.headset or self.headset):
            before.send(messages.superseded("headset" if self.headset else "page"))
        if line is not None and line is not self._lines[-1]:
            self._lines.remove(line)
            self._lines.append(line)  # so that it is again the last to give way
        if (before is None) != (line is None):
            self._on_active(line is not None)
        elif line is not None:
            self._on_active(False)  # the others' sound belongs to the page before: they begin anew with this one
            self._on_active(True)

    def _gone(self, line: _Line) -> None:
        if line in self._lines:
            self._lines.remove(line)
        if line is self._desk:
            self._desk = None  # the page before waits: it was told so, and must ask
        if line is not self._active:
            if self.headset:
                self._on_active(True)  # a camera may have gone with the page
            return
        self._activate(self._desk)
        if self._desk is not None:  # a headset's page has gone
            self._desk.send(messages.returned())

    def _show(self) -> None:
        self._soon = None
        text = messages.room(self._snapshot())
        if text == self._shown:
            return
        self._shown, self._shown_s = text, asyncio.get_running_loop().time()
        for line in self._lines:
            line.show(text)


class _Line(Line[str]):
    """One page's WebSocket."""

    def __init__(self, socket: WebSocket, door: Door) -> None:
        super().__init__(socket, str, stall_s=None, max_faults=MAX_FAULTS)
        now = asyncio.get_running_loop().time()
        self.door = door
        self.headset = door.headset
        self.bucket = TokenBucket(2 * MESSAGES_PER_S, MESSAGES_PER_S, updated=now)
        self.relays = TokenBucket(RELAYS_BURST, RELAYS_PER_S, updated=now)
        self._outbox: deque[str] = deque()
        self._bytes = 0
        self._snapshot: str | None = None  # newest wins

    def send(self, text: str) -> None:
        """Queue a message; a page that lets MAX_OUTBOX_BYTES pile up is disconnected."""
        self._bytes += len(text)
        if self._bytes > MAX_OUTBOX_BYTES:
            self.end(SLOW)
        elif not self.ended:
            self._outbox.append(text)
            self._wake.set()

    def show(self, snapshot: str) -> None:
        """Send a snapshot, in place of one that still waits."""
        self._snapshot = snapshot
        self._wake.set()

    def broke(self, code: int) -> None:
        """Count a broken rule; close when there were too many."""
        if self.fault():
            self.end(code)

    def _next(self) -> str | None:
        if self._snapshot is not None:
            text, self._snapshot = self._snapshot, None
            return text
        if not self._outbox:
            return None
        text = self._outbox.popleft()
        self._bytes -= len(text)
        return text
