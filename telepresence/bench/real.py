"""What a bad network does to a call's motion, for real: `telepresence bench link --real`.

Two participants as in a call (`rtc.peer.Peer`: aiortc, its channels, the codec, acknowledgements, the heartbeat) in one
process, over UDP sockets on loopback, with the link emulator behind both. Motion is sent as a camera of 30 a second
would. What arrives goes to a call's own renderer, with an engine that takes no time, and to a sink that asks 60 times
a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from telepresence.bench.link import BEGIN_US, CONDITIONS, PHASE, SINK_HZ
from telepresence.bench.trace import POINTS, Source, Trace, fresh_after, in_outage, longest_freeze, stale_shown
from telepresence.face.basis import default_basis
from telepresence.face.motion import keypoints
from telepresence.hub.messages import Payload
from telepresence.rtc import session
from telepresence.rtc.link import LinkConditions
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.peer import Ours, Peer, State
from telepresence.rtc.renderer import Picture, Renderer
from telepresence.wire.packets import MotionPacket
from telepresence.wire.playout import Playout

CONNECT_S: Final = 15.0
SETTLE_S: Final = 0.5  # after the connection is up: the avatar's first pictures
SINKS: Final = ("call", "60 Hz")
SENDER: Final = "sender"  # as the renderer knows it

REAL_CONDITIONS: Final[Mapping[str, LinkConditions]] = {
    name: CONDITIONS[name]
    for name in (
        "clean",
        "10 % loss, 20 ms jitter",
        "bursts of 3, 5 % loss",
        "5 % early, 5 % twice",
        "2 s outage",
    )
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What was shown, as in `bench.link.LinkRow`: milliseconds and counts."""

    ages: list[float]
    """Of each picture."""
    freeze: float
    stale: int
    fresh: float | None


@dataclass(frozen=True, slots=True)
class RealRow:
    """One run's figures at one sink."""

    condition: str
    sink: str
    """`call`: the newest picture of a call's renderer; `60 Hz`: a sink that asks the playout at its own rate."""
    shown: Shown
    pictures_per_s: float
    payload_kbps: float
    wire_kbps: float
    """Both directions, what the emulator lost not counted."""
    sent: int
    """Messages."""
    skipped: int
    """Motions that the transport had no room for."""
    left_out: int
    """Motions that nobody would have seen."""
    rebuilds: int
    lost_pct: float
    """Of the sender's datagrams, by the emulator: over a dozen seconds chance makes 8 to 12 % of 10."""
    loop_late_p95: float
    """By how much the event loop missed the sink's ticks, milliseconds: how busy the machine was."""


