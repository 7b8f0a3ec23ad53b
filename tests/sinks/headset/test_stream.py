"""The headset stream over a real WebSocket with TLS, and the client of the document."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import websockets

from telepresence.sinks.headset import protocol, renderer
from telepresence.sinks.headset.certificate import certificate, fingerprint
from telepresence.sinks.headset.protocol import frame
from telepresence.sinks.headset.rehearsal import show
from telepresence.sinks.headset.server import HeadsetServer
from telepresence.sinks.headset.sink import HeadsetSink
from tests.rtc.pair import until as settled

DOCUMENT = Path(__file__).parents[3] / "docs" / "headset.md"
MOST_LINES = 60
SOON_S = 30


@pytest.fixture(autouse=True)
def _data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def hello(sink: HeadsetSink, mode: str = "pictures", version: int = 1, token: str | None = None) -> bytes:
    own = sink.link.split("token=")[1]
    return frame(protocol.HELLO, json.dumps({"version": version, "mode": mode, "token": token or own}).encode())


def connect(sink: HeadsetSink, **options: Any) -> Any:
    trust = ssl.create_default_context(cafile=str(sink.certificate))
    url = "wss" + sink.link.split("/headset")[0].removeprefix("https") + "/stream"
    return websockets.connect(url, ssl=trust, max_size=1 << 22, **options)


async def until(socket: Any, kind: int) -> bytes:
    """The body of the next frame of a kind."""
    async with asyncio.timeout(SOON_S):
        while True:
            message = await socket.recv()
            if message[4] == kind:
                return bytes(message[5:])


def head(x: float, ipd: float = 0.063, at: int = 1) -> bytes:
    return frame(protocol.POSE, struct.pack(">Q3f4ff", at, x, 1.2, 0, 0, 0, 0, 1, ipd))


def eyes(body: bytes) -> tuple[Any, Any, Any]:
    """Left and right eye's colour, and both mattes."""
    import cv2

    side = struct.unpack_from(">H", body, 2)[0]
    packed = cv2.imdecode(np.frombuffer(body[44:], np.uint8), cv2.IMREAD_COLOR)
    assert packed.shape == (2 * side, 2 * side, 3)
    return packed[:side, :side], packed[:side, side:], packed[side:]


def test_pictures_are_stereo_and_follow_the_head() -> None:
    async def run() -> None:
        async with show() as sink, connect(sink) as socket:
            await socket.send(hello(sink))
            welcome = json.loads(await until(socket, protocol.WELCOME))
            assert welcome == {"version": 1, "mode": "pictures", "sound": False}
            left, right, mattes = eyes(await until(socket, protocol.PICTURE))
            assert np.abs(left.astype(int) - right).mean() > 0.5
            assert mattes.min() < 5
            assert mattes.max() > 250
            await socket.send(head(0.3, at=77))
            while (body := await until(socket, protocol.PICTURE))[20:28] != (77).to_bytes(8):
                pass
            yaw, _, beyond, _ = struct.unpack_from(">4f", body, 28)
            assert yaw == pytest.approx(np.arctan2(0.3, 1.3), abs=0.01)
            assert beyond == pytest.approx(0, abs=1e-6)
            await socket.send(head(0, ipd=0, at=78))
            while (body := await until(socket, protocol.PICTURE))[20:28] != (78).to_bytes(8):
                pass
            left, right, _ = eyes(body)
            assert np.abs(left.astype(int) - right).mean() < 0.5

    asyncio.run(run())


def test_a_still_avatar_is_drawn_anew_when_the_head_moves() -> None:
    async def run() -> None:
        async with show(moving=False) as sink, connect(sink) as socket:
            await socket.send(hello(sink))
            await until(socket, protocol.PICTURE)
            for at in range(1, 200):
                await socket.send(head(0.2, at=at))
                body = await until(socket, protocol.PICTURE)
                if struct.unpack_from(">f", body, 28)[0] > 0.1:
                    return
            raise AssertionError("no picture was drawn for the head where it is")

    asyncio.run(run())


def test_the_last_pose_of_a_head_that_stops_is_drawn_however_soon_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renderer, "PARALLAX_US", 300_000)

    async def run() -> None:
        async with show(moving=False) as sink, connect(sink) as socket:
            await socket.send(hello(sink))
            await until(socket, protocol.PICTURE)
            for at, x in ((1, 0.2), (2, -0.2)):  # the second comes while nothing may be drawn yet
                await socket.send(head(x, at=at))
                async with asyncio.timeout(SOON_S):
                    while (body := await until(socket, protocol.PICTURE))[20:28] != at.to_bytes(8):
                        pass
            assert struct.unpack_from(">f", body, 28)[0] < -0.1

    asyncio.run(run())


def test_a_picture_comes_with_its_relief() -> None:
    async def run() -> None:
        async with show() as sink, connect(sink) as socket:
            await socket.send(hello(sink))
            async with asyncio.timeout(SOON_S):
                while (message := await socket.recv())[4] != protocol.PICTURE:
                    pass
            end = 4 + int.from_bytes(message[:4])
            body = message[end + 5 :]
            assert message[end + 4] == protocol.RELIEF
            assert int.from_bytes(message[end : end + 4]) == len(body) + 1
            place, side, *steps = body
            assert (place, len(steps)) == (0, side * side)
            depth = np.array(steps).reshape(side, side)
            assert depth.max() > 128 + 30  # a nose is more than 6 cm nearer than the ears
            assert abs(int(depth[0, 0]) - 128) <= 1

    asyncio.run(run())


