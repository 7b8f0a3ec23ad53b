"""Two participants in one process, over real aiortc connections on loopback, with a relay in place of the hub."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telepresence.avatar.owner import sign
from telepresence.avatar.sections import write_sections
from telepresence.face.basis import default_basis
from telepresence.face.motion import Motion, Pose
from telepresence.hub.messages import Payload
from telepresence.rtc import session
from telepresence.rtc.cache import AvatarCache
from telepresence.rtc.peer import Ours, Peer, State
from telepresence.wire.codec import MotionPacket
from telepresence.wire.thrift import Rate

KEY = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)


def avatar_file(size: int, key: Ed25519PrivateKey | None = KEY, made: str = "photos", **meta: object) -> bytes:
    """A file of about so many bytes, signed unless there is no key; nobody can be seen in it."""
    about = {"name": "x", "engine": None, "free_for_all": False} | meta
    first = {"meta": json.dumps(about).encode(), "neutral": b"n", "reference/0": b"r", "background": b"b"}
    data = write_sections(first | {"rest": os.urandom(size)})
    return data if key is None else sign(data, key, made)


def run(test: Callable[[], Awaitable[None]], timeout_s: float = 20) -> None:
    """Run an async test, and wait for its connections to close."""

    async def main() -> None:
        try:
            await asyncio.wait_for(test(), timeout_s)
        finally:
            await session.closed_all()

    asyncio.run(main())


async def until(condition: Callable[[], bool], timeout_s: float = 8) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.01)


def packet(sequence: int = 1, capture_us: int = 1_000) -> MotionPacket:
    pose = Pose(np.array([0.1, 0.2, 0.3], np.float32), np.zeros(2, np.float32), 0.5)
    expression = np.zeros(default_basis().size, np.float32)
    return MotionPacket(sequence, capture_us, Motion(pose, expression, np.zeros((2, 2), np.float32)))


@dataclass
class Seen:
    """What one side was told."""

    motion: list[tuple[MotionPacket, int]] = field(default_factory=list)
    avatars: list[tuple[bytes, bool]] = field(default_factory=list)
    states: list[State] = field(default_factory=list)

    def on_peer_motion(self, peer: Peer, packet: MotionPacket, now_us: int) -> None:
        self.motion.append((packet, now_us))

    def on_peer_avatar(self, peer: Peer, data: bytes, whole: bool) -> None:
        self.avatars.append((data, whole))

    def on_peer_state(self, peer: Peer) -> None:
        self.states.append(peer.state)


@dataclass
class Pair:
    """`a` is a's view of b, and the offerer; `b` is b's view of a."""

    a: Peer
    b: Peer
    seen_a: Seen
    seen_b: Seen
    relayed: list[Payload]
    new_a: Callable[[], Peer]

    def restart_a(self) -> Peer:
        """As if a's process had been started anew: it waits for an offer, and nobody was told."""
        self.a.close()
        self.a = self.new_a()
        return self.a

    async def connected(self) -> None:
        """Wait until both are, and the first ping is on its way, so that motion can be sent."""
        await until(lambda: self.a.state is State.CONNECTED and self.b.state is State.CONNECTED)
        await until(lambda: all(p.session and not p.session.channels._motion.bufferedAmount for p in (self.a, self.b)))


@contextlib.asynccontextmanager
async def pair(folder: Path, ours_a: Ours | None = None, ours_b: Ours | None = None) -> AsyncIterator[Pair]:
    """By default every motion is sent, so that tests may count on it, however alike they are."""
    relayed: list[Payload] = []
    seen_a, seen_b = Seen(), Seen()
    peers: dict[str, Peer] = {}

    def relay_to(name: str) -> Callable[[Payload], Awaitable[bool]]:
        async def relay(payload: Payload) -> bool:
            relayed.append(payload)
            asyncio.get_running_loop().call_soon(peers[name].on_payload, payload)
            return True

        return relay

    cache_a, cache_b = AvatarCache(folder / "a"), AvatarCache(folder / "b")

    def new_a() -> Peer:
        peers["a"] = Peer("a", "b", ours_a or Ours(None, cache=cache_a, rate=Rate.EVERY), relay_to("b"), seen_a)
        return peers["a"]

    new_a()
    peers["b"] = Peer("b", "a", ours_b or Ours(None, cache=cache_b), relay_to("a"), seen_b)
    peers["a"].start()
    try:
        yield Pair(peers["a"], peers["b"], seen_a, seen_b, relayed, new_a)
    finally:
        peers["a"].close()
        peers["b"].close()
