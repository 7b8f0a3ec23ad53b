"""A real TURN server (coturn) on loopback, for as long as a block lasts."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import tempfile
import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SECRET = "0123456789abcdef0123456789abcdef"
START_S = 10.0


@dataclass
class TurnServer:
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"turn:127.0.0.1:{self.port}?transport=udp"

    @property
    def tcp_url(self) -> str:
        return f"turn:127.0.0.1:{self.port}?transport=tcp"

    def allocations(self) -> int:
        """How many addresses it has given out."""
        return self.log.read_text(errors="replace").count("ALLOCATE processed, success")


def coturn() -> str:
    """Where it is installed; otherwise skips the test, loudly."""
    found = shutil.which("turnserver")
    if found is None:
        warnings.warn("coturn is not installed: tests of TURN are skipped; apt-get install coturn", stacklevel=2)
        pytest.skip("coturn is not installed; apt-get install coturn")
    return found


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.asynccontextmanager
async def turn_server(secret: str = SECRET) -> AsyncIterator[TurnServer]:
    """With static-auth-secret, relaying on loopback, which coturn forbids unless told otherwise."""
    program, port = coturn(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        # all in a file of its own: the secret is no business of the list of processes
        settings = [
            f"listening-port={port}", "listening-ip=127.0.0.1", "relay-ip=127.0.0.1", "use-auth-secret",
            f"static-auth-secret={secret}", "realm=test", "allow-loopback-peers", "no-tls", "no-dtls", "no-cli",
            "verbose", "simple-log", f"log-file={log}", f"pidfile={folder}/pid", f"userdb={folder}/db",
        ]  # fmt: skip
        (Path(folder) / "conf").write_text("\n".join(settings) + "\n")
        process = await asyncio.create_subprocess_exec(
            program, "-c", f"{folder}/conf", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            await _answers(port, process)
            yield TurnServer(port, log)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _answers(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(START_S):
        while True:
            assert process.returncode is None, "coturn ended by itself"
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)
