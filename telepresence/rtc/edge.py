"""The edge process: camera in, motion out; motion in, pictures out. Puts the parts together, and takes them apart."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import signal
import sys
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from telepresence.edge.messages import View
from telepresence.edge.pageroom import Invitation, PageRoom
from telepresence.edge.pages import Pages
from telepresence.edge.schedule import SMALL
from telepresence.edge.shedding import Shedding
from telepresence.errors import InputError
from telepresence.hub.client import HubClient, parse_join_url
from telepresence.rtc import patches, session, trace
from telepresence.rtc.figures import Figures, overall, participants
from telepresence.rtc.landmarker import Tracked
from telepresence.rtc.lips import Lips
from telepresence.rtc.mailbox import LoopMailbox
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.own_avatar import OwnAvatar, Version
from telepresence.rtc.page import PageServer
from telepresence.rtc.peer import Ours, Peer, State
from telepresence.rtc.recorder import Recorder
from telepresence.rtc.renderer import Picture, Renderer
from telepresence.rtc.room import Room
from telepresence.rtc.sender import Sender
from telepresence.rtc.sound import EdgeSound
from telepresence.rtc.sound_mixer import SoundMixer
from telepresence.rtc.viewers import Viewers
from telepresence.runtime.engine import Engine, open_engine
from telepresence.runtime.info import DEFAULT_ENGINE
from telepresence.wire.codec import SCHEMAS, MotionPacket
from telepresence.wire.thrift import Rate

logger = logging.getLogger(__name__)

SAMPLE_S: Final = 0.25  # between readings of the byte counters
SWITCH_S: Final = 0.001  # Python's own 5 ms would let a busy worker hold up the event loop for a third of a frame


@dataclass(frozen=True)
class EdgeConfig:
    """What `telepresence join` was given."""

    url: str
    camera: str = "browser"
    avatar: Path | None = None
    sink: str = "browser"
    name: str = ""
    page_port: int = 0
    page_origins: Sequence[str] = ()
    json_ready: bool = False
    engine: str = DEFAULT_ENGINE
    size: int = 256
    runtime: str | None = None
    thrifty: bool = False
    relay_only: bool = False


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
        self._draws = config.sink != "null"
        self._file = Path(config.sink) if config.sink not in ("browser", "null") else None
        if self._file is not None and self._file.suffix.lower() != ".mp4":
            raise InputError(f"--sink {config.sink}: neither browser nor null nor a file that ends in .mp4")
        self._link = parse_join_url(config.url)
        self._loop = asyncio.get_running_loop()
        self._exit = contextlib.AsyncExitStack()
        self._camera_runs = False
        self._shedding = Shedding()
        self._hub_known = False
        self._pictures: dict[str, LoopMailbox[Picture]] = {}
        self._engine: Engine | None = None
        self._renderer: Renderer | None = None
        self._recorder: Recorder | None = None
        self._mixer: SoundMixer | None = None
        self._avatar_errors: dict[str, str] = {}
        self._camera_error: str | None = None
        self._hub_refusal: str | None = None
        self.room: Room
        self.page: PageServer
        self.pages = Pages(lambda: self.page.token, self._admits, self._snapshot, self._on_page)
        self.page_room: PageRoom
        self.figures: Figures
        self.viewers: Viewers
        self._own = OwnAvatar(config.avatar, config.camera != "none", say)
        self._sender: Sender

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
        steps.append(self._own.watch(self.room.ours, self._on_own_avatar))
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

    def announce(self) -> None:
        """Say that everything is up, to people and, if asked, to a program."""
        say("in the room")
        if self.config.sink == "browser" or self._sender.kind == "browser":
            say(f"page: {self.page.url}/")
        if self.config.json_ready:
            print(json.dumps({"page": self.page.url, "token": self.page.token}), flush=True)

    def stats(self) -> dict[str, Any]:
        """What `GET /api/stats` shows."""
        now, peers = now_us(), self.room.peers
        overtaken = sum(self._renderer.overtaken(p) for p in peers) if self._renderer else 0
        engine = self._engine
        return self.figures.snapshot(peers, overtaken, now) | {
            "state": overall(peers.values()),
            "participants": participants(
                peers,
                self.room.name,
                lambda one: self.figures.fps(one, now),
                lambda one: self._renderer.size(one) if self._renderer else None,
            ),
            "avatar_errors": sorted(self._avatar_errors.values()),
            "hub": self.hub.connected,
            "hub_refusal": self._hub_refusal,
            "camera": self._sender.kind,
            "camera_runs": self._camera_runs,
            "camera_error": self._camera_error,
            "pages": self.viewers.count,
            "engine": engine.info.name if engine else None,
            "size": engine.size if engine else None,
            "runtime": engine.runtime_name if engine else None,
        }

    # starting

    async def _start(self) -> None:
        """Start the parts; those that may fail for a reason of the user's come before others know of us."""
        rate = Rate.THRIFTY if self.config.thrifty else Rate.ADAPTIVE
        own = await asyncio.to_thread(self._own.load, Ours(None, self._draws, rate=rate))
        told = self._on_motion, self._on_tracked, self._on_camera, self._on_camera_error
        self._sender = Sender(self.config.camera, own.neutral, *told)
        self.figures = Figures(has_camera=self._sender.active, draws=self._draws)
        if self._draws:
            await self._start_renderer()
        self._prepare_page()
        hub = await self._connect(self.config.name)
        self.room = Room(hub, own.ours, self, relay_only=self.config.relay_only)
        self._open_room()
        self._exit.push_async_callback(session.closed_all)
        self._exit.callback(self.viewers.close)
        self._exit.callback(self.room.close)
        self._exit.push_async_callback(asyncio.to_thread, self._sender.close)
        self._exit.push_async_callback(self._leave_hub)  # first of all: the others need not wait for threads to end
        await self.page.start()
        self._sender.start()

    async def _connect(self, name: str) -> HubClient:
        return await HubClient.connect(self._link.signal_url, self._link.token, self._link.room, name, SCHEMAS)

    async def _leave_hub(self) -> None:
        await self.hub.close()

    def _open_room(self) -> None:
        """Let the page see the room."""
        size = self._engine.size if self._engine and self.config.sink == "browser" else None
        invitation = Invitation(self._link.room, self.config.url, self.config.name, size)
        camera = None if self._sender.kind == "browser" else self._sender.active
        self.page_room = PageRoom(self.room, self.pages, self._connect, invitation, camera, say)
        self.pages.listen(View, self._on_view)
        self._lips = Lips(self.pages, self.viewers, self._sender, self.page_room.tell_page_ms)
        self._exit.callback(self.pages.close)
        clip = Path(self.config.camera) if self._sender.kind == "file" else None
        self._sound = EdgeSound(self.room, self.pages, self.page_room, self._sender, clip, self._mixer)
        self._exit.callback(self._sound.close)

    async def _start_renderer(self) -> None:
        config = self.config
        engine = await asyncio.to_thread(_open_engine, config.engine, config.size, config.runtime)
        self._engine = engine
        small = SMALL in engine.info.sizes and engine.size > SMALL and not engine.batches and self._file is None
        self._renderer = Renderer(
            engine,
            self._publish,
            self._on_avatar_ready,
            keep_rgb=self._file is not None,
            open_small=(lambda: _open_engine(config.engine, SMALL, engine.runtime_name)) if small else None,
        )
        self._exit.push_async_callback(asyncio.to_thread, self._renderer.close)
        say(f"engine {engine.info.name}, {engine.size}x{engine.size}, {engine.reason}")
        if self._file is not None:
            self._mixer = SoundMixer()
            self._recorder = Recorder(self._file, engine.size, self._recorded, self._mixer)
            self._exit.push_async_callback(self._stop_recorder)
        self._renderer.start()

    def _prepare_page(self) -> None:
        """Take the page's port, but answer nobody yet."""
        shows, takes = self.config.sink == "browser", self._sender.kind == "browser"
        patches.set_bitrate(self.config.size)
        put = self._sender.put if takes else None
        self.viewers = Viewers(put, self._on_camera, self.figures.shown, shows=shows)
        self.page = PageServer(
            self.config.page_port,
            self.config.page_origins,
            self.viewers.answer,
            self.stats,
            takes_camera=takes,
            gives_avatar=shows,
            routes=[
                self.pages.route(),
                *trace.routes(
                    lambda: self.page.token,
                    lambda: self.room.peers.values(),
                    lambda: self.figures.totals(self.room.peers.values()),
                ),
            ],
        )
        self._exit.push_async_callback(self.page.close)

    async def _stop_recorder(self) -> None:
        if self._recorder is not None:
            problem = await asyncio.to_thread(self._recorder.close)
            say(f"recorded: {self._file}" if problem is None else f"nothing was recorded: {problem}")

    async def _sample(self) -> None:
        while True:
            self.figures.sample(self.room.peers.values(), now_us())
            self.pages.changed()  # how much of each avatar has come
            due = self._loop.time() + SAMPLE_S
            await asyncio.sleep(SAMPLE_S)
            self._shedding.measured(self._loop.time() - due)

    # what the pages ask and tell, on the loop

    def _admits(self, origin: str | None) -> bool:
        return self.page.admits(origin)

    def _snapshot(self) -> dict[str, Any]:
        return self.page_room.fields()

    def _on_page(self, active: bool) -> None:
        say("page: in the call" if active else "page: gone; nobody hears us")
        self.page_room.present()
        if not active:
            self._on_view(None)
            self._lips.release()
        self._sound.follow()

    def _on_view(self, view: View | None) -> None:
        if self._renderer and self._file is None:
            self._renderer.look(view)

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
        if running != self._camera_runs:
            self._camera_runs = running
            say("camera: running" if running else "camera: gone; the others see the avatar at rest")
        if not running:
            self.figures.camera_lost()

    def _on_camera_error(self, problem: str) -> None:
        self._camera_error = problem
        say(f"camera: {problem}; the others see the avatar at rest")

    # what the room tells, on the loop

    def on_peer_motion(self, peer: Peer, packet: MotionPacket, now_us: int) -> None:
        """Motion goes straight to the render worker."""
        trace.note("received", packet.capture_us, now_us)
        if self._renderer:
            capture_us = peer.clock.to_local_us(packet.capture_us) if peer.clock.known else None
            self._renderer.put(peer.id, packet, capture_us)

    def on_peer_avatar(self, peer: Peer, data: bytes, whole: bool) -> None:
        """An avatar, or its first reference, has come."""
        if self._renderer:
            self._renderer.put_avatar(peer.id, data, whole)

    def on_peer_state(self, peer: Peer) -> None:
        """Say how the connection stands; an avatar whose sender is out of reach comes to rest."""
        if peer.id not in self._pictures:
            self._pictures[peer.id] = LoopMailbox(self._loop, self._on_picture)
        if peer.state is not State.CONNECTED and self._renderer:
            self._renderer.link_lost(peer.id)
        say(f"participant {peer.id}: {peer.state}" + (f": {peer.reason}" if peer.reason else ""))

    def on_left(self, peer: Peer) -> None:
        """Forget a participant, but not its figures."""
        overtaken = self._renderer.overtaken(peer.id) if self._renderer else 0
        self.figures.left(peer, overtaken)
        self.pages.forget(peer.id)
        self._pictures.pop(peer.id, None)
        self._avatar_errors.pop(peer.id, None)
        if self._renderer:
            self._renderer.remove(peer.id)
        say(f"participant {peer.id}: left")

    def on_hub(self, connected: bool, refusal: str = "") -> None:
        """The call goes on without the hub; nobody new can come."""
        if refusal:
            self._hub_refusal = refusal
            say(f"hub: refused, nobody new can join ({refusal})")
        elif connected != self._hub_known:
            say("hub: connected" if connected else "hub: out of reach; the call goes on, trying again")
        self._hub_known = connected
        self.pages.changed()

    # what the render worker tells, in its threads

    def _publish(self, picture: Picture) -> None:
        mailbox = self._pictures.get(picture.participant)
        if mailbox is not None:  # else it has just left
            mailbox.put(picture)

    def _recorded(self, picture: Picture, written_us: int) -> None:
        self._loop.call_soon_threadsafe(self.figures.shown, picture, now_us())

    def _on_avatar_ready(self, participant: str, problem: str | None) -> None:
        self._loop.call_soon_threadsafe(self._note_avatar, participant, problem)

    def _note_avatar(self, participant: str, problem: str | None) -> None:
        self._avatar_errors.pop(participant, None)
        if problem is not None and participant in self.room.peers:
            self._avatar_errors[participant] = problem
            say(f"participant {participant}: {problem}")

    def _on_picture(self, picture: Picture) -> None:
        place = self.room.places.get(picture.participant)
        if place is None:
            return
        self.figures.drawn(picture.participant, now_us())
        if picture.participant == self.room.first:
            self.figures.rendered(picture, now_us(), self.room.page_ms(picture.participant))
            if self._recorder:
                self._recorder.put(picture)
        self.viewers.show(place, picture)


def _open_engine(name: str, size: int, runtime: str | None) -> Engine:
    engine = open_engine(name, size, runtime=runtime)
    engine.warm_up()
    return engine
