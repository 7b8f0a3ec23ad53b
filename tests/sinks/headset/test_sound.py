"""The sound's way to the headset's page: it takes the place of the page on the computer, which keeps all else."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect

from telepresence.edge.line import BAD_TOKEN
from telepresence.rtc.edge import Edge
from telepresence.sinks.headset.drawing import HeadsetDrawing
from tests.edge.socket import PageSocket, page_socket
from tests.rtc.call import edge, hub
from tests.rtc.pair import run, until

SILENT = {"camera": "none", "sink": "null"}
SDP = "v=0\r\n"


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("telepresence.rtc.cache.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@contextlib.asynccontextmanager
async def headset_socket(worn: Edge, token: str | None = None) -> AsyncIterator[PageSocket]:
    """A headset's page that has shown its token."""
    assert isinstance(worn._drawing, HeadsetDrawing)
    sink = worn._drawing.sink
    trust = ssl.create_default_context(cafile=str(sink.certificate))
    trust.check_hostname = False  # the link names an address of a network
    link = urlsplit(sink.link)
    url = f"wss://127.0.0.1:{link.port}/api/room"
    async with connect(url, ssl=trust, proxy=None) as socket:
        page = PageSocket(socket)
        await page.send(type="page", token=token or link.fragment.removeprefix("token="))
        yield page
        await page.close()


def payload(kind: str = "offer", session: int = 1) -> dict[str, object]:
    return {"kind": kind, "session": session, "media": "sound", "sdp": SDP}


def test_the_headset_has_the_sound_for_as_long_as_it_is_there() -> None:
    async def test() -> None:
        async with (
            hub() as url,
            edge(url, name="Ada", camera="browser", sink="headset:0") as ada,
            edge(url, name="Bob", **SILENT) as bob,
            page_socket(ada) as desk,
            page_socket(bob) as other,
        ):
            await desk.send(type="state", name="Ada L", muted=False, camera=True)
            await until(lambda: other.others.get("Ada L", {}).get("sound", False))
            async with headset_socket(ada) as worn:
                await until(lambda: desk.of_type("superseded") == [{"type": "superseded", "by": "headset"}])
                await until(lambda: worn.others.get("Bob", {}).get("sound", False))
                # its microphone counts, and its relays; the camera and the name stay the computer's
                await until(lambda: other.others["Ada L"]["muted"])
                await worn.send(type="microphone", muted=False)
                await until(lambda: not other.others["Ada L"]["muted"])
                assert other.others["Ada L"]["camera"]
                await desk.send(type="state", name="Ada Lovelace", muted=True, camera=False)
                await until(lambda: other.others.get("Ada Lovelace", {}).get("camera") is False)
                assert not other.others["Ada Lovelace"]["muted"]
                await other.send(type="relay", to=ada.hub.id, payload=payload())
                await until(lambda: [m["from"] for m in worn.of_type("relay")] == [bob.hub.id])
                await worn.send(type="relay", to=bob.hub.id, payload=payload("answer"))
                await until(lambda: other.of_type("relay") != [])
                # what only the page on the computer may
                await worn.send(type="leave")
                await worn.send(type="state", name="Somebody", muted=True, camera=True)
                await worn.send(type="microphone", muted=True)
                await until(lambda: other.others["Ada Lovelace"]["muted"])
                assert ada.hub.connected
                assert desk.of_type("relay") == []
            await until(lambda: desk.of_type("returned") != [])
            await desk.send(type="state", name="Ada", muted=False, camera=True)
            await until(lambda: other.others.get("Ada", {}).get("muted") is False)
            await other.send(type="relay", to=ada.hub.id, payload=payload(session=2))
            await until(lambda: desk.of_type("relay") != [])

    run(test, 60)


def test_a_new_tab_does_not_take_the_sound_out_of_the_headset_but_may_ask_for_it() -> None:
    async def test() -> None:
        async with (
            hub() as url,
            edge(url, name="Ada", camera="none", sink="headset:0") as ada,
            headset_socket(ada) as worn,
        ):
            await until(lambda: bool(worn.room))
            async with page_socket(ada) as first, page_socket(ada) as second:
                await until(lambda: second.of_type("superseded") == [{"type": "superseded", "by": "headset"}])
                await until(lambda: {"type": "superseded", "by": "page"} in first.of_type("superseded"))
                assert worn.of_type("superseded") == []
                await second.send(type="take")
                await until(lambda: worn.of_type("superseded") == [{"type": "superseded", "by": "page"}])
                await worn.send(type="take")
                await until(lambda: len(second.of_type("superseded")) == 2)
            assert ada.pages.headset

    run(test, 40)


def test_nobody_gets_in_by_the_other_doors_token() -> None:
    async def test() -> None:
        async with hub() as url, edge(url, name="Ada", camera="none", sink="headset:0") as ada:
            async with headset_socket(ada, token=ada.page.token) as stranger:
                await until(lambda: stranger.code == BAD_TOKEN)
                assert stranger.messages == []
            assert isinstance(ada._drawing, HeadsetDrawing)
            own = urlsplit(ada._drawing.sink.link).fragment.removeprefix("token=")
            async with page_socket(ada, token=own) as stranger:
                await until(lambda: stranger.code == BAD_TOKEN)

    run(test, 40)
