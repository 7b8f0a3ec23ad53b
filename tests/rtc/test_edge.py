"""Whole edges over a real hub: motion in, pictures out, and everything that must not end a call."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from telepresence.errors import AvatarError, InputError, TokenError
from telepresence.hub.client import HubClient
from telepresence.media import clip_info, read_frames
from telepresence.rtc.edge import Edge, EdgeConfig
from telepresence.rtc.peer import State
from telepresence.rtc.sender import Sender
from telepresence.runtime.info import DEFAULT_ENGINE
from tests.rtc.call import ClipTrack, Page, edge, hub, request
from tests.rtc.pair import run, until


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No avatar from an earlier test; the measured choice of a runtime is not repeated."""
    monkeypatch.setattr("telepresence.rtc.cache.cache_folder", lambda: tmp_path / "cache")


def test_recorded_motion_becomes_moving_pictures_on_the_page() -> None:
    async def test() -> None:
        async with (
            hub() as url,
            edge(url, camera="none", name="receiver", engine=DEFAULT_ENGINE) as receiver,
            edge(url, camera="sample", sink="null", name="sender") as sender,
        ):
            page = Page(receiver, avatars=1)
            answer = await page.connect()
            first_codec = answer[answer.index("m=video") :].split("a=rtpmap:")[1].split("\r\n")[0]
            assert "H264" in first_codec
            await page.picture()
            pictures = [await page.picture() for _ in range(40)]
            assert pictures[0].shape == (256, 256, 3)
            moved = [float(np.abs(a.astype(int) - b).mean()) for a, b in itertools.pairwise(pictures)]
            assert max(moved) > 0.3
            stats, sent = receiver.stats(), sender.stats()
            assert stats["fps"] > 0
            assert 0 < stats["edge_ms_p50"] <= stats["edge_ms_p95"]
            assert stats["edge_ms_p50"] <= stats["age_ms_p50"] + 0.11
            assert stats["payload_kbps"] > 1
            assert stats["wire_kbps"] > stats["payload_kbps"]
            assert stats["engine"] == DEFAULT_ENGINE == "live"
            assert stats["state"] == "connected"
            assert [p["name"] for p in stats["participants"]] == ["sender"]
            assert stats["sent"] is None
            assert sent["fps"] is None
            assert sent["sent"] > 0
            assert sent["edge_ms_p50"] is None
            json.dumps(stats), json.dumps(sent)
            await page.pc.close()
            await until(lambda: receiver.stats()["pages"] == 0)

    run(test, 40)


def test_a_pages_camera_becomes_motion_and_a_second_page_takes_over(faces: Path) -> None:
    clip = sorted((faces / "dev").glob("*.mp4"))[0]
    frames = [frame.picture for frame in itertools.islice(read_frames(clip), 30)]

    async def test() -> None:
        async with hub() as url, edge(url, camera="browser", sink="null") as sender:
            first = Page(sender, ClipTrack(frames))
            await first.connect()
            await until(lambda: sender.stats()["faces"] == 1, 15)
            assert sender.stats()["camera_runs"]
            second = Page(sender, ClipTrack([np.zeros((480, 640, 3), np.uint8)]))
            await second.connect()
            await until(lambda: sender.stats()["faces"] == 0)  # the new page's camera is in the dark
            assert sender.stats()["pages"] == 2
            await second.pc.close()  # the browser leaves in the middle of the call
            await until(lambda: sender.stats()["faces"] == 1)
            await first.pc.close()
            await until(lambda: not sender.stats()["camera_runs"])
            assert sender.stats()["faces"] is None
            third = Page(sender, ClipTrack(frames))
            await third.connect()
            await until(lambda: sender.stats()["faces"] == 1)
            await third.pc.close()

    run(test, 60)


def test_a_clip_is_a_camera_and_pictures_can_be_recorded(faces: Path, tmp_path: Path) -> None:
    clip = sorted((faces / "dev").glob("*.mp4"))[0]
    out = tmp_path / "out.mp4"

    async def test() -> None:
        async with (
            hub() as url,
            edge(url, camera="none", sink=str(out)) as receiver,
            edge(url, camera=str(clip), sink="null"),
        ):
            await until(lambda: (receiver.stats()["fps"] or 0) > 5, 20)
            await until(lambda: receiver.stats()["age_ms_p50"] is not None)
            assert receiver._drawing is not None
            recorder = receiver._drawing.recorder
            assert recorder is not None
            await until(lambda: recorder._writer._count > 12, 15)

    run(test, 60)
    info = clip_info(out)
    assert (info.width, info.height) == (256, 256)
    assert sum(1 for _ in read_frames(out)) > 10


