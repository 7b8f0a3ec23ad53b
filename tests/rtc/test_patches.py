"""What is changed in aiortc: frames at their marker, counting, fixed rate."""

from __future__ import annotations

import asyncio
import fractions
import random

import av
import numpy as np
import pytest
from aiortc import RTCPeerConnection, VideoStreamTrack
from aiortc.codecs import h264, vpx
from aiortc.codecs.h264 import H264Encoder
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtp import RtpPacket

from telepresence.rtc import patches
from telepresence.rtc.patches import MarkerJitterBuffer


def frame(first: int, timestamp: int, *parts: bytes) -> list[RtpPacket]:
    """One frame's packets, the marker on the last."""
    packets = []
    for n, part in enumerate(parts):
        packet = RtpPacket(sequence_number=(first + n) % 65536, timestamp=timestamp, marker=int(n == len(parts) - 1))
        packet._data = part
        packets.append(packet)
    return packets


def feed(buffer: MarkerJitterBuffer, packets: list[RtpPacket]) -> list[bytes]:
    """What the decoder gets."""
    out = []
    for packet in packets:
        _, released = buffer.add(packet)
        while released is not None:
            out.append(released.data)
            released = buffer.pop()
    return out


def buffer() -> MarkerJitterBuffer:
    return MarkerJitterBuffer(64, is_video=True)


def test_a_frame_is_released_by_its_last_packet() -> None:
    jitter = buffer()
    first, last = frame(10, 1000, b"a", b"b")
    assert jitter.add(first) == (False, None)
    _, released = jitter.add(last)
    assert released is not None
    assert (released.data, released.timestamp) == (b"ab", 1000)


def test_packets_in_another_order_wait_for_each_other() -> None:
    jitter = buffer()
    a, b, c = frame(10, 1000, b"a", b"b", b"c")
    assert feed(jitter, [a, c]) == []
    assert feed(jitter, [b]) == [b"abc"]


def test_a_lost_packet_holds_back_its_frame_and_the_later_ones_until_it_is_sent_again() -> None:
    jitter = buffer()
    one, two, three = frame(10, 1, b"a", b"b"), frame(12, 2, b"c"), frame(13, 3, b"d", b"e")
    assert feed(jitter, [one[0], *two, *three]) == []
    assert feed(jitter, [one[1]]) == [b"ab", b"c", b"de"]


def test_a_marker_after_a_gap_releases_nothing() -> None:
    jitter = buffer()
    one = frame(10, 1, b"a", b"b", b"c")
    assert feed(jitter, [one[0], one[2]]) == []


def test_a_frame_without_marker_is_released_by_the_next_ones_begin() -> None:
    jitter = buffer()
    unmarked = frame(10, 1, b"a", b"b")
    unmarked[1].marker = 0
    assert feed(jitter, unmarked) == []
    assert feed(jitter, frame(12, 2, b"c")) == [b"ab", b"c"]


def test_padding_after_a_released_frame_is_not_a_frame() -> None:
    jitter = buffer()
    padding = frame(11, 1, b"", b"")
    padding[1].marker = 0
    assert feed(jitter, [*frame(10, 1, b"a"), *padding, *frame(13, 2, b"c")]) == [b"a", b"c"]


def test_late_and_repeated_packets_of_a_released_frame_are_dropped() -> None:
    jitter = buffer()
    one = frame(10, 1, b"a", b"b")
    assert feed(jitter, [*one, *one, *frame(12, 2, b"c")]) == [b"ab", b"c"]


def test_sequence_numbers_wrap() -> None:
    assert feed(buffer(), [*frame(65534, 1, b"a", b"b", b"c"), *frame(1, 2, b"d")]) == [b"abc", b"d"]


def test_a_frame_that_never_comes_gives_way_and_asks_for_a_key_frame() -> None:
    jitter = buffer()
    feed(jitter, frame(0, 1, b"a", b"b")[:1])
    out: list[bytes] = []
    asked = False
    for n in range(2, 200):
        (packet,) = frame(n, n, b"%d" % n)
        pli, released = jitter.add(packet)
        asked |= pli
        while released is not None:
            out.append(released.data)
            released = jitter.pop()
    assert asked
    assert out[-1] == b"199"


@pytest.mark.parametrize("seed", range(20))
def test_shuffled_within_reach_everything_comes_out_once_and_in_order(seed: int) -> None:
    rng = random.Random(seed)
    packets, expected, sequence = [], [], 65_500
    for n in range(40):
        parts = [b"%d.%d " % (n, i) for i in range(rng.randint(1, 4))]
        packets += frame(sequence, n * 3000, *parts)
        expected.append(b"".join(parts))
        sequence += len(parts)
    order = sorted(range(1, len(packets)), key=lambda i: i + rng.uniform(0, 8))
    assert feed(buffer(), [packets[0], *(packets[i] for i in order)]) == expected


