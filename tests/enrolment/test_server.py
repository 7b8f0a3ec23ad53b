"""The edge's side of enrolment: who may, what is refused, and that nothing is lost that was there before."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from telepresence.avatar.file import load_bytes, pack
from telepresence.avatar.model import Avatar
from telepresence.avatar.owner import data_folder, verify
from telepresence.avatar.samples import sample_avatar, sample_avatar_bytes
from telepresence.enrolment import own, server
from telepresence.enrolment.uploads import MAX_PHOTO_BYTES
from telepresence.rtc import exchange, greeting
from telepresence.rtc.edge import Edge
from tests.rtc.call import edge, hub, request
from tests.rtc.pair import run, until

SOON_S = 30.0


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("telepresence.rtc.cache.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr("telepresence.rtc.own_avatar.LOOK_S", 0.05)


class Page:
    """A page's WebSocket of enrolment; keeps what comes."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.messages: list[dict[str, Any]] = []
        self.pictures: list[bytes] = []
        self.code: int | None = None
        self._reader = asyncio.ensure_future(self._read())

    async def send(self, kind: str, **fields: Any) -> None:
        await self._socket.send(json.dumps({"type": kind, **fields}))

    async def raw(self, data: str | bytes) -> None:
        await self._socket.send(data)

    async def close(self) -> None:
        await self._socket.close()
        await self._reader

    def last(self, kind: str) -> dict[str, Any]:
        return next((m for m in reversed(self.messages) if m["type"] == kind), {})

    async def said(self, words: str) -> None:
        await until(lambda: any(words in m["text"] for m in self.messages if m["type"] == "said"), SOON_S)

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in self._socket:
                if isinstance(message, bytes):
                    self.pictures.append(message)
                else:
                    self.messages.append(json.loads(message))
        self.code = self._socket.close_code


@contextlib.asynccontextmanager
async def page_of(running: Edge, token: str | None = None, origin: str | None = None) -> AsyncIterator[Page]:
    url = running.page.url.replace("http", "ws") + "/api/enrol"
    async with connect(url, origin=origin, proxy=None) as socket:  # type: ignore[arg-type]
        page = Page(socket)
        await page.send("page", token=running.page.token if token is None else token)
        yield page
        await page.close()


def mine(name: str = "Ada") -> Avatar:
    sample = sample_avatar()
    return Avatar(name, sample.references, sample.neutral, sample.background)


def photo(side: int = 640) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(sample_avatar().references[0].picture).resize((side, side)).save(out, "PNG")
    return out.getvalue()


async def upload(running: Edge, data: bytes, name: str = "me.png", **headers: str) -> tuple[int, dict[str, Any]]:
    sent = {"Authorization": f"Bearer {running.page.token}", "Content-Type": "image/png"} | headers
    status, answer, _ = await asyncio.to_thread(
        lambda: asyncio.run(request(f"{running.page.url}/api/enrol/photo?name={name}", data, sent))
    )
    return status, answer


def test_only_ones_own_page_may_and_it_is_told_what_one_is_shown_as() -> None:
    async def test() -> None:
        async with hub() as url, edge(url, camera="browser", sink="null") as ada:
            async with page_of(ada) as page:
                await until(lambda: bool(page.last("own")))
                told = page.last("own")
                assert (told["worn"], told["label"], told["there"]) == ("sample", "sample avatar", False)
                assert told["refine"]["can"] is False
            for token in ("", "wrong", "x" * 300):
                async with page_of(ada, token) as stranger:
                    await until(lambda: stranger.code is not None)
                    assert stranger.code in (4400, 4401)
                    assert stranger.messages == []
            with pytest.raises(InvalidStatus):
                async with page_of(ada, origin="https://elsewhere.example"):
                    pass
            status, _ = await upload(ada, b"x", Authorization="Bearer wrong")
            assert status == 401

    run(test, 60)


def test_an_edge_that_shows_nobody_makes_no_avatar() -> None:
    async def test() -> None:
        async with hub() as url, edge(url, camera="none", sink="null") as silent:
            with pytest.raises(InvalidStatus):
                async with page_of(silent):
                    pass

    run(test, 30)


