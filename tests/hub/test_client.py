import asyncio
import json
import logging
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import serve

from telepresence.errors import InputError, RoomError, RoomFullError, SignallingError, TokenError
from telepresence.hub.client import (
    BACKOFF_EAGER_S,
    BACKOFF_FIRST_S,
    BACKOFF_MOST_S,
    EAGER_ATTEMPTS,
    OPEN_TIMEOUT_S,
    PATIENT_ATTEMPTS,
    REOPEN_S,
    Arrived,
    Backoff,
    Disconnected,
    HubClient,
    Joined,
    Left,
    Payload,
    Refused,
    Relayed,
)
from telepresence.hub.messages import MAX_MESSAGE_BYTES, MAX_SDP_BYTES
from tests.hub.running import SDP, Events, hub, impatient, member, token

JOINED = json.dumps({"type": "joined", "id": "a", "resume": "r", "participants": []})


@asynccontextmanager
async def scripted(answer):
    """A hub that answers each connection's join with `answer(socket, number of connections so far)`."""
    count = 0

    async def handle(socket):
        nonlocal count
        count += 1
        await socket.recv()
        await answer(socket, count)

    async with serve(handle, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/signal"


def test_two_clients_exchange_offer_and_answer():
    async def main():
        async with hub() as running, await member(running, "Ada") as ada, await member(running, "Bob") as bob:
            a, b = Events(ada), Events(bob)
            assert (await a.next_of(Joined)).participants == ()
            joined = await b.next_of(Joined)
            assert [(p.id, p.name) for p in joined.participants] == [(ada.id, "Ada")]
            arrived = await a.next_of(Arrived)
            assert (arrived.participant.id, arrived.participant.name) == (bob.id, "Bob")
            for sender, receiver, events, kind in ((bob, ada, a, "offer"), (ada, bob, b, "answer")):
                assert await sender.relay(receiver.id, Payload(kind, 1, SDP))
                assert await events.next_of(Relayed) == Relayed(sender.id, Payload(kind, 1, SDP))
            await bob.relay("nobody", Payload("bye", 1))
            assert (await b.next_of(Refused)).to == "nobody"
            await bob.close()
            assert await a.next() == Left(bob.id)
            with pytest.raises(StopAsyncIteration):
                await b.next()

    asyncio.run(main())


def test_a_dropped_connection_is_resumed_and_nobody_notices():
    async def main():
        async with hub() as running, await member(running) as ada, await member(running) as bob:
            a, b = Events(ada), Events(bob)
            before = (await b.next_of(Joined)).id
            bob._socket.transport.abort()
            assert isinstance(await b.next(), Disconnected)
            assert not bob.connected
            assert not await bob.relay(ada.id, Payload("offer", 1, SDP))
            joined = await b.next_of(Joined)
            assert (joined.id, joined.resumed, [p.id for p in joined.participants]) == (before, True, [ada.id])
            assert bob.reconnects == 1
            assert await bob.relay(ada.id, Payload("offer", 2, SDP))
            assert [type(await a.next()) for _ in range(3)] == [Joined, Arrived, Relayed]

    asyncio.run(main())


def test_clients_outlive_a_restart_of_the_hub_with_their_ids():
    async def main():
        async with hub() as first:
            ada, bob = await member(first, "Ada"), await member(first, "Bob")
            a, b = Events(ada), Events(bob)
            ids = [(await a.next_of(Joined)).id, (await b.next_of(Joined)).id]
            await a.next_of(Arrived)
        assert isinstance(await a.next(), Disconnected)
        assert isinstance(await b.next(), Disconnected)
        async with hub(first.port), ada, bob:
            back = [await a.next_of(Joined), await b.next_of(Joined)]
            assert [j.id for j in back] == ids
            assert all(j.resumed for j in back)
            assert [p.id for p in back[1].participants] == [ids[0]]
            assert (await a.next_of(Arrived)).participant.name == "Bob"
            assert await bob.relay(ids[0], Payload("offer", 1, SDP))
            assert (await a.next_of(Relayed)).sender == ids[1]

    asyncio.run(main())


def test_a_hub_with_a_new_secret_ends_the_client_with_a_token_error():
    async def main():
        async with hub() as first:
            ada = await member(first)
            a = Events(ada)
            await a.next_of(Joined)
        async with hub(first.port, secret=b"another secret of a hub"), ada:
            with pytest.raises(TokenError):
                await a.next_of(Joined)
            assert not ada.connected

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"capacity": 1}, RoomFullError),
        ({"joins_burst": 1, "joins_per_s": 0.001}, RoomError),
        ({"connections_per_address": 1}, InputError),
    ],
    ids=["full", "too many joins", "too many connections"],
)
def test_a_first_join_that_finds_no_place_raises(options, error):
    async def main():
        async with hub(**options) as running, await member(running):
            with pytest.raises(error):
                await HubClient.connect(running.url, token(), "den")

    asyncio.run(main())