class _NullEngine:
    """Stands in for an engine: takes keypoints, draws nothing."""

    size: Final = 2

    def __init__(self) -> None:
        self.keypoints: NDArray[np.float32] | None = None
        self._picture = np.zeros((self.size, self.size, 4), np.uint8)

    def prepare(self, avatar: Any) -> Any:
        """Nothing to prepare."""
        return SimpleNamespace(warnings=())

    def render(self, prepared: Any, keypoints: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Remember what would have been drawn."""
        self.keypoints = keypoints[POINTS, :2].copy()
        return self._picture

    def close(self) -> None:
        """Nothing to close."""


class _Receiver:
    """The receiving participant's screens."""

    def __init__(self) -> None:
        from telepresence.avatar.samples import sample_avatar_bytes

        self.drawn = Trace([], [], [])
        self.asked = Trace([], [], [])
        self.late_us: list[int] = []
        self._engine = _NullEngine()
        self._playout = Playout()
        self._neutral = default_basis().mean
        self.renderer = Renderer(cast(Any, self._engine), self._publish, lambda participant, problem: None)
        self.renderer.start()
        self.renderer.put_avatar(SENDER, sample_avatar_bytes(), whole=True)

    def on_peer_motion(self, peer: Peer, packet: MotionPacket, now: int) -> None:
        """To both."""
        self.renderer.put(SENDER, packet, packet.capture_us)  # one machine, one clock
        self._playout.receive(packet, now)

    def on_peer_avatar(self, peer: Peer, data: bytes, whole: bool) -> None:
        """None is sent."""

    def on_peer_state(self, peer: Peer) -> None:
        """As the edge does."""
        if peer.state is not State.CONNECTED:
            self.renderer.link_lost(SENDER)
            self._playout.link_lost()

    def _publish(self, picture: Picture) -> None:
        if self._engine.keypoints is not None:
            self.drawn.now_us.append(picture.rendered_us)
            self.drawn.capture_us.append(picture.capture_us)
            self.drawn.points.append(self._engine.keypoints)

    async def watch(self, begun_us: int, end_us: int) -> None:
        """Ask the playout at the sink's rate."""
        tick = 0
        while (due_us := begun_us + round(tick * 1e6 / SINK_HZ * PHASE)) < end_us:
            await asyncio.sleep(max(0, due_us - now_us()) / 1e6)
            now = now_us()
            self.late_us.append(now - due_us)
            tick += 1
            if (motion := self._playout.sample(now)) is not None:
                self.asked.now_us.append(now)
                self.asked.capture_us.append(self._playout.shown_capture_us)
                self.asked.points.append(keypoints(motion, self._neutral)[POINTS, :2])


class _Silent:
    """The sending participant's: nothing comes back."""

    def on_peer_motion(self, peer: Peer, packet: MotionPacket, now: int) -> None:
        """None is sent."""

    def on_peer_avatar(self, peer: Peer, data: bytes, whole: bool) -> None:
        """None is sent."""

    def on_peer_state(self, peer: Peer) -> None:
        """The sender shows nothing."""


@contextlib.asynccontextmanager
async def _call(receiver: _Receiver, ours: Ours) -> AsyncIterator[tuple[Peer, Peer]]:
    """Two connected participants: who sends and who receives."""
    peers: dict[str, Peer] = {}

    def relay_to(name: str) -> Callable[[Payload], Awaitable[bool]]:
        async def relay(payload: Payload) -> bool:
            asyncio.get_running_loop().call_soon(peers[name].on_payload, payload)
            return True

        return relay

    peers["sender"] = Peer("sender", "receiver", ours, relay_to("receiver"), _Silent())
    peers["receiver"] = Peer("receiver", "sender", Ours(None), relay_to("sender"), receiver)
    sender, receiving = peers["sender"], peers["receiver"]
    sender.start()
    try:
        deadline = time.monotonic() + CONNECT_S
        while not (sender.state is receiving.state is State.CONNECTED):
            if time.monotonic() > deadline:
                raise TimeoutError("two aiortc peers on loopback did not connect")
            await asyncio.sleep(0.02)
        await asyncio.sleep(SETTLE_S)
        yield sender, receiving
    finally:
        sender.close()
        receiving.close()
        receiver.renderer.close()
        await session.closed_all()


async def run_real(
    packets: Sequence[MotionPacket], condition: str, link: LinkConditions, seed: int, ours: Ours | None = None
) -> list[RealRow]:
    """Send packets, captured in ascending order, at their times; one row for each sink.

    Raises:
        TimeoutError: the two did not connect.
    """
    receiver = _Receiver()
    first_us = packets[0].capture_us
    async with _call(receiver, ours or Ours(None)) as (sender, receiving):
        begun_us = now_us() + 100_000
        if sender.session is None or receiving.session is None:
            raise TimeoutError("the connection did not last")
        hops = sender.session.impair(link, seed, begun_us)
        receiving.session.impair(link, seed + 1000, begun_us)
        wire, bytes_before = sum(sender.read_wire()), sender.counters.payload_sent_bytes
        end_us = begun_us + packets[-1].capture_us - first_us
        watching = asyncio.ensure_future(receiver.watch(begun_us, end_us))
        for packet in packets:
            capture_us = begun_us + packet.capture_us - first_us
            await asyncio.sleep(max(0, capture_us - now_us()) / 1e6)
            sender.send_motion(replace(packet, capture_us=now_us()))  # how late our own timer is does not count
        await watching
        wire = sum(sender.read_wire()) - wire
    seconds = (end_us - begun_us) / 1e6
    source = Source([replace(packet, capture_us=packet.capture_us - first_us) for packet in packets])
    pictures = sum(begun_us <= t < end_us for t in receiver.drawn.now_us) / seconds
    screens = (on_screen(receiver.drawn, begun_us, end_us), pictures), (receiver.asked, len(receiver.late_us) / seconds)
    return [
        RealRow(
            condition,
            sink,
            _shown(trace, begun_us, link, source),
            rate,
            (sender.counters.payload_sent_bytes - bytes_before) * 8 / 1000 / seconds,
            wire * 8 / 1000 / seconds,
            sender.counters.sent,
            sender.counters.skipped,
            sender.counters.left_out,
            sender.rebuilds,
            100 * sum(hop.model.lost for hop in hops) / max(1, sum(hop.model.sent for hop in hops)),
            float(np.percentile(receiver.late_us, 95)) / 1000,
        )
        for sink, (trace, rate) in zip(SINKS, screens, strict=True)
    ]


def on_screen(drawn: Trace, begun_us: int, end_us: int) -> Trace:
    """What a screen of 60 pictures a second shows: the newest picture there is, again and again."""
    trace, at = Trace([], [], []), -1
    for tick in range((end_us - begun_us) * SINK_HZ // 1_000_000):
        now = begun_us + round(tick * 1e6 / SINK_HZ * PHASE)
        while at + 1 < len(drawn.now_us) and drawn.now_us[at + 1] <= now:
            at += 1
        if at >= 0:
            trace.now_us.append(now)
            trace.capture_us.append(drawn.capture_us[at])
            trace.points.append(drawn.points[at])
    return trace


def _shown(trace: Trace, begun_us: int, link: LinkConditions, source: Source) -> Shown:
    """Ages, freezes and what an outage left behind; times from the beginning."""
    captures = [None if c is None else c - begun_us for c in trace.capture_us]
    trace = Trace([t - begun_us for t in trace.now_us], captures, trace.points)
    now, points = np.array(trace.now_us), np.stack(trace.points)
    calm = np.array([t > BEGIN_US and not in_outage(link, t) for t in trace.now_us])
    ages = [(t - c) / 1000 for t, c, ok in zip(trace.now_us, captures, calm, strict=True) if ok and c is not None]
    freeze = longest_freeze(now[calm], points[calm], source.at(now - link.delay_us)[calm]) / 1000
    return Shown(ages, freeze, stale_shown(trace, link), fresh_after(trace, link))
