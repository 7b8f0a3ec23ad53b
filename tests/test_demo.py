"""The demo's own part: who may ask what, what the edges are started with, what it refuses to start with."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from click.testing import CliRunner
from starlette.applications import Starlette

from telepresence import cli
from telepresence.demo import Demo, DemoConfig, run_demo
from telepresence.demo_page import RECEIVER_FIGURES, SENDER_FIGURES, merge_stats, page_routes
from telepresence.errors import InputError
from telepresence.hub import tokens
from telepresence.hub.urls import parse_join_url
from telepresence.processes import Ready

DOCUMENTED = {"fps", "payload_kbps", "wire_kbps", "edge_ms_p50", "edge_ms_p95", "sent", "skipped", "dropped"}


@pytest.fixture
def demo() -> Iterator[Demo]:
    made = Demo(DemoConfig(port=0, open_browser=False), say=lambda line: None)
    made.sender.ready = Ready("http://127.0.0.1:1", "sender's token")
    made.receiver.ready = Ready("http://127.0.0.1:2", "receiver's token")
    yield made
    made.close()


def ask(
    demo: Demo, path: str, *, host: str = "", origin: str = "", client: str = "127.0.0.1", body: bytes | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One request, without a socket: status, headers, body."""
    headers = [(b"host", (host or f"127.0.0.1:{demo.port}").encode())]
    if origin:
        headers.append((b"origin", origin.encode()))
    scope = {
        "type": "http", "method": "GET" if body is None else "POST", "path": path, "raw_path": path.encode(),
        "root_path": "", "query_string": b"", "headers": headers, "client": (client, 5), "server": ("127.0.0.1", 1),
        "scheme": "http", "http_version": "1.1",
    }  # fmt: skip
    sent: list[dict[str, Any]] = []
    received = iter([{"type": "http.request", "body": body or b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        return next(received, None) or await asyncio.Future()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(Starlette(routes=page_routes(demo))(scope, receive, send))  # type: ignore[arg-type]
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], answered, b"".join(message.get("body", b"") for message in sent[1:])


def test_the_page_learns_where_the_edges_are(demo: Demo) -> None:
    status, headers, body = ask(demo, "/api/page-config")
    assert status == 200
    assert headers["cache-control"] == "no-store"
    config = json.loads(body)
    assert config["camera"] == {"url": "http://127.0.0.1:1", "token": "sender's token"}
    assert config["avatar"] == {"url": "http://127.0.0.1:2", "token": "receiver's token"}
    assert config["source"] == "browser"
    assert config["shows"] is True


@pytest.mark.parametrize(
    "request_",
    [
        {"host": "evil.example:8080"},
        {"host": "evil.example"},
        {"host": "127.0.0.1"},
        {"host": "127.0.0.1:1"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"client": "192.0.2.7"},
        {"client": "2001:db8::7"},
        {"client": "nonsense"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/page-config", "/api/stats", "/api/source"])
def test_nobody_else_learns_anything(demo: Demo, request_: dict[str, str], path: str) -> None:
    body = b'{"camera": "sample"}' if path == "/api/source" else None
    status, _, answer = ask(demo, path, body=body, **request_)
    assert status == 403
    assert b"token" not in answer
    assert demo.camera == "browser"


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "LOCALHOST"])
def test_this_machine_has_more_than_one_name(demo: Demo, name: str) -> None:
    host = f"{name}:{demo.port}"
    assert ask(demo, "/api/page-config", host=host, origin=f"http://{host}".lower())[0] == 200


def test_every_file_that_the_page_names_is_served(demo: Demo) -> None:
    waiting, seen = ["/"], set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        status, headers, body = ask(demo, path)
        assert status == 200, path
        assert "script-src 'self'" in headers["content-security-policy"]
        names = re.findall(r"""(?:href=|src=|from )"([\w./-]+)""", body.decode())
        waiting += [urlsplit(urljoin(f"http://host{path}", name)).path for name in names]
    assert {"/main.js", "/style.css", "/words.js", "/icon.svg", "/connection.js"} <= seen


def test_the_page_may_switch_to_recorded_motion_and_back(demo: Demo) -> None:
    assert ask(demo, "/api/source", body=b'{"camera": "sample"}')[0] == 200
    assert json.loads(ask(demo, "/api/page-config")[2])["camera"] is None
    assert "sample" in demo.sender_arguments()
    assert ask(demo, "/api/source", body=b'{"camera": "browser"}')[0] == 200
    assert json.loads(ask(demo, "/api/page-config")[2])["camera"] is not None


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"3", b"\xff", b'{"camera": "/etc/passwd"}', b'{"camera": null}', b"[" * 100_000]
)
def test_the_page_can_choose_nothing_else(demo: Demo, body: bytes) -> None:
    assert ask(demo, "/api/source", body=body)[0] == 400
    assert demo.camera == "browser"


def test_a_clip_as_camera_cannot_be_switched_from_the_page(demo: Demo) -> None:
    demo.config = replace(demo.config, camera="clip.mp4")
    demo.camera = "clip.mp4"
    assert ask(demo, "/api/source", body=b'{"camera": "sample"}')[0] == 400
    config = json.loads(ask(demo, "/api/page-config")[2])
    assert (config["camera"], config["source"], config["recorded"]) == (None, "file", None)


def test_figures_come_from_the_edge_that_knows_them() -> None:
    sender = {"sent": 5, "skipped": 1, "payload_kbps": 9.5, "fps": None, "dropped": None, "faces": 1}
    receiver = {"sent": None, "fps": 29.9, "dropped": 2, "payload_kbps": 9.4, "edge_ms_p50": 31.0}
    merged = merge_stats(sender, receiver)
    assert (merged["sent"], merged["payload_kbps"], merged["faces"]) == (5, 9.5, 1)
    assert (merged["fps"], merged["dropped"], merged["edge_ms_p50"]) == (29.9, 2, 31.0)


def test_every_documented_figure_is_there_even_when_no_edge_is_up() -> None:
    merged = merge_stats(None, None)
    assert set(SENDER_FIGURES) | set(RECEIVER_FIGURES) >= DOCUMENTED
    assert {merged[name] for name in DOCUMENTED} == {None}


def test_edges_are_started_with_tokens_for_their_room_and_the_origins_of_the_page(demo: Demo) -> None:
    for arguments in (demo.sender_arguments(), demo.receiver_arguments()):
        assert arguments[0] == "-"
        assert "token=" not in " ".join(arguments)  # ps shows arguments to every user of the machine
        assert f"http://localhost:{demo.port}" in arguments
        assert f"http://127.0.0.1:{demo.port}" in arguments
    link = parse_join_url(demo.edge_environment()["TELEPRESENCE_URL"])
    claims = tokens.verify(demo.secret, link.token, link.room, now=time.time())
    assert claims.room == "demo"


def test_an_edge_reads_its_link_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[str] = []
    monkeypatch.setattr("telepresence.rtc.edge.run_edge", lambda config: joined.append(config.url))
    monkeypatch.setenv("TELEPRESENCE_URL", "http://127.0.0.1:1/room/x?token=a.b")
    assert CliRunner().invoke(cli.main, ["join", "-"]).exit_code == 0
    assert joined == ["http://127.0.0.1:1/room/x?token=a.b"]
    assert "TELEPRESENCE_URL" not in os.environ
    refused = CliRunner().invoke(cli.main, ["join", "-"])
    assert refused.exit_code == 2
    assert "TELEPRESENCE_URL" in refused.output


def test_the_end_does_not_wait_for_a_browser_that_blocks(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, closed = threading.Event(), threading.Event()
    daemons: list[bool] = []

    def block(url: str) -> None:
        daemons.append(threading.current_thread().daemon)
        opened.set()
        closed.wait(20)

    monkeypatch.setattr("webbrowser.open", block)
    demo.config = replace(demo.config, open_browser=True)

    async def announce() -> None:
        demo._announce()

    asyncio.run(announce())
    assert opened.wait(20)
    assert daemons == [True]
    assert not closed.is_set()
    closed.set()


def test_a_port_in_use_is_named_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port}.*--port"):
            run_demo(DemoConfig(port=port, open_browser=False))


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (DemoConfig(avatar=Path("nobody.avatar")), r"^nobody\.avatar: cannot be read"),
        (DemoConfig(avatar=Path("empty.avatar")), r"^empty\.avatar: an empty file"),
        (DemoConfig(camera="nothing.mp4"), r"^--camera nothing\.mp4: there is no such file"),
        (DemoConfig(camera="none"), r"^--camera none: then nothing would move"),
        (DemoConfig(camera="/dev/video99"), r"^/dev/video99: there is no such camera"),
        (DemoConfig(camera="still.png"), r"^still\.png: a photo does not move"),
        (DemoConfig(camera="me.avatar"), r"^me\.avatar: that is an avatar"),
        (DemoConfig(engine="./nope"), r"^nope is not an engine.*engines list"),
        (DemoConfig(runtime="abacus"), r"no runtime 'abacus'; choose auto or one of"),
    ],
)
def test_what_cannot_be_used_is_said_before_anything_starts(
    config: DemoConfig, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.avatar").touch()
    Path("still.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    Path("me.avatar").write_bytes(b"\x89AVATAR\n")
    with pytest.raises(InputError, match=told):
        run_demo(replace(config, port=0, open_browser=False))
    assert capsys.readouterr().out == ""
