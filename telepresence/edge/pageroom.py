"""The room as the edge's own page sees it and acts in it: who is there, what we are called, sound, leaving."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from telepresence.edge import snapshot
from telepresence.edge.membership import Membership
from telepresence.edge.messages import About, Leave, Level, Microphone, Return
from telepresence.edge.pages import Pages
from telepresence.edge.snapshot import Someone, Standing
from telepresence.hub.client import HubClient
from telepresence.hub.messages import Relay
from telepresence.rtc.hello import Presence
from telepresence.rtc.peer import Peer
from telepresence.rtc.room import Room

MAX_RELAYING: Final = 64  # messages on their way to the hub


@dataclass(frozen=True, slots=True)
class Invitation:
    """How we came, and how others may."""

    room: str
    link: str
    name: str
    """What `--name` says."""
    size: int | None
    """Side of pictures at their full size; None if nothing is drawn."""


class PageRoom:
    """Answers the page's messages about the room, and tells it of every change.

    Args:
        room: with a hub that is connected.
        pages: the WebSocket's side; its handlers are set here, but for those of sound and pictures.
        connect: makes another connection to the hub, under a name.
        invitation: what does not change.
        camera: whether a camera runs here that the page does not know of; None: it is the page's.
        say: gets a line for people.
    """

    def __init__(
        self,
        room: Room,
        pages: Pages,
        connect: Callable[[str], Awaitable[HubClient]],
        invitation: Invitation,
        camera: bool | None,
        say: Callable[[str], None],
    ) -> None:
        self.room = room
        self.membership = Membership(room, lambda: connect(room.presence.name), self)
        self._pages = pages
        self._invitation = invitation
        self._camera = camera
        self._about = About("", muted=False, camera=False)
        self._headset_muted = True
        self._page_ms: float | None = None
        self._camera_per_s: float | None = None
        self._speaks = False
        self._say = say
        self._relaying: set[asyncio.Task[None]] = set()
        room.on_sound = pages.relay
        room.on_change = pages.changed
        pages.listen(About, self._on_about)
        pages.listen(Microphone, self._on_microphone)
        pages.listen(Relay, self._on_relay)
        pages.listen(Leave, lambda _: self.membership.leave())
        pages.listen(Return, lambda _: self.membership.come_back())
        self.present()

    def present(self) -> None:
        """Tell the others how we want to be shown; call when a page has come or gone."""
        about = self._about
        name = self.room.hub.vouched_name or about.name or self._invitation.name
        camera = about.camera and self._pages.desk if self._camera is None else self._camera
        if not self._pages.headset:
            self._headset_muted = True  # until the next one says otherwise
        muted = self._headset_muted if self._pages.headset else about.muted
        sound = self._pages.active or self._speaks
        self.room.present(Presence(name, muted, camera, sound, self._page_ms))
        self._pages.changed()

    def tell_page_ms(self, page_ms: float | None) -> None:
        """The others are to know how long pictures take from our page's camera to us: that is no part of `edge_ms`."""
        self._page_ms = page_ms
        self.present()

    def slow_camera(self, per_s: float | None) -> None:
        """The page is to send so many of its camera's pictures a second at the most; None: all of them."""
        if per_s != self._camera_per_s:
            self._camera_per_s = per_s
            self._pages.changed()

    def speaks(self) -> None:
        """Without a page, the edge itself has sound, and can be called."""
        self._speaks = True
        self.present()

    def fields(self) -> dict[str, Any]:
        """Of a snapshot."""
        room, hub = self.room, self.room.hub
        joined = self.membership.joined
        standing = Standing(
            id=hub.id if joined else "",
            name=room.presence.name,
            room=self._invitation.room,
            link=self._invitation.link,
            joined=joined,
            hub=hub.connected,
            relay_only=room.relay_only,
            ice_servers=hub.ice_servers,
        )
        others = [self._someone(peer) for peer in room.peers.values()]
        told = snapshot.fields(standing, others, room.before & room.peers.keys(), self._invitation.size)
        return told | {"camera_per_s": self._camera_per_s}

    def on_membership(self) -> None:
        """We have left or come back."""
        self._say("in the room" if self.membership.joined else "left the room; the page can join again")
        self._pages.changed()

    def on_problem(self, text: str, level: Level) -> None:
        """Something for the user."""
        self._say(text)
        self._pages.say(text, level)

    def _someone(self, peer: Peer) -> Someone:
        presence = peer.presence or Presence()
        return Someone(
            id=peer.id,
            name=self.room.name(peer.id),
            place=self.room.places[peer.id],
            state=str(peer.state),
            reason=peer.reason,
            avatar=peer.exchange.receiving,
            muted=presence.muted,
            camera=presence.camera,
            sound=presence.sound,
            label=peer.proving.label,
            unshown=peer.proving.unshown,
        )

    def _on_about(self, about: About) -> None:
        self._about = about
        self.present()

    def _on_microphone(self, microphone: Microphone) -> None:
        self._headset_muted = microphone.muted
        self.present()

    def _on_relay(self, relay: Relay) -> None:
        if len(self._relaying) < MAX_RELAYING:
            task = asyncio.ensure_future(self._relay(relay))
            self._relaying.add(task)
            task.add_done_callback(self._relaying.discard)

    async def _relay(self, relay: Relay) -> None:
        await self.room.relay_sound(relay.to, relay.payload)
