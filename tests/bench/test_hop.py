"""The bad link between two browsers: descriptions that lead through it, and what it loses."""

from __future__ import annotations

import asyncio

import pytest

from telepresence.bench.hop import Hop, host_of, replaced
from telepresence.errors import InputError
from telepresence.rtc.link import LinkConditions

SDP = "\r\n".join([
    "v=0", "m=video 9 UDP/TLS/RTP/SAVPF 96",
    "a=candidate:1 1 udp 2122194687 fd00::2 40000 typ host generation 0",
    "a=candidate:2 1 udp 2122194687 172.17.0.2 54321 typ host generation 0 network-id 1",
    "a=candidate:3 1 tcp 1518214911 172.17.0.2 9 typ host tcptype active generation 0",
    "a=ice-ufrag:abcd", "a=ice-pwd:secret", "a=sendonly", "",
])  # fmt: skip


def test_a_description_leads_through_the_hop_and_nowhere_else() -> None:
    assert host_of(SDP) == ("172.17.0.2", 54321)
    out = replaced(SDP, ("172.17.0.2", 1234))
    assert out.count("a=candidate:") == 1
    assert host_of(out) == ("172.17.0.2", 1234)
    assert [row for row in out.split("\r\n") if "candidate" not in row] == [
        row for row in SDP.split("\r\n") if "candidate" not in row
    ]
    with pytest.raises(InputError, match="IPv4"):
        host_of("v=0\r\na=candidate:1 1 udp 1 fd00::2 4 typ host\r\n")


class End(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.got: list[tuple[bytes, tuple[str, int]]] = []

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.got.append((data, addr))


def test_each_end_hears_the_other_from_the_address_it_was_given() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        hop = Hop(LinkConditions(delay_us=5_000, loss=0.5), seed=3)
        for_first, for_second = await hop.begin("127.0.0.1")
        ends = [await loop.create_datagram_endpoint(End, local_addr=("127.0.0.1", 0)) for _ in range(2)]
        (first, heard_first), (second, heard_second) = ends
        hop.between(first.get_extra_info("sockname"), second.get_extra_info("sockname"))
        for n in range(60):
            first.sendto(bytes([n]), for_second)
        second.sendto(b"back", for_first)
        second.sendto(b"again", for_first)
        await asyncio.sleep(0.2)
        assert hop.there.sent == 60
        assert len(heard_second.got) == 60 - hop.there.lost
        assert 15 < hop.there.lost < 45
        assert {addr for _, addr in heard_second.got} == {for_first}
        assert {addr for _, addr in heard_first.got} <= {for_second}
        assert len(heard_first.got) == 2 - hop.back.lost
        hop.close()
        first.close()
        second.close()

    asyncio.run(run())
