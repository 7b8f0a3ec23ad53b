"""One picture's way, from notes whose times are known."""

from __future__ import annotations

import random

from telepresence.bench.stages import CAPTURED, SHOWN, STEPS, Shown, ages_by_mark, joined, percentiles, rtp_offset
from telepresence.rtc.trace import STAGES

FRAME_US = 33_333
ORIGIN = 4_294_900_000  # RTP times wrap round soon after
PAGE_LEG_US = 9_000
GAP_US = 2_000  # between two stages


def call(pictures: int = 60, jitter_us: int = 0) -> tuple[list[list[object]], list[Shown]]:
    """Notes of both edges and the pictures shown; every second picture is lost before it is drawn."""
    draw = random.Random(5)
    notes: list[list[object]] = []
    shown = []
    for n in range(pictures):
        capture = 1_000_000 + n * FRAME_US
        at = capture + PAGE_LEG_US
        for place, stage in enumerate(STAGES):
            if n % 2 and place >= STAGES.index("drawing"):
                break
            key = capture + (draw.randint(-jitter_us, jitter_us) if place > 4 else 0)  # the receiver's clock, the codec
            pts = (at * 9 // 100 + draw.randint(0, 40)) if stage == "encoder" else None
            notes.append([stage, key, at, pts])
            at += GAP_US
            if pts is not None:
                shown.append(Shown(at + 20_000, came_us=at + 5_000, rtp=(pts + ORIGIN) % 2**32))
    return notes, shown


def test_steps_are_what_lies_between_their_moments() -> None:
    notes, shown = call(jitter_us=900)
    pictures = joined(notes, shown)
    steps = pictures.steps()
    assert pictures.from_page
    assert set(steps["page to edge"]) == {PAGE_LEG_US / 1000}
    for name in list(STEPS)[1:10]:
        assert set(steps[name]) == {GAP_US / 1000}, name
    assert (len(steps["network"]), len(steps["render"])) == (60, 30)
    assert set(steps["video to page"]) == {7.0}
    assert set(pictures.way("edge_ms")) == {8 * GAP_US / 1000}
    assert (pictures.passed(CAPTURED), pictures.passed(SHOWN)) == (60, 30)


def test_without_capture_times_from_the_page_its_leg_is_unknown() -> None:
    notes = [["decoded", 1_000, 1_000, None], ["taken", 1_000, 2_000, None]]
    pictures = joined(notes, [])
    assert not pictures.from_page
    assert pictures.steps()["page to edge"] == []
    assert pictures.steps()["wait"] == [1.0]


def test_a_picture_that_is_drawn_again_counts_as_it_came_first() -> None:
    notes = [["decoded", 0, 0, None], ["rendered", 0, 50_000, None], ["rendered", 0, 20_000, None]]
    assert joined(notes, []).way("edge_ms") == [20.0]


def test_pictures_captured_outside_the_stretch_are_left_out() -> None:
    notes = [["decoded", n * FRAME_US, n * FRAME_US, None] for n in range(10)]
    assert joined(notes, [], 2 * FRAME_US, 5 * FRAME_US).passed(CAPTURED) == 3


def test_rtp_offset_is_what_most_agree_on_and_nothing_else() -> None:
    draw = random.Random(1)
    pts = [n * 3000 + draw.randint(0, 400) for n in range(200)]
    rtp = [(p + ORIGIN) % 2**32 for p in pts[20:180:2]]
    assert rtp_offset(pts, [*rtp, 17, 99]) == ORIGIN
    assert rtp_offset(pts, [draw.randint(0, 2**32 - 1) for _ in range(80)]) is None
    assert rtp_offset([], rtp) is None


def test_ages_by_number_survive_a_loop_and_misread_marks() -> None:
    sent = [Shown(n * FRAME_US + 500, captured_us=n * FRAME_US, number=n % 180) for n in range(400)]
    shown = [Shown(n * FRAME_US + 40_000, number=n % 180) for n in range(400)]
    shown += [Shown(50 * FRAME_US + 41_000, number=120), Shown(7_000_000, number=999), Shown(7_000_000, number=None)]
    ages = ages_by_mark(sent, shown, frames=180)
    assert len(ages) == 400
    assert {age for _, age in ages} == {40.0}


def test_percentiles_of_nothing_are_unknown() -> None:
    assert percentiles([]) == {"p50": None, "p95": None, "p99": None, "count": 0}
    assert percentiles([1.0, 2.0, 3.0])["p50"] == 2.0
