"""Fetch what the pages take from npm into web/vendor/, which git ignores. Standard library only; no npm needed.

web/package.json says which packages, and under `vendor` which of their files and where the text of the licence is (the
tarballs carry none). web/package-lock.json says which tarballs, and with which hash. Nothing of a tarball is executed.

    python scripts/fetch_web.py [WEB_FOLDER]

The registry is that of the lock file, or NPM_CONFIG_REGISTRY in its place; proxies are those of the environment.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import http.client
import io
import json
import os
import shutil
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

REGISTRY: Final = "https://registry.npmjs.org"
TIMEOUT_S: Final = 30.0  # without a byte
ATTEMPTS: Final = 3
PAUSE_S: Final = 1.0  # before another attempt, doubled each time
CHUNK_BYTES: Final = 256 * 1024
MAX_TARBALL_BYTES: Final = 128 * 1024 * 1024
MAX_UNPACKED_BYTES: Final = 512 * 1024 * 1024  # of a whole package; onnxruntime-web has 120 MB
STAMP: Final = ".fetched"  # written last: it is there only if everything else is


class FetchError(Exception):
    """What the user is told."""


@dataclass(frozen=True)
class Package:
    """One package as package.json and the lock file describe it."""

    name: str
    version: str
    url: str
    sha512: bytes
    files: tuple[str, ...]
    """Paths within the package; the same within web/vendor/NAME/."""
    licence: Path


def main(arguments: list[str]) -> int:
    """Fetch what is not there yet; the exit status."""
    web = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent / "web"
    try:
        packages = read_packages(web, os.environ)
        fetch(web / "vendor", packages, fingerprint(web))
    except FetchError as error:
        print(f"fetch_web: {error}", file=sys.stderr)
        return 1
    return 0


def read_packages(web: Path, environment: Mapping[str, str]) -> list[Package]:
    """What is wanted, as pinned. Raises FetchError if the two files do not agree."""
    wanted = _object(_json(web / "package.json"), "vendor")
    locked = _object(_json(web / "package-lock.json"), "packages")
    registry = next((value for key, value in environment.items() if key.lower() == "npm_config_registry"), "")
    packages = []
    for name, about in wanted.items():
        _checked(name)
        lock = locked.get(f"node_modules/{name}")
        if not isinstance(lock, dict):
            raise FetchError(f"{name} is not in package-lock.json; make it anew: npm install --package-lock-only")
        files = tuple(_checked(path) for path in about["files"])
        url = _tarball_url(name, lock, registry)
        packages.append(Package(name, lock["version"], url, _sha512(name, lock), files, web / about["licence"]))
    return packages


def fingerprint(web: Path) -> str:
    """Changes with whatever decides what ends up in web/vendor/."""
    digest = hashlib.sha256()
    for path in (web / "package.json", web / "package-lock.json", Path(__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def fetch(vendor: Path, packages: list[Package], mark: str) -> None:
    """Make `vendor` hold exactly the wanted files of the packages; nothing to do if `mark` is in its stamp."""
    expected = [vendor / p.name / path for p in packages for path in (*p.files, "LICENSE")]
    stamp = vendor / STAMP
    if stamp.is_file() and stamp.read_text() == mark and all(path.is_file() for path in expected):
        stamp.touch()
        return
    fresh = vendor.with_name(f"{vendor.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        for package in packages:
            data = download(package)
            unpack(package, data, fresh / package.name)
            shutil.copyfile(package.licence, fresh / package.name / "LICENSE")
        (fresh / STAMP).write_text(mark)
        shutil.rmtree(vendor, ignore_errors=True)
        fresh.replace(vendor)
    except OSError as error:
        raise FetchError(f"{vendor} cannot be written ({error})") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def download(package: Package) -> bytes:
    """The tarball, with the hash that the lock file names. Raises FetchError."""
    print(f"{package.name} {package.version}: fetching {package.url}", flush=True)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            data = _read(package.url)
            break
        except (OSError, EOFError, http.client.HTTPException) as error:
            final = isinstance(error, urllib.error.HTTPError) and error.code < 500
            if final or attempt == ATTEMPTS:
                raise FetchError(_offline(package.url, error)) from error
            time.sleep(PAUSE_S * 2 ** (attempt - 1))
    if hashlib.sha512(data).digest() != package.sha512:
        raise FetchError(
            f"{package.url} is not what package-lock.json names (integrity): {len(data)} bytes were thrown away. "
            "Something between here and the registry changes files; set NPM_CONFIG_REGISTRY to one that does not"
        )
    return data


def unpack(package: Package, data: bytes, folder: Path) -> None:
    """Write the wanted files of a tarball to `folder`. Raises FetchError, before anything else is looked at."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            members = _members(package, archive)
            for path in package.files:
                source = archive.extractfile(members[path])
                if source is None:
                    raise FetchError(f"{package.name}: {path} is not an ordinary file")
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with source, target.open("wb") as out:
                    shutil.copyfileobj(source, out)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise FetchError(f"{package.name}: the tarball is damaged ({error})") from error


