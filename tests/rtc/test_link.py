"""The link emulator: its pure core, and once for real."""

from __future__ import annotations

import asyncio
import itertools
import time

import numpy as np
import pytest
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection

from telepresence.rtc.link import QUEUE_US, Bursts, LinkConditions, LinkModel, impair

GAP = 10_000


def run(conditions: LinkConditions, count: int = 20_000, seed: int = 1, size: int = 100) -> list[list[int]]:
    """Delays of each of `count` datagrams, sent 10 ms apart."""
    model = LinkModel(conditions, seed)
    return [[at - n * GAP for at in model.send(size, n * GAP)] for n in range(count)]


def test_a_perfect_link_only_delays() -> None:
    assert run(LinkConditions(30_000), 100) == [[30_000]] * 100
    assert run(LinkConditions(), 100) == [[0]] * 100


def test_the_same_seed_does_the_same() -> None:
    wild = LinkConditions(
        20_000, 15_000, 0.1, Bursts(0.01, 0.3), 0.05, 0.05, bits_per_s=100_000, outages_us=((1_000_000, 1_200_000),)
    )
    assert run(wild, 500, seed=3) == run(wild, 500, seed=3)
    assert run(wild, 500, seed=3) != run(wild, 500, seed=4)


def test_more_loss_loses_what_less_loss_loses_and_more() -> None:
    lost = [{n for n, at in enumerate(run(LinkConditions(1, loss=p), 2000)) if not at} for p in (0.05, 0.1, 0.2)]
    assert lost[0] < lost[1] < lost[2]


@pytest.mark.parametrize("loss", [0.02, 0.1, 0.2])
def test_loss_is_as_frequent_as_asked(loss: float) -> None:
    model = LinkModel(LinkConditions(loss=loss), 1)
    lost = sum(not model.send(100, n) for n in range(20_000))
    assert lost / 20_000 == pytest.approx(loss, abs=0.007)
    assert (model.sent, model.lost) == (20_000, lost)


def test_bursts_are_as_long_and_as_frequent_as_asked() -> None:
    bursts = Bursts(0.02, 0.25)
    lost = np.array([not at for at in run(LinkConditions(bursts=bursts), 50_000)])
    assert lost.mean() == pytest.approx(bursts.mean_loss, abs=0.01)
    begins = np.flatnonzero(np.diff(lost.astype(int)) == 1).size
    assert lost.sum() / begins == pytest.approx(4, rel=0.1)


def test_jitter_never_hurries_and_has_the_deviation_asked() -> None:
    late = np.array(run(LinkConditions(30_000, 20_000)))[:, 0] - 30_000
    assert late.min() >= 0
    assert np.sqrt((late.astype(float) ** 2).mean()) == pytest.approx(20_000, rel=0.03)


def test_order() -> None:
    def overtakes(conditions: LinkConditions) -> int:
        arrivals = [n * GAP + delays[0] for n, delays in enumerate(run(conditions, 2_000))]
        return sum(b < a for a, b in itertools.pairwise(arrivals))

    assert overtakes(LinkConditions(30_000, 30_000)) > 100
    assert overtakes(LinkConditions(30_000, 30_000, keep_order=True)) == 0
    assert overtakes(LinkConditions(30_000, reorder=0.05)) == pytest.approx(100, rel=0.3)


def test_duplicates() -> None:
    arrivals = run(LinkConditions(30_000, 5_000, duplicate=0.1), 5_000)
    assert sum(len(at) == 2 for at in arrivals) == pytest.approx(500, rel=0.15)
    assert all(at == sorted(at) for at in arrivals)


def test_an_outage_counts_from_the_first_datagram() -> None:
    model = LinkModel(LinkConditions(outages_us=((1_000_000, 1_500_000),)), 1)
    start = 77_000_000
    alive = [bool(model.send(100, start + n * 100_000)) for n in range(20)]
    assert alive == [True] * 10 + [False] * 5 + [True] * 5


def test_a_slow_hop_queues_and_then_drops() -> None:
    model = LinkModel(LinkConditions(10_000, bits_per_s=80_000), 1)  # 100 bytes take 10 ms
    assert [model.send(100, 0) for _ in range(3)] == [[20_000], [30_000], [40_000]]
    arrivals = [model.send(100, 0) for _ in range(100)]
    assert arrivals[-1] == []
    assert max(at[0] for at in arrivals if at) <= QUEUE_US + 30_000
    assert model.send(100, 10_000_000) == [10_020_000]


@pytest.mark.parametrize(
    "wrong", [{"loss": 1.1}, {"loss": -0.1}, {"delay_us": -1}, {"bits_per_s": 0}, {"bursts": Bursts(2, 0.1)}]
)
def test_impossible_conditions_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"probabilities|rate"):
        LinkConditions(**wrong)


async def _connect() -> tuple[RTCPeerConnection, RTCPeerConnection, RTCDataChannel, RTCDataChannel]:
    a, b = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    options = {"ordered": False, "maxRetransmits": 0, "negotiated": True, "id": 0}
    one, other = (pc.createDataChannel("motion", **options) for pc in (a, b))
    await a.setLocalDescription(await a.createOffer())
    await b.setRemoteDescription(a.localDescription)
    await b.setLocalDescription(await b.createAnswer())
    await a.setRemoteDescription(b.localDescription)
    for _ in range(500):
        if one.readyState == other.readyState == "open":
            return a, b, one, other
        await asyncio.sleep(0.01)
    raise AssertionError("did not open")


def test_a_real_connection_behind_a_bad_link() -> None:
    """One second of messages through 20 ms and 20 % loss; the connection lives on when the link is repaired."""

    async def main() -> None:
        a, b, one, other = await _connect()
        delays: dict[int, float] = {}
        sent: dict[int, float] = {}
        other.on("message", lambda data: delays.setdefault(data[0], time.monotonic() - sent[data[0]]))
        (there,) = impair(a, LinkConditions(20_000, loss=0.2), seed=5)
        (back,) = impair(b, LinkConditions(20_000), seed=6)
        for n in range(60):
            sent[n] = time.monotonic()
            one.send(bytes([n]))
            await asyncio.sleep(0.015)
        await asyncio.sleep(0.1)
        assert there.model.lost > 0
        assert 25 <= len(delays) <= 59
        assert min(delays.values()) >= 0.019
        there.remove()
        back.remove()
        for n in range(100, 130):
            sent[n] = time.monotonic()
            one.send(bytes([n]))
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert min(delay for n, delay in delays.items() if n >= 100) < 0.019
        await asyncio.gather(a.close(), b.close())

    asyncio.run(asyncio.wait_for(main(), 20))


def test_impairing_needs_a_transport() -> None:
    async def main() -> None:
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        with pytest.raises(RuntimeError, match="local description"):
            impair(pc, LinkConditions(), 1)
        await pc.close()

    asyncio.run(main())
