"""What is changed in aiortc 1.16, and why. Each change is made only if what it replaces is there.

All but set_bitrate change one object; set_bitrate changes aiortc's constants, for the whole process.

release_on_marker   a received video frame is decoded when its last packet arrives, not when the next frame begins:
                    33 ms at 30 frames a second
direct_frames       decoded frames are handed over in the decoder's thread: two trips through the event loop saved,
                    no unbounded queue
guard_data          an exception while a data packet is handled is counted, not fatal to the connection; messages
                    are bounded before they are put together
open_window         data channels start with a window of ten packets, so that motion never waits behind an avatar
count_datagrams     bytes on the wire
set_bitrate         the page's track at a fixed rate: aiortc rebuilds its encoder at every change of more than 10 %
"""

from __future__ import annotations

import asyncio
import logging
import queue
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from aiortc import RTCRtpReceiver, RTCSctpTransport
from aiortc.codecs import h264, vpx
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.mediastreams import MediaStreamTrack

from telepresence.rtc.monotonic import now_us

logger = logging.getLogger(__name__)

IP_UDP_BYTES: Final = 28  # IPv4 and UDP headers of one datagram
VIDEO_PACKETS: Final = 512  # capacity of aiortc's own video jitter buffer
MAX_FRAGMENTS: Final = 64  # of unfinished messages per stream: four times our longest message, out of order
MAX_STREAMS: Final = 16  # of one peer; we use three
INITIAL_WINDOW_PACKETS: Final = 10  # RFC 6928, for TCP; RFC 9260 allows three
MOTION_RESERVE_BYTES: Final = 1160  # of the congestion window, left free by avatars: one packet of the longest kind
BITS_PER_PIXEL: Final = 0.8  # of the page's track, which does not leave the machine: 1.6 Mbit/s at 256x256


class MarkerJitterBuffer(JitterBuffer):
    """aiortc's jitter buffer, releasing a frame as soon as it is whole.

    A frame is whole when every packet from the first not yet released up to one with the marker bit is there (RFC 3550
    section 5.1; RFC 6184 and 7741: the marker is on a picture's last packet), or, as in aiortc, up to a change of
    timestamp. Lost and reordered packets hold a frame back exactly as before.
    """

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        return self.pop()

    def pop(self) -> JitterFrame | None:
        """The oldest whole frame, removed; None if there is none. Call again: a late packet may complete several."""
        while True:
            count, packets = self._whole()
            if not count:
                return None
            self.remove(count)
            data = b"".join(getattr(packet, "_data", b"") for packet in packets)
            if data:  # else padding that followed a released frame: an empty packet would flush the decoder
                return JitterFrame(data, packets[0].timestamp)

    def _whole(self) -> tuple[int, list[Any]]:
        if self._origin is None:
            return 0, []
        packets: list[Any] = []
        for count in range(self.capacity):
            packet = self._packets[(self._origin + count) % self.capacity]
            if packet is None:
                break
            if packets and packet.timestamp != packets[0].timestamp:
                return count, packets
            packets.append(packet)
            if packet.marker:
                return count + 1, packets
        return 0, []


class _DrainingQueue(queue.Queue[Any]):
    """The decoder's queue; when a frame is put, those that the same packet completed follow."""

    def __init__(self, buffer: MarkerJitterBuffer, map_time: Callable[[int], int]) -> None:
        super().__init__()
        self._buffer = buffer
        self._map_time = map_time

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        while item is not None and (frame := self._buffer.pop()) is not None:
            frame.timestamp = self._map_time(frame.timestamp)
            super().put((item[0], frame), block, timeout)


def release_on_marker(receiver: RTCRtpReceiver) -> bool:
    """Make a video receiver decode a frame at its marker; call before it starts. False if aiortc has changed."""
    names = ("jitter_buffer", "decoder_queue", "timestamp_mapper")
    buffer, _, mapper = (getattr(receiver, f"_RTCRtpReceiver__{name}", None) for name in names)
    if not isinstance(buffer, JitterBuffer) or mapper is None or not hasattr(JitterBuffer, "_remove_frame"):
        logger.warning("aiortc has changed: received video will lag by one frame")
        return False
    ours = MarkerJitterBuffer(VIDEO_PACKETS, is_video=True)
    setattr(receiver, "_RTCRtpReceiver__jitter_buffer", ours)  # noqa: B010 - a private name, spelt out
    setattr(receiver, "_RTCRtpReceiver__decoder_queue", _DrainingQueue(ours, mapper.map))  # noqa: B010
    return True


