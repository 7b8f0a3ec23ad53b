"""One connection to another participant: from an offer, theirs or ours, to its end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from telepresence.errors import SignallingError
from telepresence.hub.messages import MAX_SESSION, Payload
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.retrying import Retrying
from telepresence.rtc.session import Session

logger = logging.getLogger(__name__)

ANSWER_S: Final = 10.0
HELLO_S: Final = 5.0  # from open channels to the other's hello

_EPOCH_US: Final = time.time_ns() // 1000 - now_us()  # so that numbers of different machines can be compared

Relay = Callable[[Payload], Awaitable[bool]]


def next_number(last: int) -> int:
    """A session number above `last`, and above those of any Peer before: whoever starts anew is not taken for stale.

    The clock never goes back; if the other machine's is ahead, its `bye` tells the number to go on from.
    """
    return min(MAX_SESSION, max(last + 1, _EPOCH_US + now_us()))


async def attempt(
    make: Callable[[Payload | None], Session],
    offer: Payload | None,
    relay: Relay,
    greeted: Callable[[], asyncio.Event],
    retrying: Retrying,
) -> bool:
    """One connection until it is lost; False if it did not come up.

    Args:
        make: makes the session, for an offer of theirs or for ours.
        offer: theirs; None: we make one.
        relay: hands a payload to the other side.
        greeted: the event that its hello has come, asked for once the session is made.
        retrying: says how long it may take.
    """
    try:
        session = make(offer)
        steps = asyncio.ensure_future(_establish(session, offer, relay, greeted(), retrying))
        lost = asyncio.ensure_future(session.lost.wait())
        try:
            await asyncio.wait({steps, lost}, return_when=asyncio.FIRST_COMPLETED)
            if not steps.done():
                raise TimeoutError
            steps.result()
            await lost
            return True
        finally:
            steps.cancel()
            lost.cancel()
    except (TimeoutError, SignallingError) as error:
        logger.info("no connection to a participant yet (%s)", type(error).__name__)
    except Exception:  # whatever a description makes aiortc do, the next connection may come up
        logger.exception("a connection to a participant failed")
    return False


async def _establish(
    session: Session, offer: Payload | None, relay: Relay, greeted: asyncio.Event, retrying: Retrying
) -> None:
    """From nothing to greeted. Raises TimeoutError or SignallingError."""
    if offer is None:
        if not await relay(Payload("offer", session.number, await session.offer())):
            raise TimeoutError
        await session.answered(ANSWER_S)
        begun_s = asyncio.get_running_loop().time()
        await session.open(retrying.open_s(begun_s))
        retrying.opened(asyncio.get_running_loop().time() - begun_s)
    else:
        await relay(Payload("answer", session.number, await session.answer(offer.sdp)))
        await session.open(ANSWER_S)
    await asyncio.wait_for(greeted.wait(), HELLO_S)