def test_the_avatar_comes_to_rest_when_the_sender_is_gone() -> None:
    async def test() -> None:
        async with hub() as url, edge(url, camera="none") as receiver:
            async with edge(url, camera="sample", sink="null") as sender:
                await until(lambda: (receiver.stats()["fps"] or 0) > 5, 15)
                (peer,) = sender.room.peers.values()
                peer.close()  # without a word to the hub
                await until(lambda: receiver.stats()["state"] != "connected")
                assert receiver._drawing is not None
                (stage,) = receiver._drawing.renderer._stages.values()
                await until(lambda: stage.puppet is not None and stage.puppet._settled)
            await until(lambda: receiver.stats()["state"] == "alone")
            assert receiver.stats()["participants"] == []

    run(test, 40)


def test_the_call_goes_on_without_the_hub() -> None:
    async def test() -> None:
        async with contextlib.AsyncExitStack() as rendezvous:
            url = await rendezvous.enter_async_context(hub())
            async with edge(url, camera="none") as receiver, edge(url, camera="sample", sink="null") as sender:
                await until(lambda: (receiver.stats()["fps"] or 0) > 5, 15)
                await rendezvous.aclose()
                await until(lambda: not receiver.stats()["hub"] and not sender.stats()["hub"])
                (peer,) = receiver.room.peers.values()
                before = peer.counters.received
                await until(lambda: peer.counters.received > before + 10)
                assert receiver.stats()["state"] == "connected"

    run(test, 40)


def test_a_participant_that_is_refused_does_not_disturb_the_others() -> None:
    async def test() -> None:
        async with (
            hub() as url,
            edge(url, camera="none") as receiver,
            edge(url, camera="sample", sink="null", name="good"),
            edge(url, camera="sample", sink="null", name="bad") as bad,
        ):
            await until(lambda: [p["state"] for p in receiver.stats()["participants"]] == ["connected"] * 2, 15)
            (session,) = (p.session for p in bad.room.peers.values() if p.id == receiver.hub.id)
            assert session is not None
            for _ in range(300):
                session.channels._motion.send(b"nonsense")
            await until(lambda: any(p.state is State.REFUSED for p in receiver.room.peers.values()))
            states = {p["name"]: p["state"] for p in receiver.stats()["participants"]}
            assert states == {"good": "connected", "bad": "refused"}
            good = next(p for p in receiver.room.peers.values() if p.state is State.CONNECTED)
            before = good.counters.received
            await until(lambda: good.counters.received > before + 10)

    run(test, 40)


def test_the_api_lets_in_its_own_page_only() -> None:
    async def test() -> None:
        async with hub() as url, edge(url, camera="none", page_origins=("http://127.0.0.1:9999",)) as running:
            page, token = running.page.url, {"Authorization": f"Bearer {running.page.token}"}
            api = f"{page}/api/page"
            status, config, _ = await request(f"{page}/api/page-config")
            assert (status, config["camera"], config["avatar"]["token"]) == (200, None, running.page.token)
            assert config["shows"] is True
            for path, extra in (("/api/stats", {}), ("/api/page-config", {"Host": "evil.example"}), ("/nothing", {})):
                _, _, headers = await request(f"{page}{path}", headers=extra)
                assert "frame-ancestors 'none'" in headers["content-security-policy"]
                assert headers["permissions-policy"] == "camera=(self), microphone=(self)"
                assert headers["x-content-type-options"] == "nosniff"
                assert headers["cache-control"] == "no-store"
            status, stats, headers = await request(f"{page}/api/stats", headers={"Origin": "http://127.0.0.1:9999"})
            assert (status, stats["state"]) == (200, "alone")
            assert headers["access-control-allow-origin"] == "http://127.0.0.1:9999"
            for origin in ("http://127.0.0.1:9999", "http://evil.example"):
                status, _, headers = await request(f"{page}/api/page-config", headers={"Origin": origin})
                assert status == 403
            _, _, headers = await request(f"{page}/api/stats", headers={"Origin": "http://evil.example"})
            assert "access-control-allow-origin" not in headers
            rebound = {"Host": "evil.example"}
            assert (await request(f"{page}/api/page-config", headers=rebound))[0] == 400
            assert (await request(api, b"{}"))[0] == 401
            assert (await request(api, b"{}", {"Authorization": "Bearer nonsense"}))[0] == 401
            assert (await request(api, b"{}", token | {"Origin": "http://evil.example"}))[0] == 403
            assert (await request(api, b" " * 70_000, token))[0] == 413
            for body in (b"", b"[]", b"\xff", b"{}", b'{"type":"offer"}', b'{"type":"answer","sdp":""}'):
                assert (await request(api, body, token))[0] == 400
            for sdp in ("", "nonsense", "v=0\r\nm=video 9 x 96\r\n", "v=0\r\n" + "m=video 9 x 96\r\n" * 17):
                status, answer, _ = await request(api, json.dumps({"type": "offer", "sdp": sdp}).encode(), token)
                assert status == 400
                assert answer["error"]
            assert running.stats()["pages"] == 0
            assert (await request(f"{page}/../pyproject.toml"))[0] == 404

    run(test, 30)


