"""A call that goes through a TURN server only: a real hub, real edges, a real coturn, all on loopback."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiortc.mediastreams import AudioStreamTrack
from aiortc.rtcicetransport import connection_kwargs

from telepresence.hub.codec import encode
from telepresence.hub.ice import IceConfig
from telepresence.hub.messages import FromHub, IceServer, Payload, Relayed
from telepresence.rtc.edge import Edge
from telepresence.rtc.peer import State
from telepresence.rtc.session import configuration
from telepresence.rtc.sound_mesh import SoundMesh
from tests.rtc.call import edge, hub
from tests.rtc.pair import run, until
from tests.turnserver import SECRET, free_port, turn_server


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telepresence.rtc.cache.cache_folder", lambda: tmp_path / "cache")


def connected(running: Edge) -> bool:
    return any(peer.state is State.CONNECTED for peer in running.room.peers.values())


def received(running: Edge) -> int:
    return sum(peer.counters.received for peer in running.room.peers.values())


@dataclass
class Listener:
    """Hears all session descriptions that the hub hands on."""

    told: list[str] = field(default_factory=list)

    def __call__(self, message: FromHub) -> str:
        if isinstance(message, Relayed):
            self.told.append(message.payload.sdp)
        return encode(message)

    @property
    def candidates(self) -> set[str]:
        """What is said of each candidate from its kind on."""
        return set(re.findall(r"a=candidate:.* typ (.*?)\r", "".join(self.told)))


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Listener:
    heard = Listener()
    monkeypatch.setattr("telepresence.hub.connection.encode", heard)
    return heard


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_motion_flows_through_the_relay_and_nobody_is_told_an_address(transport: str, listener: Listener) -> None:
    async def test() -> None:
        async with turn_server() as turn:
            url = turn.url if transport == "udp" else turn.tcp_url
            ice = IceConfig(turn=(url,), secret=SECRET.encode(), relay_only=True)
            async with (
                hub(ice=ice) as link,
                edge(link, camera="none", sink="null") as receiver,
                edge(link, camera="sample", sink="null") as sender,
            ):
                await until(lambda: connected(receiver) and connected(sender), 20)
                await until(lambda: received(receiver) > 30, 20)
                assert listener.candidates == {"relay raddr 0.0.0.0 rport 0"}
                assert len(listener.told) >= 2
                assert turn.allocations() >= 2
                assert goes_by_relay(sender)
                assert goes_by_relay(receiver)

    run(test, 60)


def goes_by_relay(running: Edge) -> bool:
    """Whether the pair of candidates in use has a relayed one on our side."""
    (peer,) = running.room.peers.values()
    assert peer.session is not None
    connection = peer.session._sctp.transport.transport._connection
    return all(pair.local_candidate.type == "relay" for pair in connection._nominated.values())


def test_where_one_way_to_the_relay_is_blocked_the_next_is_tried() -> None:
    async def test() -> None:
        async with turn_server() as turn:
            blocked = f"turn:127.0.0.1:{free_port()}?transport=tcp"
            ice = IceConfig(turn=(blocked, turn.url), secret=SECRET.encode(), relay_only=True)
            async with (
                hub(ice=ice) as link,
                edge(link, camera="none", sink="null") as receiver,
                edge(link, camera="none", sink="null") as other,
            ):
                await until(lambda: connected(receiver) and connected(other), 40)

    run(test, 60)


def test_of_several_turn_servers_each_is_the_first_once() -> None:
    udp, tcp = "turn:a?transport=udp", "turns:b:443?transport=tcp"
    servers = (IceServer(("stun:c",)), IceServer((udp, tcp), "u", "p"))
    kinds = [connection_kwargs(configuration(servers, attempt=attempt).iceServers) for attempt in range(3)]
    assert [kind["turn_server"] for kind in kinds] == [("a", 3478), ("b", 443), ("a", 3478)]
    assert all(kind["stun_server"] == ("c", 3478) and kind["turn_password"] == "p" for kind in kinds)
    assert connection_kwargs(configuration(()).iceServers or []) == {}
    assert configuration(()).iceServers == []  # None would be Google's


def test_one_participant_that_wants_the_relay_is_enough() -> None:
    async def test() -> None:
        async with turn_server() as turn:
            ice = IceConfig(turn=(turn.url,), secret=SECRET.encode())
            async with (
                hub(ice=ice) as link,
                edge(link, camera="none", sink="null") as receiver,
                edge(link, camera="sample", sink="null", relay_only=True) as sender,
            ):
                await until(lambda: received(receiver) > 10, 20)
                (peer,) = sender.room.peers.values()
                assert peer.session is not None
                kinds = re.findall(r"a=candidate:.* typ (\w+)", peer.session._pc.localDescription.sdp)
                assert set(kinds) == {"relay"}

    run(test, 60)


def test_wrong_credentials_connect_nobody_and_end_nothing() -> None:
    async def test() -> None:
        async with turn_server() as turn:
            ice = IceConfig(turn=(turn.url,), secret=b"another secret than coturn's", relay_only=True)
            async with (
                hub(ice=ice) as link,
                edge(link, camera="none", sink="null") as receiver,
                edge(link, camera="sample", sink="null") as sender,
            ):
                await until(lambda: bool(receiver.room.peers and sender.room.peers), 20)
                await until(lambda: "401" in turn.log.read_text(errors="replace"), 20)
                assert not connected(receiver)
                assert turn.allocations() == 0

    run(test, 60)


def test_sound_goes_through_the_relay_and_nobody_is_told_an_address() -> None:
    told: list[str] = []

    async def test() -> None:
        async with turn_server() as turn:
            ice = IceConfig(turn=(turn.url,), secret=SECRET.encode())
            meshes: dict[str, SoundMesh] = {}
            for own in ("ada", "bob"):

                async def relay(to: str, payload: Payload, own: str = own) -> None:
                    told.append(payload.sdp)
                    meshes[to].on(own, payload)

                servers = ice.servers(own, time.time())
                meshes[own] = SoundMesh(lambda own=own: own, relay, lambda s=servers: (s, True), AudioStreamTrack, None)  # type: ignore[misc]
            try:
                meshes["ada"].follow(["bob"], ["bob"])
                meshes["bob"].follow(["ada"], [])
                await until(lambda: all(mesh.connected() for mesh in meshes.values()), 20)
            finally:
                for mesh in meshes.values():
                    mesh.close()
        assert set(re.findall(r"a=candidate:.* typ (.*?)\r", "".join(told))) == {"relay raddr 0.0.0.0 rport 0"}

    run(test, 60)
