import asyncio
import json
import logging
import urllib.request

import pytest
from websockets.exceptions import InvalidStatus

from telepresence.hub.app import HubConfig, _Hub
from telepresence.hub.connection import Connection
from telepresence.hub.limits import MAX_FAULTS, TokenBucket
from telepresence.hub.messages import MAX_MESSAGE_BYTES, IceServer
from tests.hub.running import SDP, SECRET, closed, hear, hub, join, raw, say, token

OFFER = {"kind": "offer", "session": 1, "sdp": SDP}


def test_health_and_the_page_of_a_room():
    def get(url):
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.headers, answer.read()

    async def main():
        async with hub() as running:
            base = f"http://127.0.0.1:{running.port}"
            return [await asyncio.to_thread(get, base + path) for path in ("/healthz", "/room/den?token=t.t")]

    (_, health), (headers, room) = asyncio.run(main())
    assert json.loads(health)["status"] == "ok"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert b"telepresence join" in room
    assert b"t.t" not in room


def test_two_participants_exchange_offer_and_answer():
    async def main():
        servers = (IceServer(("turn:turn.example.org",), "u", "c"),)
        async with hub(ice_servers=servers) as running, raw(running) as a, raw(running) as b:
            ada = await join(a, name="Ada", schemas=[2, 1])
            assert (ada["type"], ada["participants"], ada["resumed"]) == ("joined", [], False)
            assert ada["ice_servers"] == [{"urls": ["turn:turn.example.org"], "username": "u", "credential": "c"}]
            bob = await join(b, name="Bob")
            assert bob["participants"] == [{"id": ada["id"], "name": "Ada", "schemas": [1, 2]}]
            assert await hear(a) == {"type": "arrived", "id": bob["id"], "name": "Bob", "schemas": [1]}

            await say(b, type="relay", to=ada["id"], payload=OFFER)
            assert await hear(a) == {"type": "relay", "from": bob["id"], "payload": OFFER}
            answer = OFFER | {"kind": "answer"}
            await say(a, type="relay", to=bob["id"], payload=answer)
            assert await hear(b) == {"type": "relay", "from": ada["id"], "payload": answer}

            sound = OFFER | {"media": "sound"}
            await say(b, type="relay", to=ada["id"], payload=sound)
            assert await hear(a) == {"type": "relay", "from": bob["id"], "payload": sound}
            await say(b, type="relay", to=ada["id"], payload=OFFER | {"media": "video"})
            assert (await hear(b))["code"] == "bad-message"

    asyncio.run(main())


def test_nothing_is_relayed_into_another_room():
    async def main():
        async with hub() as running, raw(running) as a, raw(running) as b:
            ada = await join(a)
            assert (await join(b, room="attic", token=token("attic")))["participants"] == []
            await say(b, type="relay", to=ada["id"], payload=OFFER)
            refused = await hear(b)
            assert (refused["code"], refused["to"]) == ("away", ada["id"])

    asyncio.run(main())


def test_a_name_in_the_token_wins():
    async def main():
        async with hub() as running, raw(running) as a, raw(running) as b:
            await join(a)
            await join(b, name="Mallory", token=token(name="Bob"))
            assert (await hear(a))["name"] == "Bob"

    asyncio.run(main())


def test_a_bad_token_is_refused_and_the_call_of_the_others_goes_on():
    bad = {"AQ.AQ": "not valid", token(now=1_700_000_000): "expired", token("attic"): "another room"}

    async def main():
        async with hub() as running, raw(running) as a, raw(running) as c:
            await join(a)
            for given, why in bad.items():
                async with raw(running) as b:
                    refused = await join(b, token=given)
                    assert (refused["code"], why in refused["message"]) == ("token", True)
                    assert await closed(b) == 4401
            await join(c, name="Cleo")
            assert (await hear(a))["name"] == "Cleo"

    asyncio.run(main())