def test_receivers_and_tracks_of_this_aiortc_can_be_patched() -> None:
    async def test() -> None:
        pc = RTCPeerConnection()
        receiver = pc.addTransceiver("video").receiver
        assert patches.release_on_marker(receiver)
        pc.createDataChannel("x")
        assert pc.sctp is not None
        assert patches.open_window(pc.sctp)
        assert patches.guard_data(pc.sctp, lambda: None)
        assert patches.room_for_avatar(pc.sctp) > 8 * 1024
        await pc.close()

    asyncio.run(test())


def test_an_aiortc_without_those_names_is_left_alone() -> None:
    class Other:
        pass

    assert not patches.release_on_marker(Other())  # type: ignore[arg-type]
    assert not patches.direct_frames(Other(), lambda f, t: None, lambda: None)  # type: ignore[arg-type]
    assert not patches.guard_data(Other(), lambda: None)  # type: ignore[arg-type]
    assert not patches.open_window(Other())  # type: ignore[arg-type]
    assert patches.room_for_avatar(Other()) == 0
    assert patches.count_datagrams(Other()).sent_bytes == 0


def test_the_pages_track_has_one_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    for codec in (h264, vpx):
        for name in ("DEFAULT_BITRATE", "MIN_BITRATE", "MAX_BITRATE"):
            monkeypatch.setattr(codec, name, getattr(codec, name))
    rate = patches.set_bitrate(256)
    encoder = H264Encoder()
    for estimate in (30_000, 300_000, 30_000_000):
        encoder.target_bitrate = estimate
        assert encoder.target_bitrate == rate
    assert 1_000_000 < rate < 3_000_000


def test_a_receivers_reports_and_rtp_times_are_told() -> None:
    async def test() -> None:
        reports: list[tuple[int, int, int]] = []
        sender, receiver = RTCPeerConnection(), RTCPeerConnection()
        clip = VideoStreamTrack()
        sender.addTransceiver(clip, "sendonly")
        origin = patches.sent_origin(sender.getSenders()[0])
        frames: list[tuple[int, int | None]] = []

        def on_track(track: MediaStreamTrack) -> None:
            ours = receiver.getReceivers()[0]
            assert patches.watch_reports(ours, lambda *report: reports.append(report))
            assert patches.direct_frames(
                track, lambda frame, at: frames.append((frame.pts, patches.rtp_origin(ours))), lambda: None
            )

        receiver.on("track", on_track)
        await sender.setLocalDescription(await sender.createOffer())
        await receiver.setRemoteDescription(sender.localDescription)
        await receiver.setLocalDescription(await receiver.createAnswer())
        await sender.setRemoteDescription(receiver.localDescription)
        async with asyncio.timeout(15):
            while not reports or len(frames) < 5:  # noqa: ASYNC110 - told in another thread
                await asyncio.sleep(0.05)
        await sender.close()
        await receiver.close()
        started = origin()
        assert started is not None
        assert {(started - received) % 90_000 for _, received in frames if received is not None} <= {0, 87_000}
        ntp, rtp, _ = reports[0]
        assert ntp >> 32 > 3_900_000_000
        assert (rtp - started) % (1 << 32) < 30 * 90_000

    asyncio.run(test())


def test_smaller_pictures_of_a_track_get_as_much_less(monkeypatch: pytest.MonkeyPatch) -> None:
    for codec in (h264, vpx):
        for name in ("DEFAULT_BITRATE", "MIN_BITRATE", "MAX_BITRATE"):
            monkeypatch.setattr(codec, name, getattr(codec, name))
    monkeypatch.setattr(H264Encoder, "_encode_frame", H264Encoder._encode_frame)
    rate = patches.set_bitrate(256)
    encoder = H264Encoder()
    rates = []
    for number, side in enumerate((256, 128, 256)):
        picture = av.VideoFrame.from_ndarray(np.zeros((side * 3 // 2, side), np.uint8), format="yuv420p")
        picture.pts, picture.time_base = number * 3000, fractions.Fraction(1, 90_000)
        packets, _ = encoder.encode(picture)
        assert packets
        assert encoder.codec is not None
        rates.append(encoder.codec.bit_rate)
    assert rates == pytest.approx([rate, rate / 4, rate], rel=0.01)  # x264 rounds