def test_a_bad_token_is_a_token_error():
    async def main():
        async with hub() as running:
            for bad in (token("attic"), token(now=1_700_000_000), "forged.token"):
                with pytest.raises(TokenError, match="join URL"):
                    await HubClient.connect(running.url, bad, "den")

    asyncio.run(main())


def test_no_hub_is_an_input_error_that_says_what_to_check():
    async def main():
        async with hub() as running:
            pass
        with pytest.raises(InputError, match=r"no hub answers at 127\.0\.0\.1:\d+ .*check that it runs"):
            await HubClient.connect(running.url, token(), "den")
        with pytest.raises(InputError, match="no hub answers"):
            await HubClient.connect("ws://a..b/signal", token(), "den")

    asyncio.run(main())


def test_the_same_participant_joining_elsewhere_ends_the_first_client():
    async def main():
        async with hub() as running, await member(running) as ada:
            a = Events(ada)
            await a.next_of(Joined)
            twin = HubClient(running.url, ada._join)
            await twin._open()
            assert (await a.next_of(Refused)).code == "replaced"
            with pytest.raises(RoomError, match="another connection"):
                await a.next()
            assert not ada.connected
            await twin.close()

    asyncio.run(main())


def test_malformed_messages_are_skipped_and_counted():
    async def answer(socket, number):
        for message in (JOINED, "{", b"\0", '{"type":"left"}', '{"type":"left","id":"b"}'):
            await socket.send(message)
        await socket.wait_closed()

    async def main():
        async with scripted(answer) as url, await impatient(url) as client:
            events = Events(client)
            assert [type(await events.next()) for _ in range(2)] == [Joined, Left]
            assert client.malformed == 3

    asyncio.run(main())


def test_an_oversize_message_of_the_hub_is_not_read():
    async def answer(socket, number):
        await socket.send(JOINED)
        if number == 1:
            await socket.send(" " * (MAX_MESSAGE_BYTES + 1))
        await socket.wait_closed()

    async def main():
        async with scripted(answer) as url, await impatient(url) as client:
            events = Events(client)
            assert [type(await events.next()) for _ in range(3)] == [Joined, Disconnected, Joined]

    asyncio.run(main())


def test_a_hub_that_is_no_hub_is_tried_again_with_growing_waits():
    async def answer(socket, number):
        if number in (1, 5):
            await socket.send(JOINED)
        elif number == 2:
            await socket.send("nonsense")
        elif number == 3:
            await socket.send('{"type":"error","code":"rate","message":"wait"}')
        if number == 5:
            await socket.wait_closed()

    async def main():
        waits = iter(range(100))
        async with scripted(answer) as url:
            backoff = Backoff(lambda low, high: next(waits) / 1000)
            async with await HubClient.connect(url, "t", "den", backoff=backoff) as client:
                events = Events(client)
                got = [await events.next() for _ in range(6)]
        assert got[1:5] == [Disconnected(0), Disconnected(0.001), Disconnected(0.002), Disconnected(0.003)]
        assert (type(got[0]), type(got[5]), client.reconnects) == (Joined, Joined, 1)

    asyncio.run(main())


