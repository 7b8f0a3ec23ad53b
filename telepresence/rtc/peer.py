"""One other participant: keeps a connection to its edge, and says hello on each.

One side offers, and offers again, with a higher session number, when the connection is lost; the other asks it to. Who
has just joined offers; an offer with a higher number than one's own makes its receiver the one who asks.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Protocol

from telepresence.errors import ProtocolError, SignallingError
from telepresence.hub.messages import MAX_SESSION, IceServer, Payload
from telepresence.rtc.cache import AvatarCache
from telepresence.rtc.channels import Counters
from telepresence.rtc.exchange import OFFER_AGAIN_S, AvatarExchange
from telepresence.rtc.hello import PROTOCOL, Control, Hello, Presence, Refuse, Want, common_schema
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.presence import Presenter
from telepresence.rtc.session import Session
from telepresence.rtc.transfer import Acknowledgement, Data, Offer, offer_of
from telepresence.wire.arrival import Arrivals
from telepresence.wire.clock import ClockOffset
from telepresence.wire.codec import SCHEMAS, MotionPacket
from telepresence.wire.thrift import Rate

logger = logging.getLogger(__name__)

ANSWER_S: Final = 10.0
OPEN_S: Final = 5.0  # from the answer to open channels
HELLO_S: Final = 5.0  # from open channels to the other's hello
RETRY_S: Final = (0.1, 5.0)  # before the next attempt: first, most; doubling
EAGER_S: Final = 60.0  # after a connection was lost, during which nobody waits longer than EAGER_RETRY_S
EAGER_RETRY_S: Final = 0.5
# A DTLS handshake that lost its first flight repeats it after 1 s, then after 2, 4 ...: to begin anew is faster. Of a
# connection that was up before the round trip is known, and opening takes about eight. The link may be a slower one
# when it is back: after PATIENT_S every third attempt gets OPEN_S.
PATIENT_S: Final = 30.0
REOPEN_S: Final = 1.4
REOPEN_ROUND_TRIPS: Final = 12
FAREWELL_S: Final = 0.2  # for a refusal to leave before the connection closes

_EPOCH_US: Final = time.time_ns() // 1000 - now_us()  # so that numbers of different machines can be compared


def _next_number(last: int) -> int:
    """A session number above `last`, and above those of any Peer before: whoever starts anew is not taken for stale.

    The clock never goes back; if the other machine's is ahead, its `bye` tells the number to go on from.
    """
    return min(MAX_SESSION, max(last + 1, _EPOCH_US + now_us()))


class State(enum.StrEnum):
    """Where a participant's connection stands."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    LOST = "lost"
    REFUSED = "refused"
    """For good: no common motion schema or protocol, or the peer broke rules again and again. `reason` says which."""


@dataclass(frozen=True)
class Ours:
    """What we tell every participant."""

    avatar: bytes | None
    """Our avatar file; None if we show nothing."""
    draws: bool = True
    """Whether this edge draws the others at all."""
    schemas: Sequence[int] = SCHEMAS
    cache: AvatarCache = field(default_factory=AvatarCache)
    epoch: int = 0
    rate: Rate = Rate.ADAPTIVE
    """How many messages our motion takes."""

    @cached_property
    def offer(self) -> Offer | None:
        """Our avatar's offer; hashing it takes milliseconds, so it is made once for all participants."""
        return None if self.avatar is None else offer_of(self.avatar, self.epoch)


class PeerEvents(Protocol):
    """What a peer's owner is told, on the event loop."""

    def on_peer_motion(self, peer: Peer, packet: MotionPacket, now_us: int) -> None:
        """A packet newer than all before it."""

    def on_peer_avatar(self, peer: Peer, data: bytes, whole: bool) -> None:
        """Its avatar file, verified, or the beginning of it."""

    def on_peer_state(self, peer: Peer) -> None:
        """`peer.state` has changed."""


