"""scripts/fetch_web.py against a registry on this machine, with tarballs made here."""

from __future__ import annotations

import base64
import functools
import hashlib
import http.client
import http.server
import importlib.util
import io
import json
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
NAME, VERSION = "@maker/thing", "1.2.3"
GOOD = {"package/thing.js": b"export const one = 1;\n", "package/dist/thing.wasm": b"\0asm", "package/test.js": b"?"}


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("fetch_web", ROOT / "scripts" / "fetch_web.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fetch_web"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["fetch_web"]


class Registry:
    """Serves a folder, and a folder `web` that wants a package of it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.web = folder / "web"
        self.web.mkdir()
        self.served = folder / "registry" / NAME / "-" / f"thing-{VERSION}.tgz"
        self.served.parent.mkdir(parents=True)
        (self.web / "licence.txt").write_text("You may.\n")
        self.want("thing.js", "dist/thing.wasm")

    def want(self, *files: str) -> None:
        vendor = {NAME: {"licence": "licence.txt", "files": list(files)}}
        (self.web / "package.json").write_text(json.dumps({"vendor": vendor}))

    def publish(self, tarball: bytes, **lock: Any) -> None:
        """Serve the tarball, and lock it."""
        self.served.write_bytes(tarball)
        about = {
            "version": VERSION,
            "resolved": f"https://registry.npmjs.org/{NAME}/-/thing-{VERSION}.tgz",
            "integrity": "sha512-" + base64.b64encode(hashlib.sha512(tarball).digest()).decode(),
        } | lock
        document = {"lockfileVersion": 3, "packages": {"": {}, f"node_modules/{NAME}": about}}
        (self.web / "package-lock.json").write_text(json.dumps(document))

    @property
    def vendor(self) -> Path:
        return self.web / "vendor"

    def files(self) -> set[str]:
        if not self.vendor.exists():
            return set()
        return {str(path.relative_to(self.vendor)) for path in self.vendor.rglob("*") if path.is_file()}


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: ModuleType) -> Iterator[Registry]:
    handler = functools.partial(Quiet, directory=str(tmp_path / "registry"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        made = Registry(tmp_path, server.server_port)
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", made.url)
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(script, "PAUSE_S", 0.0)
        yield made
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def tarball(files: dict[str, bytes], *more: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in more:
            archive.addfile(info)
    return out.getvalue()


def link(name: str, to: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, to
    return info


def test_takes_the_named_files_and_the_licence_and_nothing_else(registry: Registry, script: ModuleType) -> None:
    registry.publish(tarball(GOOD))
    assert script.main([str(registry.web)]) == 0
    assert registry.files() == {
        f"{NAME}/thing.js", f"{NAME}/dist/thing.wasm", f"{NAME}/LICENSE", script.STAMP,
    }  # fmt: skip
    assert (registry.vendor / NAME / "thing.js").read_bytes() == GOOD["package/thing.js"]
    assert (registry.vendor / NAME / "LICENSE").read_text() == "You may.\n"


def test_fetches_again_only_when_something_has_changed(registry: Registry, script: ModuleType) -> None:
    registry.publish(tarball(GOOD))
    assert script.main([str(registry.web)]) == 0
    registry.served.unlink()
    assert script.main([str(registry.web)]) == 0  # nothing to fetch
    registry.publish(tarball(GOOD))
    registry.want("thing.js")
    assert script.main([str(registry.web)]) == 0
    assert f"{NAME}/dist/thing.wasm" not in registry.files()  # what is not wanted any more is gone
    (registry.vendor / NAME / "thing.js").unlink()
    assert script.main([str(registry.web)]) == 0
    assert f"{NAME}/thing.js" in registry.files()


def test_another_tarball_than_the_locked_one_is_refused(
    registry: Registry, script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.publish(tarball(GOOD))
    registry.served.write_bytes(tarball(GOOD | {"package/thing.js": b"evil()"}))
    assert script.main([str(registry.web)]) == 1
    assert "integrity" in capsys.readouterr().err
    assert registry.files() == set()


def test_what_was_there_stays_when_fetching_fails(registry: Registry, script: ModuleType) -> None:
    registry.publish(tarball(GOOD))
    assert script.main([str(registry.web)]) == 0
    before = registry.files()
    registry.publish(tarball(GOOD), integrity="sha512-" + "A" * 86 + "==")
    assert script.main([str(registry.web)]) == 1
    assert registry.files() == before


@pytest.mark.parametrize("name", ["package/../../../outside.js", "/etc/outside.js", "..\\outside.js"])
def test_a_path_that_leads_out_of_the_tarball_is_refused(
    registry: Registry, script: ModuleType, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    registry.publish(tarball(GOOD | {name: b"!"}))
    assert script.main([str(registry.web)]) == 1
    assert "outside of itself" in capsys.readouterr().err
    assert registry.files() == set()
    assert not list(registry.web.parent.rglob("outside.js"))


def test_a_link_is_not_followed(registry: Registry, script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = {"package/dist/thing.wasm": b"\0asm"}
    registry.publish(tarball(wanted, link("package/thing.js", "/etc/passwd")))
    assert script.main([str(registry.web)]) == 1
    assert "no ordinary file thing.js" in capsys.readouterr().err
    assert registry.files() == set()


def test_a_registry_that_is_not_there_is_explained(
    registry: Registry, script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.publish(tarball(GOOD))
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:9")
    assert script.main([str(registry.web)]) == 1
    told = capsys.readouterr().err
    assert "Connect to the network" in told
    assert "NPM_CONFIG_REGISTRY" in told


@pytest.mark.parametrize(
    ("lock", "told"),
    [
        ({"integrity": "sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk="}, "no sha512"),
        ({"integrity": "sha512-?"}, "cannot be read"),
        ({"resolved": "file:///etc/passwd"}, "not an address"),
    ],
)
def test_a_lock_that_pins_nothing_is_refused(
    registry: Registry, script: ModuleType, capsys: pytest.CaptureFixture[str], lock: dict[str, str], told: str
) -> None:
    registry.publish(tarball(GOOD), **lock)
    assert script.main([str(registry.web)]) == 1
    assert told in capsys.readouterr().err


def test_no_tarball_is_damaged_beyond_an_explanation(
    registry: Registry, script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = tarball(GOOD)
    for data in (b"", b"no tarball", whole[: len(whole) // 2]):
        registry.publish(data)
        assert script.main([str(registry.web)]) == 1
        assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["../thing.js", "/thing.js", "a/../../thing.js", "..\\thing.js", ""])
def test_a_wanted_path_stays_within_the_folder(registry: Registry, script: ModuleType, path: str) -> None:
    registry.publish(tarball(GOOD))
    registry.want(path)
    assert script.main([str(registry.web)]) == 1


def test_what_the_pages_want_is_pinned(script: ModuleType) -> None:
    packages = {package.name: package for package in script.read_packages(ROOT / "web", {})}
    assert {"@mediapipe/face_mesh", "onnxruntime-web"} <= packages.keys()
    for package in packages.values():
        assert package.url.startswith(f"{script.REGISTRY}/{package.name}/-/")
        assert package.licence.is_file()
        assert len(package.sha512) == 64


def test_an_answer_that_breaks_off_is_asked_for_again(
    registry: Registry, script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tarball(GOOD)
    registry.publish(data)
    answers = iter([http.client.IncompleteRead(b""), EOFError("early"), data])

    def read(url: str) -> bytes:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(script, "_read", read)
    assert script.main([str(registry.web)]) == 0
    assert next(answers, None) is None
