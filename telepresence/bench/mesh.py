"""Several participants in one room on one machine: who draws whom how often, what it costs, how long joining takes.

    python -m telepresence.bench.mesh --participants 3 --sink browser
    python -m telepresence.bench.mesh --participants 12

Each is a process of its own, `telepresence join`, whose camera is recorded motion, or the clip of `--camera`. With
`--sink browser` each has a page: the WebSocket /api/room, on which it says who is shown large, and a peer connection
that takes every picture as a browser would, in one process for all. Without, nobody draws (`--sink null`): a mesh of
motion.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from telepresence.avatar.samples import SAMPLE_AVATAR
from telepresence.errors import TelepresenceError
from telepresence.hub import tokens
from telepresence.hub.app import HubConfig, create_app
from telepresence.hub.serve import base_url, bind, join_url, make_server
from telepresence.processes import COMMAND, Ready, parse_ready

READY_S: Final = 120.0
LOOK_S: Final = 0.05
SMALL_TILE: Final = 128  # device pixels
SHOWN: Final = ("sent", "dropped", "payload_sent_kbps", "wire_sent_kbps", "violations", "rebuilds", "render_ms_p50")
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass
class Member:
    """One participant's process."""

    name: str
    process: asyncio.subprocess.Process
    ready: Ready
    started_s: float
    ready_s: float
    first_s: float | None = None
    """From the ready line to a picture of everybody who was there; from the process' start it is more."""
    jobs: list[asyncio.Task[None]] = field(default_factory=list)

    async def stats(self) -> dict[str, Any]:
        """Its figures."""

        def read() -> dict[str, Any]:
            with urllib.request.urlopen(f"{self.ready.page}/api/stats", timeout=10) as answer:
                figures: dict[str, Any] = json.loads(answer.read())
            return figures

        return await asyncio.to_thread(read)

    def cpu_s(self) -> float:
        """Processor time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def memory_mb(self) -> float:
        """Resident memory, 10**6 bytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, as JSON-ready figures."""
    members: list[Member] = []
    async with _hub() as url:
        try:
            with tempfile.TemporaryDirectory() as cache:
                for number in range(options.participants):
                    members.append(await _join(url, f"P{number}", options, cache))
                    await _until_seen(members[-1], number, options.sink != "null")
                await asyncio.sleep(options.settle)
                return await _watch(members, options.seconds)
        finally:
            for member in members:
                await _end(member)


@contextlib.asynccontextmanager
async def _hub() -> AsyncIterator[str]:
    config = HubConfig()
    listener = bind("127.0.0.1", 0)
    server = make_server(create_app(config))
    setattr(server, "capture_signals", contextlib.nullcontext)  # noqa: B010 - signals stay ours
    task = asyncio.ensure_future(server.serve(sockets=[listener]))
    token = tokens.issue(config.secret, "mesh", ttl_s=3600, now=time.time())
    try:
        yield join_url(base_url("127.0.0.1", listener.getsockname()[1]), "mesh", token)
    finally:
        server.should_exit = True
        await task
        listener.close()


async def _join(url: str, name: str, options: argparse.Namespace, cache: str) -> Member:
    shown = ["--camera", options.camera, "--avatar", str(SAMPLE_AVATAR)]
    arguments = ["--name", name, *shown, "--sink", options.sink, "--json-ready"]
    arguments += ["--engine", options.engine, "--size", str(options.size)]
    own = {"TELEPRESENCE_URL": url}
    if options.cold:
        own["XDG_CACHE_HOME"] = str(Path(cache) / name)
    started_s = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "-",
        *arguments,
        env=os.environ | own,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=None if options.verbose else asyncio.subprocess.DEVNULL,
    )
    if process.stdout is None:
        raise TelepresenceError("no pipe to the edge")
    line = await asyncio.wait_for(process.stdout.readline(), READY_S)
    member = Member(name, process, parse_ready(line), started_s, time.monotonic())
    if options.sink == "browser":
        member.jobs = [asyncio.ensure_future(_page(member)), asyncio.ensure_future(_viewer(member, options))]
    return member


async def _page(member: Member) -> None:
    """A page that shows the first of the others large, and the rest small."""
    from websockets.asyncio.client import connect

    shown: list[str] = []
    async with connect(member.ready.page.replace("http", "ws", 1) + "/api/room", proxy=None) as socket:
        await socket.send(json.dumps({"type": "page", "token": member.ready.token}))
        async for text in socket:
            message = json.loads(text)
            others = [one["id"] for one in message["participants"]] if message["type"] == "room" else shown
            if others != shown:
                shown = others
                view = {"speaker": shown[0] if shown else None, "tiles": dict.fromkeys(shown[1:], SMALL_TILE)}
                await socket.send(json.dumps({"type": "view", "hidden": [], **view}))


async def _viewer(member: Member, options: argparse.Namespace) -> None:
    """Takes the pictures of every place and throws them away, undecoded."""
    from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
    from aiortc.contrib.media import MediaBlackhole

    pc, sink = RTCPeerConnection(RTCConfiguration(iceServers=[])), MediaBlackhole()
    pc.on("track", sink.addTrack)
    for _ in range(min(11, options.participants - 1)):
        pc.addTransceiver("video", "recvonly")
    await pc.setLocalDescription(await pc.createOffer())
    body = json.dumps({"type": "offer", "sdp": pc.localDescription.sdp}).encode()
    request = urllib.request.Request(
        f"{member.ready.page}/api/page", body, {"Authorization": f"Bearer {member.ready.token}"}
    )
    answer = await asyncio.to_thread(lambda: json.loads(urllib.request.urlopen(request, timeout=20).read()))
    await pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
    await sink.start()
    try:
        await asyncio.Event().wait()
    finally:
        await sink.stop()
        await pc.close()


async def _until_seen(member: Member, others: int, draws: bool) -> None:
    """Wait until it is connected to everybody, and has drawn everybody if it draws; note how long that took."""
    while others:
        stats = await member.stats()
        there = [p for p in stats["participants"] if p["state"] == "connected" and (p["fps"] is not None or not draws)]
        if len(there) == others:
            member.first_s = time.monotonic() - member.ready_s
            return
        if time.monotonic() - member.ready_s > READY_S:
            raise TelepresenceError(f"{member.name} does not see everybody: {stats['participants']}")
        await asyncio.sleep(LOOK_S)


async def _watch(members: list[Member], seconds: float) -> dict[str, Any]:
    begun_s, cpu = time.monotonic(), [member.cpu_s() for member in members]
    rates: list[list[list[float]]] = [[] for _ in members]
    while time.monotonic() < begun_s + seconds:
        await asyncio.sleep(2.0)
        for rate, member in zip(rates, members, strict=True):
            stats = await member.stats()
            rate.append([p["fps"] or 0.0 for p in stats["participants"]])
    took_s = time.monotonic() - begun_s
    ends = [await member.stats() for member in members]
    return {
        "seconds": round(took_s, 1),
        "load": os.getloadavg()[0],
        "members": [
            {
                "name": member.name,
                "start_s": round(member.ready_s - member.started_s, 2),
                "first_s": None if member.first_s is None else round(member.first_s, 2),
                "cpu_pct": round(100 * (member.cpu_s() - before) / took_s, 1),
                "memory_mb": round(member.memory_mb()),
                "fps": [round(sum(each) / len(each), 1) for each in zip(*rate, strict=True)],
                "sizes": [p["size"] for p in end["participants"]],
                "connected": sum(p["state"] == "connected" for p in end["participants"]),
                **{name: end[name] for name in SHOWN},
            }
            for member, before, rate, end in zip(members, cpu, rates, ends, strict=True)
        ],
    }


async def _end(member: Member) -> None:
    for job in member.jobs:
        job.cancel()
    await asyncio.gather(*member.jobs, return_exceptions=True)
    if member.process.returncode is None:
        member.process.terminate()
        try:
            await asyncio.wait_for(member.process.wait(), 10)
        except TimeoutError:
            member.process.kill()


def main() -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--participants", type=int, default=3)
    parser.add_argument("--sink", choices=("browser", "null"), default="null")
    parser.add_argument(
        "--camera", default="sample", metavar="SOURCE", help="as of `join`: a clip costs its landmarks too"
    )
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--settle", type=float, default=8.0, help="before measuring")
    parser.add_argument("--engine", default="live")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--cold", action="store_true", help="an empty cache for each: every avatar is transferred")
    parser.add_argument("--verbose", action="store_true")
    print(json.dumps(asyncio.run(measure(parser.parse_args())), indent=1))


if __name__ == "__main__":
    main()