class _DirectQueue:
    """Stands in for a remote track's queue: `put` runs in the decoder's thread."""

    def __init__(self, on_frame: Callable[[Any, int], None], on_end: Callable[[], None]) -> None:
        self._on_frame = on_frame
        self._on_end = on_end

    def put(self, frame: Any) -> Awaitable[None]:
        if frame is None:
            self._on_end()
        else:
            self._on_frame(frame, now_us())
        return _nothing()


async def _nothing() -> None:
    return


def direct_frames(track: MediaStreamTrack, on_frame: Callable[[Any, int], None], on_end: Callable[[], None]) -> bool:
    """Get a remote track's frames, and when each was decoded, in the decoder's thread; both calls must return at once.

    Call before the connection starts, and never `recv()`. False if aiortc has changed: then the track is as it was.
    """
    if not hasattr(track, "_queue"):
        logger.warning("aiortc has changed: camera frames take the longer way")
        return False
    setattr(track, "_queue", _DirectQueue(on_frame, on_end))  # noqa: B010
    return True


def guard_data(sctp: RTCSctpTransport, on_violation: Callable[[], None]) -> bool:
    """Survive what a peer can send on data channels: bad UTF-8, messages without end, chunks that aiortc asserts on."""
    handle = getattr(sctp, "_handle_data", None)
    if handle is None or not hasattr(sctp, "_inbound_streams"):
        logger.warning("aiortc has changed: a bad data packet will end the connection, which is then rebuilt")
        return False

    async def guarded(data: bytes) -> None:
        try:
            await handle(data)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            on_violation()
            if getattr(sctp, "_sack_needed", False):  # else the peer sends the same again
                await sctp._send_sack()
        if _oversized(sctp):
            on_violation()

    setattr(sctp, "_handle_data", guarded)  # noqa: B010
    return True


def _oversized(sctp: Any) -> bool:
    """Whether a peer builds up messages that nobody asked for; what it has built is thrown away."""
    found = False
    for stream in sctp._inbound_streams.values():
        if len(stream.reassembly) > MAX_FRAGMENTS:
            stream.reassembly = []
            found = True
    if len(sctp._inbound_streams) > MAX_STREAMS:
        sctp._inbound_streams = dict(list(sctp._inbound_streams.items())[:MAX_STREAMS])
        found = True
    return found


def open_window(sctp: RTCSctpTransport) -> bool:
    """Start with ten packets in flight: an avatar takes at most 8 KiB of them (transfer.py), motion has the rest."""
    from aiortc.rtcsctptransport import USERDATA_MAX_LENGTH

    if not hasattr(sctp, "_cwnd"):
        return False
    setattr(sctp, "_cwnd", max(sctp._cwnd, INITIAL_WINDOW_PACKETS * USERDATA_MAX_LENGTH))  # noqa: B010
    return True


@dataclass
class WireCounter:
    """Bytes of a connection at IP level: DTLS records and media with 28 bytes of IPv4 and UDP headers a datagram.

    ICE's own checks (about 100 bytes every five seconds) bypass it.
    """

    sent_bytes: int = 0
    received_bytes: int = 0


def count_datagrams(ice: Any) -> WireCounter:
    """Count what an RTCIceTransport sends and receives from now on; stays at zero if aiortc has changed."""
    counter = WireCounter()
    send, receive = getattr(ice, "_send", None), getattr(ice, "_recv", None)
    if send is None or receive is None:
        return counter

    async def counted_send(data: bytes) -> None:
        counter.sent_bytes += len(data) + IP_UDP_BYTES
        await send(data)

    async def counted_receive() -> bytes:
        data: bytes = await receive()
        counter.received_bytes += len(data) + IP_UDP_BYTES
        return data

    ice._send, ice._recv = counted_send, counted_receive
    return counter


def set_bitrate(size: int, fps: int = 30) -> int:
    """Fix the rate of the page's track for pictures of size x size; returns it in bits a second.

    The page's bandwidth estimate is ignored: the track goes over loopback, and aiortc answers each new estimate with a
    new encoder and a key frame.
    """
    rate = int(BITS_PER_PIXEL * size * size * fps)
    for codec in (h264, vpx):
        for name in ("DEFAULT_BITRATE", "MIN_BITRATE", "MAX_BITRATE"):
            if hasattr(codec, name):
                setattr(codec, name, rate)
    return rate


def room_for_avatar(sctp: Any) -> int:
    """Bytes that may be under way so that motion still fits the congestion window, which shrinks after losses."""
    window = getattr(sctp, "_cwnd", None)
    return 0 if window is None else max(0, int(window) - MOTION_RESERVE_BYTES)
