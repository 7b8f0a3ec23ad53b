"""The real bench: what its screens and tables make of known pictures, and one short call over sockets."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np

from telepresence.bench.real import SINKS, RealRow, Shown, on_screen, run_real
from telepresence.bench.realtext import merged, real_text
from telepresence.bench.trace import Trace
from telepresence.rtc.link import LinkConditions
from telepresence.rtc.peer import Ours
from telepresence.wire.thrift import Rate
from tests.bench.test_link import clip

ROW = RealRow("clean", "call", Shown([50.0, 60.0], 20, 0, None), 30, 4, 60, 300, 1, 2, 0, 9, 1)


def test_a_screen_repeats_the_newest_picture_and_never_one_to_come() -> None:
    drawn = Trace(
        [1_000_000, 1_040_000], [990_000, 1_030_000], [np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32)]
    )
    seen = on_screen(drawn, 970_000, 1_100_000)
    assert seen.now_us[0] >= 1_000_000
    for now, capture in zip(seen.now_us, seen.capture_us, strict=True):
        assert capture == (990_000 if now < 1_040_000 else 1_030_000)
    assert len(seen.now_us) >= 5
    assert all(b - a <= 16_667 for a, b in zip(seen.now_us, seen.now_us[1:], strict=False))


def test_runs_are_merged_into_one_and_the_worst_shows() -> None:
    bad = replace(ROW, shown=Shown([100.0] * 3, 200, 3, 240.0), sent=100)
    figures = merged([ROW, bad, ROW])
    assert (figures["age_p50"], figures["freeze"], figures["stale"], figures["fresh"]) == (60, 200, 3, 240)
    assert (figures["sent"], figures["skipped"]) == (700, 3)


def test_tables_have_a_line_for_each_link_and_sink() -> None:
    rows = [merged([replace(ROW, sink=sink, condition=name)]) for sink in SINKS for name in ("clean", "outage")]
    text = real_text({"runs": 1, "summary": rows, "load": [0.1, 0.2], "versions": {"aiortc": "1"}})
    assert text.count("| clean |") == text.count("| outage |") == 2
    assert {line.count("|") for line in text.splitlines() if line.startswith("|")} == {11}


def test_a_short_call_over_real_sockets() -> None:
    """Nothing is younger than the link allows, motion comes back after an outage, and every message goes out."""
    link = LinkConditions(50_000, outages_us=((1_000_000, 1_400_000),))
    packets = clip(2.5)
    rows = asyncio.run(asyncio.wait_for(run_real(packets, "short", link, 1, Ours(None, rate=Rate.EVERY)), 30))
    assert [row.sink for row in rows] == list(SINKS)
    for row in rows:
        assert min(row.shown.ages) >= 50
        assert row.shown.fresh is not None
        assert 50 <= row.shown.fresh < 1000
        assert row.pictures_per_s > 15
        assert row.sent + row.skipped == len(packets)
        assert row.left_out == row.rebuilds == 0
        assert 0 < row.payload_kbps < row.wire_kbps


def test_a_still_head_sends_next_to_nothing_and_is_no_loss() -> None:
    packets = [replace(packet, motion=clip(0.1)[0].motion) for packet in clip(2)]
    (call, _) = asyncio.run(asyncio.wait_for(run_real(packets, "still", LinkConditions(5_000), 1), 30))
    assert call.sent < 15
    assert call.sent + call.left_out + call.skipped == len(packets)