class Peer:
    """A participant as long as it is in the room. `start` it if we offer; otherwise what it sends starts it."""

    def __init__(
        self,
        participant: str,
        ours: Ours,
        relay: Callable[[Payload], Awaitable[bool]],
        events: PeerEvents,
        servers: Sequence[IceServer] = (),
    ) -> None:
        self.id = participant
        self.state = State.CONNECTING
        self.reason = ""
        self.counters = Counters()
        self.clock = ClockOffset()
        self.rebuilds = 0
        self.wire_sent_bytes = 0
        self.wire_received_bytes = 0
        self.schema: int | None = None
        """The motion schema of this connection, the highest that both know; None before its hello."""
        self.servers = servers
        """Of the next connection."""
        self.relay_only = False
        """Whether the next connection goes through a TURN server only."""
        self.presence: Presence | None = None
        """How it wants to be shown, as last told; None before that, and by an older telepresence."""
        self.on_presence: Callable[[Peer], None] = lambda peer: None
        """Called when that changes."""
        self._presenter = Presenter(self._send_presence)
        self.present = self._presenter.change
        self._ours = ours
        self._offer = ours.offer
        self._offered_s = 0.0
        self._offer_again: asyncio.TimerHandle | None = None
        self._relay = relay
        self._events = events
        self._session: Session | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._offers = False
        self._number = 0
        self._attempts = 0  # to reconnect
        self._tries = 0  # sessions since the last one that came up
        self._lost_s: float | None = None  # when the last connection was lost
        self._rtt_us: int | None = None  # of that one
        self._arrivals = Arrivals()
        self._greeting: Session | None = None  # the one on which our hello is on its way
        self._greeted = asyncio.Event()
        self.exchange = AvatarExchange(
            ours.avatar,
            ours.draws,
            ours.cache,
            lambda data: events.on_peer_avatar(self, data, True),
            lambda data: events.on_peer_avatar(self, data, False),
        )

    @property
    def session(self) -> Session | None:
        """The present connection."""
        return self._session

    @property
    def dropped(self) -> int:
        """Motion packets that came too late, out of all reason, or never, over all connections."""
        return self._arrivals.counts.dropped

    def start(self) -> None:
        """Offer now, whatever there was before, and keep the connection up from now on."""
        self._offers = True
        self._restart(None)

    def on_payload(self, payload: Payload, we_win: bool = False) -> None:
        """Something came from it through the hub.

        Args:
            we_win: if both offer at the same time with the same number, ours stands.
        """
        if self.state is State.REFUSED or self._closed:
            return
        if payload.kind == "answer":
            if self._session and payload.session == self._session.number:
                self._session.on_answer(payload.sdp)
        elif payload.kind == "bye":
            self._on_bye(payload.session)
        elif payload.session > self._number or (payload.session == self._number and self._offers and not we_win):
            self._number = payload.session
            self._offers = False
            self._restart(payload)

    def change(self, ours: Ours) -> None:
        """Offer another avatar of ours: now, as soon as the rules allow, or on the next connection."""
        self._ours = ours
        self._follow_offer()

    def send_motion(self, packet: MotionPacket) -> bool:
        """Send motion if the connection is up and the transport has let go of the packet before."""
        if self.state is not State.CONNECTED or self._session is None or packet.motion.schema != self.schema:
            return False
        return self._session.channels.send_motion(packet)

    def read_wire(self) -> tuple[int, int]:
        """Bytes sent and received at IP level, over all connections."""
        wire = self._session.wire if self._session else None
        sent, received = (wire.sent_bytes, wire.received_bytes) if wire else (0, 0)
        return self.wire_sent_bytes + sent, self.wire_received_bytes + received

    def close(self) -> None:
        """The participant has left, or we do."""
        self._closed = True
        self._presenter.close()
        if self._offer_again:
            self._offer_again.cancel()
        if self._task:
            self._task.cancel()
        self._drop_session()

    # the connection

    def _on_bye(self, number: int) -> None:
        """It has no use for connections up to `number`, and waits for our offer of another."""
        if number < self._number:
            return  # a newer one is under way
        self._number = number
        offered_before, self._offers = self._offers, True
        if self._session:
            self._session.lost.set()
        elif not offered_before:  # an offerer without a connection is about to offer anyway
            self._restart(None)

    def _restart(self, offer: Payload | None) -> None:
        """Give up whatever there is, and begin with their offer, or with ours."""
        if self._task:
            self._task.cancel()
        self._lose()
        self._task = asyncio.ensure_future(self._keep_up(offer))

    @property
    def _refused(self) -> bool:
        return self.state is State.REFUSED

    async def _keep_up(self, offer: Payload | None) -> None:
        """Make a connection, and another one each time it is lost."""
        wait_s = RETRY_S[0]
        while not self._refused:
            if offer is not None or self._offers:
                came_up = await self._connection(offer)
                self._lose()
                offer = None
                wait_s = RETRY_S[0] if came_up else min(RETRY_S[1], 2 * wait_s)
            if self._refused:
                return
            if self._offers:
                eager = self._lost_s is not None and asyncio.get_running_loop().time() < self._lost_s + EAGER_S
                await asyncio.sleep(min(wait_s, EAGER_RETRY_S) if eager else wait_s)
            else:  # it is theirs to offer: tell them that the last one is of no use here
                await self._relay(Payload("bye", self._number))
                await asyncio.sleep(RETRY_S[1])

    async def _connection(self, offer: Payload | None) -> bool:
        """One connection until it is lost; False if it did not come up."""
        try:
            session = self._new_session(offer)
            steps = asyncio.ensure_future(self._establish(session, offer))
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

    async def _establish(self, session: Session, offer: Payload | None) -> None:
        """From nothing to greeted. Raises TimeoutError or SignallingError."""
        if offer is None:
            if not await self._relay(Payload("offer", session.number, await session.offer())):
                raise TimeoutError
            await session.answered(ANSWER_S)
            await session.open(self._open_s())
        else:
            await self._relay(Payload("answer", session.number, await session.answer(offer.sdp)))
            await session.open(ANSWER_S)
        await asyncio.wait_for(self._greeted.wait(), HELLO_S)

    def _open_s(self) -> float:
        """How long an attempt may take from the answer to open channels."""
        self._attempts += 1
        patient = self._lost_s is None or asyncio.get_running_loop().time() > self._lost_s + PATIENT_S
        if self._rtt_us is None or (patient and self._attempts % 3 == 0):
            return OPEN_S
        return min(OPEN_S, REOPEN_S + REOPEN_ROUND_TRIPS * self._rtt_us / 1e6)

    def _new_session(self, offer: Payload | None) -> Session:
        """The next session, with the number of their offer, or of ours."""
        self._number = _next_number(self._number) if offer is None else offer.session
        self._greeted = asyncio.Event()
        self.schema = None
        self._arrivals = Arrivals(self._arrivals.counts)
        self.clock = ClockOffset()  # the other process may be another one, or its machine have slept
        self._session = Session(
            self._number,
            self.servers,
            self,
            self.counters,
            self.clock,
            rate=self._ours.rate,
            relay_only=self.relay_only,
            attempt=self._tries,
        )
        self._tries += 1
        return self._session

    def _drop_session(self) -> None:
        session, self._session = self._session, None
        if session:
            self.wire_sent_bytes += session.wire.sent_bytes
            self.wire_received_bytes += session.wire.received_bytes
            session.close()

    def _lose(self) -> None:
        """There is no connection: all that ends or replaces one comes through here."""
        self._drop_session()
        if self.state is State.CONNECTED:
            self.rebuilds += 1
            self._attempts, self._lost_s = 0, asyncio.get_running_loop().time()
            self._tries = 0
            self._rtt_us = self.clock.rtt_us if self.clock.known else None
        if self.state is not State.REFUSED:
            self._set(State.LOST if self.rebuilds else State.CONNECTING)

    def _set(self, state: State, reason: str = "") -> None:
        if (state, reason) != (self.state, self.reason):
            self.state, self.reason = state, reason
            self._events.on_peer_state(self)

    def _refuse(self, code: str, message: str) -> None:
        """End the connection for good, and say why to both."""
        session = self._session
        self._set(State.REFUSED, message)
        if session:
            session.channels.send_control(Refuse(code, message))
            asyncio.get_running_loop().call_later(FAREWELL_S, session.lost.set)

    # what the channels tell

    def on_open(self) -> None:
        """Greet."""
        if self._session:
            self._offer, self._offered_s = self._ours.offer, asyncio.get_running_loop().time()
            self.exchange.change(self._ours.avatar)
            self._session.channels.send_control(Hello(tuple(self._ours.schemas), self._offer))
            if self._greeting is not self._session:
                self._greeting = self._session
                self._presenter.greeted()

    def on_motion(self, packet: MotionPacket, now_us: int) -> None:
        """Hand on what is newest. Raises ProtocolError."""
        if self.state is not State.CONNECTED:
            return  # overtook its hello, or comes after its end
        if packet.motion.schema != self.schema:
            raise ProtocolError("motion of another schema than agreed")
        if self._arrivals.accept(packet, now_us):
            self._events.on_peer_motion(self, packet, now_us)

    def on_control(self, message: Control) -> None:
        """Follow the protocol. Raises ProtocolError."""
        if isinstance(message, Hello):
            self._on_hello(message)
        elif isinstance(message, Want):
            self._check_greeted()
            self.exchange.on_want(message, self._offer)
            self._pump()
        elif isinstance(message, Presence):
            self._check_greeted()
            self.presence = message
            self.on_presence(self)
        else:
            self._set(State.REFUSED, f"the other side refused: {message.message}")
            if self._session:
                self._session.lost.set()

    def on_avatar_message(self, message: Data | Acknowledgement) -> None:
        """Go on with a transfer. Raises ProtocolError."""
        self._check_greeted()
        if self._session:
            self.exchange.on_message(message, now_us(), self._session.channels)
            self._pump()
            self._follow_offer()

    def on_abuse(self) -> None:
        """Part for good with who floods or sends nonsense."""
        self._set(State.REFUSED, "it sent too many messages that break the protocol")
        if self._session:
            self._session.lost.set()

    def on_silence(self) -> None:
        """Give the connection up."""
        if self._session:
            self._session.lost.set()

    def _on_hello(self, hello: Hello) -> None:
        if hello.protocol != PROTOCOL:
            text = f"no common protocol: {hello.protocol} here, {PROTOCOL} there; update the older telepresence"
            self._refuse("protocol", text)
            return
        schema = common_schema(self._ours.schemas, hello.schemas)
        if schema is None:
            ours, theirs = list(self._ours.schemas), sorted(set(hello.schemas))
            self._refuse("schema", f"no common motion schema: {ours} and {theirs}; update the older telepresence")
            return
        self.schema = schema
        self._greeted.set()
        self._set(State.CONNECTED)
        if self._session:
            self.exchange.on_offer(hello.avatar, self._session.channels)

    def _follow_offer(self) -> None:
        """Greet again if our avatar is another one by now, but not while one is under way: they would get a mixture."""
        session = self._session
        if self._ours.offer == self._offer or not session or not session.channels.open or self.exchange.sending:
            return
        if self._offer_again:
            self._offer_again.cancel()
        loop = asyncio.get_running_loop()
        wait_s = self._offered_s + OFFER_AGAIN_S - loop.time()
        if wait_s > 0:
            self._offer_again = loop.call_later(wait_s, self._follow_offer)
        else:
            self.on_open()

    def _send_presence(self, presence: Presence) -> bool:
        session = self._session
        if session is None or session is not self._greeting or not session.channels.open:
            return False
        session.channels.send_control(presence)
        return True

    def _check_greeted(self) -> None:
        if not self._greeted.is_set():
            raise ProtocolError("something else before hello")

    def _pump(self) -> None:
        if self._session:
            self.exchange.pump(now_us(), self._session.channels, self._session.room_for_avatar)
