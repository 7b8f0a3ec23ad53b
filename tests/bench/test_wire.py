from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from telepresence.bench import wire
from telepresence.bench.fidelity import blinks, closures, errors, zero_phase
from telepresence.bench.wire import Clip, at_rest, both_ways_kbps, curve, measure, report, send, summarise
from telepresence.bench.wiretext import text
from telepresence.cli import main
from telepresence.errors import MediaError
from telepresence.face.basis import default_basis
from telepresence.face.motion import keypoints
from telepresence.face.topology import EYE_OPENING_LEFT, EYE_OPENING_RIGHT, MOUTH_OPENING
from telepresence.wire.thrift import Rate
from tests.wire.motions import moving


def made_up(count: int = 60, pace: float = 0.5) -> Clip:
    neutral = default_basis().mean
    motions = moving(count, pace=pace)
    points = np.stack([keypoints(m, neutral) for m in motions])
    return Clip("made up", 30.0, points, neutral, motions)


def still_face(count: int) -> np.ndarray:
    return np.repeat(default_basis().mean[None], count, 0).astype(np.float32)


def test_the_filter_keeps_what_moves_steadily_and_shifts_nothing() -> None:
    line = np.arange(20, dtype=np.float32)[:, None, None] * np.ones((1, 478, 3), np.float32)
    assert np.allclose(zero_phase(line)[2:-2], line[2:-2], atol=1e-4)


def test_errors_are_shares_of_the_eye_corner_distance() -> None:
    truth = still_face(4)
    shown = truth + np.array([0.01, 0, 5], np.float32)  # depth does not count
    assert errors(shown, truth)["nme_mean"] == pytest.approx(0.01, rel=0.01)


def test_a_blink_that_is_shown_by_half_is_lost() -> None:
    truth = still_face(60)
    for upper, lower in (EYE_OPENING_RIGHT, EYE_OPENING_LEFT):
        truth[[20, 21, 40, 41], upper] = truth[[20, 21, 40, 41], lower]
    half = truth.copy()
    half[40:42] = (truth[40:42] + truth[:1]) / 2
    assert blinks(truth, truth) == (2, 2)
    assert blinks(half, truth) == (2, 1)


def test_lips_that_do_not_meet_are_lost() -> None:
    truth = still_face(90)
    upper, lower = MOUTH_OPENING
    opening = np.where(np.arange(90) % 15 < 10, 0.12, 0.0)
    truth[:, lower] = truth[:, upper] + opening[:, None] * np.array([0, 1, 0])
    ajar = truth.copy()
    ajar[60:, lower] = truth[60:, upper] + np.array([0, 0.12, 0], np.float32)
    total, kept = closures(truth, truth)
    assert (total, kept) == (6, 6)
    assert closures(ajar, truth) == (6, 4)


def test_figures_of_one_clip_add_up() -> None:
    row = measure(made_up())
    assert row["wire_kbps"] == pytest.approx(row["payload_kbps"] + 96 * 8 * 30 / 1000, abs=0.01)
    assert row["ack_kbps"] == pytest.approx(93 * 8 * 30 / 1000, abs=0.01)
    assert row["plain"]["packet_bytes_p99"] == 133
    assert row["payload_kbps"] < row["plain"]["payload_kbps"] / 3
    assert summarise([row, row])["payload_kbps"] == row["payload_kbps"]


def test_thrift_halves_messages_and_rest_is_nearly_silent() -> None:
    clip = made_up()
    assert len(send(clip, Rate.THRIFTY).sizes) == len(clip.motions) / 2
    rest = at_rest(clip)
    assert both_ways_kbps(send(rest, Rate.THRIFTY), rest) < 10


def test_coarser_steps_cost_less_and_show_less() -> None:
    rows = curve([made_up()])
    assert [row["payload_kbps"] for row in rows] == sorted((row["payload_kbps"] for row in rows), reverse=True)
    assert rows[-1]["nme_mean"] > rows[0]["nme_mean"]


def test_a_clip_without_a_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from telepresence import media

    class Info:
        fps, width, height = 30.0, 100, 100

    monkeypatch.setattr(media, "clip_info", lambda path: Info)
    np.save(tmp_path / "x.npy", np.full((90, 478, 3), np.nan, np.float32))
    with pytest.raises(MediaError, match=r"x\.mp4: a face is seen"):
        report([tmp_path / "x.mp4"], tmp_path)


def test_a_held_out_persons_clip_meets_the_budget(faces: Path, tmp_path: Path) -> None:
    figures = report([faces / "dev" / "grid_lrwp9a.mp4"], tmp_path)
    summary = figures["summary_held_out"]
    assert summary["payload_kbps"] <= 5
    assert summary["wire_kbps"] <= 29
    assert summary["packet_bytes_p99"] <= 48
    assert summary["nme_mean"] <= 0.015
    assert max(summary["nme_lips"], summary["nme_eyelids"]) <= 0.02
    assert "grid_lrwp9a *" in text(figures)


@pytest.mark.parametrize(
    ("option", "name", "problem"),
    [("--json", "x.mp4", "to be read"), ("--plot", "x.mp4", "to be read"), ("--json", "none/f.json", "not exist")],
)
def test_outputs_that_cannot_be_written_are_refused_before_the_work(
    option: str, name: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "run_bench", lambda *_: pytest.fail("it began"))
    (tmp_path / "x.mp4").write_bytes(b"a clip")
    for clips in (tmp_path, tmp_path / "x.mp4"):
        result = CliRunner().invoke(main, ["bench", "wire", str(clips), option, str(tmp_path / name)])
        assert result.exit_code != 0
        assert problem in result.output + str(result.exception)
    assert (tmp_path / "x.mp4").read_bytes() == b"a clip"
