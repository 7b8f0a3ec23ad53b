import asyncio
import json

from telepresence.hub.connection import MAX_OUTBOX_BYTES, Connection
from telepresence.hub.limits import MAX_FAULTS, TokenBucket
from telepresence.hub.messages import Left, Payload, Relayed

OFFER = Relayed("a", Payload("offer", 1, "v" * 20_000))


class Socket:
    """Stands in for a WebSocket whose client reads only while `reading` is set."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self.sent: list[str] = []
        self.sending = asyncio.Event()
        self.reading = asyncio.Event()
        self.code: int | None = None

    async def receive(self) -> dict[str, str]:
        return await self.incoming.get()

    async def send_text(self, text: str) -> None:
        self.sending.set()
        await self.reading.wait()
        self.sent.append(text)

    async def close(self, code: int, reason: str | None) -> None:
        self.code = code


def serve(drive, handle=lambda text: None) -> Socket:
    """Serve a connection on a stand-in while `drive(connection, socket)` runs."""

    async def main() -> Socket:
        socket = Socket()
        connection = Connection(socket, "", TokenBucket(1, 1))
        serving = asyncio.create_task(connection.serve(handle))
        async with asyncio.timeout(5):
            await drive(connection, socket)
            await serving
        return socket

    return asyncio.run(main())


def test_a_client_that_does_not_read_is_disconnected_and_costs_bounded_memory():
    async def drive(connection: Connection, socket: Socket) -> None:
        connection.send(OFFER)
        await socket.sending.wait()
        sent = 1
        while connection.ending is None:
            connection.send(OFFER)
            sent += 1
        assert connection.ending == "slow"
        assert 20_000 * sent <= MAX_OUTBOX_BYTES + 40_000

    socket = serve(drive)
    assert (socket.code, socket.sent) == (4410, [])


def test_a_client_that_reads_gets_any_number_of_messages():
    async def drive(connection: Connection, socket: Socket) -> None:
        socket.reading.set()
        for _ in range(200):
            connection.send(OFFER)
            await asyncio.sleep(0)
        connection.end()

    socket = serve(drive)
    assert (socket.code, len(socket.sent)) == (1000, 200)


def test_what_is_queued_is_sent_before_the_end_and_nothing_after():
    async def drive(connection: Connection, socket: Socket) -> None:
        socket.reading.set()
        connection.send(Left("a"))
        connection.refuse("full", "no place")
        connection.send(Left("b"))
        connection.end("slow")

    socket = serve(drive)
    assert [json.loads(text)["type"] for text in socket.sent] == ["left", "error"]
    assert socket.code == 4423


def test_faults_are_answered_until_there_are_too_many():
    async def drive(connection: Connection, socket: Socket) -> None:
        socket.reading.set()
        for i in range(MAX_FAULTS):
            assert connection.ending is None, i
            connection.fault("out-of-turn", "join first")

    socket = serve(drive)
    assert (len(socket.sent), socket.code) == (MAX_FAULTS, 4400)


def test_text_and_binary_messages_are_handled_until_the_client_goes():
    got = []

    async def drive(connection: Connection, socket: Socket) -> None:
        socket.incoming.put_nowait({"type": "websocket.receive", "text": "one"})
        socket.incoming.put_nowait({"type": "websocket.receive", "bytes": "two"})
        socket.incoming.put_nowait({"type": "websocket.disconnect"})

    serve(drive, got.append)
    assert got == ["one", None]
