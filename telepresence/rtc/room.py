"""The other participants: follows the hub's events, keeps one Peer for each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, Protocol

from telepresence.errors import RoomError, SignallingError
from telepresence.hub.client import Arrived, Disconnected, Event, HubClient, Joined, Left, Participant, Refused, Relayed
from telepresence.hub.messages import Payload
from telepresence.hub.rooms import GRACE_S
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
    """

    def __init__(self, hub: HubClient, ours: Ours, events: RoomEvents, grace_s: float = GRACE_S) -> None:
        self._hub = hub
        self.ours = ours
        self._events = events
        self.peers: dict[str, Peer] = {}
        self.names: dict[str, str] = {}
        self._grace_s = grace_s
        self._unlisted: dict[str, float] = {}  # id -> since when (the loop's clock) the hub does not know it

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
        if isinstance(event, Joined):
            self._on_joined(event)
        elif isinstance(event, Arrived):
            self._add(event.participant)
        elif isinstance(event, Left):
            self._remove(event.id)
        elif isinstance(event, Relayed):
            peer = self.peers.get(event.sender)
            if peer is not None:
                peer.on_payload(event.payload, we_win=self._hub.id > event.sender)
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

    def place(self, participant: str) -> int | None:
        """Where a participant is shown: those connected first, then by arrival; None if it has left."""
        if participant not in self.peers:
            return None
        order = sorted(self.peers.values(), key=lambda peer: peer.state is not State.CONNECTED)
        return next(place for place, peer in enumerate(order) if peer.id == participant)

    def close(self) -> None:
        """Close every peer."""
        for participant in list(self.peers):
            self._remove(participant)

    def _on_joined(self, joined: Joined) -> None:
        self._events.on_hub(True)
        if not joined.resumed:  # they know us under an id that is gone
            self.close()
        for peer in self.peers.values():
            peer.servers = self._hub.ice_servers
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
        self.names[participant.id] = participant.name
        if present is not None:
            return present
        relay = self._relay_to(participant.id)
        peer = Peer(participant.id, self.ours, relay, self._events, self._hub.ice_servers)
        self.peers[participant.id] = peer
        self._events.on_peer_state(peer)
        return peer

    def _remove(self, participant: str) -> None:
        self._unlisted.pop(participant, None)
        peer = self.peers.pop(participant, None)
        self.names.pop(participant, None)
        if peer is not None:
            peer.close()
            self._events.on_left(peer)

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
