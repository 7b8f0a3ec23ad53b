"""A headset sink that shows the sample avatar, moved by the sample motion, without a hub: for benchmark and tests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

from telepresence.avatar.samples import sample_avatar_bytes, sample_motion
from telepresence.rtc.monotonic import now_us
from telepresence.runtime.engine import open_engine
from telepresence.sinks.headset.renderer import StereoRenderer
from telepresence.sinks.headset.sink import Guest, HeadsetSink

RATE: Final = 30  # motions a second


@contextlib.asynccontextmanager
async def show(
    port: int = 0,
    *,
    engine: str = "prior",
    size: int = 256,
    runtime: str | None = None,
    guests: int = 1,
    moving: bool = True,
) -> AsyncIterator[HeadsetSink]:
    """A sink that is running, of this machine alone; ends with the block.

    Args:
        port: 0 for a free one.
        engine, size, runtime: what draws.
        guests: how many avatars there are.
        moving: whether they move, or keep the first motion.

    Raises:
        TelepresenceError: no such engine, or the port cannot be used.
    """
    there = [Guest(f"guest-{n}", f"Guest {n}", n, "connected", "sample avatar") for n in range(guests)]
    sink = HeadsetSink(port, lambda: there, ["127.0.0.1"])
    loaded = await asyncio.to_thread(open_engine, engine, size, runtime=runtime)
    await asyncio.to_thread(loaded.warm_up)
    renderer = sink.renderer(loaded, lambda picture: None, lambda participant, problem: None)
    renderer.start()
    await sink.start()
    for guest in there:
        renderer.put_avatar(guest.id, sample_avatar_bytes(), True)
    task = asyncio.ensure_future(_move(sink, renderer, there, moving))
    try:
        yield sink
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await sink.close()
        await asyncio.to_thread(renderer.close)


async def _move(sink: HeadsetSink, renderer: StereoRenderer, there: list[Guest], moving: bool) -> None:
    packets, sequence = sample_motion(), 0
    while True:
        for packet in packets if moving else packets[:1]:
            sequence += 1
            stamped = replace(packet, sequence=sequence % (1 << 16), capture_us=now_us())
            for guest in there:
                renderer.put(guest.id, stamped, stamped.capture_us)
                sink.motion(guest.id, stamped, stamped.capture_us)
            sink.changed()
            await asyncio.sleep(1 / RATE)
