"""The edge process: camera in, motion out; motion in, pictures out. Puts the parts together, and takes them apart."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

from starlette.routing import BaseRoute

from telepresence.edge.config import EdgeConfig
from telepresence.edge.drawing import Drawing
from telepresence.edge.messages import View
from telepresence.edge.pageroom import Invitation, PageRoom
from telepresence.edge.pages import Pages
from telepresence.edge.shedding import Shedding
from telepresence.edge.status import Status
from telepresence.enrolment.own import own_avatar
from telepresence.enrolment.server import Enrolment
from telepresence.hub.client import HubClient, parse_join_url
from telepresence.rtc import draining, patches, playout_delay, session, trace
from telepresence.rtc.figures import Figures
from telepresence.rtc.landmarker import Tracked
from telepresence.rtc.lips import Lips
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.own_avatar import OwnAvatar, Version
from telepresence.rtc.page import PageServer
from telepresence.rtc.peer import Ours, Peer, State
from telepresence.rtc.renderer import Picture
from telepresence.rtc.room import Room
from telepresence.rtc.sender import Sender
from telepresence.rtc.sound import EdgeSound
from telepresence.rtc.viewers import Viewers
from telepresence.wire.codec import SCHEMAS, MotionPacket
from telepresence.wire.thrift import Rate

__all__ = ["Edge", "EdgeConfig", "run_edge"]

SAMPLE_S: Final = 0.25  # between readings of the byte counters
TIDY_S: Final = 3600.0  # between looks at how old others' avatars are
SWITCH_S: Final = 0.001  # Python's own 5 ms would let a busy worker hold up the event loop for a third of a frame


def run_edge(config: EdgeConfig) -> None:
    """Run an edge until SIGINT or SIGTERM.

    Raises:
        TelepresenceError: it cannot start, or the hub has refused it for good.
    """
    sys.setswitchinterval(SWITCH_S)
    asyncio.run(_run(config))


async def _run(config: EdgeConfig) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Edge(config) as edge:
        gc.collect()
        gc.freeze()  # the libraries' objects stay for good: without this, looking through them pauses everything
        edge.announce()
        await edge.run(stop)


def say(line: str) -> None:
    """A line for people, on standard error."""
    print(line, file=sys.stderr, flush=True)


class Edge:
    """One participant's process. Enter it to start everything, `run` until stopped, leave it to end everything."""

    def __init__(self, config: EdgeConfig) -> None:
        self.config = config
        file = config.file()
        self._drawing = self._new_drawing(file) if config.draws else None
        self._link = parse_join_url(config.url)
        self._loop = asyncio.get_running_loop()
        self._exit = contextlib.AsyncExitStack()
        self._shedding = Shedding()
        self.room: Room
        self.page: PageServer
        self.pages = Pages(
            lambda: self.page.token,
            lambda origin: self.page.admits(origin),
            lambda: self.page_room.fields(),
            self._on_page,
        )
        self.page_room: PageRoom
        self.figures: Figures
        self.viewers: Viewers
        self._shown = config.camera != "none"  # the others are shown something of us
        self._own = OwnAvatar(config.avatar or (own_avatar(say) if self._shown else None), self._shown, say)
        self._sender: Sender
        self._status: Status

    def _new_drawing(self, file: Path | None) -> Drawing:
        drawn, port = (self.config.engine, self.config.size, self.config.runtime), self.config.headset
        if port is None:
            return Drawing(*drawn, file, self, say, self.config.device)
        from telepresence.sinks.headset.drawing import HeadsetDrawing

        return HeadsetDrawing(*drawn, port, self, say, lambda: getattr(self, "room", None), lambda: self.pages)

    async def __aenter__(self) -> Edge:
        try:
            await self._start()
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exit.aclose()

    @property
    def hub(self) -> HubClient:
        """The present connection to the hub."""
        return self.room.hub

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the room until `stop` is set.

        Raises:
            RoomError: the hub has refused us for good, and nobody is connected.
        """
        steps: list[Coroutine[Any, Any, Any]] = [self.page_room.membership.run(), self._sample(), stop.wait()]
        steps += [self._lips.run(), self._sound.run()]
        steps += [self._own.watch(self.room.ours, self._on_own_avatar), self._tidy()]
        tasks = [asyncio.ensure_future(step) for step in steps]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def wear(self, path: Path) -> None:
        """Show us as the avatar in this file from now on, and as what it will be; within two seconds."""
        self._own.wear(path)

    def announce(self) -> None:
        """Say that everything is up, to people and, if asked, to a program."""
        say("in the room")
        if self.config.shows or self._sender.kind == "browser":
            say(f"page: {self.page.url}/")
        if self.config.json_ready:
            print(json.dumps({"page": self.page.url, "token": self.page.token}), flush=True)

    def stats(self) -> dict[str, Any]:
        """What `GET /api/stats` shows."""
        return self._status.report(self.room, self.figures, self._drawing, self.viewers.count, now_us())

    # starting

    async def _start(self) -> None:
        """Start the parts; those that may fail for a reason of the user's come before others know of us."""
        rate = Rate.THRIFTY if self.config.thrifty else Rate.ADAPTIVE
        own = await asyncio.to_thread(self._own.load, Ours(None, self.config.draws, rate=rate))
        told = self._on_motion, self._on_tracked, self._on_camera, lambda why: self._status.camera_failed(why)
        self._sender = Sender(self.config.camera, own.neutral, *told)
        self._status = Status(self._sender.kind, say)
        self.figures = Figures(has_camera=self._sender.active, draws=self.config.draws)
        if self._drawing:
            await self._drawing.start(self._exit)
        self._prepare_page()
        hub = await self._connect(self.config.name)
        self.room = Room(hub, own.ours, self, relay_only=self.config.relay_only)
        self._open_room()
        self._exit.push_async_callback(session.closed_all)
        self._exit.callback(self.viewers.close)
        self._exit.callback(self.room.close)
        self._exit.push_async_callback(asyncio.to_thread, self._sender.close)
        self._exit.push_async_callback(
            lambda: self.hub.close()
        )  # first of all: the others need not wait for threads to end
        await self.page.start()
        self._sender.start()

    async def _connect(self, name: str) -> HubClient:
        link, relay_only = self._link, self.config.relay_only
        return await HubClient.connect(link.signal_url, link.token, link.room, name, SCHEMAS, relay_only=relay_only)

    def _open_room(self) -> None:
        """Let the page see the room."""
        size = self._drawing.engine.size if self._drawing and self.config.shows else None
        invitation = Invitation(self._link.room, self.config.url, self.config.name, size)
        camera = None if self._sender.kind == "browser" else self._sender.active
        self.page_room = PageRoom(self.room, self.pages, self._connect, invitation, camera, say)
        self.pages.listen(View, self._on_view)
        self._lips = Lips(self.pages, self.viewers, self._sender, self.page_room.tell_page_ms)
        self._exit.callback(self.pages.close)
        clip = Path(self.config.camera) if self._sender.kind == "file" else None
        mixer = self._drawing.mixer if self._drawing else None
        self._sound = EdgeSound(self.room, self.pages, self.page_room, self._sender, clip, mixer)
        self._exit.callback(self._sound.close)

    def _prepare_page(self) -> None:
        """Take the page's port, but answer nobody yet."""
        shows, takes = self.config.shows, self._sender.kind == "browser"
        draining.install()
        patches.set_bitrate(self.config.size)
        playout_delay.understood()
        self.viewers = Viewers(self._sender.put if takes else None, self._on_camera, self.figures.shown, shows=shows)
        self.page = PageServer(
            self.config.page_port,
            self.config.page_origins,
            self.viewers.answer,
            self.stats,
            takes_camera=takes,
            gives_avatar=shows,
            headset=None if self.config.headset is None else "/headset-link",
            enrols=self._shown,
            routes=[
                self.pages.route(),
                *self._enrolment_routes(),
                *(self._drawing.routes() if self._drawing else ()),
                *trace.routes(
                    lambda: self.page.token,
                    lambda: self.room.peers.values(),
                    lambda: self.figures.totals(self.room.peers.values()),
                ),
            ],
        )
        self._exit.push_async_callback(self.page.close)

    def _enrolment_routes(self) -> list[BaseRoute]:
        """By which the page makes the avatar that we are shown as."""
        if not self._shown:
            return []
        access = (lambda: self.page.token), (lambda origin: self.page.admits(origin))
        drawn_by = self.config.engine, self.config.runtime
        enrolment = Enrolment(*drawn_by, *access, self.wear, lambda: self.room.ours.avatar, say)
        self._exit.push_async_callback(enrolment.close)
        return enrolment.routes()

    async def _sample(self) -> None:
        while True:
            self.figures.sample(self.room.peers.values(), now_us())
            self.pages.changed()  # how much of each avatar has come
            due = self._loop.time() + SAMPLE_S
            await asyncio.sleep(SAMPLE_S)
            self._shedding.measured(self._loop.time() - due)
            if self._drawing:
                self._sender.pace.measured(self._drawing.renderer.settle())
                self.page_room.slow_camera(self._sender.pace.per_s)

    async def _tidy(self) -> None:
        """Others' avatars do not stay longer than they may, however long this process runs."""
        while True:
            await asyncio.to_thread(self.room.ours.cache.sweep)
            await asyncio.sleep(TIDY_S)

    # what the pages ask and tell, on the loop

    def _on_page(self, active: bool) -> None:
        say("page: in the call" if active else "page: gone; nobody hears us")
        self.page_room.present()
        if not active:
            self._on_view(None)
            self._lips.release()
        self._sound.follow()

    def _on_view(self, view: View | None) -> None:
        if self._drawing:
            self._drawing.look(view)

    # what the sender and the avatar's file tell, on the loop

    def _on_own_avatar(self, version: Version) -> None:
        self.room.change(version.ours)
        self._sender.follow(version.neutral)

    def _on_motion(self, packet: MotionPacket) -> None:
        if packet.rest or self._shedding.passes(len(self.room.peers)):
            self.room.send_motion(packet)
        trace.note("sent", packet.capture_us)

    def _on_tracked(self, tracked: Tracked) -> None:
        self.figures.tracked(tracked, now_us())

    def _on_camera(self, running: bool) -> None:
        self._status.camera(running)
        if not running:
            self.figures.camera_lost()

    # what the room tells, on the loop

    def on_peer_motion(self, peer: Peer, packet: MotionPacket, now_us: int) -> None:
        """Motion goes straight to the render worker."""
        trace.note("received", packet.capture_us, now_us)
        if self._drawing:
            capture_us = peer.clock.to_local_us(packet.capture_us) if peer.clock.known else None
            self._drawing.motion(peer.id, packet, capture_us)

    def on_peer_avatar(self, peer: Peer, data: bytes, whole: bool) -> None:
        """An avatar, or its first reference, has come and may be shown; or it may not be any more."""
        if self._drawing:
            self._drawing.avatar(peer.id, data, whole, peer.proving.label, peer.proving.unshown)

    def on_peer_state(self, peer: Peer) -> None:
        """Say how the connection stands; an avatar whose sender is out of reach comes to rest."""
        if self._drawing:
            self._drawing.arrive(peer.id)
            if peer.state is not State.CONNECTED:
                self._drawing.lost(peer.id)
        say(f"participant {peer.id}: {peer.state}" + (f": {peer.reason}" if peer.reason else ""))

    def on_left(self, peer: Peer) -> None:
        """Forget a participant, but not its figures."""
        overtaken = self._drawing.renderer.overtaken(peer.id) if self._drawing else 0
        self.figures.left(peer, overtaken)
        self.pages.forget(peer.id)
        self.viewers.forget(peer.id)
        if self._drawing:
            self._drawing.leave(peer.id)
        say(f"participant {peer.id}: left")

    def on_hub(self, connected: bool, refusal: str = "") -> None:
        """The call goes on without the hub; nobody new can come."""
        self._status.hub(connected, refusal)
        self.pages.changed()

    # what is drawn, on the loop

    def on_picture(self, picture: Picture) -> bool:
        """Show it at its participant's place; the first one's counts, and is recorded."""
        place = self.room.places.get(picture.participant)
        if place is None:
            return False
        first, now = picture.participant == self.room.first, now_us()
        self.figures.drawn(picture.participant, now)
        if first:
            self.figures.rendered(picture, now, self.room.page_ms(picture.participant))
        self.viewers.show(place, picture)
        return first

    def on_recorded(self, picture: Picture) -> None:
        """Its age is known now; where pages show it too, theirs counts."""
        if not self.config.shows:
            self.figures.shown(picture, now_us())
