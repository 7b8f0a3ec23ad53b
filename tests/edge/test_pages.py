"""The WebSocket /api/room of real edges in a real room."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from telepresence.edge import pages
from telepresence.edge.line import BAD_MESSAGE, BAD_TOKEN, RATE, REPLACED, TIMEOUT
from telepresence.hub import tokens
from telepresence.hub.urls import parse_join_url
from telepresence.rtc.hello import Presence
from tests.edge.socket import PageSocket, page_socket
from tests.rtc.call import edge, hub
from tests.rtc.pair import run, until

SILENT = {"camera": "none", "sink": "null"}
SDP = "v=0\r\n"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telepresence.rtc.cache.cache_folder", lambda: tmp_path / "cache")


def offer(session: int = 1, kind: str = "offer") -> dict[str, object]:
    return {"kind": kind, "session": session, "media": "sound"} | ({"sdp": SDP} if kind != "bye" else {})


def payloads(page: PageSocket) -> list[tuple[str, int]]:
    return [(m["payload"]["kind"], m["payload"]["session"]) for m in page.of_type("relay")]


def test_a_page_sees_who_comes_what_they_are_called_and_who_goes() -> None:
    async def test() -> None:
        async with (
            hub() as url,
            edge(url, name="Ada", camera="sample", sink="null") as ada,
            page_socket(ada, origin=ada.page.url) as page,
        ):
            await until(lambda: bool(page.room))
            assert page.room["you"] == {"id": ada.hub.id, "name": "Ada"}
            assert page.room["room"] == "room"
            assert page.room["link"] == url
            assert page.room["joined"] is page.room["hub"] is True
            assert page.room["participants"] == page.room["later"] == page.room["ice_servers"] == []
            async with edge(url, name="Bob", **SILENT) as bob, page_socket(bob) as other:
                await until(lambda: page.others.get("Bob", {}).get("state") == "connected")
                await until(lambda: page.others["Bob"]["sound"])
                assert page.others["Bob"]["place"] == 0
                await until(lambda: other.others.get("Ada", {}).get("sound", False))
                assert other.room["later"] == [ada.hub.id]
                assert page.room["later"] == []
                assert other.others["Ada"]["camera"] is True  # recorded motion needs no camera of the page
                await other.send(type="state", name="Robert", muted=True, camera=False)
                await until(lambda: page.others.get("Robert", {}).get("muted", False))
                assert other.room["you"]["name"] == "Robert"
                assert ada.stats()["participants"][0]["name"] == "Robert"
                async with edge(url, name="Cy", **SILENT) as cy, page_socket(cy) as late:
                    await until(lambda: late.others.get("Robert", {}).get("muted", False))  # told after hello
                    assert sorted(p["place"] for p in late.room["participants"]) == [0, 1]
            await until(lambda: page.room["participants"] == [])

    run(test, 40)


def test_nobody_goes_by_another_name_than_the_one_that_their_token_vouches_for() -> None:
    async def test() -> None:
        async with hub() as url, edge(url, name="Ada", **SILENT) as ada, page_socket(ada) as page:
            link = parse_join_url(url)
            vouched = tokens.issue(b"s" * 32, link.room, ttl_s=600, now=time.time(), name="Bob")
            async with (
                edge(url.replace(link.token, vouched), name="Not Bob", **SILENT) as bob,
                page_socket(bob) as other,
            ):
                await until(lambda: page.others.get("Bob", {}).get("sound", False))
                await other.send(type="state", name="Ada", muted=True, camera=False)
                await until(lambda: page.others.get("Bob", {}).get("muted", False))
                assert other.room["you"]["name"] == "Bob"
                assert bob.room.presence.name == "Bob"
                (peer,) = ada.room.peers.values()
                peer.on_control(Presence("Cy"))  # an edge that says what it likes
                assert ada.room.name(peer.id) == "Bob"

    run(test, 30)


def test_sound_is_relayed_from_page_to_page_and_answered_where_no_page_is() -> None:
    async def test() -> None:
        async with hub() as url, edge(url, name="A", **SILENT) as a, edge(url, name="B", **SILENT) as b:
            async with page_socket(a) as first:
                await until(lambda: first.others.get("B", {}).get("state") == "connected")
                await first.send(type="relay", to=b.hub.id, payload=offer(5))
                await until(lambda: ("bye", 5) in payloads(first))
                async with page_socket(b) as second:
                    await until(lambda: first.others["B"]["sound"])
                    await first.send(type="relay", to=b.hub.id, payload=offer(6))
                    await until(lambda: ("offer", 6) in payloads(second))
                    assert second.of_type("relay")[0]["from"] == a.hub.id
                    assert second.of_type("relay")[0]["payload"]["sdp"] == SDP
                    await second.send(type="relay", to=a.hub.id, payload=offer(6, "answer"))
                    await until(lambda: ("answer", 6) in payloads(first))
                    await first.send(type="relay", to="nobody", payload=offer(7))
                await until(lambda: not first.others["B"]["sound"])
            assert a.room.peers[b.hub.id].rebuilds == 0

    run(test, 30)


def test_the_newest_page_has_the_sound_until_another_asks_for_it() -> None:
    async def test() -> None:
        async with (
            hub() as url,
            edge(url, name="A", **SILENT) as a,
            edge(url, name="B", **SILENT) as b,
            page_socket(a) as first,
            page_socket(b) as other,
        ):
            await until(lambda: first.others.get("B", {}).get("sound", False))
            async with page_socket(a) as second:
                await until(lambda: first.of_type("superseded") != [])
                await first.send(type="state", name="Nobody", muted=False, camera=False)  # not its turn
                await other.send(type="relay", to=a.hub.id, payload=offer(1))
                await until(lambda: payloads(second) == [("offer", 1)])
                await first.send(type="take")
                await until(lambda: second.of_type("superseded") != [])
                await other.send(type="relay", to=a.hub.id, payload=offer(2))
                await until(lambda: payloads(first) == [("offer", 2)])
                assert len(first.of_type("superseded")) == 1
                assert "Nobody" not in other.others
                await until(lambda: other.others["A"]["sound"])

    run(test, 30)


def test_leaving_and_coming_back_without_ending_the_process() -> None:
    async def test() -> None:
        async with (
            hub() as url,
            edge(url, name="A", camera="sample", sink="null") as a,
            edge(url, name="B", **SILENT) as b,
            page_socket(a) as page,
            page_socket(b) as other,
        ):
            await until(lambda: other.others.get("A", {}).get("state") == "connected")
            await page.send(type="state", name="Alice", muted=True, camera=True)
            await page.send(type="leave")
            await until(lambda: page.room["joined"] is False and page.room["participants"] == [])
            await until(lambda: other.room["participants"] == [])
            assert page.room["you"]["id"] == ""
            await page.send(type="join")
            await until(lambda: other.others.get("Alice", {}).get("state") == "connected")
            await until(lambda: page.others.get("B", {}).get("state") == "connected")
            await until(lambda: other.others["Alice"]["muted"])
            received = b.room.peers[a.hub.id].counters
            await until(lambda: received.received > 10)
            for kind in ("leave", "join", "leave", "join"):  # as fast as somebody can click
                await page.send(type=kind)
            await until(lambda: len(other.others) == 1 and other.others["Alice"]["state"] == "connected")
            await until(lambda: page.others.get("B", {}).get("state") == "connected")

    run(test, 40)


def test_a_page_that_floods_or_has_no_token_is_disconnected_and_the_call_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pages, "ENTER_S", 0.2)

    async def test() -> None:
        async with hub() as url, edge(url, name="A", **SILENT) as a:
            async with page_socket(a, token="wrong") as stranger:
                await until(lambda: stranger.code == BAD_TOKEN)
                assert stranger.messages == []
            with pytest.raises(InvalidStatus):
                async with page_socket(a, origin="http://evil.example"):
                    pass
            async with page_socket(a, token="") as silent:  # nonsense in place of the token, then nothing
                await until(lambda: silent.code == TIMEOUT)
            async with page_socket(a) as page:
                await until(lambda: bool(page.room))
                for _ in range(pages.MAX_FAULTS):
                    await page.raw(b"\x00")
                await until(lambda: page.code == BAD_MESSAGE)
            async with page_socket(a) as page:
                await until(lambda: bool(page.room))
                for _ in range(3 * pages.MESSAGES_PER_S):
                    await page.send(type="of a later version")
                await until(lambda: page.code == RATE)
            async with page_socket(a) as page:
                await until(lambda: bool(page.room))
                for _ in range(pages.MAX_PAGES):
                    asyncio.ensure_future(_open_and_stay(a))  # noqa: RUF006 - ends with its edge
                await until(lambda: page.code == REPLACED)

    run(test, 40)


async def _open_and_stay(running: object) -> None:
    async with page_socket(running) as page:  # type: ignore[arg-type]
        await until(lambda: page.code is not None, 60)
