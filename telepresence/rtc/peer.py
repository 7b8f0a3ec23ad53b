"""One other participant: keeps a connection to its edge, and says hello on each.

One side offers, and offers again, with a higher session number, when the connection is lost; the other asks it to. Who
has just joined offers; an offer with a higher number than one's own makes its receiver the one who asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from telepresence.errors import ProtocolError
from telepresence.hub.messages import IceServer, Payload
from telepresence.rtc.attempt import attempt, next_number
from telepresence.rtc.channels import Counters
from telepresence.rtc.greeting import Greeting
from telepresence.rtc.hello import Control, Hello, Presence, Refuse, Want, agreed
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.party import Ours, PeerEvents, State
from telepresence.rtc.presence_messages import Challenge, Forget, Proof
from telepresence.rtc.proving import Proving
from telepresence.rtc.retrying import Retrying
from telepresence.rtc.session import Session
from telepresence.rtc.transfer import Acknowledgement, Data
from telepresence.wire.arrival import Arrivals
from telepresence.wire.clock import ClockOffset
from telepresence.wire.codec import MotionPacket

__all__ = ["Ours", "Peer", "PeerEvents", "State"]

FAREWELL_S: Final = 0.2  # for a refusal to leave before the connection closes


def _now_s() -> float:
    return asyncio.get_running_loop().time()


class Peer:
    """A participant as long as it is in the room. `start` it if we offer; otherwise what it sends starts it.

    Args:
        us, participant: our id in the room, and its.
        ours: what it is told of us.
        relay: hands a payload to it through the hub.
        events: who is told.
        servers: of the first connection.
    """

    def __init__(
        self,
        us: str,
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
        self._relay = relay
        self._events = events
        self._session: Session | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._offers = False
        self._number = 0
        self._retrying = Retrying()
        self._way = 0  # by which of several TURN servers: see session.configuration
        self._arrivals = Arrivals()
        self._greeted = asyncio.Event()
        self.proving = Proving(us, participant, ours, lambda data, whole: events.on_peer_avatar(self, data, whole))
        self.exchange = self.proving.exchange
        self.greeting = Greeting(ours, self.exchange, lambda: self._session)
        self.present = self.greeting.present

    @property
    def session(self) -> Session | None:
        """The present connection."""
        return self._session

    @property
    def dropped(self) -> int:
        """Motion packets that came too late, out of all reason, or never, over all connections."""
        return self._arrivals.counts.dropped

    def change(self, ours: Ours) -> None:
        """Tell it of another avatar of ours."""
        self.proving.ours = ours
        self.greeting.change(ours)

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
        self.greeting.close()
        self.proving.close()
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
        self._retrying.begin()
        while not self._refused:
            if offer is not None or self._offers:
                came_up = await attempt(self._new_session, offer, self._relay, lambda: self._greeted, self._retrying)
                self._lose()
                offer = None
                self._retrying.ended(came_up=came_up)
            if self._refused:
                return
            if self._offers:
                await asyncio.sleep(self._retrying.wait_s(_now_s()))
            else:  # it is theirs to offer: tell them that the last one is of no use here
                await self._relay(Payload("bye", self._number))
                await asyncio.sleep(self._retrying.ask_again_s)

    def _new_session(self, offer: Payload | None) -> Session:
        """The next session, with the number of their offer, or of ours."""
        self._number = next_number(self._number) if offer is None else offer.session
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
            rate=self.greeting.ours.rate,
            relay_only=self.relay_only,
            attempt=self._way,
        )
        self._way += 1
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
            self._retrying.lost(_now_s(), self.clock.rtt_us if self.clock.known else None)
            self._way -= 1  # back to the one that led there
        if self.state is not State.REFUSED:
            self._set(State.LOST if self.rebuilds else State.CONNECTING)

    def _set(self, state: State, reason: str = "") -> None:
        if (state, reason) != (self.state, self.reason):
            self.state, self.reason = state, reason
            self._events.on_peer_state(self)

    def _refuse(self, refuse: Refuse) -> None:
        """End the connection for good, and say why to both."""
        session = self._session
        self._set(State.REFUSED, refuse.message)
        if session:
            session.channels.send_control(refuse)
            asyncio.get_running_loop().call_later(FAREWELL_S, session.lost.set)

    # what the channels tell

    def on_open(self) -> None:
        """Greet."""
        self._begin()
        self.greeting.greet()

    def on_motion(self, packet: MotionPacket, now_us: int) -> None:
        """Hand on what is newest. Raises ProtocolError."""
        if self.state is not State.CONNECTED:
            return  # overtook its hello, or comes after its end
        if packet.motion.schema != self.schema:
            raise ProtocolError("motion of another schema than agreed")
        if self._arrivals.accept(packet, now_us) and self.proving.admits:
            self._events.on_peer_motion(self, packet, now_us)

    def on_control(self, message: Control) -> None:
        """Follow the protocol. Raises ProtocolError."""
        if isinstance(message, Hello):
            self._on_hello(message)
        elif isinstance(message, Want):
            self._check_greeted()
            self.exchange.on_want(message, self.greeting.offer)
            self._pump()
        elif isinstance(message, Presence):
            self._check_greeted()
            self.presence = message
            self.on_presence(self)
        elif isinstance(message, Challenge | Proof | Forget):
            self._check_greeted()
            self.proving.on_message(message, self.greeting.offer)
        else:
            self._set(State.REFUSED, f"the other side refused: {message.message}")
            self.on_silence()

    def on_avatar_message(self, message: Data | Acknowledgement) -> None:
        """Go on with a transfer. Raises ProtocolError."""
        self._check_greeted()
        if self._session:
            self.exchange.on_message(message, now_us(), self._session.channels)
            self._pump()
            self.greeting.follow()

    def on_abuse(self) -> None:
        """Part for good with who floods or sends nonsense."""
        self._set(State.REFUSED, "it sent too many messages that break the protocol")
        self.on_silence()

    def on_silence(self) -> None:
        """Give the connection up."""
        if self._session:
            self._session.lost.set()

    def _on_hello(self, hello: Hello) -> None:
        found = agreed(self.greeting.ours.schemas, hello)
        if isinstance(found, Refuse):
            self._refuse(found)
            return
        self.schema = found
        self._greeted.set()
        self._set(State.CONNECTED)
        self._begin()
        self.proving.on_offer(hello.avatar)

    def _begin(self) -> None:
        if self._session:
            self.proving.begin(self._session)

    def _check_greeted(self) -> None:
        if not self._greeted.is_set():
            raise ProtocolError("something else before hello")

    def _pump(self) -> None:
        if self._session:
            self.exchange.pump(now_us(), self._session.channels, self._session.room_for_avatar)
