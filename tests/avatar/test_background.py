from __future__ import annotations

import numpy as np

from telepresence.avatar.background import background_plate, spread

SIDE = 128


def wall() -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.stack([80 + x // 4, 80 + y // 4, np.full_like(x, 120)], -1).astype(np.uint8)


def person(left: int) -> tuple[np.ndarray, np.ndarray]:
    picture, matte = wall(), np.zeros((SIDE, SIDE), np.uint8)
    picture[30:, left : left + 40] = (230, 20, 20)
    matte[30:, left : left + 40] = 255
    return picture, matte


def test_what_was_seen_beside_a_moving_person_is_exact() -> None:
    pairs = [person(left) for left in (10, 40, 70)]
    plate = background_plate([p for p, _ in pairs], [m for _, m in pairs])
    assert np.abs(plate.astype(int) - wall()).max() <= 2


def test_behind_one_photo_is_something_calm_without_the_person() -> None:
    plate = background_plate(*[[one] for one in person(40)]).astype(int)
    assert np.abs(plate - wall()).max() < 30
    behind = plate[40:, 44:76]
    assert np.abs(np.diff(behind, axis=1)).max() <= 2  # no outline


def test_a_person_who_fills_the_picture_leaves_a_plain_wall() -> None:
    full = np.full((SIDE, SIDE), 255, np.uint8)
    plate = background_plate([wall()], [full])
    assert np.ptp(plate) == 0


def test_spread_keeps_what_is_known() -> None:
    known = np.zeros((33, 57), np.float32)
    known[:, :20] = 1
    filled = spread(np.full((33, 57, 3), 200, np.float32), known)
    assert np.abs(filled - 200).max() < 1