def _members(package: Package, archive: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    """Ordinary files by their path within the package, which npm puts into a folder of any name."""
    members: dict[str, tarfile.TarInfo] = {}
    total = 0
    for member in archive:
        total += member.size
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or "\\" in member.name:
            raise FetchError(f"{package.name}: the tarball names a path outside of itself; nothing was unpacked")
        if total > MAX_UNPACKED_BYTES:
            raise FetchError(f"{package.name}: unpacked, it has more than {MAX_UNPACKED_BYTES >> 20} MiB")
        if member.isfile():
            members[str(PurePosixPath(*path.parts[1:]))] = member
    missing = [path for path in package.files if path not in members]
    if missing:
        raise FetchError(f"{package.name} {package.version} has no ordinary file {', '.join(missing)}")
    return members


def _read(url: str) -> bytes:
    data = bytearray()
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
        while chunk := answer.read(CHUNK_BYTES):
            data += chunk
            if len(data) > MAX_TARBALL_BYTES:
                raise FetchError(f"{url} has more than {MAX_TARBALL_BYTES >> 20} MiB")
        promised = answer.headers.get("Content-Length")
    if promised and promised.isdigit() and int(promised) != len(data):
        raise EOFError("the connection ended early")
    return bytes(data)


def _offline(url: str, error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return (
        f"{url} cannot be fetched ({reason}). Connect to the network and try again, or name another npm registry: "
        "NPM_CONFIG_REGISTRY=https://registry.example.org. Calls between edges work without; only participants "
        "with nothing but a browser need these files"
    )


def _tarball_url(name: str, lock: Mapping[str, Any], registry: str) -> str:
    """`resolved`, with the registry replaced if another is wanted, as npm itself does; some lock files have none."""
    resolved = lock.get("resolved", "")
    if resolved and not (registry and resolved.startswith(f"{REGISTRY}/")):
        url = str(resolved)
    else:
        url = f"{(registry or REGISTRY).rstrip('/')}/{name}/-/{name.rpartition('/')[2]}-{lock['version']}.tgz"
    if not url.startswith(("https://", "http://")):
        raise FetchError(f"{name}: {url} is not an address that can be fetched from")
    return url


def _sha512(name: str, lock: Mapping[str, Any]) -> bytes:
    for word in str(lock.get("integrity", "")).split():
        kind, _, text = word.partition("-")
        if kind == "sha512":
            try:
                return base64.b64decode(text, validate=True)
            except binascii.Error as error:
                raise FetchError(f"{name}: the integrity in package-lock.json cannot be read") from error
    raise FetchError(f"{name} has no sha512 integrity in package-lock.json; make it anew with a current npm")


def _checked(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or ".." in parts or path.startswith("/") or "\\" in path or ":" in path:
        raise FetchError(f"{path} under vendor in package.json is no name or path of a package")
    return path


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FetchError(f"{path} cannot be read ({error})") from error


def _object(document: Any, name: str) -> dict[str, Any]:
    value = document.get(name) if isinstance(document, dict) else None
    if not isinstance(value, dict):
        raise FetchError(f"{name} is missing; web/package.json and package-lock.json (version 3) belong together")
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
