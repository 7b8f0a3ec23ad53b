"""When each picture passed each stage of an edge, and a bad link on demand: for `telepresence bench`, off in any call.

Only with TELEPRESENCE_TRACE=1 in its environment does an edge keep notes and serve the two routes below; otherwise a
note is one comparison. A picture is known by its capture time. Notes are kept in memory, the newest MAX_NOTES, and only
written out when they are asked for, so that nothing is done for the benchmark while a picture is under way.
"""

from __future__ import annotations

import hmac
import json
import os
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from telepresence.rtc.link import Bursts, Impairment, LinkConditions
from telepresence.rtc.monotonic import now_us

if TYPE_CHECKING:
    from telepresence.rtc.figures import Totals
    from telepresence.rtc.peer import Peer

VARIABLE: Final = "TELEPRESENCE_TRACE"
MAX_NOTES: Final = 50_000  # of about 300 a second
MAX_BODY_BYTES: Final = 4096

STAGES: Final = (
    "decoded",
    "taken",
    "landmarks",
    "motion",
    "sent",
    "received",
    "drawing",
    "keypoints",
    "rendered",
    "encoder",
)
"""In order. The first five are the sender's. Each names what has just happened to the picture: decoded, taken by the
landmark worker, landmarks found, motion made, handed to the transport; received, taken by the render worker, keypoints
computed, rendered and converted, handed to the page's encoder."""

_Note = tuple[str, int, int, int | None]
_notes: deque[_Note] | None = deque(maxlen=MAX_NOTES) if os.environ.get(VARIABLE) == "1" else None


def note(stage: str, capture_us: int | None, at_us: int | None = None, extra: int | None = None) -> None:
    """A picture has passed a stage; from any thread.

    Args:
        stage: one of STAGES.
        capture_us: of the picture; within a millisecond the same at every stage. None: nothing is noted.
        at_us: when; now if not given.
        extra: at `encoder`, the presentation time in 1/90000 s that the track gave the picture.
    """
    if _notes is not None and capture_us is not None:
        _notes.append((stage, capture_us, now_us() if at_us is None else at_us, extra))


def routes(
    token: Callable[[], str], peers: Callable[[], Iterable[Peer]], totals: Callable[[], Totals]
) -> list[BaseRoute]:
    """`GET /api/trace` (all notes since the last time, and the counters) and `POST /api/trace/link`; none if off."""
    return [] if _notes is None else _Service(_notes, token, peers, totals).routes()


class _Service:
    """The two routes; both want the page's token, and neither is there for pages of other origins."""

    def __init__(
        self,
        notes: deque[_Note],
        token: Callable[[], str],
        peers: Callable[[], Iterable[Peer]],
        totals: Callable[[], Totals],
    ) -> None:
        self._notes = notes
        self._token = token
        self._peers = peers
        self._totals = totals
        self._hops: list[Impairment] = []

    def routes(self) -> list[BaseRoute]:
        return [Route("/api/trace", self._show), Route("/api/trace/link", self._link, methods=["POST"])]

    async def _show(self, request: Request) -> JSONResponse:
        if not self._authorised(request):
            return JSONResponse({"error": "the token is wrong"}, 401)
        taken: list[_Note] = []
        while self._notes:
            taken.append(self._notes.popleft())
        lost = [(hop.model.sent, hop.model.lost) for hop in self._hops]
        counters = asdict(self._totals())
        return JSONResponse({"now_us": now_us(), "notes": taken, "totals": counters, "link": lost})

    async def _link(self, request: Request) -> JSONResponse:
        """Put a link behind all that is sent to the participants, in place of the one before; `null` takes it away."""
        if not self._authorised(request):
            return JSONResponse({"error": "the token is wrong"}, 401)
        body = await request.body()
        if len(body) > MAX_BODY_BYTES:
            return JSONResponse({"error": "too long"}, 413)
        try:
            asked = json.loads(body)
            conditions = None if asked is None else conditions_of(asked["conditions"])
            seed = 0 if asked is None else int(asked["seed"])
        except (ValueError, TypeError, KeyError) as error:
            return JSONResponse({"error": f"not a link ({error})"}, 400)
        for hop in self._hops:
            hop.remove()
        self._hops = []
        if conditions is not None:
            sessions = [peer.session for peer in self._peers() if peer.session is not None]
            self._hops = [hop for session in sessions for hop in session.impair(conditions, seed)]
        return JSONResponse({"hops": len(self._hops)})

    def _authorised(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(token.encode(), self._token().encode())


def conditions_of(fields: dict[str, Any]) -> LinkConditions:
    """A link from JSON, as `dataclasses.asdict` writes it.

    Raises:
        TypeError, ValueError: it is none.
    """
    bursts = fields.get("bursts")
    outages = tuple((int(begin), int(end)) for begin, end in fields.get("outages_us", ()))
    given = {**fields, "bursts": Bursts(**bursts) if bursts else None, "outages_us": outages}
    return LinkConditions(**given)
