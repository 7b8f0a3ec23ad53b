"""A loop that is late finds all that has come, not one datagram of it a round."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import aioice
import aioice.ice
import pytest

from telepresence.rtc import draining
from telepresence.rtc.draining import MOST, DrainingProtocol

BUSY_S = 0.05


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """For one test."""
    monkeypatch.setattr(aioice.ice, "StunProtocol", aioice.ice.StunProtocol)
    draining.install()


async def connected() -> tuple[aioice.Connection, aioice.Connection]:
    one, other = aioice.Connection(ice_controlling=True), aioice.Connection(ice_controlling=False)
    for here, there in ((one, other), (other, one)):
        await here.gather_candidates()
        for candidate in here.local_candidates:
            await there.add_remote_candidate(candidate)
        await there.add_remote_candidate(None)
        there.remote_username, there.remote_password = here.local_username, here.local_password
    await asyncio.gather(one.connect(), other.connect())
    return one, other


async def rounds() -> int:
    """How many datagrams a loop gets in three rounds of which each takes long."""
    one, other = await connected()
    try:
        for n in range(MOST // 2):
            await one.send(b"\xff%d" % n)
        got: list[bytes] = []

        async def take() -> None:
            while True:
                got.append(await other.recv())

        taking = asyncio.ensure_future(take())
        for _ in range(3):
            time.sleep(BUSY_S)  # noqa: ASYNC251  somebody else has the processor
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        taking.cancel()
        assert got == [b"\xff%d" % n for n in range(len(got))], "in order"
        return len(got)
    finally:
        await one.close()
        await other.close()


def test_all_that_waits_is_read_in_one_round() -> None:
    assert asyncio.run(rounds()) == MOST // 2


def test_without_it_a_round_reads_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aioice.ice, "StunProtocol", DrainingProtocol.__base__)
    assert 1 <= asyncio.run(rounds()) <= 4


def test_one_socket_does_not_keep_the_loop_to_itself() -> None:
    async def test() -> list[int]:
        loop = asyncio.get_running_loop()
        seen: list[int] = []

        class Counting(DrainingProtocol):
            def datagram_received(self, data: Any, addr: Any) -> None:
                before = len(counted)
                super().datagram_received(data, addr)
                seen.append(len(counted) - before)

        counted: list[bytes] = []
        receiver: Any = type("Receiver", (), {"data_received": lambda _, data, component: counted.append(data)})()
        protocol = Counting(receiver)
        protocol.local_candidate = type("Candidate", (), {"component": 1})()
        transport, _ = await loop.create_datagram_endpoint(lambda: protocol, local_addr=("127.0.0.1", 0))
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for _ in range(2 * MOST + 3):
            sender.sendto(b"\xff", transport.get_extra_info("sockname"))
        for _ in range(10):
            await asyncio.sleep(0.01)
        transport.close()
        sender.close()
        await asyncio.sleep(0)
        protocol.datagram_received(b"\xff", ("127.0.0.1", 1))  # read before, told after: nothing more to be read
        return seen

    assert asyncio.run(test()) == [MOST, MOST, 3, 1]
