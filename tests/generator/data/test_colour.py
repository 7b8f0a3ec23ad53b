from __future__ import annotations

import numpy as np

from telepresence.generator.data.colour import draw_colour, draw_plate, replace_background

SIDE = 32


def test_most_draws_change_colour_and_none_ruins_it() -> None:
    random = np.random.default_rng(0)
    picture = np.random.default_rng(1).integers(60, 190, (SIDE, SIDE, 3)).astype(np.uint8)
    drawn = [draw_colour(random) for _ in range(200)]
    changed = [one(picture) for one in drawn if one is not None]
    assert 20 < drawn.count(None) < 60
    assert all(out.shape == picture.shape and out.dtype == np.uint8 for out in changed)
    assert all(np.corrcoef(out.mean(-1).ravel(), picture.mean(-1).ravel())[0, 1] > 0.7 for out in changed)
    assert np.mean([np.abs(out.astype(int) - picture).mean() for out in changed]) > 8


def test_some_are_grey() -> None:
    random = np.random.default_rng(0)
    picture = np.random.default_rng(1).integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8)
    outs = [one(picture) for one in (draw_colour(random) for _ in range(400)) if one is not None]
    grey = [out for out in outs if np.ptp(out.astype(int), axis=-1).max() <= 1]
    assert 2 <= len(grey) <= 40


def test_a_plate_is_smooth_and_differs_each_time() -> None:
    random = np.random.default_rng(2)
    plates = [draw_plate(random, 64) for _ in range(12)]
    assert len({plate.tobytes() for plate in plates}) == 12
    assert all(np.abs(np.diff(plate.astype(int), axis=0)).max() < 60 for plate in plates)


def test_the_person_is_laid_over_the_new_plate_exactly() -> None:
    """What was composed over one plate comes out as if it had been composed over the other, soft edges too."""
    random = np.random.default_rng(3)
    person, old, new = (random.integers(0, 255, (SIDE, SIDE, 3)).astype(np.uint8) for _ in range(3))
    matte = np.tile(np.linspace(0, 255, SIDE).astype(np.uint8), (SIDE, 1))
    alpha = matte[..., None] / 255

    def composed(plate: np.ndarray) -> np.ndarray:
        return np.rint(alpha * person + (1 - alpha) * plate).astype(np.uint8)

    out = replace_background(composed(old), matte, old, new)
    assert np.abs(out.astype(int) - composed(new)).max() <= 1


def test_where_there_is_no_person_nothing_of_the_picture_stays() -> None:
    picture, old, new = (np.full((4, 4, 3), value, np.uint8) for value in (250, 10, 77))
    assert (replace_background(picture, np.zeros((4, 4), np.uint8), old, new) == 77).all()
    assert (replace_background(picture, np.full((4, 4), 255, np.uint8), old, new) == 250).all()
