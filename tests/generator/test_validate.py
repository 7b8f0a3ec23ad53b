from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from telepresence.errors import InputError
from telepresence.generator.live import Network
from telepresence.generator.validate import Row, choose_clips, live_start, look, sheet, validate
from tests.generator.data.made import made_clip

SIDE = 256


def test_rows_say_how_much_better_than_the_still_reference_it_is() -> None:
    torch.manual_seed(0)
    clip = made_clip(10, side=SIDE)
    clip.plate = clip.picture(0)
    row = validate(live_start(Network(), 1), [clip], shots=1, frames=1)[0]
    assert row.name == "clip"
    assert len(row.pictures) == 3
    assert row.pictures[2].shape == (SIDE, SIDE, 3)
    assert np.isfinite([row.gap, row.gain_db]).all()
    # Every frame of a made clip is brighter by as much than the reference: moving it helps nothing.
    assert row.gain_db == pytest.approx(0, abs=1.0)
    assert row.gap < 0.5


def test_a_look_writes_figures_by_shots_and_a_sheet(tmp_path: Path) -> None:
    clips = [made_clip(10, side=SIDE), made_clip(10, name="b", identity="bob", side=SIDE)]
    figures = look(partial(live_start, Network()), clips, tmp_path / "new" / "sheet.png", frames=1)
    assert set(figures) == {"1", "8"}
    assert set(figures["1"]) == {"gap_closed", "psnr_gain"}
    picture = cv2.imread(str(tmp_path / "new" / "sheet.png"))
    # Two clips, two kinds of shots, real and drawn; the reference and one frame.
    assert picture.shape == (2 * 2 * 2 * SIDE, 2 * SIDE, 3)


def test_a_sheet_has_real_pictures_above_drawn_ones(tmp_path: Path) -> None:
    def plain(level: int) -> np.ndarray:
        return np.full((8, 8, 3), level, np.uint8)

    sheet([Row("a", 0, 0, [plain(n) for n in (10, 20, 30, 40, 50)])], tmp_path / "s.png")
    found = cv2.imread(str(tmp_path / "s.png"))[::8, ::8, 0]
    assert found.tolist() == [[10, 20, 40], [0, 30, 50]]


def test_a_sheet_that_no_png_can_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, None))
    with pytest.raises(InputError, match="fewer clips"):
        sheet([Row("a", 0, 0, [np.zeros((8, 8, 3), np.uint8)] * 3)], tmp_path / "s.png")


def test_clips_to_look_at_are_of_many_people_and_always_the_same() -> None:
    clips = [made_clip(8, name=f"{who}{i}", identity=who) for who in ("ann", "bob", "cy") for i in range(3)]
    assert [clip.name for clip in choose_clips(clips, 4)] == ["ann0", "bob0", "cy0", "ann1"]
    assert [clip.name for clip in choose_clips(clips[::-1], 4)] == ["ann0", "bob0", "cy0", "ann1"]
