"""What a page is told of the bandwidth to its own edge."""

from __future__ import annotations

from types import SimpleNamespace

from aiortc import RTCRtpReceiver
from aiortc.rate import RemoteBitrateEstimator

from telepresence.rtc.estimate import EVERY_MS, MAX_STREAMS, PLENTY_BITS_PER_S, Plenty, plenty


def test_it_is_told_at_once_and_then_now_and_then_whatever_the_delays() -> None:
    estimator = Plenty()
    told = [estimator.add(t + 40 * (t % 7), 0, 1200, 5) for t in range(0, 5 * EVERY_MS, 5)]
    assert told[0] == (PLENTY_BITS_PER_S, [5])
    assert 4 <= sum(one is not None for one in told) <= 6


def test_another_stream_is_told_at_once_and_nobody_can_fill_the_message() -> None:
    estimator = Plenty()
    estimator.add(0, 0, 1200, 1)
    assert estimator.add(1, 0, 1200, 2) == (PLENTY_BITS_PER_S, [1, 2])
    for ssrc in range(3, 300):
        told = estimator.add(ssrc, 0, 1200, ssrc)
    assert told is not None
    assert len(told[1]) == MAX_STREAMS


def test_it_takes_the_place_of_aiortcs_own() -> None:
    receiver = RTCRtpReceiver("video", SimpleNamespace(state="new"))
    own = "_RTCRtpReceiver__remote_bitrate_estimator"
    assert isinstance(getattr(receiver, own), RemoteBitrateEstimator)
    assert plenty(receiver)
    assert isinstance(getattr(receiver, own), Plenty)
    assert not plenty(SimpleNamespace())
