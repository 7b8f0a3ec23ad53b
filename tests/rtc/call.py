"""A real hub and real edges in one process and loop, and a page made of aiortc in place of a browser."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import av
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack, VideoStreamTrack

from telepresence.hub import tokens
from telepresence.hub.app import HubConfig, create_app
from telepresence.hub.serve import base_url, bind, join_url, make_server
from telepresence.rtc.edge import Edge, EdgeConfig
from tests.rtc.pair import until


@contextlib.asynccontextmanager
async def hub(room: str = "room", **options: Any) -> AsyncIterator[str]:
    """A hub; yields a URL to join the room by."""
    config = HubConfig(b"s" * 32, **options)
    listener = bind("127.0.0.1", 0)
    server = make_server(create_app(config))
    with contextlib.suppress(AttributeError):
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]  # signals stay pytest's
    task = asyncio.ensure_future(server.serve(sockets=[listener]))
    token = tokens.issue(config.secret, room, ttl_s=600, now=time.time())
    try:
        await until(lambda: server.started)
        yield join_url(base_url("127.0.0.1", listener.getsockname()[1]), room, token)
    finally:
        server.should_exit = True
        await task
        listener.close()


@contextlib.asynccontextmanager
async def edge(url: str, **options: Any) -> AsyncIterator[Edge]:
    """An edge that runs until the block ends; unless told otherwise, with the engine that is fastest to load."""
    async with Edge(EdgeConfig(url, **({"engine": "prior"} | options))) as running:
        stop = asyncio.Event()
        task = asyncio.ensure_future(running.run(stop))
        try:
            yield running
        finally:
            stop.set()
            await task


async def request(
    url: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, JSON body, headers."""

    def call() -> tuple[int, dict[str, Any], dict[str, str]]:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers or {}), timeout=10) as answer:
                return answer.status, json.loads(answer.read()), dict(answer.headers)
        except urllib.error.HTTPError as error:
            text = error.read()
            with contextlib.suppress(ValueError):
                return error.code, json.loads(text), dict(error.headers)
            return error.code, {"text": text.decode()}, dict(error.headers)

    return await asyncio.to_thread(call)


class Page:
    """A page: sends a camera track, asks for avatars, and keeps what comes."""

    def __init__(self, running: Edge, camera: MediaStreamTrack | None = None, avatars: int = 0) -> None:
        self.edge = running
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.tracks: list[MediaStreamTrack] = []
        self.pc.on("track", self.tracks.append)
        if camera is not None:
            self.pc.addTransceiver(camera, "sendonly")
        for _ in range(avatars):
            self.pc.addTransceiver("video", "recvonly")

    async def connect(self) -> str:
        """Offer, post, apply; returns the answer."""
        await self.pc.setLocalDescription(await self.pc.createOffer())
        body = json.dumps({"type": "offer", "sdp": self.pc.localDescription.sdp}).encode()
        server = self.edge.page
        status, answer, _ = await request(
            f"{server.url}/api/page", body, {"Authorization": f"Bearer {server.token}", "Origin": server.url}
        )
        assert status == 200, answer
        await self.pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        return str(answer["sdp"])

    async def picture(self, timeout_s: float = 10) -> np.ndarray:
        """The next picture of the first avatar: (H, W, 3) uint8 RGB."""
        frame = await asyncio.wait_for(self.tracks[0].recv(), timeout_s)
        assert isinstance(frame, av.VideoFrame)
        return frame.to_ndarray(format="rgb24")


class ClipTrack(VideoStreamTrack):
    """A camera that shows the given frames, over and over, at 30 a second."""

    def __init__(self, frames: list[np.ndarray]) -> None:
        super().__init__()
        self._frames = frames
        self._next = 0

    async def recv(self) -> av.VideoFrame:
        pts, time_base = await self.next_timestamp()
        frame = av.VideoFrame.from_ndarray(self._frames[self._next % len(self._frames)], format="rgb24")
        self._next += 1
        frame.pts, frame.time_base = pts, time_base
        return frame