def test_close_ends_a_wait_for_the_hub_at_once():
    async def main():
        async with hub() as running:
            client = await HubClient.connect(running.url, token(), "den", backoff=Backoff(lambda low, high: 3600))
            events = Events(client)
            await events.next_of(Joined)
        assert await events.next() == Disconnected(3600)
        waiting = asyncio.create_task(events.next())
        await asyncio.sleep(0)
        await client.close()
        await client.close()
        with pytest.raises(StopAsyncIteration):
            await waiting

    asyncio.run(main())


def test_a_payload_beyond_the_limits_is_not_sent():
    async def main():
        async with hub() as running, await member(running) as ada, await member(running) as bob:
            with pytest.raises(SignallingError):
                await ada.relay(bob.id, Payload("offer", 1, "v" * MAX_MESSAGE_BYTES))
            with pytest.raises(SignallingError):
                await ada.relay(bob.id, Payload("offer", 1, "v" * (MAX_SDP_BYTES + 1)))
            assert ada.connected

    asyncio.run(main())


@pytest.mark.parametrize(
    "bad", [{"room": "a room"}, {"name": "\n"}, {"schemas": ()}, {"token": "a b"}, {"name": "n" * 65}], ids=str
)
def test_what_cannot_be_joined_with_is_an_input_error(bad):
    given = {"url": "ws://127.0.0.1:1/signal", "token": "t", "room": "den"} | bad
    with pytest.raises(InputError, match=next(iter(bad))):
        asyncio.run(HubClient.connect(**given))


def test_backoff_doubles_up_to_a_bound_and_starts_over():
    longest, shortest = Backoff(lambda low, high: high), Backoff(lambda low, high: low)
    waits = [longest.next_s() for _ in range(100)]
    assert waits[:3] == [BACKOFF_FIRST_S, BACKOFF_EAGER_S, BACKOFF_EAGER_S]
    assert waits[EAGER_ATTEMPTS - 1 : EAGER_ATTEMPTS + 3] == [BACKOFF_EAGER_S * 2**n for n in (0, 0, 1, 2)]
    assert waits[-1] == BACKOFF_MOST_S
    assert shortest.next_s() == BACKOFF_FIRST_S / 2
    longest.reset()
    assert longest.next_s() == BACKOFF_FIRST_S


def test_a_hub_that_asks_for_time_gets_it():
    backoff = Backoff(lambda low, high: high)
    assert backoff.next_s() == BACKOFF_FIRST_S
    backoff.calm()
    assert [backoff.next_s() for _ in range(3)] == [BACKOFF_EAGER_S * 2**n for n in (0, 1, 2)]


def test_an_attempt_to_come_back_is_given_up_before_a_link_that_is_up_again_would_be_missed():
    backoff = Backoff(lambda low, high: high)
    patience = []
    for _ in range(30):
        wait_s = backoff.next_s()
        patience.append(backoff.patience_s(0.05))
        if patience[-1] < OPEN_TIMEOUT_S:  # the link may be back just after the attempt began
            assert wait_s + patience[-1] < 2.0
    assert set(patience[:PATIENT_ATTEMPTS]) == {REOPEN_S}
    assert patience[PATIENT_ATTEMPTS:].count(OPEN_TIMEOUT_S) == 5  # or it may be a slower one by now
    assert Backoff().patience_s(1.0) == 3.0


def test_nothing_personal_is_logged(caplog):
    async def main():
        async with hub() as running, await member(running, "Ada-Secret") as ada, await member(running) as bob:
            a = Events(ada)
            await bob.relay(ada.id, Payload("offer", 1, "v=0 sdp-secret"))
            await a.next_of(Relayed)
        return [ada.id, bob.id, token().partition(".")[2]]

    with caplog.at_level(logging.DEBUG):
        secrets = asyncio.run(main())
    for record in caplog.records:
        assert not any(s in record.getMessage() for s in [*secrets, "Secret", "secret", "den"]), record
