"""The ordinary call through Python: `python -m telepresence.bench.relay`, a process of its own between two browsers.

It takes a camera's video as an edge does (aiortc, decoded when a picture's last packet arrives) and sends it on as an
edge sends an avatar: the newest picture, encoded anew, as soon as it is there. One hop, where the avatar's way has two
edges. Commands are JSON lines on standard input, one answer a line on standard output; it ends with its input.
"""

from __future__ import annotations

import asyncio
import fractions
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import av
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.codecs import h264, vpx
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from telepresence.rtc import draining, estimate, patches, session, trace
from telepresence.rtc.edge import SWITCH_S
from telepresence.rtc.link import Impairment, impair
from telepresence.rtc.mailbox import LoopMailbox
from telepresence.rtc.monotonic import now_us

CLOCK_HZ: Final = 90_000
MAX_LINE_BYTES: Final = 256 * 1024


class NewestTrack(MediaStreamTrack):
    """Sends the newest picture; has no clock of its own."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._fresh = asyncio.Event()
        self._newest: Any = None
        self._start_us = now_us()
        self._last = -1
        self.sent = 0

    def show(self, frame: Any) -> None:
        """Hand a picture over, on the event loop; one that was not fetched yet is replaced."""
        self._newest = frame
        self._fresh.set()

    async def recv(self) -> Any:
        """The next picture."""
        if self.readyState != "live":
            raise MediaStreamError
        await self._fresh.wait()
        self._fresh.clear()
        self._last = max(self._last + 1, (now_us() - self._start_us) * CLOCK_HZ // 1_000_000)
        frame = self._newest
        frame.pts, frame.time_base = self._last, fractions.Fraction(1, CLOCK_HZ)
        self.sent += 1
        return frame


@dataclass
class Relay:
    """A camera's connection, and one that gives its pictures on."""

    height: int | None = None
    """Of the pictures that are given on; None: as they come."""
    cameras: list[RTCPeerConnection] = field(default_factory=list)
    givers: list[RTCPeerConnection] = field(default_factory=list)
    tracks: list[NewestTrack] = field(default_factory=list)
    hops: list[Impairment] = field(default_factory=list)
    wire: list[patches.WireCounter] = field(default_factory=list)
    taken: int = 0

    async def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """Carry a command out."""
        what = command["do"]
        if what == "rate":
            self.height = command.get("height")
            _set_bitrate(command["bitrate"])
            return {}
        if what == "take":
            return {"sdp": await self._take(command["sdp"])}
        if what == "give":
            return {"sdp": await self._give(command["sdp"])}
        if what == "link":
            conditions = trace.conditions_of(command["conditions"])
            self.hops = [hop for pc in self.givers for hop in impair(pc, conditions, command["seed"], clock_us=now_us)]
            return {"hops": len(self.hops)}
        if what == "counters":
            lost = [(hop.model.sent, hop.model.lost) for hop in self.hops]
            sent = sum(counter.sent_bytes for counter in self.wire)
            return {
                "wire_sent_bytes": sent,
                "taken": self.taken,
                "sent": sum(t.sent for t in self.tracks),
                "link": lost,
            }
        if what == "close":
            await self._close()
            return {}
        raise ValueError(f"unknown command {what}")

    async def _take(self, sdp: str) -> str:
        pc = _connection(self.cameras)
        loop = asyncio.get_running_loop()
        newest: LoopMailbox[Any] = LoopMailbox(loop, self._show)

        def on_track(track: MediaStreamTrack) -> None:
            receiver = next(t.receiver for t in pc.getTransceivers() if t.receiver.track is track)
            patches.release_on_marker(receiver)
            estimate.plenty(receiver)
            if not patches.direct_frames(track, lambda frame, at_us: self._on_frame(newest, frame), lambda: None):
                raise RuntimeError("aiortc has changed; the ordinary call cannot be relayed")

        pc.on("track", on_track)
        return await _answer(pc, sdp)

    async def _give(self, sdp: str) -> str:
        pc = _connection(self.givers)
        await pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        for transceiver in pc.getTransceivers():
            track = NewestTrack()
            self.tracks.append(track)
            transceiver.sender.replaceTrack(track)
            transceiver.direction = "sendonly"
        await pc.setLocalDescription(await pc.createAnswer())
        self.wire += [patches.count_datagrams(t.sender.transport.transport) for t in pc.getTransceivers()]
        return pc.localDescription.sdp

    def _on_frame(self, newest: LoopMailbox[Any], frame: Any) -> None:
        """In the decoder's thread."""
        if self.height is not None and frame.height != self.height:
            width = 2 * round(frame.width * self.height / frame.height / 2)
            frame = frame.reformat(width=width, height=self.height)
        newest.put(frame)

    def _show(self, frame: Any) -> None:
        self.taken += 1
        for track in self.tracks:
            track.show(frame)

    async def _close(self) -> None:
        for pc in [*self.givers, *self.cameras]:
            session.close_soon(pc)
        await session.closed_all()
        self.cameras, self.givers, self.tracks, self.hops, self.wire, self.taken = [], [], [], [], [], 0


def _connection(kept: list[RTCPeerConnection]) -> RTCPeerConnection:
    draining.install()  # as the avatar's way has it
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    kept.append(pc)
    return pc


async def _answer(pc: RTCPeerConnection, sdp: str) -> str:
    await pc.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
    await pc.setLocalDescription(await pc.createAnswer())
    return pc.localDescription.sdp


def _set_bitrate(bits_per_s: int) -> None:
    """aiortc's encoders at a fixed rate: they answer each new estimate of the bandwidth with a new encoder."""
    for codec in (h264, vpx):
        for name in ("DEFAULT_BITRATE", "MIN_BITRATE", "MAX_BITRATE"):
            if hasattr(codec, name):
                setattr(codec, name, bits_per_s)


async def _serve(write: Callable[[str], Any]) -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    relay = Relay()
    write("{}")
    while line := await lines.readline():
        try:
            answer = await relay.do(json.loads(line))
        except Exception as error:  # aiortc raises anything; the benchmark says what became of it
            answer = {"error": f"{type(error).__name__}: {error}"}
        write(json.dumps(answer))
    await relay.do({"do": "close"})


def main() -> None:
    """Relay until standard input ends."""
    sys.setswitchinterval(SWITCH_S)
    av.logging.set_level(None)
    asyncio.run(_serve(lambda text: print(text, flush=True)))


if __name__ == "__main__":
    main()
