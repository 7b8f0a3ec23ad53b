"""What a client of the headset's stream gets: pictures a second, and how soon one for where its head is now."""

from __future__ import annotations

import asyncio
import math
import ssl
import struct
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import numpy as np

from telepresence.bench.headset_scene import IPD_M, HeadsetConfig, Report, percentile
from telepresence.rtc.monotonic import now_us
from telepresence.sinks.headset import protocol
from telepresence.sinks.headset.rehearsal import show

if TYPE_CHECKING:
    from telepresence.sinks.headset.sink import HeadsetSink

POSE_S: Final = 1 / 72
STEP_S: Final = 0.9  # between two jumps of the head
STEP_M: Final = 0.25


def _connect(sink: HeadsetSink) -> Any:
    import websockets

    trust = ssl.create_default_context(cafile=str(sink.certificate))
    return websockets.connect(f"wss://{urlsplit(sink.link).netloc}/stream", ssl=trust, max_size=1 << 22)


def _hello(sink: HeadsetSink, mode: str) -> bytes:
    token = urlsplit(sink.link).fragment.removeprefix("token=")
    return protocol.json_frame(protocol.HELLO, version=protocol.VERSION, token=token, mode=mode)


async def stream(config: HeadsetConfig, guests: int) -> Report:
    """A client whose head jumps: pictures a second, and how long until one is drawn for the new place."""
    times: dict[int, list[float]] = {}
    steps: list[float] = []
    sizes: list[int] = []
    head = Head()
    async with (
        show(engine=config.engine, size=config.size, runtime=config.runtime, guests=guests) as sink,
        _connect(sink) as socket,
    ):
        await socket.send(_hello(sink, "pictures"))
        moving = asyncio.ensure_future(_move(socket, head))
        end = time.monotonic() + config.seconds + 2
        async for message in socket:
            now = time.monotonic()
            if message[4] == protocol.PICTURE:
                answered = head.seen(struct.unpack_from(">Q", message, 25)[0]) if message[5] == 0 else []
                if now > end - config.seconds:
                    times.setdefault(message[5], []).append(now)
                    sizes.append(len(message))
                    steps += answered
            if now > end:
                break
        moving.cancel()
        rtt_ms = 1e3 * await (await socket.ping())
    rates = sorted((len(seen) - 1) / (seen[-1] - seen[0]) for seen in times.values() if len(seen) > 2)
    return {
        "guests": guests, "pairs_per_s": [round(rate, 1) for rate in rates], "all_per_s": round(sum(rates), 1),
        "kilobytes": round(float(np.median(sizes)) / 1e3, 1),
        "mbit_per_s": round(8e-6 * float(np.median(sizes)) * sum(rates), 1), "rtt_ms": round(rtt_ms, 1),
        "step_ms_p50": percentile(steps, 50), "step_ms_p95": percentile(steps, 95), "steps": len(steps),
    }  # fmt: skip


class Head:
    """Jumps from side to side, and remembers when."""

    def __init__(self) -> None:
        self._jumped_us = 0
        self._answered = True

    def pose(self, now: int, jump: bool) -> None:
        """A pose goes out; a jump is one that is to be answered."""
        if jump:
            self._jumped_us, self._answered = now, False

    def seen(self, pose_us: int) -> list[float]:
        """A picture for a pose: milliseconds since the jump, if it is the first after one."""
        if self._answered or pose_us < self._jumped_us:
            return []
        self._answered = True
        return [(now_us() - self._jumped_us) / 1e3]


async def _move(socket: Any, head: Head) -> None:
    side, due = 1, time.monotonic()
    while True:
        now, at = time.monotonic(), now_us()
        jump = now >= due
        if jump:
            side, due = -side, now + STEP_S * (1 + 0.37 * math.sin(now))  # in no step with the pictures
        head.pose(at, jump)
        pose = struct.pack(">Q3f4ff", at, side * STEP_M / 2, 1.2, 0, 0, 0, 0, 1, IPD_M)
        await socket.send(protocol.frame(protocol.POSE, pose))
        await asyncio.sleep(POSE_S)


async def motion(config: HeadsetConfig) -> Report:
    """What a client that draws by itself gets."""
    times, size = [], 0
    async with show(engine="prior") as sink, _connect(sink) as socket:
        await socket.send(_hello(sink, "motion"))
        end = time.monotonic() + min(5.0, config.seconds)
        async for message in socket:
            if message[4] == protocol.MOTION:
                times.append(time.monotonic())
                size = len(message)
            if time.monotonic() > end:
                break
    rate = (len(times) - 1) / (times[-1] - times[0])
    return {"per_s": round(rate, 1), "bytes": size, "mbit_per_s": round(8e-6 * size * rate, 2)}