def test_nonsense_and_floods_end_the_page_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with hub() as url, edge(url, camera="browser", sink="null") as ada:
            async with page_of(ada) as page:
                await until(lambda: bool(page.last("own")))
                for _ in range(8):
                    await page.raw("{nonsense")
                await until(lambda: page.code is not None)
                assert page.code == 4400
            async with page_of(ada) as page:
                with contextlib.suppress(ConnectionClosed):
                    for _ in range(400):
                        await page.send("skip")
                await until(lambda: page.code is not None)
                assert page.code == 4429
            async with page_of(ada) as page:
                await page.raw(b"\0\0\0\1no picture at all")
                await page.said("not a JPEG")

    run(test, 60)


def test_a_second_tab_has_it_and_the_first_is_told() -> None:
    async def test() -> None:
        async with hub() as url, edge(url, camera="browser", sink="null") as ada, page_of(ada) as first:
            await until(lambda: bool(first.last("own")))
            async with page_of(ada) as second:
                await until(lambda: first.code is not None)
                assert (first.messages[-1]["type"], first.code) == ("superseded", 4409)
                await until(lambda: bool(second.last("own")))

    run(test, 60)


def test_photos_become_an_avatar_that_is_shown_at_once_and_gone_when_it_is_deleted() -> None:
    async def test() -> None:
        async with hub() as url, edge(url, camera="browser", sink="null") as ada, page_of(ada) as page:
            assert await upload(ada, photo(), "..%2F..%2Fme%20at%20work.png") == (200, {"name": "me at work.png"})
            await page.send("photos")
            await until(lambda: page.last("guide").get("state") == "review", SOON_S)
            assert page.last("guide")["how"] == "photos"
            await until(lambda: len(page.pictures) > 2, SOON_S)  # recorded motion moves it: there is no camera
            assert page.pictures[0].startswith(b"\xff\xd8")
            assert not own.own_avatar_path().exists()
            await page.send("accept", name="Ada")
            await until(lambda: bool(page.last("kept")), SOON_S)
            data = load_bytes(own.own_avatar_path())
            await until(lambda: ada.room.ours.avatar == data, SOON_S)
            await until(lambda: page.last("own")["worn"] == "own", SOON_S)
            assert page.last("own")["label"] == "photo avatar"
            await page.send("delete")
            await until(lambda: bool(page.last("deleted")), SOON_S)
            await until(lambda: ada.room.ours.avatar == sample_avatar_bytes(), SOON_S)
            assert not own.own_avatar_path().exists()

    run(test, 90)


def test_who_deletes_their_avatar_in_a_call_is_shown_as_the_sample_to_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exchange, "OFFER_EVERY_S", 0.2)
    monkeypatch.setattr(greeting, "OFFER_AGAIN_S", 0.4)
    own.keep(pack(mine()), "live")
    data = load_bytes(own.own_avatar_path())

    async def test() -> None:
        async with (
            hub() as url,
            edge(url, camera="sample", sink="null") as ada,
            edge(url, camera="none") as grace,
            page_of(ada) as page,
        ):

            def seen() -> bytes:
                drawing = grace._drawing
                stage = drawing.renderer._stages.get(ada.hub.id) if drawing else None
                return stage.avatar if stage else b""

            await until(lambda: seen() == data, SOON_S)
            await page.send("delete")
            await until(lambda: seen() == sample_avatar_bytes(), SOON_S)
            (peer,) = grace.room.peers.values()
            assert (peer.proving.label, peer.proving.unshown) == ("sample avatar", "")

    run(test, 90)


def test_what_is_too_large_is_refused_before_it_is_read_and_what_is_no_photo_in_words() -> None:
    async def announce(ada: Edge, length: int) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", ada.page.port)
        head = f"POST /api/enrol/photo?name=huge.jpg HTTP/1.1\r\nHost: 127.0.0.1:{ada.page.port}\r\n"
        head += f"Authorization: Bearer {ada.page.token}\r\nContent-Length: {length}\r\n\r\n"
        writer.write(head.encode())  # and not a byte of it
        answer = await asyncio.wait_for(reader.readline(), 5)
        writer.close()
        return answer.decode()

    async def test() -> None:
        async with hub() as url, edge(url, camera="browser", sink="null") as ada, page_of(ada) as page:
            assert " 413 " in await announce(ada, MAX_PHOTO_BYTES + 1)
            assert " 413 " in await announce(ada, 2 << 30)
            assert (await upload(ada, b"\xff\xd8\xff hostile" * 50, "bad.jpg"))[0] == 200
            await page.send("photos")
            await page.said("bad.jpg")
            text = page.last("said")["text"]
            assert "telepresence-photos" not in text, f"where photos wait is nobody's business: {text}"
            assert page.last("guide")["state"] == "look"
            await page.send("leave")
            await page.send("photos")
            await page.said("no photo has come")

    run(test, 60)


