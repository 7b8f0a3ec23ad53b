"""Rooms over a real hub that goes away, comes back, and forgets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from telepresence.errors import TokenError
from telepresence.rtc import channels, retrying, room
from telepresence.rtc.cache import AvatarCache
from telepresence.rtc.peer import Ours, Peer, State
from telepresence.rtc.room import Room
from tests.hub.running import Hub, hub, member
from tests.rtc.pair import Seen, run, until

GRACE_S = 0.2


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(retrying, "RETRY_S", (0.02, 0.2))
    monkeypatch.setattr(room, "LOOK_S", 0.02)


@dataclass
class Told(Seen):
    """What a room's owner was told."""

    left: list[str] = field(default_factory=list)
    hub: list[tuple[bool, str]] = field(default_factory=list)

    def on_left(self, peer: Peer) -> None:
        self.left.append(peer.id)

    def on_hub(self, connected: bool, refusal: str = "") -> None:
        self.hub.append((connected, refusal))


class Member:
    """Somebody in a room."""

    def __init__(self, room: Room, told: Told) -> None:
        self.room = room
        self.told = told
        self.task = asyncio.ensure_future(room.run())

    @property
    def states(self) -> list[State]:
        return [peer.state for peer in self.room.peers.values()]

    def cut(self) -> None:
        """No packet of its connections goes out any more, and nobody is told."""

        async def nothing(data: bytes) -> None:
            return

        for present in self.room.peers.values():
            assert present.session is not None
            present.session._sctp.transport.transport._send = nothing  # type: ignore[method-assign]

    @contextlib.asynccontextmanager
    async def off_the_hub(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
        """It cannot reach the hub within this block."""

        async def unreachable() -> None:
            raise OSError

        with monkeypatch.context() as patch:
            patch.setattr(self.room._hub, "_open", unreachable)
            if self.room._hub._socket is not None:
                self.room._hub._socket.transport.abort()
            await until(lambda: not self.room._hub.connected)
            yield


@contextlib.asynccontextmanager
async def somebody(running: Hub, folder: Path) -> AsyncIterator[Member]:
    client, told = await member(running), Told()
    joined = Member(Room(client, Ours(None, cache=AvatarCache(folder)), told, GRACE_S), told)
    try:
        yield joined
    finally:
        joined.task.cancel()
        joined.room.close()
        await client.close()


async def connected(*members: Member) -> None:
    await until(lambda: all(member.states == [State.CONNECTED] for member in members))


@pytest.mark.parametrize("first", [True, False], ids=["the first", "the second"])
def test_who_was_away_for_longer_than_the_grace_period_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    async def test() -> None:
        async with hub(grace_s=GRACE_S) as running, somebody(running, tmp_path) as a, somebody(running, tmp_path) as b:
            await connected(a, b)
            away, other = (a, b) if first else (b, a)
            async with away.off_the_hub(monkeypatch):
                a.cut()
                b.cut()
                await until(lambda: not other.states and State.CONNECTED not in away.states)
            await connected(a, b)

    run(test)


def test_a_hub_that_comes_back_without_knowing_anybody_ends_no_call(tmp_path: Path) -> None:
    async def test() -> None:
        async with contextlib.AsyncExitStack() as stack:
            running = await stack.enter_async_context(hub())
            async with somebody(running, tmp_path) as a, somebody(running, tmp_path) as b:
                await connected(a, b)
                await stack.aclose()
                async with hub(running.port, secret=b"another secret of a hub"):
                    await until(lambda: all("token" in m.told.hub[-1][1] for m in (a, b)))
                    assert not a.room._hub.connected
                    await asyncio.sleep(5 * room.LOOK_S)
                    assert not a.task.done()
                    await connected(a, b)
                    b.room.close()
                    with pytest.raises(TokenError):
                        await asyncio.wait_for(a.task, 5)

    run(test)


def test_who_is_gone_when_the_hub_comes_back_is_dropped_once_the_connection_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with contextlib.AsyncExitStack() as stack:
            running = await stack.enter_async_context(hub())
            async with somebody(running, tmp_path) as a, somebody(running, tmp_path) as b:
                await connected(a, b)
                await stack.aclose()
                away = await stack.enter_async_context(contextlib.AsyncExitStack())
                await away.enter_async_context(b.off_the_hub(monkeypatch))
                async with hub(running.port):
                    await until(lambda: a.told.hub[-1] == (True, ""))
                    await asyncio.sleep(2 * GRACE_S)
                    await connected(a, b)  # a connection needs no hub
                    a.cut()
                    b.cut()
                    await until(lambda: a.told.left == [b.room._hub.id])
                    await away.aclose()
                    await connected(a, b)

    run(test)
