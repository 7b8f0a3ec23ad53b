"""The other participants: follows the hub's events, keeps one Peer for each."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from telepresence.errors import SignallingError
from telepresence.hub.client import Arrived, Disconnected, Event, HubClient, Joined, Left, Participant, Refused, Relayed
from telepresence.hub.messages import Payload
from telepresence.rtc.peer import Ours, Peer, PeerEvents, State
from telepresence.wire.codec import MotionPacket

logger = logging.getLogger(__name__)


class RoomEvents(PeerEvents, Protocol):
    """What a room's owner is told, on the event loop."""

    def on_left(self, peer: Peer) -> None:
        """A participant is gone; the peer is closed."""

    def on_hub(self, connected: bool) -> None:
        """The hub was lost or reached again; the calls go on in between."""


class Room:
    """Everybody else in the room, in order of arrival.

    Args:
        hub: connected; `run` reads it.
        ours: what is told to everybody.
    """

    def __init__(self, hub: HubClient, ours: Ours, events: RoomEvents) -> None:
        self._hub = hub
        self._ours = ours
        self._events = events
        self.peers: dict[str, Peer] = {}
        self.names: dict[str, str] = {}

    async def run(self) -> None:
        """Follow the hub until it is closed.

        Raises:
            RoomError: it refuses us for good.
        """
        async for event in self._hub:
            try:
                self.handle(event)
            except Exception:  # whatever another participant can cause must not end the call
                logger.exception("an event of the hub could not be handled")

    def handle(self, event: Event) -> None:
        """Follow one event."""
        if isinstance(event, Joined):
            self._on_joined(event)
        elif isinstance(event, Arrived):
            self._add(event.participant, offers=False)
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
        """Send motion to everybody who is connected."""
        for peer in self.peers.values():
            peer.send_motion(packet)

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
        for participant in joined.participants:
            self._add(participant, offers=True)
        present = {participant.id for participant in joined.participants}
        for participant_id, peer in list(self.peers.items()):
            if participant_id not in present and peer.state is not State.CONNECTED:
                self._remove(participant_id)

    def _add(self, participant: Participant, *, offers: bool) -> None:
        present = self.peers.get(participant.id)
        self.names[participant.id] = participant.name
        if present is not None and present.state is not State.REFUSED:
            return
        if present is not None:
            self._remove(participant.id)
        peer = Peer(participant.id, self._ours, self._relay_to(participant.id), self._events, self._hub.ice_servers)
        self.peers[participant.id] = peer
        self.names[participant.id] = participant.name
        self._events.on_peer_state(peer)
        if offers:
            peer.start()

    def _remove(self, participant: str) -> None:
        peer = self.peers.pop(participant, None)
        self.names.pop(participant, None)
        if peer is not None:
            peer.close()
            self._events.on_left(peer)

    def _relay_to(self, participant: str) -> Callable[[Payload], Awaitable[bool]]:
        async def relay(payload: Payload) -> bool:
            try:
                return await self._hub.relay(participant, payload)
            except SignallingError:
                logger.warning("a message to a participant was too large for the hub")
                return False

        return relay
