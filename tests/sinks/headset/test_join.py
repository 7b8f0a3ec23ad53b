"""A real edge with `--sink headset` in a room with another that shows the sample avatar."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path

import pytest

from telepresence.sinks.headset import protocol
from telepresence.sinks.headset.drawing import HeadsetDrawing
from tests.rtc.call import edge, hub
from tests.sinks.headset.test_stream import connect, eyes, hello, until


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def test_the_others_in_the_room_are_seen_in_stereo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))

    async def run() -> None:
        async with (
            hub() as url,
            edge(url, camera="sample", sink="null", name="Ada"),
            edge(url, camera="none", sink="headset:0") as watching,
        ):
            assert isinstance(watching._drawing, HeadsetDrawing)
            sink = watching._drawing.sink
            page = await asyncio.to_thread(read, f"{watching.page.url}/headset-link")
            assert sink.link in page
            assert sink.fingerprint in page
            words = json.loads(await asyncio.to_thread(read, f"{watching.page.url}/headset-link.json"))
            assert words == {"link": sink.link, "fingerprint": sink.fingerprint}
            config = json.loads(await asyncio.to_thread(read, f"{watching.page.url}/api/page-config"))
            assert config["headset"] == "/headset-link"
            assert "<svg" in await asyncio.to_thread(read, f"{watching.page.url}/headset-link.svg")
            async with connect(sink) as socket:
                await socket.send(hello(sink))
                while True:
                    others = json.loads(await until(socket, protocol.ROOM))["participants"]
                    if others and others[0]["body"]:
                        break
                assert others[0]["name"] == "Ada"
                assert others[0]["state"] == "connected"
                assert others[0]["label"] == "sample avatar"
                assert 0.2 < others[0]["body"]["width"] < 1
                left, right, mattes = eyes(await until(socket, protocol.PICTURE))
                assert (left != right).any()
                assert mattes.max() > 250
            assert watching.stats()["headset"]["clients"] <= 1

    asyncio.run(run())
