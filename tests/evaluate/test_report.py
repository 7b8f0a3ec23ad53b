from __future__ import annotations

import json
from typing import Any

import pytest

from telepresence.evaluate.report import Report, summarise


def row(clip: str, gap: float, prior: float, blinks: int, recall: float | None) -> dict[str, Any]:
    figures = {
        "gap_closed": gap, "psnr_gain": 1.0, "sharpness": 0.9, "nme_lips": 0.02, "nme_eyes": 0.01, "mouth_corr": None,
        "flicker": 1.0, "blinks": blinks, "blink_recall": recall, "faces_lost": 1,
    }  # fmt: skip
    return {
        "clip": clip, "identity": "somebody", "shots": "8", "references": 8, "references_used": 8, **figures,
        "prior": figures | {"gap_closed": prior, "blink_recall": 0.0}, "still": figures | {"gap_closed": 0.0},
    }  # fmt: skip


def test_a_summary_is_medians_over_the_clips_that_have_a_figure() -> None:
    rows = [row("a", 0.5, 0.4, 4, 0.5), row("b", 0.7, 0.8, 0, None), row("c", 0.6, 0.5, 2, 1.0)]
    summary = summarise(rows)
    assert summary["gap_closed"] == pytest.approx(0.6)
    assert summary["prior"]["gap_closed"] == pytest.approx(0.5)
    assert summary["still"]["gap_closed"] == 0
    assert summary["blink_recall"] == pytest.approx(0.75)
    assert (summary["blinks"], summary["blinks_kept"], summary["faces_lost"]) == (6, 4, 3)
    assert (summary["prior"]["blinks_kept"], summary["still"]["blinks_kept"]) == (0, 4)
    assert summary["beats_prior"] == 2
    assert (summary["clips"], summary["people"]) == (3, 1)
    assert summary["mouth_corr"] is None
    assert "lpips" not in summary  # not had at all


def test_the_json_is_strict_and_the_text_names_every_clip_and_what_is_missing() -> None:
    rows = [row("first clip", 0.5, 0.4, 4, 0.5) | {"held_out": False}]
    left_out = [{"clip": "short one", "shots": "32", "reason": "too short"}]
    missing = [{"figure": "lpips", "put": "here", "what": "a graph"}]
    report = Report({"name": "live"}, {}, rows, {"8": summarise(rows)}, left_out=left_out, missing=missing)
    read = json.loads(report.json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert read["summary"]["8"]["gap_closed"] == 0.5
    assert read["clips"][0]["prior"]["gap_closed"] == 0.4
    for expected in (
        "first clip",
        "short one shots 32: too short",
        "missing: lpips",
        "2/4",
        "0/4",
        "first clip*",
        "* = training",
    ):
        assert expected in report.text()
