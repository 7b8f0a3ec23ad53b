"""Pages are asked to show pictures as they come: in what is agreed on, and in the packets."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpHeaderExtensionParameters, RTCSessionDescription, codecs
from aiortc.rtcrtpparameters import RTCRtpParameters
from aiortc.rtp import HeaderExtensions, RtpPacket, unpack_header_extensions
from aiortc.sdp import SessionDescription

from telepresence.rtc import playout_delay
from telepresence.rtc.playout_delay import AT_ONCE, URI, AtOnce
from telepresence.rtc.renderer import Picture
from telepresence.rtc.viewers import Viewers
from tests.rtc.pair import run

MID, MID_ID, OURS_ID = "urn:ietf:params:rtp-hdrext:sdes:mid", 4, 7


@pytest.fixture(autouse=True)
def own_extensions(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test teaches aiortc is not to reach the next."""
    monkeypatch.setitem(codecs.HEADER_EXTENSIONS, "video", list(codecs.HEADER_EXTENSIONS["video"]))


def agreed(*extensions: tuple[int, str]) -> RTCRtpParameters:
    return RTCRtpParameters(headerExtensions=[RTCRtpHeaderExtensionParameters(id=i, uri=uri) for i, uri in extensions])


def test_a_packet_says_so_beside_what_it_says_anyway() -> None:
    extensions = AtOnce()
    extensions.configure(agreed((MID_ID, MID), (OURS_ID, URI)))
    profile, packed = extensions.set(HeaderExtensions(mid="0"))
    assert dict(unpack_header_extensions(profile, packed)) == {MID_ID: b"0", OURS_ID: AT_ONCE}
    packet = RtpPacket(payload_type=96)
    packet.extensions.mid, packet.payload = "0", b"picture"
    parsed = RtpPacket.parse(packet.serialize(extensions), extensions)
    assert (parsed.extensions.mid, parsed.payload) == ("0", b"picture")


def test_an_id_that_needs_the_longer_form_gets_it() -> None:
    extensions = AtOnce()
    extensions.configure(agreed((MID_ID, MID), (20, URI)))
    assert dict(unpack_header_extensions(*extensions.set(HeaderExtensions(mid="0")))) == {MID_ID: b"0", 20: AT_ONCE}


def test_a_page_that_does_not_know_it_gets_what_it_got_before() -> None:
    extensions = AtOnce()
    extensions.configure(agreed((MID_ID, MID)))
    assert dict(unpack_header_extensions(*extensions.set(HeaderExtensions(mid="0")))) == {MID_ID: b"0"}
    assert AtOnce().set(HeaderExtensions()) == (0, b"")


def test_a_page_that_offers_it_gets_it_in_every_packet_of_an_avatar() -> None:
    async def test() -> None:
        playout_delay.understood()
        playout_delay.understood()
        assert sum(extension.uri == URI for extension in codecs.HEADER_EXTENSIONS["video"]) == 1
        page, seen = RTCPeerConnection(RTCConfiguration(iceServers=[])), []
        viewers = Viewers(None, lambda connected: None, lambda picture, now_us: None)
        viewers.show(0, Picture("ana", np.zeros((96, 64), np.uint8), None, 5, 5, 5))
        try:
            page.addTransceiver("video", "recvonly")
            await page.setLocalDescription(await page.createOffer())
            offered = SessionDescription.parse(page.localDescription.sdp).media[0].rtp.headerExtensions
            ours = next(extension.id for extension in offered if extension.uri == URI)
            transport = page.getReceivers()[0].transport
            handle = transport._handle_rtp_data

            async def watched(data: bytes, arrival_time_ms: int) -> None:
                seen.append(data)
                await handle(data, arrival_time_ms)

            transport._handle_rtp_data = watched  # type: ignore[method-assign]
            answer = await viewers.answer(page.localDescription.sdp)
            await page.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            async with asyncio.timeout(15):
                while not seen:  # noqa: ASYNC110 - told by the transport
                    await asyncio.sleep(0.02)
        finally:
            viewers.close()
            await page.close()
        for data in seen:
            length = 4 * int.from_bytes(data[14:16], "big")
            found = unpack_header_extensions(int.from_bytes(data[12:14], "big"), data[16 : 16 + length])
            assert (ours, AT_ONCE) in found

    run(test)


def test_another_aiortc_is_left_as_it_is() -> None:
    assert not playout_delay.at_once(SimpleNamespace())
