"""The other participants: follows the hub's events, keeps one Peer for each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, Protocol

from telepresence.edge.messages import is_sound
from telepresence.edge.places import Places
from telepresence.errors import RoomError, SignallingError
from telepresence.hub.client import Arrived, Disconnected, Event, HubClient, Joined, Left, Participant, Refused, Relayed
from telepresence.hub.messages import Payload
from telepresence.hub.rooms import GRACE_S
from telepresence.rtc.hello import Presence
from telepresence.rtc.peer import Ours, Peer, PeerEvents, State
from telepresence.wire.codec import MotionPacket

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.5  # between looks at who has gone without the hub being able to say so


class RoomEvents(PeerEvents, Protocol):
    """What a room's owner is told, on the event loop."""

    def on_left(self, peer: Peer) -> None:
        """A participant is gone; the peer is closed."""

    def on_hub(self, connected: bool, refusal: str = "") -> None:
        """The hub was lost or reached again, or has refused us for good and why; the calls go on without it."""


class Room:
    """Everybody else in the room, in order of arrival.

    Args:
        hub: connected; `run` reads it.
        ours: what is told to everybody, until it is changed.
        grace_s: how long somebody whom a restarted hub does not know may take to come back to it.
        relay_only: connect through TURN servers only, whatever the hub says.
    """

    def __init__(
        self,
        hub: HubClient,
        ours: Ours,
        events: RoomEvents,
        grace_s: float = GRACE_S,
        *,
        relay_only: bool = False,
    ) -> None:
        self._hub = hub
        self.ours = ours
        self.presence = Presence()
        """How we want to be shown; change it with `present`."""
        self._events = events
        self.peers: dict[str, Peer] = {}
        self._known: dict[str, Participant] = {}  # as the hub knows them
        self.places = Places()
        self.before: set[str] = set()
        """Those who were there before us, as far as we can tell."""
        self.on_sound: Callable[[str, Payload], bool] = lambda sender, payload: False
        """Gets what another participant's page says to ours; False: we have none."""
        self.on_change: Callable[[], None] = lambda: None
        """Told when anything of what is known of the others has changed."""
        self._closed = False
        self._relay_only = relay_only
        self._farewells: set[asyncio.Task[bool]] = set()
        self._grace_s = grace_s
        self._unlisted: dict[str, float] = {}  # id -> since when (the loop's clock) the hub does not know it

    @property
    def hub(self) -> HubClient:
        """The present connection to the hub."""
        return self._hub

    @property
    def relay_only(self) -> bool:
        """Whether connections go through TURN servers only."""
        return self._relay_only or self._hub.relay_only

    def enter(self, hub: HubClient) -> None:
        """Come back by another connection, after the one before was closed; `run` again."""
        self.close()
        self._hub, self._closed = hub, False

    async def run(self) -> None:
        """Follow the hub until it is closed; if it refuses us for good, stay for as long as anybody is connected.

        Raises:
            RoomError: it has refused us for good, and nobody is connected (any more).
        """
        looking = asyncio.ensure_future(self._look_around())
        try:
            async for event in self._hub:
                try:
                    self.handle(event)
                except Exception:  # whatever another participant can cause must not end the call
                    logger.exception("an event of the hub could not be handled")
        except RoomError as error:
            self._events.on_hub(False, str(error))
            while True:
                if all(peer.state is not State.CONNECTED for peer in self.peers.values()):
                    raise
                await asyncio.sleep(LOOK_S)
        finally:
            looking.cancel()

    def handle(self, event: Event) -> None:
        """Follow one event."""
        if self._closed:
            return  # what was under way when we left
        if isinstance(event, Joined):
            self._on_joined(event)
        elif isinstance(event, Arrived):
            self._add(event.participant)
        elif isinstance(event, Left):
            self._remove(event.id)
        elif isinstance(event, Relayed):
            self._on_relayed(event)
        elif isinstance(event, Disconnected):
            self._events.on_hub(False)
        elif isinstance(event, Refused):
            logger.info("the hub did not do what was asked (%s)", event.code)

    def send_motion(self, packet: MotionPacket) -> None:
        """Send motion of our present avatar to everybody who is connected."""
        if packet.epoch != self.ours.epoch:
            packet = replace(packet, epoch=self.ours.epoch)
        for peer in self.peers.values():
            peer.send_motion(packet)

    def change(self, ours: Ours) -> None:
        """Tell everybody of another avatar of ours, and whoever comes from now on."""
        self.ours = ours
        for peer in self.peers.values():
            peer.change(ours)

    def present(self, presence: Presence) -> None:
        """Tell everybody how we want to be shown, and whoever comes from now on."""
        self.presence = presence
        for peer in self.peers.values():
            peer.present(presence)

    async def relay_sound(self, to: str, payload: Payload) -> bool:
        """Hand a payload of our page to another participant's; False if that is not possible now."""
        return to in self.peers and await self._relay_to(to)(payload)

    def name(self, participant: str) -> str:
        """What its token says, else what a participant calls itself, else what the hub says; may be empty."""
        peer, known = self.peers.get(participant), self._known.get(participant)
        told = peer.presence.name if peer is not None and peer.presence else ""
        if known is None:
            return told
        return known.name if known.vouched else told or known.name

    @property
    def first(self) -> str | None:
        """Who has the lowest place of those connected, else of all; None in an empty room."""
        order = sorted(self.peers.values(), key=lambda p: (p.state is not State.CONNECTED, self.places[p.id]))
        return order[0].id if order else None

    def close(self) -> None:
        """Close every peer, and take no new ones."""
        self._closed = True
        self._forget_all()

    def _forget_all(self) -> None:
        for participant in list(self.peers):
            self._remove(participant)

    def _on_joined(self, joined: Joined) -> None:
        self._events.on_hub(True)
        if not joined.resumed:  # they know us under an id that is gone
            self._forget_all()
        for peer in self.peers.values():
            self._route(peer)
        self.before |= {p.id for p in joined.participants if p.id not in self.peers}
        for participant in joined.participants:
            peer = self._add(participant)
            if peer.state is not State.CONNECTED:  # they may have forgotten us, and then nobody else would offer
                peer.start()
        now = asyncio.get_running_loop().time()
        listed = {participant.id for participant in joined.participants}
        self._unlisted = dict.fromkeys(self.peers.keys() - listed, now)

    def _add(self, participant: Participant) -> Peer:
        """The peer of a participant that the hub knows: the present one, or a new one, which waits for its offer."""
        present = self.peers.get(participant.id)
        if present is not None and present.state is State.REFUSED:  # it may be another version by now
            self._remove(participant.id)
            present = None
        self._unlisted.pop(participant.id, None)
        self._known[participant.id] = participant
        if present is not None:
            return present
        relay = self._relay_to(participant.id)
        peer = Peer(self._hub.id, participant.id, self.ours, relay, self)
        self._route(peer)
        peer.present(self.presence)
        peer.on_presence = lambda _: self.on_change()
        self.peers[participant.id] = peer
        self.places.arrive(participant.id)
        self._events.on_peer_state(peer)
        self.on_change()
        return peer

    def page_ms(self, participant: str) -> float:
        """Milliseconds of a participant's capture times that lie before its edge had the picture; 0 if not known."""
        peer = self.peers.get(participant)
        return (peer.presence.page_ms or 0.0) if peer is not None and peer.presence is not None else 0.0

    def _route(self, peer: Peer) -> None:
        """By which servers its next connection goes."""
        peer.servers, peer.relay_only = self._hub.ice_servers, self.relay_only

    def _on_relayed(self, relayed: Relayed) -> None:
        peer = self.peers.get(relayed.sender)
        if peer is None:
            return
        if not is_sound(relayed.payload):
            peer.on_payload(relayed.payload, we_win=self._hub.id > relayed.sender)
        elif not self.on_sound(relayed.sender, relayed.payload) and relayed.payload.kind == "offer":
            bye = asyncio.ensure_future(self._relay_to(peer.id)(replace(relayed.payload, kind="bye", sdp="")))
            self._farewells.add(bye)
            bye.add_done_callback(self._farewells.discard)

    # what the peers tell

    def on_peer_motion(self, peer: Peer, packet: MotionPacket, now_us: int) -> None:
        """For the room's owner."""
        self._events.on_peer_motion(peer, packet, now_us)

    def on_peer_avatar(self, peer: Peer, data: bytes, whole: bool) -> None:
        """For the room's owner."""
        self._events.on_peer_avatar(peer, data, whole)
        self.on_change()

    def on_peer_state(self, peer: Peer) -> None:
        """Give a place to who connects for the first time, and tell the room's owner."""
        if peer.state is State.CONNECTED and not peer.rebuilds:
            self.places.connect(peer.id, lambda other: self.peers[other].state is State.CONNECTED)
        self._events.on_peer_state(peer)
        self.on_change()

    def _remove(self, participant: str) -> None:
        self._unlisted.pop(participant, None)
        peer = self.peers.pop(participant, None)
        self._known.pop(participant, None)
        self.places.leave(participant)
        self.before.discard(participant)
        if peer is not None:
            peer.close()
            self._events.on_left(peer)
            self.on_change()

    async def _look_around(self) -> None:
        """Drop who is neither connected nor known to the hub: it will never tell us that they left."""
        while True:
            await asyncio.sleep(min(LOOK_S, self._grace_s))
            over = asyncio.get_running_loop().time() - self._grace_s
            for participant, since in list(self._unlisted.items()):
                if since <= over and self._hub.connected and self.peers[participant].state is not State.CONNECTED:
                    self._remove(participant)

    def _relay_to(self, participant: str) -> Callable[[Payload], Awaitable[bool]]:
        async def relay(payload: Payload) -> bool:
            try:
                return await self._hub.relay(participant, payload)
            except SignallingError:
                logger.warning("a message to a participant was too large for the hub")
                return False

        return relay
