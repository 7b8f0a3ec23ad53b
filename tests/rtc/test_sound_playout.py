"""The playout buffer of sound: delay, losses, jitter, drift, pauses; all in numbers."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from telepresence.rtc.sound_playout import DELAY_US, FRAME, FRAME_US, MAX_AHEAD, RATE, WRAP, Play, SoundPlayout

WAY_US = 30_000


@dataclass
class Link:
    """Sends frame n at n * 20 ms, and takes what is due every 10 ms."""

    playout: SoundPlayout = field(default_factory=SoundPlayout)
    origin: int = 1_000
    ppm: float = 0.0
    """How much faster the sender's crystal is."""
    now_us: int = 0
    sent: int = 0
    under_way: list[tuple[int, int]] = field(default_factory=list)
    played: list[tuple[Play, int]] = field(default_factory=list)

    def run(self, seconds: float, way_us=lambda n: WAY_US) -> Link:  # type: ignore[no-untyped-def]
        end_us = self.now_us + round(seconds * 1e6)
        while self.now_us < end_us:
            while self.sent * FRAME_US / (1 + self.ppm * 1e-6) <= self.now_us:
                way = way_us(self.sent)
                if way is not None:
                    self.under_way.append((self.now_us + way, self.sent))
                self.sent += 1
            for at_us, number in sorted(self.under_way):
                if at_us <= self.now_us:
                    rtp = (self.origin + number * FRAME) % WRAP
                    self.playout.put(rtp, b"%d" % number, at_us)
                    self.under_way.remove((at_us, number))
            self.played += [(play, self.now_us) for play in self.playout.take(self.now_us)]
            self.now_us += 1_000
        return self

    def ages_ms(self, since_s: float) -> list[float]:
        """From a frame's being sent up to its being played, by what was played since then."""
        rows = [(int(play.data), at) for play, at in self.played if play.data and at >= since_s * 1e6]
        return [at / 1000 - number * FRAME_US / (1 + self.ppm * 1e-6) / 1000 for number, at in rows]


def test_on_an_even_link_the_delay_is_the_least() -> None:
    link = Link().run(5)
    assert link.playout.delay_us <= DELAY_US[0] + 1_000
    assert max(link.ages_ms(1)) <= WAY_US / 1000 + 22
    assert link.playout.concealed == 0


def test_one_lost_packet_adds_no_delay_at_all() -> None:
    link = Link().run(3, lambda n: None if n == 75 else WAY_US)
    before, after = max(link.ages_ms(1)[:10]), link.ages_ms(2)
    assert max(after) <= before + 1
    assert link.playout.concealed == 1
    assert [play.data for play, _ in link.played].count(None) == 1


def test_after_a_burst_of_losses_it_is_back_at_its_delay_within_a_second() -> None:
    link = Link().run(6, lambda n: None if 100 <= n < 130 else WAY_US)
    assert max(link.ages_ms(2.6 + 1)) <= WAY_US / 1000 + 22


def test_jitter_is_waited_for_up_to_the_bound() -> None:
    rng = random.Random(1)
    link = Link().run(20, lambda n: WAY_US + round(abs(rng.gauss(0, 1)) * 15_000))
    assert link.playout.concealed / link.sent < 0.05
    assert DELAY_US[0] < link.playout.delay_us < 70_000
    wild = Link().run(20, lambda n: WAY_US + round(abs(rng.gauss(0, 1)) * 150_000))
    assert wild.playout.delay_us <= DELAY_US[1] + 15_000


def test_when_the_jitter_is_over_the_delay_goes_back() -> None:
    rng = random.Random(2)
    link = Link().run(10, lambda n: WAY_US + rng.randint(0, 70_000))
    assert link.playout.delay_us > 45_000
    link.run(15)
    assert link.playout.delay_us <= 35_000


@pytest.mark.parametrize("ppm", [-300, 300])
def test_another_crystal_is_followed(ppm: float) -> None:
    link = Link(ppm=ppm).run(120)
    assert abs(max(link.ages_ms(110)) - WAY_US / 1000 - 20) <= 16
    corrections = [play.correct for play, _ in link.played if play.correct]
    assert 1 <= len(corrections) <= 8
    assert all(one == (-1 if ppm > 0 else 1) for one in corrections)
    assert link.playout.concealed <= 3


def test_reordered_and_repeated_packets_are_played_once_and_in_order() -> None:
    playout, rng = SoundPlayout(), random.Random(3)
    numbers = list(range(50))
    order = sorted(numbers, key=lambda n: n + rng.uniform(0, 3))
    out: list[bytes | None] = []
    for step, number in enumerate(order):
        for _ in range(1 + step % 2):
            playout.put(number * FRAME, b"%d" % number, step * FRAME_US)
        out += [play.data for play in playout.take(step * FRAME_US)]
    out += [play.data for play in playout.take(60 * FRAME_US)]
    heard = [int(data) for data in out if data is not None]
    assert heard == sorted(set(heard))
    assert len(heard) > 40


def test_rtp_time_may_wrap() -> None:
    link = Link(origin=WRAP - 20 * FRAME).run(3)
    assert link.playout.concealed == 0
    assert len(link.played) > 140


def test_a_pause_ends_and_the_stream_goes_on_at_once() -> None:
    link = Link().run(8, lambda n: None if 50 <= n < 250 else WAY_US)
    assert max(link.ages_ms(6)) <= WAY_US / 1000 + 42
    nothing = [play for play, _ in link.played if play.data is None]
    assert len(nothing) <= 110


def test_a_stream_that_jumps_begins_anew() -> None:
    playout = SoundPlayout()
    playout.put(0, b"a", 0)
    playout.put((MAX_AHEAD + 10) * FRAME + 7 * RATE, b"b", FRAME_US)
    assert next(play.data for play in playout.take(1_000_000)) == b"b"


def test_nothing_is_held_without_bound() -> None:
    playout = SoundPlayout()
    for number in range(10_000):
        playout.put(number * FRAME, b"x" * 100, 0)
    assert len(playout._packets) <= MAX_AHEAD + 1
