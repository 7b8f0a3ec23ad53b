"""What a client can make the server keep for it is bounded: real connections to a real hub, with short limits."""

import asyncio
import contextlib

import pytest
from starlette.responses import StreamingResponse
from starlette.routing import Route
from websockets.frames import Frame, Opcode

from telepresence.hub import protocols
from tests.hub.http import get
from tests.hub.running import PATIENCE_S, hub, join, raw

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


@contextlib.asynccontextmanager
async def opened(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def nobody(running):
    async with asyncio.timeout(PATIENCE_S):
        while running.server.server_state.connections:  # noqa: ASYNC110  # uvicorn offers no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("sent", [
    (b"",), (b"GET /heal",), (REQUEST, b"GET"), (REQUEST[:-2] + b"Content-Length: 9\r\n\r\n", b"half"),
])  # fmt: skip
def test_a_request_that_does_not_come_is_not_waited_for(monkeypatch, sent):
    monkeypatch.setattr(protocols, "REQUEST_S", 0.1)

    async def main():
        async with hub() as running, opened(running.port) as (reader, writer):
            for more, part in enumerate(sent):
                if more:
                    await reader.readuntil(b"}")  # the answer to what was sent
                writer.write(part)
            async with asyncio.timeout(PATIENCE_S / 2):  # sooner than uvicorn lets go of idle ones
                with contextlib.suppress(ConnectionError):
                    await reader.read()
            await nobody(running)

    asyncio.run(main())


def test_who_asks_in_time_may_ask_again(monkeypatch):
    monkeypatch.setattr(protocols, "REQUEST_S", 0.2)

    async def main():
        async with hub() as running, opened(running.port) as (reader, writer):
            for _ in range(3):
                writer.write(REQUEST[:9])
                await asyncio.sleep(0.1)
                writer.write(REQUEST[9:])
                assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
                await reader.readuntil(b"}")
            async with raw(running) as one:  # a WebSocket is no request that lasts too long
                await asyncio.sleep(0.3)
                assert (await join(one))["type"] == "joined"

    asyncio.run(main())


def endless(request):
    async def pieces():
        while True:
            await asyncio.sleep(0)
            yield bytes(256 * 1024)

    return StreamingResponse(pieces())


def test_an_answer_that_nobody_reads_is_given_up(monkeypatch):
    monkeypatch.setattr(protocols, "STALL_S", 0.1)

    async def main():
        async with hub(routes=[Route("/endless", endless)]) as running, opened(running.port) as (_, writer):
            writer.transport.pause_reading()
            writer.write(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
            async with asyncio.timeout(PATIENCE_S):
                while not running.server.server_state.tasks:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await nobody(running)

    asyncio.run(main())


@pytest.mark.parametrize(("limit", "proxies", "fits"), [
    ("MAX_CONNECTIONS_PER_ADDRESS", (), False), ("MAX_CONNECTIONS_PER_ADDRESS", ("127.0.0.1",), True),
    ("MAX_CONNECTIONS", ("127.0.0.1",), False),
])  # fmt: skip
def test_connections_are_counted(monkeypatch, limit, proxies, fits):
    monkeypatch.setattr(protocols, limit, 2)

    async def main():
        async with hub(proxies=proxies) as running, raw(running), opened(running.port) as (reader, writer):
            writer.write(REQUEST)
            await reader.readuntil(b"}")
            if fits:
                assert (await get(running.port, "/healthz")).status == 200
            else:
                with pytest.raises(OSError):  # noqa: PT011  # refused in one of several ways
                    await get(running.port, "/healthz")
            writer.transport.abort()
            await asyncio.sleep(0.05)
            assert (await get(running.port, "/healthz")).status == 200

    asyncio.run(main())


def test_a_message_in_endless_pieces_is_not_kept(monkeypatch):
    pieces = [Frame(Opcode.CONT, b"", fin=False)] * 50

    async def main():
        async with hub() as running, raw(running) as one:
            one.transport.write(Frame(Opcode.TEXT, b"", fin=False).serialize(mask=True))
            one.transport.write(b"".join(piece.serialize(mask=True) for piece in pieces * 4))
            async with asyncio.timeout(PATIENCE_S):
                await one.wait_closed()
            await nobody(running)

    asyncio.run(main())


def test_who_pings_and_does_not_read_is_dropped():
    pings = Frame(Opcode.PING, bytes(125)).serialize(mask=True) * 2000

    async def main():
        async with hub() as running, raw(running) as one:
            one.transport.pause_reading()
            async with asyncio.timeout(PATIENCE_S):
                while running.server.server_state.connections:
                    one.transport.write(pings)
                    await asyncio.sleep(0.01)

    asyncio.run(main())