def test_a_full_room_is_said_to_be_full():
    async def main():
        async with hub(capacity=1) as running, raw(running) as a, raw(running) as b:
            await join(a)
            assert (await join(b))["code"] == "full"
            assert await closed(b) == 4423

    asyncio.run(main())


def test_a_page_of_another_origin_is_kept_out():
    async def main():
        async with hub(origins=("https://call.example.org",)) as running:
            with pytest.raises(InvalidStatus) as refused:
                async with raw(running, origin="https://evil.example.net"):
                    pass
            assert refused.value.response.status_code == 403
            for origin in (f"http://127.0.0.1:{running.port}", "https://call.example.org"):
                async with raw(running, origin=origin) as socket:
                    assert (await join(socket))["type"] == "joined"

    asyncio.run(main())


def test_an_oversize_message_ends_only_its_own_connection():
    async def main():
        async with hub() as running, raw(running) as a, raw(running) as b:
            ada = await join(a)
            bob = await join(b)
            await hear(a)
            await b.send("x" * (MAX_MESSAGE_BYTES + 1))
            assert await closed(b) == 1009
            async with raw(running) as c:
                back = await join(c, resume=bob["resume"])
                assert (back["id"], back["participants"][0]["id"]) == (bob["id"], ada["id"])

    asyncio.run(main())


def test_malformed_messages_are_answered_and_repeated_ones_end_the_connection():
    async def main():
        async with hub() as running, raw(running) as a, raw(running) as b:
            await join(a)
            bad = ["{", b"\0", "[" * 10_000, '{"type":"join"}', json.dumps({"type": "relay", "to": "x", "payload": {}})]
            for message in bad:
                await a.send(message)
                assert (await hear(a))["code"] == "bad-message"
            for _ in range(MAX_FAULTS):
                await b.send("nonsense")
                assert (await hear(b))["code"] == "bad-message"
            assert await closed(b) == 4400
            await say(a, type="relay", to="x", payload=OFFER)
            assert (await hear(a))["code"] == "away"

    asyncio.run(main())


def test_messages_out_of_turn_are_refused():
    async def main():
        async with hub() as running, raw(running) as a:
            await say(a, type="leave")
            assert (await hear(a))["code"] == "out-of-turn"
            assert (await join(a))["type"] == "joined"
            assert (await join(a))["code"] == "out-of-turn"

    asyncio.run(main())


def test_a_flood_ends_only_its_own_connection():
    async def main():
        async with hub(messages_burst=10, messages_per_s=0.001) as running, raw(running) as a, raw(running) as b:
            ada = await join(a)
            bob = await join(b)
            await hear(a)
            for _ in range(9 + MAX_FAULTS):
                await say(b, type="relay", to=ada["id"], payload={"kind": "bye", "session": 1})
            assert [(await hear(b))["code"] for _ in range(MAX_FAULTS)] == ["rate"] * MAX_FAULTS
            assert await closed(b) == 4429
            assert [(await hear(a))["from"] for _ in range(9)] == [bob["id"]] * 9

    asyncio.run(main())


def test_connections_and_join_attempts_from_one_address_are_limited():
    async def main():
        async with hub(connections_per_address=2, joins_burst=1, joins_per_s=0.001) as running:
            async with raw(running) as a, raw(running) as b:
                with pytest.raises(InvalidStatus) as refused:
                    async with raw(running):
                        pass
                assert refused.value.response.status_code == 429
                assert (await join(a, token="AQ.AQ"))["code"] == "token"
                assert (await join(b))["code"] == "rate"
                assert await closed(b) == 4429
            async with raw(running):
                pass

    asyncio.run(main())


def test_a_connection_that_says_nothing_is_closed():
    async def main():
        async with hub(join_timeout_s=0.02) as running, raw(running) as a:
            assert (await hear(a))["code"] == "timeout"
            assert await closed(a) == 4408

    asyncio.run(main())


