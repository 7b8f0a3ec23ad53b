import asyncio
import gzip
import hashlib
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from telepresence.hub import files
from telepresence.hub.files import IMMUTABLE, Files
from telepresence.hub.serve import bind, make_server
from tests.hub.http import Answer, get

SCRIPT = b"export const one = 1;\n" * 100


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "served"
    (root / "deep" / "@maker").mkdir(parents=True)
    (root / "main.js").write_bytes(SCRIPT)
    (root / "small.css").write_bytes(b"a{}")
    (root / "deep" / "@maker" / "code.wasm").write_bytes(b"\0asm" * 1000)
    (root / "notes.py").write_text("secret")
    (root / ".hidden.js").write_text("secret")
    (tmp_path / "outside.js").write_text("secret")
    (root / "link.js").symlink_to(tmp_path / "outside.js")
    (root / "out").symlink_to(tmp_path)
    return root


def ask(folder: Path, *requests: tuple[str, dict[str, str]], method: str = "GET") -> list[Answer]:
    """The answers to paths with headers, one after the other, of a real server."""
    served = Files(folder, {"X-Own": "yes"})

    async def answer(request: Request) -> Response:
        return await served.answer(request, request.path_params["name"])

    app = Starlette(routes=[Route("/f/{name:path}", answer)])

    async def main():
        listener = bind("127.0.0.1", 0)
        server = make_server(app)
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup(sockets=[listener])
        try:
            return [await get(listener.getsockname()[1], f"/f/{path}", headers, method) for path, headers in requests]
        finally:
            await server.shutdown(sockets=[listener])

    return asyncio.run(main())


def test_a_file_comes_with_its_kind_and_the_headers(folder):
    script, wasm = ask(folder, ("main.js", {}), ("deep/@maker/code.wasm", {}))
    assert (script.status, script.body) == (200, SCRIPT)
    assert script.headers["Content-Type"].startswith("text/javascript")
    assert script.headers["X-Own"] == "yes"
    assert wasm.headers["Content-Type"] == "application/wasm"


@pytest.mark.parametrize(
    "path",
    [
        "../outside.js", "..%2foutside.js", "%2e%2e/outside.js", "deep/../../outside.js", "/etc/passwd", "//outside.js",
        "deep\\..\\..\\outside.js", "link.js", "out/outside.js", ".hidden.js", "notes.py", "deep", "deep/", "",
        "nothing.js", "main.js/", "main.js%00", "main.js%0d%0a", "%c4%b1.js", "%ff.js", "a" * 5000 + ".js", "./main.js",
    ],
)  # fmt: skip
def test_nothing_else_is_to_be_had(folder, path):
    (answer,) = ask(folder, (path, {}))
    assert answer.status == 404
    assert b"secret" not in answer.body


def test_only_reading(folder):
    (head,) = ask(folder, ("main.js", {}), method="HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(SCRIPT)))
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        (answer,) = ask(folder, ("main.js", {}), method=method)
        assert answer.status == 405


def test_what_has_not_changed_is_not_sent_again(folder):
    (first,) = ask(folder, ("main.js", {}))
    tag = first.headers["ETag"]
    same, weak, among, other = ask(
        folder,
        ("main.js", {"If-None-Match": tag}),
        ("main.js", {"If-None-Match": f"W/{tag}"}),
        ("main.js", {"If-None-Match": f'"x", {tag}'}),
        ("main.js", {"If-None-Match": '"x"'}),
    )
    assert [answer.status for answer in (same, weak, among, other)] == [304, 304, 304, 200]
    assert same.body == b""
    assert first.headers["Cache-Control"] == "no-cache"
    (folder / "main.js").write_bytes(SCRIPT[:-1] + b" ")  # as long as before
    (changed,) = ask(folder, ("main.js", {"If-None-Match": tag}))
    assert changed.status == 200


def test_only_what_is_asked_for_by_its_hash_may_be_kept_for_ever(folder):
    whole = hashlib.sha256(SCRIPT).hexdigest()
    answers = ask(folder, *((f"main.js?v={v}", {}) for v in (whole, whole[:16], whole[:4], "0" * 64, "")))
    assert [answer.headers["Cache-Control"] == IMMUTABLE for answer in answers] == [True, True, False, False, False]
    assert all(answer.body == SCRIPT for answer in answers)


def test_who_takes_gzip_gets_it_where_it_is_worth_it(folder):
    zipped, plain, refused, small, head = ask(
        folder,
        ("main.js", {"Accept-Encoding": "br, gzip;q=0.5"}),
        ("main.js", {"Accept-Encoding": "br"}),
        ("main.js", {"Accept-Encoding": "gzip;q=0"}),
        ("small.css", {"Accept-Encoding": "gzip"}),
        ("main.js", {"Accept-Encoding": "gzip"}),
    )
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(zipped.body) == SCRIPT
    assert zipped.headers["Vary"] == "Accept-Encoding"
    assert zipped.headers["ETag"] != plain.headers["ETag"]
    assert int(head.headers["Content-Length"]) == len(zipped.body)
    for answer in (plain, refused, small):
        assert "Content-Encoding" not in answer.headers


def test_what_is_kept_compressed_is_bounded(folder, monkeypatch):
    monkeypatch.setattr(files, "MAX_KEPT_BYTES", 10)
    (answer,) = ask(folder, ("main.js", {"Accept-Encoding": "gzip"}))
    assert answer.body == SCRIPT
