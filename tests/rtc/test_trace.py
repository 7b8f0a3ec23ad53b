"""What an edge notes for the benchmark: nothing, unless it is asked to."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import asdict

import pytest

from telepresence.rtc import trace
from telepresence.rtc.link import Bursts, LinkConditions
from telepresence.rtc.trace import STAGES, conditions_of, note
from tests.rtc.call import edge, hub, request
from tests.rtc.pair import until

HEADERS = {"Content-Type": "application/json"}
PATIENCE = 100  # tenths of a second


def test_nothing_is_kept_or_served_by_default() -> None:
    assert trace._notes is None
    note("decoded", 5)
    assert trace.routes(lambda: "", lambda: [], lambda: None) == []  # type: ignore[arg-type, return-value]


def test_a_link_survives_json() -> None:
    link = LinkConditions(1, 2, 0.1, Bursts(0.1, 0.2), keep_order=True, bits_per_s=5, outages_us=((1, 2),))
    assert conditions_of(json.loads(json.dumps(asdict(link)))) == link
    for wrong in ({"loss": 2}, {"unknown": 1}, {"bursts": {"begin": 1}}, {"outages_us": [1]}):
        with pytest.raises((TypeError, ValueError)):
            conditions_of(wrong)


def test_two_edges_note_every_stage_and_a_link_lies_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "_notes", deque(maxlen=1000))

    async def run() -> None:
        async with (
            hub() as url,
            edge(url, camera="sample", sink="null") as sender,
            edge(url, camera="none") as receiver,
        ):
            await until(lambda: receiver.stats()["fps"], 20)
            bearer = {"Authorization": f"Bearer {receiver.page.token}"}
            where = f"{receiver.page.url}/api/trace"
            assert (await request(where))[0] == 401
            seen: set[str] = set()
            for _ in range(PATIENCE):  # pictures are noted once both clocks are known to each other
                status, found, _ = await request(where, headers=bearer)
                assert status == 200
                seen |= {stage for stage, *_ in found["notes"]}
                if "rendered" in seen:
                    break
                await asyncio.sleep(0.1)
            assert seen <= set(STAGES)
            assert {"sent", "received", "drawing", "keypoints", "rendered"} <= seen
            assert found["totals"]["payload_received_bytes"] > 0

            link = {"conditions": asdict(LinkConditions(loss=1.0)), "seed": 1}
            body = json.dumps(link).encode()
            assert (await request(f"{where}/link", body, HEADERS))[0] == 401
            status, answer, _ = await request(f"{where}/link", body, HEADERS | bearer)
            assert (status, answer["hops"]) == (200, 1)
            await until(lambda: sender.room and receiver.stats()["wire_sent_kbps"] is not None, 5)
            await asyncio.sleep(0.3)
            _, found, _ = await request(where, headers=bearer)
            assert found["link"][0][0] == found["link"][0][1] > 0
            assert (await request(f"{where}/link", b"null", HEADERS | bearer))[1] == {"hops": 0}
            for bad in (b"{", b"{}", b'{"conditions": {"loss": 7}, "seed": 1}', b"[1]"):
                assert (await request(f"{where}/link", bad, HEADERS | bearer))[0] == 400

    asyncio.run(asyncio.wait_for(run(), 60))
