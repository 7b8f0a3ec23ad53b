"""`telepresence doctor`: examines this machine, says what is missing and how to get it. It never raises."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from telepresence import __version__
from telepresence.errors import TelepresenceError
from telepresence.resources import shipped
from telepresence.runtime.engine import accelerated, open_engine, runtimes
from telepresence.runtime.info import DEFAULT_ENGINE
from telepresence.runtime.machine import cache_folder, cpu_model, package_version

Status = Literal["ok", "warn", "fail"]

PYTHONS: Final = ((3, 11), (3, 13))  # from, up to but without: what mediapipe has wheels for
PACKAGES: Final = ("aiortc", "av", "click", "mediapipe", "numpy", "pillow", "starlette", "uvicorn", "websockets")
MEDIAPIPE: Final = "0.10.21"  # the last whose wheel carries its models
SLOW_MS: Final = 1000 / 30  # a picture; slower than that misses pictures of an ordinary camera
LOW_DISK_BYTES: Final = 500 * 1024 * 1024
DEMO_PORT: Final = 8080
HUB_PORT: Final = 8081
_TOOL_TIMEOUT_S: Final = 10.0
_UDP_TIMEOUT_S: Final = 1.0
_REINSTALL: Final = "reinstall: make setup, or pip install --force-reinstall telepresence"

_BROWSERS: Final = (
    "google-chrome", "google-chrome-stable", "chrome", "chromium", "chromium-browser", "microsoft-edge", "msedge",
    "firefox",
)  # fmt: skip
_BROWSER_FOLDERS: Final = (
    "/Applications/Google Chrome.app", "/Applications/Chromium.app", "/Applications/Firefox.app",
    "/Applications/Safari.app", "C:/Program Files/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Microsoft/Edge/Application/msedge.exe", "C:/Program Files/Mozilla Firefox/firefox.exe",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    status: Status
    """`ok`; `warn`: a call works, with less; `fail`: a call does not work."""
    finding: str
    """What is there."""
    remedy: str = ""
    """How to get what is missing; empty if nothing is."""


def examine(*, engine: str | Path = DEFAULT_ENGINE, size: int = 256, port: int = DEMO_PORT) -> list[Check]:
    """Look at everything that a call needs. Takes a few seconds; never raises."""
    checks: Sequence[tuple[str, Callable[[], Check]]] = (
        ("python", _python),
        ("packages", _packages),
        ("engine", lambda: _engine(engine, size)),
        ("runtimes", _runtimes),
        ("gpu", _gpu),
        ("browser", _browser),
        ("camera", _camera),
        ("udp", _udp),
        ("port", lambda: _port(port)),
        ("hub port", lambda: _port(HUB_PORT, "hub port", "telepresence hub --port 8091")),
        ("video", _video),
        ("page", _page),
        ("cache", _cache),
        ("disk", _disk),
    )
    return [_safely(name, check) for name, check in checks]


def run_doctor(json_out: Path | None = None, *, print_json: bool = False) -> int:
    """Examine and print.

    Args:
        json_out: a file to write the findings to as well.
        print_json: print them as JSON, and nothing else.

    Returns:
        The command's exit status: 1 if something failed, else 0.
    """
    checks = examine()
    document = as_json(checks)
    sys.stdout.write(document if print_json else as_text(checks))
    failed = any(check.status == "fail" for check in checks)
    if json_out is not None:
        try:
            json_out.write_text(document, encoding="utf-8")
        except OSError as error:
            sys.stderr.write(f"telepresence: {json_out} cannot be written ({error.strerror}); choose another place\n")
            failed = True
    return 1 if failed else 0


def as_text(checks: Sequence[Check]) -> str:
    """The findings to read, one a line, each remedy below what it is for."""
    lines = [f"telepresence {__version__} on {platform.system()} {platform.machine()}, {cpu_model()}"]
    for check in checks:
        finding = check.finding.replace("\n", f"\n{'':16}")
        lines.append(f"{check.status:5} {check.name:9} {finding}")
        if check.remedy:
            lines.append(f"{'':16}-> {check.remedy}")
    count = {status: sum(check.status == status for check in checks) for status in ("ok", "warn", "fail")}
    lines.append(f"{count['ok']} ok, {count['warn']} to know about, {count['fail']} failed")
    return "\n".join(lines) + "\n"


def as_json(checks: Sequence[Check]) -> str:
    """The findings as a JSON document: version, ok, and checks with name, status, finding and remedy."""
    document = {
        "version": __version__,
        "ok": all(check.status != "fail" for check in checks),
        "checks": [asdict(check) for check in checks],
    }
    return json.dumps(document, indent=2) + "\n"


def _safely(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except TelepresenceError as error:
        return Check(name, "fail", str(error), _REINSTALL)
    except Exception as error:  # a doctor that falls ill helps nobody
        return Check(name, "fail", f"cannot be used or examined: {type(error).__name__}: {error}", _REINSTALL)


def _python() -> Check:
    lowest, beyond = PYTHONS
    if lowest <= sys.version_info[:2] < beyond:
        return Check("python", "ok", platform.python_version())
    remedy = "install Python 3.11 or 3.12 (mediapipe has wheels for no newer one), then: make setup"
    return Check("python", "fail", f"{platform.python_version()} is not supported", remedy)


def _packages() -> Check:
    versions = {name: package_version(name) for name in PACKAGES}
    listed = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        return Check(
            "packages", "fail", f"missing: {', '.join(missing)}; there: {listed}", f"pip install {' '.join(missing)}"
        )
    if versions["mediapipe"] != MEDIAPIPE or str(versions["numpy"]).partition(".")[0] != "1":
        remedy = (
            f"pip install mediapipe=={MEDIAPIPE} 'numpy<2' (the last mediapipe that carries its models needs numpy 1)"
        )
        return Check("packages", "fail", listed, remedy)
    return Check("packages", "ok", listed)


def _engine(name: str | Path, size: int) -> Check:
    with open_engine(name, size) as engine:
        engine.warm_up()
        median = statistics.median(engine.measure())
        what = f"{engine.info.name} {engine.info.version} at {size}: {median:.1f} ms a picture\nby {engine.reason}"
    if median > SLOW_MS:
        remedy = "end other programs, choose --size 256, or use a faster machine"
        return Check("engine", "warn", f"{what}\nslower than 30 pictures a second", remedy)
    return Check("engine", "ok", what)


def _runtimes() -> Check:
    ordinary, _ = runtimes()
    reasons = {runtime.name: runtime.available() for runtime in ordinary}
    there = ", ".join(f"{runtime.name} {runtime.version}" for runtime in ordinary if reasons[runtime.name] is None)
    missing = [f"{name}: {reason}" for name, reason in reasons.items() if reason is not None]
    if not missing:
        return Check("runtimes", "ok", there)
    return Check("runtimes", "warn" if there else "fail", f"there: {there or 'none'}", "; ".join(missing))


def _gpu() -> Check:
    loudly = "CPU FALLBACK: pictures are drawn by the CPU"
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Check("gpu", "warn", f"{loudly}; no NVIDIA driver found (no nvidia-smi)", _GPU_REMEDY)
    query = [tool, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=_TOOL_TIMEOUT_S, check=False)
    found = "; ".join(line.strip() for line in done.stdout.splitlines() if line.strip())
    if done.returncode != 0 or not found:
        problem = (done.stderr or done.stdout).strip()[:200] or f"status {done.returncode}"
        return Check("gpu", "warn", f"{loudly}; nvidia-smi finds no usable GPU ({problem})", _GPU_REMEDY)
    usable = [runtime for runtime in accelerated() if runtime.available() is None]
    if usable:
        return Check("gpu", "ok", f"{found}; drawn by {usable[0].name} {usable[0].version}")
    missing = [f"{runtime.name}: {runtime.available()}" for runtime in accelerated()]
    return Check("gpu", "warn", f"{loudly}; GPU: {found}", "; ".join(missing) or _GPU_REMEDY)


_GPU_REMEDY: Final = "calls work; if `engine` above says that they are slow: --size 256, or a faster CPU"


def _browser() -> Check:
    found = [path for name in _BROWSERS if (path := shutil.which(name))]
    found += [path for path in _BROWSER_FOLDERS if Path(path).exists()]
    if found:
        return Check("browser", "ok", ", ".join(dict.fromkeys(found)))
    remedy = "install Chrome, Chromium, Edge or Firefox; or open the printed address in a browser that you have"
    return Check("browser", "warn", "none found", remedy)


def _camera() -> Check:
    remedy = "plug a camera in, or do without: telepresence demo --camera sample, or --camera FILE"
    if not sys.platform.startswith("linux"):
        return Check("camera", "ok", "not examined on this system; the browser asks for it")
    devices = sorted(str(path) for path in Path("/dev").glob("video*"))
    if not devices:
        return Check("camera", "warn", "none (no /dev/video*)", remedy)
    usable = [path for path in devices if os.access(path, os.R_OK | os.W_OK)]
    if not usable:
        remedy = "join the group that may use it: sudo usermod -aG video $USER, then log in again"
        return Check("camera", "warn", f"{', '.join(devices)}: no permission", remedy)
    return Check("camera", "ok", ", ".join(usable))


def _udp() -> Check:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.settimeout(_UDP_TIMEOUT_S)
        try:
            receiver.bind(("127.0.0.1", 0))
            sender.sendto(b"telepresence", receiver.getsockname())
            arrived = receiver.recv(64) == b"telepresence"
        except OSError as error:
            return Check("udp", "fail", f"loopback does not work ({error})", _UDP_REMEDY)
        if not arrived:
            return Check("udp", "fail", "loopback delivers something else than was sent", _UDP_REMEDY)
        try:
            sender.connect(("192.0.2.1", 9))  # sends nothing: asks which address other machines would see
            return Check("udp", "ok", f"loopback works; other machines by {sender.getsockname()[0]}")
        except OSError:
            return Check(
                "udp", "warn", "loopback works; no way to other machines", "connect to a network for calls beyond"
            )


_UDP_REMEDY: Final = "let a firewall or sandbox allow UDP on 127.0.0.1: WebRTC needs it"


def _port(port: int, name: str = "port", remedy: str = "telepresence demo --port 8090") -> Check:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        if os.name == "posix":  # as servers do; on Windows it would share a port that is in use
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
        except OSError as error:
            reason = error.strerror or str(error)
            return Check(name, "warn", f"{port} cannot be used ({reason})", remedy)
    return Check(name, "ok", f"{port} is free")


def _video() -> Check:
    import av

    wanted = {"H.264": "libx264", "VP8": "libvpx"}
    missing = [kind for kind, codec in wanted.items() if codec not in av.codecs_available]
    libraries = ", ".join(
        f"{name} {'.'.join(map(str, av.library_versions[name]))}" for name in sorted(av.library_versions)
    )
    finding = f"av {av.__version__} ({libraries})"
    if missing:
        return Check(
            "video", "fail", f"{finding}; cannot write {', '.join(missing)}", "pip install --force-reinstall av"
        )
    return Check("video", "ok", finding)


def _page() -> Check:
    try:
        folder = shipped("web")
    except FileNotFoundError as error:
        return Check("page", "fail", str(error), _REINSTALL)
    if not any(folder.glob("*.html")):
        return Check("page", "fail", f"{folder} has no page in it", _REINSTALL)
    if not (folder / "vendor" / ".fetched").is_file():
        finding = f"{folder} lacks what the hub's page takes from npm: nobody can join by a browser alone"
        return Check("page", "warn", finding, "make web; needs the network once")
    return Check("page", "ok", str(folder))


def _cache() -> Check:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"telepresence")
    except OSError as error:
        remedy = "set XDG_CACHE_HOME to a folder that you may write to; until then runtimes are measured at every start"
        return Check("cache", "warn", f"{folder} cannot be written ({error.strerror})", remedy)
    return Check("cache", "ok", str(folder))


def _disk() -> Check:
    folder = cache_folder()
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    finding = f"{free / 1024**3:.1f} GiB free at {folder}"
    if free < LOW_DISK_BYTES:
        return Check("disk", "warn", finding, "free some space: recordings and received avatars need it")
    return Check("disk", "ok", finding)