def test_nobody_is_answered_before_the_edge_is_in_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with hub() as url:
            starting = Edge(EdgeConfig(url, camera="none", sink="null"))
            early: list[asyncio.Task[tuple[int, dict[str, object], dict[str, str]]]] = []
            connect = HubClient.connect

            async def slow(*given: object, **named: object) -> HubClient:
                early.append(asyncio.ensure_future(request(f"{starting.page.url}/api/stats")))
                await asyncio.sleep(0.1)
                assert not early[0].done()
                return await connect(*given, **named)  # type: ignore[arg-type]

            monkeypatch.setattr(HubClient, "connect", slow)
            async with starting:
                status, stats, _ = await early[0]
            assert (status, stats["state"], stats["hub"]) == (200, "alone", True)

    run(test)


def test_an_edge_that_ends_leaves_the_hub_before_it_waits_for_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    close = Sender.close
    waited: list[Sender] = []

    async def test() -> None:
        loop = asyncio.get_running_loop()
        async with hub() as url, edge(url, camera="none", sink="null") as other:

            def close_once_left(sender: Sender) -> None:
                left = until(lambda: other.stats()["state"] == "alone")
                asyncio.run_coroutine_threadsafe(left, loop).result()
                waited.append(sender)
                close(sender)

            monkeypatch.setattr(Sender, "close", close_once_left)
            async with Edge(EdgeConfig(url, camera="sample", sink="null")):
                await until(lambda: other.stats()["state"] != "alone")

    run(test)
    assert len(waited) == 1


def test_a_picture_of_somebody_who_has_left_is_nobodys() -> None:
    async def test() -> None:
        async with hub() as url, edge(url, camera="none") as running:
            drawing = running._drawing
            assert drawing is not None
            async with edge(url, camera="none", sink="null"):
                await until(lambda: len(drawing.pictures) == 1)
                (participant,) = drawing.pictures
            await until(lambda: not running.room.peers)
            drawing.publish(SimpleNamespace(participant=participant))  # type: ignore[arg-type]
            assert not drawing.pictures

    run(test)


def test_a_tracker_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(neutral: object) -> None:
        raise OSError("no such library")

    monkeypatch.setattr("telepresence.rtc.landmarker.MotionMaker", broken)

    async def test() -> None:
        async with hub() as url, edge(url, camera="browser", sink="null") as running:
            await until(lambda: running.stats()["camera_error"] is not None)
            assert "doctor" in running.stats()["camera_error"]

    run(test)


def test_pages_beyond_the_limit_push_out_the_oldest() -> None:
    async def test() -> None:
        async with hub() as url, edge(url, camera="none") as running:
            pages = [Page(running, avatars=1) for _ in range(6)]
            for page in pages:
                await page.connect()
            assert running.stats()["pages"] == 4
            for page in pages:
                await page.pc.close()

    run(test, 30)


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"camera": "/nowhere.mp4"}, InputError, "--camera"),
        ({"camera": "/dev/video99"}, InputError, "no such camera"),
        ({"sink": "out.avi", "camera": "none"}, InputError, "--sink"),
        ({"avatar": Path("/nowhere.avatar")}, InputError, "nowhere.avatar"),
        ({"avatar": Path("/dev/null"), "camera": "none", "sink": "null"}, AvatarError, "avatar"),
        ({"camera": "none", "sink": "null", "page_port": 99_999}, InputError, "--page-port"),
        ({"camera": "none", "engine": "nothing"}, InputError, "nothing"),
        ({"camera": "none", "sink": "null", "url": "http://127.0.0.1:9/room/x?token=a.b"}, InputError, "no hub"),
        ({"camera": "none", "sink": "null", "url": "nonsense"}, InputError, "join URL"),
    ],
)
def test_what_cannot_start_says_why(options: dict[str, object], error: type[Exception], word: str) -> None:
    async def test() -> None:
        config = EdgeConfig(**({"url": "http://127.0.0.1:9/room/x?token=a.b"} | options))  # type: ignore[arg-type]
        with pytest.raises(error, match=word):
            async with Edge(config):
                pass

    run(test, 30)


def test_a_port_in_use_is_said_to_be_one() -> None:
    async def test() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            config = EdgeConfig("http://127.0.0.1:9/room/x?token=a.b", "none", sink="null", page_port=port)
            with pytest.raises(InputError, match=f"{port}.*--page-port"):
                async with Edge(config):
                    pass

    run(test)


def test_a_wrong_token_is_said_to_be_one() -> None:
    async def test() -> None:
        async with hub() as url:
            with pytest.raises(TokenError):
                async with Edge(EdgeConfig(url[:-3] + "xyz", camera="none", sink="null")):
                    pass

    run(test, 30)
