from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from telepresence.errors import InputError
from telepresence.evaluate.sheet import STRIP, TILE, Block, Moment, draw_sheet, moments, mosaic, write_blind

GREY = {name: np.full((256, 256, 3), value, np.uint8) for name, value in (("prior", 50), ("engine", 200))}


def block() -> Block:
    real = np.full((256, 256, 3), 120, np.uint8)
    shown = [Moment(f"frame {i}", real, GREY, {"prior": 0.5, "engine": 0.6}) for i in range(4)]
    return Block("somebody, 8", real, mosaic([real] * 8), 8, shown)


def test_the_worst_frames_are_on_the_sheet() -> None:
    ssim = dict.fromkeys(range(60), 0.9) | {30: 0.1, 31: 0.15, 50: 0.2}
    chosen = moments(ssim)
    assert [i for i, title in chosen if title.startswith("worst")] == [30, 50]
    assert len(chosen) == 5
    assert len(moments({0: 0.5, 1: 0.6})) >= 2  # a clip of hardly any frames


def test_a_sheet_has_a_row_of_real_frames_and_one_for_each_who_drew() -> None:
    sheet = draw_sheet([block(), block()])
    assert sheet.shape == (2 * 3 * (TILE + STRIP), 5 * TILE, 3)
    row, column = TILE + STRIP, TILE + 10
    assert [sheet[row * n + TILE // 2, column, 0] for n in range(3)] == [120, 50, 200]


def test_all_references_fit_into_one_tile() -> None:
    pictures = [np.full((64, 64, 3), 7 * (n + 1), np.uint8) for n in range(32)]
    assert {7 * (n + 1) for n in range(32)} <= set(np.unique(mosaic(pictures)).tolist())


def test_blind_pairs_match_their_key_and_both_sides_occur(tmp_path: Path) -> None:
    count = write_blind(tmp_path / "blind", [block()] * 4, ("prior", "engine"))
    key = json.loads((tmp_path / "blind" / "key.json").read_text())
    assert count == len(key) == 16
    assert {entry["A"] for entry in key.values()} == {"prior", "engine"}
    for number, entry in key.items():
        picture = np.asarray(Image.open(tmp_path / "blind" / f"{number}.png"))
        assert picture[0, 0, 0] == GREY[entry["A"]][0, 0, 0]
        assert picture[0, -1, 0] == GREY[entry["B"]][0, 0, 0]


def test_a_key_never_lies_beside_older_pairs(tmp_path: Path) -> None:
    write_blind(tmp_path, [block()], ("prior", "engine"))
    with pytest.raises(InputError, match="not empty"):
        write_blind(tmp_path, [block()], ("prior", "engine"))