def test_a_flood_of_poses_in_one_message_costs_no_more_than_the_last_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with show() as sink, connect(sink) as socket:
            seen: list[int] = []
            events = replace(sink._server._events, on_pose=lambda pose: seen.append(pose.at_us))
            monkeypatch.setattr(sink._server, "_events", events)
            await socket.send(hello(sink))
            await until(socket, protocol.WELCOME)
            for first in (0, 16):
                await socket.send(b"".join(head(0.1, at=at) for at in range(first, first + protocol.MAX_FRAMES)))
            await socket.send(head(0.1) * (protocol.MAX_FRAMES + 1))
            await settled(lambda: sink._server.refused == 1)
            assert seen == [15, 31]

    asyncio.run(run())


def test_whoever_comes_next_does_not_see_with_the_eyes_of_who_left() -> None:
    async def run() -> None:
        async with show(moving=False) as sink:
            async with connect(sink) as socket:
                await socket.send(hello(sink))
                await socket.send(head(0.3, at=5))
                async with asyncio.timeout(SOON_S):
                    while (await until(socket, protocol.PICTURE))[20:28] != (5).to_bytes(8):
                        pass
            await settled(lambda: not sink._server.wants("pictures"))
            async with connect(sink) as socket:
                await socket.send(hello(sink))
                body = await until(socket, protocol.PICTURE)
                assert body[20:28] == bytes(8)
                assert struct.unpack_from(">f", body, 28)[0] == pytest.approx(0, abs=1e-6)

    asyncio.run(run())


def test_a_motion_client_gets_weights_and_keypoints_and_nothing_is_drawn() -> None:
    async def run() -> None:
        async with show() as sink, connect(sink) as socket:
            await socket.send(hello(sink, "motion"))
            jaws = []
            for _ in range(60):
                body = await until(socket, protocol.MOTION)
                assert len(body) + 5 == protocol.MOTION_BYTES
                weights = np.frombuffer(body[46:254], ">f4")
                points = np.frombuffer(body[254:], ">f4")
                assert ((weights >= 0) & (weights <= 1)).all()
                assert np.isfinite(points).all()
                assert np.linalg.norm(struct.unpack_from(">4f", body, 18)) == pytest.approx(1, abs=1e-5)
                jaws.append(weights[17])
            assert max(jaws) > min(jaws) + 0.05
            assert sink._renderer is not None
            assert not sink._renderer._shown

    asyncio.run(run())


@pytest.mark.parametrize(
    ("version", "token", "code", "words"),
    [
        (2, None, 4406, "update telepresence"),
        (0, None, 4406, "update the client"),
        (1, "wrong", 4401, "token is wrong"),
        (1, "\ud800", 4401, "token is wrong"),  # half a character, which JSON can say and no encoding can write
    ],
)
def test_a_refused_client_is_told_why(version: int, token: str | None, code: int, words: str) -> None:
    async def run() -> None:
        async with show() as sink, connect(sink) as socket:
            await socket.send(hello(sink, version=version, token=token))
            assert words in json.loads(await until(socket, protocol.ERROR))["message"]
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()
            assert socket.close_code == code

    asyncio.run(run())


def test_absurd_poses_are_counted_and_end_only_their_own_client() -> None:
    async def run() -> None:
        async with show() as sink, connect(sink) as good, connect(sink) as bad:
            for socket in (bad, good):
                await socket.send(hello(sink))
                await until(socket, protocol.WELCOME)
            for _ in range(40):
                await bad.send(head(float("nan")))
            assert json.loads(await until(bad, protocol.ERROR))["code"] == "message"
            await good.send(head(0.1))
            await until(good, protocol.PICTURE)
            assert sink._server.refused >= 32

    asyncio.run(run())


def test_a_client_that_does_not_read_gets_the_newest_and_fills_no_memory() -> None:
    async def run() -> None:
        async with show() as sink, connect(sink, max_queue=1) as socket:
            await socket.send(hello(sink))
            await until(socket, protocol.PICTURE)
            server: HeadsetServer = sink._server
            for number in range(400):  # far more than every buffer between here and there
                server.send("pictures", 0, frame(protocol.PICTURE, number.to_bytes(4) + bytes(40_000)))
                server.send("pictures", 1, frame(protocol.PICTURE, number.to_bytes(4) + bytes(40_000)))
                await asyncio.sleep(0.001)
                (client,) = server._clients
                assert len(client._newest) <= 2
            assert server.figures()["replaced"] > 100

    asyncio.run(run())


def test_the_documents_client_runs(tmp_path: Path) -> None:
    found = re.search(r"```python client\n(.*?)```", DOCUMENT.read_text(), re.S)
    assert found is not None
    program = found.group(1)
    assert len(program.splitlines()) <= MOST_LINES
    client = tmp_path / "client.py"
    client.write_text(program)

    async def run(mode: str) -> str:
        async with show() as sink:
            process = await asyncio.create_subprocess_exec(
                sys.executable, str(client), sink.link, mode, "3", str(sink.certificate),
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            out, _ = await asyncio.wait_for(process.communicate(), 60)
            assert process.returncode == 0, out.decode()
            return out.decode()

    pictures = asyncio.run(run("pictures"))
    assert "welcome" in pictures
    assert pictures.count("picture 0: 512x512") >= 3
    assert asyncio.run(run("motion")).count("478 keypoints") >= 3


def test_the_certificate_is_kept_until_an_address_is_new(tmp_path: Path) -> None:
    first = certificate(tmp_path, ["127.0.0.1"])
    before = fingerprint(first.certificate)
    assert first.certificate.stat().st_mode & 0o777 == 0o600
    certificate(tmp_path, ["127.0.0.1"])
    assert fingerprint(first.certificate) == before
    certificate(tmp_path, ["192.0.2.7", "127.0.0.1"])
    assert fingerprint(first.certificate) != before
    assert "192.0.2.7" in first.names()