def test_the_others_are_told_when_somebody_leaves_or_stays_away():
    async def main():
        async with hub(grace_s=0.05) as running, raw(running) as a, raw(running) as b, raw(running) as c:
            await join(a)
            bob, cleo = await join(b), await join(c)
            assert [(await hear(a))["id"] for _ in range(2)] == [bob["id"], cleo["id"]]
            await say(b, type="leave")
            assert await hear(a) == {"type": "left", "id": bob["id"]}
            assert await closed(b) == 1000
            c.transport.abort()
            assert await hear(a) == {"type": "left", "id": cleo["id"]}

    asyncio.run(main())


def test_a_resume_keeps_the_id_and_replaces_the_old_connection_without_the_others_noticing():
    async def main():
        async with hub() as running, raw(running) as a, raw(running) as b, raw(running) as again, raw(running) as d:
            await join(a)
            bob = await join(b)
            assert (await hear(a))["id"] == bob["id"]
            back = await join(again, resume=bob["resume"], token="AQ.AQ")
            assert (back["type"], back["id"], back["resumed"]) == ("joined", bob["id"], True)
            assert (await hear(b))["code"] == "replaced"
            assert await closed(b) == 4409
            dora = await join(d)
            assert (await hear(a))["id"] == dora["id"]
            await say(a, type="relay", to=bob["id"], payload=OFFER)
            assert (await hear(again))["type"] == "arrived"
            assert (await hear(again))["payload"] == OFFER

    asyncio.run(main())


def test_a_replaced_connection_that_still_speaks_leaves_its_successor_alone():
    def joining(**fields):
        standard = {"type": "join", "protocol": 1, "token": token(), "room": "den", "name": "", "schemas": [1]}
        return json.dumps(standard | fields)

    async def main():
        served = _Hub(HubConfig(SECRET))
        old, new, other = (Connection(None, "", TokenBucket(9, 9, updated=0)) for _ in range(3))
        served._handle(old, joining())
        served._handle(new, joining(resume=json.loads(old._outbox[0])["resume"]))
        served._handle(other, joining())
        assert old.ending == "replaced"
        before = list(other._outbox), list(new._outbox)
        for late in ({"type": "leave"}, {"type": "relay", "to": other.seat[1], "payload": OFFER}):
            served._handle(old, json.dumps(late))
        served._gone(old)
        assert (list(other._outbox), list(new._outbox)) == before
        served._handle(new, json.dumps({"type": "leave"}))
        assert json.loads(other._outbox[-1])["type"] == "left"

    asyncio.run(main())


def test_a_resume_token_of_another_room_or_hub_gives_a_new_id():
    async def main():
        async with hub() as running, raw(running) as a, raw(running) as b:
            ada = await join(a)
            bob = await join(b, resume=ada["resume"], room="attic", token=token("attic"))
            assert (bob["resumed"], bob["id"] != ada["id"]) == (False, True)

    asyncio.run(main())


def test_nothing_personal_is_logged(caplog):
    async def main():
        async with hub(grace_s=0) as running, raw(running) as a, raw(running) as b, raw(running) as c:
            ada = await join(a, name="Ada-Secret", room="room-secret", token=token("room-secret"))
            bob = await join(b, name="Bob-Secret", room="room-secret", token=token("room-secret"))
            await say(b, type="relay", to=ada["id"], payload=OFFER | {"sdp": "v=0 sdp-secret"})
            await say(b, type="leave")
            await join(c, token="forged-secret.x")
            await closed(c)
            return [ada["resume"], bob["resume"], ada["id"], bob["id"]]

    logging.getLogger("uvicorn.error").setLevel(logging.NOTSET)
    with caplog.at_level(logging.DEBUG):
        secrets = asyncio.run(main())
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith(("websockets", "asyncio"))]
    assert any("joined" in line for line in ours)
    for line in ours:
        assert not any(secret in line for secret in [*secrets, "Secret", "secret", "127.0.0.1"]), line


def test_a_short_secret_is_refused_and_never_shown():
    with pytest.raises(ValueError, match="16 bytes"):
        HubConfig(b"short")
    assert "0123" not in repr(HubConfig(b"0123456789abcdef"))
