"""The room as the edge's page is told of it. Pure; docs/edge.md has every field."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from telepresence.hub.messages import IceServer


@dataclass(frozen=True, slots=True)
class Someone:
    """Another participant."""

    id: str
    name: str
    place: int
    state: str
    reason: str
    avatar: float | None
    """How much of its avatar is here, 0..1; None when nothing is under way."""
    muted: bool
    camera: bool
    sound: bool
    """Whether a page of its own is open, which can be called."""
    label: str | None = None
    """What its pictures are to be labelled with; None while none are shown."""
    unshown: str = ""
    """Why its avatar is not shown; empty if it is, or is on its way."""

    def fields(self) -> dict[str, Any]:
        """As on the wire."""
        avatar = None if self.avatar is None else round(self.avatar, 2)
        return {name: getattr(self, name) for name in self.__slots__} | {"avatar": avatar}


@dataclass(frozen=True, slots=True)
class Standing:
    """How we stand with the hub."""

    id: str
    """Our own id; empty while we are not in the room."""
    name: str
    room: str
    link: str
    """The join URL, to invite others."""
    joined: bool
    """False after the page has left."""
    hub: bool
    """Whether the hub can be reached."""
    relay_only: bool
    ice_servers: Sequence[IceServer]


def fields(standing: Standing, others: Iterable[Someone], later: Iterable[str], size: int | None) -> dict[str, Any]:
    """The fields of a snapshot.

    Args:
        standing: our own.
        others: everybody else.
        later: ids of those who were there before us, so that it is our page's to offer them sound.
        size: side of a picture at its full size, pixels; None if nothing is drawn.
    """
    return {
        "you": {"id": standing.id, "name": standing.name},
        "room": standing.room,
        "link": standing.link,
        "joined": standing.joined,
        "hub": standing.hub,
        "relay_only": standing.relay_only,
        "ice_servers": [_server(server) for server in standing.ice_servers],
        "participants": [one.fields() for one in sorted(others, key=lambda one: one.place)],
        "later": sorted(later),
        "size": size,
    }


def _server(server: IceServer) -> dict[str, Any]:
    """As RTCPeerConnection takes it in a browser."""
    known = {"username": server.username, "credential": server.credential}
    return {"urls": list(server.urls)} | {name: value for name, value in known.items() if value is not None}
