"""Sound of an edge without a page: a connection to every other page or edge, as web/call/sound.js has them.

Who came later offers, under a session number; whatever is lost is offered again under a higher one. Of two offers with
the same number that of the higher id stands. On each connection the data channel "sync" answers what our clock shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from aiortc import RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack
from aiortc.sdp import SessionDescription

from telepresence.errors import SignallingError
from telepresence.hub.limits import TokenBucket
from telepresence.hub.messages import MAX_SESSION, IceServer, Payload
from telepresence.rtc import patches
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.session import close_soon, configuration, told
from telepresence.rtc.sound_decoder import Samples, SoundDecoder
from telepresence.rtc.sound_playout import SoundPlayout

logger = logging.getLogger(__name__)

TICK_S: Final = 0.01  # between two looks at what is to be played
CONNECT_S: Final = 8.0
EXPECT_S: Final = 2.5  # for those who are to offer; then we do
PAUSES_S: Final = (0.1, 0.3, 0.6, 1.0)
SYNC_ID: Final = 1
MAX_SYNC_CHARACTERS: Final = 1000
SYNC_PER_S: Final = 20


class SoundOut(Protocol):
    """Where the others' sound goes."""

    def __call__(self, participant: str, samples: Samples, due_us: int, delay_us: int) -> None:
        """Mono samples at 48 kHz, when they are to be heard, and how long they waited here; on the loop."""


class SoundMesh:
    """Sound to and from all others of a room; everything runs on the event loop.

    Args:
        own_id: of us, at present.
        relay: sends a payload through the hub.
        servers: ICE servers, at present, and whether only relays may be used.
        track: makes a track of our sound, one for each connection; None: we have none.
        out: gets what is heard of them.
    """

    def __init__(
        self,
        own_id: Callable[[], str],
        relay: Callable[[str, Payload], Awaitable[Any]],
        servers: Callable[[], tuple[Sequence[IceServer], bool]],
        track: Callable[[], MediaStreamTrack] | None,
        out: SoundOut | None,
    ) -> None:
        self.own_id = own_id
        self.relay = relay
        self.servers = servers
        self.track = track
        self.out = out
        self._lines: dict[str, _Line] = {}

    def follow(self, ids: Iterable[str], before: Iterable[str]) -> None:
        """These can be called now; those of `before` were there first, so that it is ours to offer."""
        wanted, first = set(ids), set(before)
        for gone in self._lines.keys() - wanted:
            self._lines.pop(gone).close()
        for participant in wanted - self._lines.keys():
            line = self._lines[participant] = _Line(participant, self)
            line.offer_in(0.0 if participant in first else EXPECT_S)

    def on(self, sender: str, payload: Payload) -> bool:
        """A payload for sound has come; True: it is taken care of."""
        line = self._lines.get(sender)
        if line is None:
            line = self._lines[sender] = _Line(sender, self)
        line.on(payload)
        return True

    def close(self) -> None:
        """End all of it; it may be used again."""
        self.follow((), ())

    def connected(self) -> list[str]:
        """Whose sound is connected."""
        return [participant for participant, line in self._lines.items() if line.up]


