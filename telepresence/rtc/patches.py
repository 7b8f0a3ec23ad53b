"""What is changed in aiortc 1.16, and why. Each change is made only if what it replaces is there.

All but set_bitrate change one object; set_bitrate changes aiortc's constants and its H.264 encoder, for the whole
process.

release_on_marker   a received video frame is decoded when its last packet arrives, not when the next frame begins:
                    33 ms at 30 frames a second
direct_frames       decoded frames are handed over in the decoder's thread: two trips through the event loop saved,
                    no unbounded queue
guard_data          an exception while a data packet is handled is counted, not fatal to the connection; messages
                    are bounded before they are put together
open_window         data channels start with a window of ten packets, so that motion never waits behind an avatar
watch_reports       RTCP sender reports, which aiortc parses and keeps to itself: when a page captured a picture
raw_packets         sound without aiortc's jitter buffer, which each lost packet makes 20 to 200 ms slower for ever
rtp_origin          what aiortc adds to a received picture's RTP time
sent_origin         the same of what it sends: the page finds a picture by its RTP time
count_datagrams     bytes on the wire
set_bitrate         the page's track at a fixed rate: aiortc rebuilds its encoder at every change of more than 10 %
"""

from __future__ import annotations

import asyncio
import fractions
import logging
import queue
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import av
from aiortc import RTCRtpReceiver, RTCSctpTransport
from aiortc.codecs import h264, vpx
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtcrtpreceiver import StreamStatistics

from telepresence.rtc.monotonic import now_us

logger = logging.getLogger(__name__)

IP_UDP_BYTES: Final = 28  # IPv4 and UDP headers of one datagram
VIDEO_PACKETS: Final = 512  # capacity of aiortc's own video jitter buffer
MAX_FRAGMENTS: Final = 64  # of unfinished messages per stream: four times our longest message, out of order
MAX_STREAMS: Final = 16  # of one peer; we use three
INITIAL_WINDOW_PACKETS: Final = 10  # RFC 6928, for TCP; RFC 9260 allows three
MOTION_RESERVE_BYTES: Final = 1160  # of the congestion window, left free by avatars: one packet of the longest kind
H264_PRESET: Final = "veryfast"
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


def watch_reports(receiver: Any, on_report: Callable[[int, int, int], None]) -> bool:
    """Be told of each sender report: NTP time (32.32 bits), RTP time, when it arrived; on the loop.

    False if aiortc has changed: then pictures count as captured when they are decoded.
    """
    handle = getattr(receiver, "_handle_rtcp_packet", None)
    if handle is None:
        logger.warning("aiortc has changed: capture times lack the page's part")
        return False

    async def watched(packet: Any) -> None:
        info = getattr(packet, "sender_info", None)
        if info is not None:
            on_report(int(info.ntp_timestamp), int(info.rtp_timestamp), now_us())
        await handle(packet)

    setattr(receiver, "_handle_rtcp_packet", watched)  # noqa: B010
    return True


def rtp_origin(receiver: Any) -> int | None:
    """What a received frame's `pts` lacks to its RTP time, modulo 2**32; None before the first frame."""
    mapper = getattr(receiver, "_RTCRtpReceiver__timestamp_mapper", None)
    origin = getattr(mapper, "_origin", None)
    return None if origin is None else int(origin) % (1 << 32)


def raw_packets(receiver: Any, on_packet: Callable[[int, bytes, int], None]) -> bool:
    """Get received packets of sound as they come: RTP time, payload, when; aiortc neither buffers nor decodes them.

    Its buffer waits for ever longer with each lost packet. False if aiortc has changed: then nothing is heard.
    """
    streams = getattr(receiver, "_RTCRtpReceiver__remote_streams", None)
    codecs = getattr(receiver, "_RTCRtpReceiver__codecs", None)
    if not hasattr(receiver, "_handle_rtp_packet") or streams is None or codecs is None:
        logger.warning("aiortc has changed: sound is not heard")
        return False

    async def taken(packet: Any, arrival_time_ms: int) -> None:
        codec = codecs.get(packet.payload_type)
        if codec is None or codec.mimeType.lower() != "audio/opus" or not packet.payload:
            return
        if packet.ssrc not in streams:
            if len(streams) >= MAX_STREAMS:
                return
            streams[packet.ssrc] = StreamStatistics(codec.clockRate)  # for the reports, by which the sender adapts
        streams[packet.ssrc].add(packet)
        on_packet(packet.timestamp, packet.payload, now_us())

    setattr(receiver, "_handle_rtp_packet", taken)  # noqa: B010
    return True


