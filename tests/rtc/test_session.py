"""What may be in an edge's session description."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from aiortc.sdp import SessionDescription

from telepresence.errors import SignallingError
from telepresence.rtc.session import checked


def offer(*, data: bool = True, video: bool = False) -> str:
    """What aiortc offers."""

    async def make() -> str:
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        if data:
            pc.createDataChannel("x")
        if video:
            pc.addTransceiver("video", "sendonly")
        await pc.setLocalDescription(await pc.createOffer())
        sdp = str(pc.localDescription.sdp)
        await pc.close()
        return sdp

    return asyncio.run(make())


def test_data_channels_alone_are_passed_on_with_all_that_aiortc_reads_in_them() -> None:
    sdp = offer()
    (before,), (after,) = SessionDescription.parse(sdp).media, SessionDescription.parse(checked(sdp)).media
    assert before.dtls is not None
    dtls = replace(before.dtls, fingerprints=[f for f in before.dtls.fingerprints if f.algorithm == "sha-256"])
    assert (after.kind, after.ice, after.dtls) == (before.kind, before.ice, dtls)
    assert after.ice_candidates == before.ice_candidates
    assert after.ice_candidates
    assert (after.rtp.muxId, after.fmt, after.sctp_port) == (before.rtp.muxId, before.fmt, before.sctp_port)


@pytest.mark.parametrize(
    "separator", ["\r\n", "\n", "\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
)
def test_media_are_refused_whatever_ends_the_line_before_them(separator: str) -> None:
    head, media = offer(video=True).split("\r\nm=video", 1)
    with pytest.raises(SignallingError):
        checked(f"{head}{separator}m=video{media}")
    application = offer()
    with pytest.raises(SignallingError):
        checked(application.rstrip() + f"{separator}m=video 9 UDP/TLS/RTP/SAVPF 97\r\nc=IN IP4 0.0.0.0\r\n")


@pytest.mark.parametrize("sdp", ["", "nonsense", "v=0\r\n", "v=0\r\nm=application\r\n", "\0" * 100])
def test_what_is_no_session_description_is_refused(sdp: str) -> None:
    with pytest.raises(SignallingError):
        checked(sdp)


def test_nothing_but_media_is_refused() -> None:
    with pytest.raises(SignallingError, match="application"):
        checked(offer(data=False, video=True))
