from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from telepresence.evaluate.clips import Clip, Footage
from telepresence.evaluate.learned import Learned
from telepresence.evaluate.measure import Truth
from tests.clips import moving_portrait, write_clip

NOTHING_LEARNED = Learned(None)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    folder = tmp_path_factory.mktemp("portrait")
    clip = write_clip(folder / "p.mp4", moving_portrait(24, step=3))
    footage = Footage(Clip(clip, "somebody"), folder)
    return Truth(footage, [*range(4, 10), *range(14, 20)], [range(8, 12)], 256)


def test_the_real_pictures_themselves_are_perfect(truth: Truth) -> None:
    still = truth.score(lambda i: truth.pictures[4], NOTHING_LEARNED)
    perfect = truth.score(lambda i: truth.pictures[i], NOTHING_LEARNED)
    perfect.compare(still)
    figures = perfect.figures
    assert figures["gap_closed"] == pytest.approx(1, abs=1e-3)
    assert figures["gap_closed_whole"] == pytest.approx(1, abs=1e-3)
    assert figures["sharpness"] == figures["sharpness_mouth"] == pytest.approx(1)
    assert figures["flicker"] == pytest.approx(1)
    assert figures["flicker_excess"] == 0
    assert figures["nme_mean"] == figures["nme_lips"] == figures["nme_eyes"] == 0
    assert figures["psnr_gain"] > 10
    assert figures["faces_lost"] == 0
    still.compare(still)
    assert still.figures["gap_closed"] == still.figures["psnr_gain"] == 0
    assert still.figures["nme_mean"] > 0.05  # the head wanders, the still one does not
    assert still.figures["flicker"] < 0.1


def test_blurred_trembling_and_faceless_pictures_are_found_out(truth: Truth) -> None:
    def blurred(i: int) -> NDArray[np.uint8]:
        return np.asarray(cv2.GaussianBlur(truth.pictures[i], (0, 0), 1.5), np.uint8)

    def trembling(i: int) -> NDArray[np.uint8]:
        return np.roll(truth.pictures[i], 2 * (i % 2), 0)

    assert truth.score(blurred, NOTHING_LEARNED).figures["sharpness"] < 0.75
    shaken = truth.score(trembling, NOTHING_LEARNED).figures
    assert shaken["flicker"] > 1.5
    assert shaken["flicker_excess"] > 1
    empty = truth.score(lambda i: np.full((256, 256, 3), 90, np.uint8), NOTHING_LEARNED).figures
    assert empty["faces_lost"] == len(truth.test)
    assert empty["nme_mean"] is None
    assert empty["mouth_corr"] is None


def test_time_is_only_judged_within_runs(truth: Truth) -> None:
    assert truth.triples == [5, 6, 7, 8, 15, 16, 17, 18]
    assert set(truth.frames) == {*range(4, 12), *range(14, 20)}


def test_a_mouth_below_the_edge_has_no_sharpness(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    below = np.zeros((256, 256), np.bool_)
    monkeypatch.setitem(truth.mouths, truth.test[0], below)
    figures = truth.score(lambda i: truth.pictures[i], NOTHING_LEARNED).figures
    assert figures["sharpness_mouth"] == pytest.approx(1)
    monkeypatch.setattr(truth, "mouths", dict.fromkeys(truth.test, below))
    assert truth.score(lambda i: truth.pictures[i], NOTHING_LEARNED).figures["sharpness_mouth"] is None