def sent_origin(sender: Any) -> Callable[[], int | None]:
    """Watch a sender from now on; the result tells what its frames' `pts` lack to their RTP time, modulo 2**32.

    It is drawn by lot and kept in a local variable: told here by the first frame, once the second is asked for. None
    until then, and always if aiortc has changed.
    """
    fetch = getattr(sender, "_next_encoded_frame", None)
    name = "_RTCRtpSender__rtp_timestamp"
    found: list[int] = []
    if fetch is None or not hasattr(sender, name):
        logger.warning("aiortc has changed: pages do not know how old a picture is")
        return lambda: None
    pending: list[int] = []

    async def watched(codec: Any) -> Any:
        if pending and not found:
            found.append((getattr(sender, name) - pending[0]) % (1 << 32))
        frame = await fetch(codec)
        if frame is not None and not found:
            pending[:] = [frame.timestamp]
        return frame

    setattr(sender, "_next_encoded_frame", watched)  # noqa: B010
    return lambda: found[0] if found else None


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
    """Fix the rate of the page's tracks for pictures of size x size; returns it in bits a second.

    A track whose pictures are smaller gets as much less, for as long as they are.

    The page's bandwidth estimate is ignored: the track goes over loopback, and aiortc answers each new estimate with a
    new encoder and a key frame.
    """
    rate = int(BITS_PER_PIXEL * size * size * fps)
    for codec in (h264, vpx):
        for name in ("DEFAULT_BITRATE", "MIN_BITRATE", "MAX_BITRATE"):
            if hasattr(codec, name):
                setattr(codec, name, rate)
    _follow_side(rate / (size * size))
    return rate


def _follow_side(rate: float) -> None:
    """Make every H.264 encoder aim at `rate` bits a second for each pixel of the frame at hand, and spend less time.

    x264's own choice of effort takes 4.8 ms a picture at 256x256 in place of 1.0, and at this rate gains nothing.
    """
    cls: Any = h264.H264Encoder
    encode = getattr(cls._encode_frame, "plain", cls._encode_frame)
    name = "_H264Encoder__target_bitrate"

    def sized(self: Any, frame: Any, force_keyframe: bool) -> Any:
        if hasattr(self, name) and hasattr(self, "codec"):
            wanted = int(rate * frame.width * frame.height)
            setattr(self, name, wanted)
            codec = self.codec
            if codec is None or (codec.width, codec.height) != (frame.width, frame.height):
                self.codec = _h264_codec(frame.width, frame.height, wanted)
        return encode(self, frame, force_keyframe)

    setattr(sized, "plain", encode)  # noqa: B010
    cls._encode_frame = sized


def _h264_codec(width: int, height: int, rate: int) -> Any:
    """As aiortc makes it, but for the preset."""
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.bit_rate, codec.pix_fmt = width, height, rate, "yuv420p"
    codec.framerate = fractions.Fraction(h264.MAX_FRAME_RATE, 1)
    codec.time_base = fractions.Fraction(1, h264.MAX_FRAME_RATE)
    codec.thread_count = 1  # three for each page have to wait for each other, and gain nothing at these sizes
    codec.options = {"level": "31", "tune": "zerolatency", "preset": H264_PRESET}
    codec.profile = "Baseline"
    return codec


def room_for_avatar(sctp: Any) -> int:
    """Bytes that may be under way so that motion still fits the congestion window, which shrinks after losses."""
    window = getattr(sctp, "_cwnd", None)
    return 0 if window is None else max(0, int(window) - MOTION_RESERVE_BYTES)
