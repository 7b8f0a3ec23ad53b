import asyncio
import json
import tomllib

import pytest

from telepresence.avatar.samples import SAMPLE_AVATAR
from telepresence.hub import pages
from telepresence.resources import shipped
from tests.hub.http import get
from tests.hub.running import hub

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def ask(path, headers=None, method="GET"):
    async def main():
        async with hub() as running:
            return await get(running.port, path, headers, method)

    return asyncio.run(main())


def test_a_browser_gets_the_page_of_a_room_and_whoever_else_the_command():
    page = ask("/room/den?token=t.t", BROWSER)
    assert page.status == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert b'<base href="../web/">' in page.body
    assert b"t.t" not in page.body
    other = ask("/room/den?token=t.t")
    assert b"telepresence join" in other.body
    for answer in (page, other):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("room", ["..%2f..", "a%20b", "x" * 65, "%00"])
def test_what_can_be_no_room_has_no_page(room):
    assert ask(f"/room/{room}", BROWSER).status == 404


@pytest.mark.parametrize("path", ["/room/den/?token=t.t", "/healthz/?token=t.t"])
def test_nobody_is_sent_anywhere_with_the_token(path):
    answer = ask(path, BROWSER)
    assert answer.status == 404
    assert "Location" not in answer.headers


PATHS = [
    "/", "/room/den", "/room/..x", "/api/page-config", "/web/main.js", "/web/nothing.js", "/web/index.html",
    "/engines/live/engine.toml", "/engines/live/engine.json", "/engines/none/engine.json",
    "/engines/live/golden-256.npz", "/samples/astronaut.avatar", "/samples/talk.motion",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_isolates_the_page_and_only_reading_is_possible(path):
    answer = ask(path, BROWSER)
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "'wasm-unsafe-eval'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert ask(path, BROWSER, "POST").status == 405


def test_the_page_is_told_what_it_needs(tmp_path, monkeypatch):
    config = json.loads(ask("/api/page-config").body)
    assert config["mode"] == "browser"
    assert config["signal"] == "/signal"
    for path in (f"{config['engines']}{config['engine']}/engine.toml", config["sample_avatar"]):
        assert ask(path).status == 200
    (tmp_path / "vendor").mkdir()
    monkeypatch.setattr(pages, "shipped", lambda name: tmp_path if name == "web" else shipped(name))
    assert "make web" in json.loads(ask("/api/page-config").body)["problem"]
    (tmp_path / "vendor" / ".fetched").write_text("")
    assert json.loads(ask("/api/page-config").body)["problem"] is None


def test_engines_and_the_sample_come_as_they_are():
    folder = shipped("engines") / "live"
    toml = tomllib.loads((folder / "engine.toml").read_text())
    assert json.loads(ask("/engines/live/engine.json").body) == toml
    name = "render-256.onnx"
    graph = ask(f"/engines/live/{name}?v={toml['files'][name]}")
    assert graph.body == (folder / name).read_bytes()
    assert "immutable" in graph.headers["Cache-Control"]
    assert ask("/samples/astronaut.avatar").body == SAMPLE_AVATAR.read_bytes()


@pytest.mark.parametrize("path", ["/engines/live/golden-256.npz", "/engines/LOG.txt", "/engines/../pyproject.toml",
                                  "/samples/talk.motion", "/samples/make.py", "/web/vendor/.fetched"])  # fmt: skip
def test_what_is_not_meant_for_pages_is_not_served(path):
    assert ask(path).status == 404
