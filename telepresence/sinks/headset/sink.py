"""The headset sink of an edge: puts the renderer, the table, the server and the link together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.routing import BaseRoute

from telepresence.edge.pages import Door
from telepresence.face.basis import default_basis
from telepresence.face.blendshapes import blendshapes, head_metres
from telepresence.face.motion import keypoints
from telepresence.rtc.mailbox import LoopMailbox
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.stage import Picture
from telepresence.sinks.headset import protocol, relief
from telepresence.sinks.headset.certificate import certificate, data_folder, fingerprint, own_addresses
from telepresence.sinks.headset.gaze import Gaze
from telepresence.sinks.headset.protocol import HeadPose, Seat, Seats
from telepresence.sinks.headset.renderer import StereoPicture, StereoRenderer
from telepresence.sinks.headset.server import Events, HeadsetServer
from telepresence.sinks.headset.table import seats, seen_from
from telepresence.wire.codec import MotionPacket

if TYPE_CHECKING:
    from telepresence.runtime.engine import Engine


@dataclass(frozen=True, slots=True)
class Guest:
    """Another participant, as the sink has to know them."""

    id: str
    name: str
    place: int
    state: str
    label: str = "avatar"
    """What is written under it: that it is no camera picture."""


class HeadsetSink:
    """Make it on the event loop; `renderer`, then `start`, then feed it; `close` at the end.

    Args:
        guests: everybody else in the room, at any time; called on the loop.
        addresses: of this machine, for the certificate and the link; None: found out.
        sound: makes the route of the room's sound for the headset's page; None: the page has none.

    Raises:
        InputError: the port or the certificate cannot be used.
    """

    def __init__(
        self,
        port: int,
        guests: Callable[[], Iterable[Guest]],
        addresses: list[str] | None = None,
        sound: Callable[[Door], BaseRoute] | None = None,
    ) -> None:
        self._guests = guests
        self._loop = asyncio.get_running_loop()
        found = addresses or own_addresses()
        own = certificate(data_folder(), found)
        self.fingerprint = fingerprint(own.certificate)
        self.certificate = own.certificate
        events = Events(self._on_pose, self._on_seats, self._on_clients)
        self._server = HeadsetServer(port, own, self._room, events, sound)
        self.link = f"https://{found[0]}:{self._server.port}/headset/#token={self._server.token}"
        """For the headset's browser; the token is after the #, which no server sees."""
        self._renderer: StereoRenderer | None = None
        self._boxes: dict[str, LoopMailbox[StereoPicture]] = {}
        self._moved = Seats()
        self._pose: HeadPose | None = None
        self._gaze = Gaze()

    def renderer(
        self,
        engine: Engine,
        publish: Callable[[Picture], object],
        on_avatar: Callable[[str, str | None], None],
    ) -> StereoRenderer:
        """The renderer that draws for this sink."""
        self._renderer = StereoRenderer(engine, publish, on_avatar, self._on_stereo, self._watched)
        return self._renderer

    async def start(self) -> None:
        """Let headsets in."""
        await self._server.start()

    async def close(self) -> None:
        """Send everybody away."""
        await self._server.close()

    def changed(self) -> None:
        """The room may look different now."""
        self._server.changed()

    def motion(self, participant: str, packet: MotionPacket, capture_us: int | None) -> None:
        """Motion of a participant, for clients that draw by themselves; on the loop."""
        place = self._place(participant)
        if place is None or not self._server.wants("motion"):
            return
        moved = packet.motion
        neutral = self._renderer.neutral(participant) if self._renderer else None
        shape = default_basis().mean if neutral is None else neutral
        quaternion, position = head_metres(moved.pose)
        weights, points = blendshapes(moved), keypoints(moved, shape)
        data = protocol.motion(place, not packet.rest, capture_us, now_us(), quaternion, position, weights, points)
        self._server.send("motion", place, data)

    def left(self, participant: str) -> None:
        """A participant has left."""
        self._boxes.pop(participant, None)

    def figures(self) -> dict[str, int]:
        """For `/api/stats`."""
        return self._server.figures()

    def _place(self, participant: str) -> int | None:
        return next((guest.place for guest in self._guests() if guest.id == participant), None)

    def _watched(self) -> bool:
        return self._server.wants("pictures")

    def _seats(self) -> dict[int, Seat]:
        return seats([guest.place for guest in self._guests()], self._moved.raised_m) | self._moved.seats

    def _room(self) -> dict[str, Any]:
        places = self._seats()
        return {"participants": [self._fields(guest, places[guest.place]) for guest in self._guests()]}

    def _fields(self, guest: Guest, seat: Seat) -> dict[str, Any]:
        body = self._renderer.body(guest.id) if self._renderer else None
        shown = None if body is None else {"width": round(body.width, 4), "head": [round(v, 4) for v in body.head]}
        return {
            "id": guest.id,
            "name": guest.name,
            "place": guest.place,
            "state": guest.state,
            "label": guest.label,
            "seat": {"position": [round(v, 4) for v in seat.position], "yaw": round(seat.yaw, 5)},
            "body": shown,
        }

    # what clients tell, on the loop

    def _on_pose(self, pose: HeadPose) -> None:
        self._pose = pose
        if self._renderer:
            places = self._seats()
            taken = {guest.id: places[guest.place] for guest in self._guests()}
            self._renderer.watch({who: seen_from(seat, pose) for who, seat in taken.items()}, pose.at_us)
            view = self._gaze.look(pose, taken)
            if view is not None:
                self._renderer.look(view)

    def _on_seats(self, moved: Seats) -> None:
        self._moved = moved
        self._server.changed()
        if self._pose is not None:
            self._on_pose(self._pose)

    def _on_clients(self, others: bool) -> None:
        if others:
            self._pose = None
        if self._renderer:
            if others:
                self._renderer.forget()
            self._gaze.forget()
            self._renderer.look(None)
            self._renderer.draw_again()

    # what the render worker tells, in its thread

    def _on_stereo(self, picture: StereoPicture) -> None:
        box = self._boxes.get(picture.participant)
        if box is None:
            box = self._boxes[picture.participant] = LoopMailbox(self._loop, self._send)
        box.put(picture)

    def _send(self, picture: StereoPicture) -> None:
        if self._renderer is None or picture.eyes != self._renderer.eyes:
            return
        place = self._place(picture.participant)
        if place is None:
            self._boxes.pop(picture.participant, None)
            return
        stereo, times = picture.stereo, (picture.capture_us, picture.rendered_us, picture.pose_us)
        data = protocol.picture(place, picture.side, *times, stereo.drawn, stereo.beyond, picture.jpeg)
        data += protocol.relief(place, relief.SIDE, picture.relief)
        self._server.send("pictures", place, data)