class _Line:
    """The connection to one other."""

    def __init__(self, participant: str, mesh: SoundMesh) -> None:
        self.id = participant
        self._mesh = mesh
        self._number = 0
        self._offered = False
        self._attempts = 0
        self._pc: RTCPeerConnection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self.up = False

    def offer_in(self, seconds: float) -> None:
        """Offer then, unless something comes before."""
        self._after(seconds, lambda: self._begin(self._offer()))

    def on(self, payload: Payload) -> None:
        """What the other sent."""
        if payload.kind == "offer":
            self._on_offer(payload)
        elif payload.kind == "answer":
            if self._pc is not None and self._offered and payload.session == self._number:
                self._begin(self._apply_answer(self._pc, payload.sdp))
        elif payload.session >= self._number:
            self._number = payload.session
            self._lose("the other side began anew")

    def close(self) -> None:
        """For good."""
        self._closed = True
        self._drop()
        for task in self._tasks:
            task.cancel()

    def _on_offer(self, payload: Payload) -> None:
        if payload.session < self._number:
            self._begin(self._send("bye", self._number, ""))
            return
        known = payload.session == self._number and self._pc is not None
        if known and (not self._offered or self._mesh.own_id() > self.id):
            return  # seen, or ours stands
        self._number = payload.session
        self._begin(self._answer(payload.sdp))

    async def _offer(self) -> None:
        self._number = min(MAX_SESSION, self._number + 1)
        pc, number = self._made(offered=True), self._number
        track = self._mesh.track() if self._mesh.track else None
        transceiver = pc.addTransceiver(track or "audio", "sendrecv" if track else "recvonly")
        self._hear(pc, transceiver.receiver)
        await pc.setLocalDescription(await pc.createOffer())
        if self._pc is pc:
            await self._send("offer", number, told(pc, self._mesh.servers()[1]))

    async def _answer(self, sdp: str) -> None:
        pc, number = self._made(offered=False), self._number
        await pc.setRemoteDescription(RTCSessionDescription(checked_sound(sdp), "offer"))
        transceiver = next(t for t in pc.getTransceivers() if t.kind == "audio")
        if self._mesh.track:
            transceiver.sender.replaceTrack(self._mesh.track())
        transceiver.direction = "sendrecv" if self._mesh.track else "recvonly"
        self._hear(pc, transceiver.receiver)
        await pc.setLocalDescription(await pc.createAnswer())
        if self._pc is pc:
            await self._send("answer", number, told(pc, self._mesh.servers()[1]))

    async def _apply_answer(self, pc: RTCPeerConnection, sdp: str) -> None:
        if self._pc is pc and pc.signalingState == "have-local-offer":
            await pc.setRemoteDescription(RTCSessionDescription(checked_sound(sdp), "answer"))

    def _made(self, *, offered: bool) -> RTCPeerConnection:
        self._drop()
        servers, relay_only = self._mesh.servers()
        pc = RTCPeerConnection(configuration(servers, relay_only, self._attempts))
        self._pc, self._offered = pc, offered
        _answer_pings(pc.createDataChannel("sync", ordered=False, maxRetransmits=0, negotiated=True, id=SYNC_ID))
        pc.on("datachannel", lambda channel: channel.close())
        pc.on("connectionstatechange", lambda: self._on_state(pc))
        if pc.sctp is not None:
            patches.guard_data(pc.sctp, lambda: None)
        self._after(CONNECT_S, lambda: self._lose("no connection in time"))
        return pc

    def _hear(self, pc: RTCPeerConnection, receiver: Any) -> None:
        """Packets go past aiortc's own jitter buffer and decoder; a task plays what is due."""
        playout = SoundPlayout()
        if patches.raw_packets(receiver, playout.put) and self._mesh.out is not None:
            self._begin(self._play(pc, playout, self._mesh.out))

    async def _play(self, pc: RTCPeerConnection, playout: SoundPlayout, out: SoundOut) -> None:
        decoder = SoundDecoder()
        while self._pc is pc:
            for play in playout.take(now_us()):
                out(self.id, decoder(play), play.due_us, playout.delay_us)
            await asyncio.sleep(TICK_S)

    def _on_state(self, pc: RTCPeerConnection) -> None:
        if self._pc is not pc:
            return
        if pc.connectionState == "connected":
            self._cancel_timer()
            self.up, self._attempts = True, 0
        elif pc.connectionState in ("failed", "closed"):
            self._lose(pc.connectionState)

    def _lose(self, reason: str) -> None:
        """Whoever offered this one offers the next one at once; the other only if nothing comes."""
        if self._closed:
            return
        offered = self._offered
        self._drop()
        pause = PAUSES_S[min(self._attempts, len(PAUSES_S) - 1)]
        self._attempts += 1
        logger.info("sound: %s; again in %g s", reason, pause)
        self.offer_in(pause if offered else pause + EXPECT_S / 4)

    def _begin(self, step: Any) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(self._guarded(step))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, step: Awaitable[None]) -> None:
        try:
            await step
        except asyncio.CancelledError:
            raise
        except Exception as error:  # aiortc raises anything on a description that it cannot use
            self._lose(f"a step failed ({type(error).__name__})")

    async def _send(self, kind: Any, number: int, sdp: str) -> None:
        await self._mesh.relay(self.id, Payload(kind, number, sdp, media="sound"))

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        self._cancel_timer()
        if not self._closed:
            self._timer = asyncio.get_running_loop().call_later(seconds, act)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _drop(self) -> None:
        self._cancel_timer()
        pc, self._pc, self.up = self._pc, None, False
        if pc is not None:
            pc.remove_all_listeners()
            close_soon(pc)


def _answer_pings(channel: RTCDataChannel) -> None:
    """Tell the other's page what our wall clock shows, whenever it asks."""
    bucket = TokenBucket(burst=SYNC_PER_S, per_s=SYNC_PER_S)

    def on_message(message: bytes | str) -> None:
        if not bucket.take(now_us() / 1e6) or len(message) > MAX_SYNC_CHARACTERS or channel.readyState != "open":
            return
        with contextlib.suppress(ValueError, RecursionError):
            asked = json.loads(message)
            if isinstance(asked, dict) and asked.get("type") == "ping" and type(asked.get("n")) is int:
                channel.send(json.dumps({"type": "pong", "n": asked["n"], "at": time.time_ns() / 1e6}))

    channel.on("message", on_message)


def checked_sound(sdp: str) -> str:
    """A description for sound has one section of sound and one of data channels, and nothing else.

    Returns what aiortc's own parser has understood, written anew.

    Raises:
        SignallingError: it is no such description.
    """
    try:
        description = SessionDescription.parse(sdp)
    except Exception as error:
        raise SignallingError(f"session description refused ({type(error).__name__})") from error
    if sorted(media.kind for media in description.media) != ["application", "audio"]:
        raise SignallingError("session description does not consist of sound and one application section")
    return str(description)
