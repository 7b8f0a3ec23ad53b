"""The simulation itself: on links whose effect is known, its figures are known too."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from telepresence.bench import link
from telepresence.bench.ends import AdaptiveCodec, Codec, HoldNewest, MotionCodec, PlainCodec
from telepresence.bench.link import CONDITIONS, DELAY_US, link_table, markdown, simulate, worst
from telepresence.cli import main
from telepresence.errors import InputError, MediaError
from telepresence.face.basis import default_basis
from telepresence.rtc.link import Bursts, LinkConditions
from telepresence.wire.packets import MotionPacket
from telepresence.wire.playout import Playout
from tests.face import synthetic

FRAME = 33_333


def clip(seconds: float, start_us: int = 0) -> list[MotionPacket]:
    packets = []
    for n in range(int(seconds * 30)):
        t = n / 30
        expression = np.zeros(default_basis().size, np.float32)
        expression[0] = math.sin(2 * math.pi * 3 * t)
        pose = synthetic.pose(turn=0.3 * math.sin(2 * math.pi * 0.4 * t), x=0.1 * math.sin(2 * math.pi * 0.4 * t))
        packets.append(MotionPacket(n, start_us + n * FRAME, synthetic.motion(pose, expression)))
    return packets


@pytest.fixture(scope="module")
def talk() -> list[MotionPacket]:
    return clip(5, start_us=123_456_789)


def test_a_clean_link_shows_every_packet_when_it_comes(talk: list[MotionPacket]) -> None:
    row = simulate(talk, "clean", CONDITIONS["clean"])
    assert DELAY_US / 1000 <= row.age_p50 <= row.age_p95 <= row.age_p99 <= (DELAY_US + FRAME) / 1000 + 1
    assert row.freeze <= 34
    assert (row.stale, row.fresh) == (0, None)
    assert row.error_pct < simulate(talk, "clean", CONDITIONS["clean"], playout=HoldNewest).error_pct
    assert row.payload_kbps == pytest.approx(len(PlainCodec().encode(talk[0])) * 8 * 30 / 1000, rel=0.02)


@pytest.mark.parametrize("codec", [PlainCodec, MotionCodec, AdaptiveCodec])
def test_ten_percent_loss_and_jitter_keep_their_bounds(talk: list[MotionPacket], codec: Callable[[], Codec]) -> None:
    """The issue's bounds: age p95 at most the network's delay and 75 ms, no freeze beyond 100 ms."""
    for seed in (1, 2):
        row = simulate(talk, "", CONDITIONS["10 % loss, 20 ms jitter"], codec=codec, seed=seed)
        assert row.age_p95 <= DELAY_US / 1000 + 75
        assert row.freeze <= 100


def test_an_adaptive_rate_costs_nothing_that_can_be_seen(talk: list[MotionPacket]) -> None:
    """A head that talks, then keeps still, then talks: as young and as true as if every motion were sent."""
    still = [replace(packet, motion=talk[60].motion) if 40 <= packet.sequence < 120 else packet for packet in talk]
    for name in ("clean", "10 % loss, 20 ms jitter"):
        every, adaptive = (simulate(still, name, CONDITIONS[name], codec=c) for c in (MotionCodec, AdaptiveCodec))
        assert adaptive.payload_kbps < 0.85 * every.payload_kbps
        assert adaptive.age_p95 <= every.age_p95 + 2
        assert adaptive.freeze <= max(every.freeze, 100)
        assert adaptive.error_pct <= every.error_pct * 1.1 + 0.02


@pytest.mark.parametrize("codec", [PlainCodec, AdaptiveCodec])
def test_after_an_outage_fresh_motion_comes_soon(codec: Callable[[], Codec]) -> None:
    link = LinkConditions(DELAY_US, outages_us=((1_000_000, 3_000_000),))
    row = simulate(clip(5), "outage", link, codec=codec)
    assert row.fresh is not None
    assert DELAY_US / 1000 <= row.fresh <= 250
    assert row.stale <= 2


def test_a_freeze_is_seen(talk: list[MotionPacket]) -> None:
    long_bursts = LinkConditions(DELAY_US, bursts=Bursts(0.05, 0.1))
    row = simulate(talk, "", long_bursts, playout=HoldNewest)
    assert row.freeze > 150
    assert row.jump_pct > simulate(talk, "", long_bursts).jump_pct


def test_stale_packets_are_seen_where_they_are_shown(talk: list[MotionPacket]) -> None:
    row = simulate(talk, "", LinkConditions(DELAY_US, 400_000, keep_order=True), playout=HoldNewest)
    assert row.stale > 2


def test_the_same_seed_gives_the_same_row(talk: list[MotionPacket]) -> None:
    link = CONDITIONS["bursts of 3, 5 % loss"]
    assert simulate(talk[:60], "", link, seed=4) == simulate(talk[:60], "", link, seed=4)


def test_feedback_reaches_the_sender() -> None:
    answers: list[bytes] = []

    class Answering(PlainCodec):
        def feedback(self) -> bytes | None:
            return b"heard"

        def on_feedback(self, data: bytes) -> None:
            answers.append(data)

    simulate(clip(1), "", LinkConditions(DELAY_US, loss=0.3), codec=Answering)
    assert 5 < len(answers) < 25


def test_table() -> None:
    conditions = {"clean": LinkConditions(DELAY_US), "out": LinkConditions(DELAY_US, outages_us=((300_000, 500_000),))}
    rows = link_table(clip(2), conditions=conditions, playout=Playout)
    assert [row.condition for row in rows] == ["clean", "out"]
    both = worst([rows, [replace(row, freeze=500.0) for row in rows]])
    assert all(row.freeze == 500 for row in both)
    lines = markdown(both).splitlines()
    assert len(lines) == 5
    assert {line.count("|") for line in lines} == {11}


def test_clips_too_short_and_folders_without_clips_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "clip_packets", lambda path, cache: clip(6))
    with pytest.raises(MediaError, match="longer"):
        link.streams([Path("short.mp4")], tmp_path)
    with pytest.raises(InputError, match=r"\.mp4"):
        link.clip_files([tmp_path])
    (tmp_path / "b.mp4").touch()
    (tmp_path / "a.mp4").touch()
    assert link.clip_files([tmp_path, Path("c.mov")]) == [tmp_path / "a.mp4", tmp_path / "b.mp4", Path("c.mov")]


def test_the_command_prints_the_tables_and_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "streams", lambda clips, cache: [clip(2)])
    monkeypatch.setattr(link, "CONDITIONS", {"clean": LinkConditions(DELAY_US)})
    monkeypatch.setattr(link, "link_table", partial(link_table, conditions={"clean": LinkConditions(DELAY_US)}))
    out = tmp_path / "link.json"
    result = CliRunner().invoke(main, ["bench", "link", "--runs", "1", "--json", str(out)])
    assert result.exit_code == 0, result.output
    figures = json.loads(out.read_text())
    assert len(figures) == len(link.WAYS) == result.output.count("| clean |")
    assert figures[next(iter(figures))][0]["age_p50"] > 30