def test_what_was_there_before_stays_until_another_is_accepted() -> None:
    async def test() -> None:
        before = own.keep(pack(mine()), "live")
        async with hub() as url, edge(url, camera="browser", sink="null") as ada:
            assert ada.room.ours.avatar == load_bytes(own.own_avatar_path()), "one's own is shown by default"
            async with page_of(ada) as page:
                await upload(ada, photo())
                await page.send("photos")
                await until(lambda: page.last("guide").get("state") == "review", SOON_S)
                await page.send("leave")
                await until(lambda: page.last("guide")["state"] == "look", SOON_S)
                await page.send("accept", name="too late")
                await page.send("begin")
                await until(lambda: page.last("guide")["state"] == "guide", SOON_S)
            assert own.kept_digest() == before

    run(test, 90)


def test_a_full_disk_and_a_damaged_key_are_told_and_the_avatar_before_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        before = own.keep(pack(mine()), "live")
        async with hub() as url, edge(url, camera="browser", sink="null") as ada, page_of(ada) as page:
            await upload(ada, photo())
            await page.send("photos")
            await until(lambda: page.last("guide").get("state") == "review", SOON_S)

            def full(*_: object, **__: object) -> None:
                raise OSError(28, "No space left on device")

            with monkeypatch.context() as patch:
                patch.setattr("telepresence.avatar.file.tempfile.NamedTemporaryFile", full)
                await page.send("accept", name="Ada")
                await page.said("No space left on device")
            assert own.kept_digest() == before
            await page.send("accept", name="Ada")  # there is room again
            await until(lambda: bool(page.last("kept")), SOON_S)
            (data_folder() / "owner.key").write_text("damaged")
            await page.send("begin")
            await page.said("owner.key")
            assert page.last("guide")["state"] != "guide"

    run(test, 90)


def test_pictures_that_nobody_accepted_are_forgotten_when_no_page_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE_S", 0.1)

    async def test() -> None:
        async with hub() as url, edge(url, camera="browser", sink="null") as ada:
            async with page_of(ada) as page:
                await page.send("begin")
                await until(lambda: page.last("guide").get("state") == "guide", SOON_S)
            await asyncio.sleep(1.0)
            async with page_of(ada) as page:
                await until(lambda: bool(page.last("own")), SOON_S)
                assert page.last("guide") == {}

    run(test, 60)


def test_a_page_that_is_reloaded_finds_the_guide_as_it_was() -> None:
    async def test() -> None:
        async with hub() as url, edge(url, camera="browser", sink="null") as ada:
            async with page_of(ada) as page:
                await page.send("begin")
                await until(lambda: page.last("guide").get("state") == "guide", SOON_S)
                order = [one["step"] for one in page.last("guide")["steps"]]
            async with page_of(ada) as page:
                await until(lambda: page.last("guide").get("state") == "guide", SOON_S)
                assert [one["step"] for one in page.last("guide")["steps"]] == order

    run(test, 60)


def test_refining_without_pictures_is_refused_in_words() -> None:
    async def test() -> None:
        async with hub() as url, edge(url, camera="browser", sink="null") as ada, page_of(ada) as page:
            await page.send("tune")
            await page.said("enrol again")
            await page.send("stop")  # of nothing

    run(test, 30)


def test_the_picture_of_what_one_is_shown_as_is_for_ones_own_page_alone() -> None:
    async def get(running: Edge, **headers: str) -> int:
        import urllib.error
        import urllib.request

        def read() -> int:
            asked = urllib.request.Request(f"{running.page.url}/api/enrol/picture", headers=headers)
            try:
                with urllib.request.urlopen(asked, timeout=10) as answer:
                    assert answer.read(2) == b"\xff\xd8"
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                return error.code

        return await asyncio.to_thread(read)

    async def test() -> None:
        async with hub() as url, edge(url, camera="browser", sink="null") as ada:
            assert await get(ada, Authorization=f"Bearer {ada.page.token}") == 200
            assert await get(ada) == 401
            assert await get(ada, Authorization=f"Bearer {ada.page.token}", Origin="https://elsewhere.example") == 403

    run(test, 30)


def test_an_own_avatar_is_signed_and_says_how_it_was_made() -> None:
    own.keep(pack(mine()), "live")
    ownership = verify(load_bytes(own.own_avatar_path()))
    assert ownership is not None
    assert ownership.label == "avatar"
