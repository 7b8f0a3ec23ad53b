from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from telepresence.evaluate.pictures import (
    MAX_PSNR,
    detail,
    face_region,
    gap_closed,
    ms_ssim,
    psnr,
    sharpness,
    ssim_map,
    unrest,
)
from telepresence.face.basis import default_basis
from telepresence.face.landmarks import face_box
from tests.clips import portrait

EVERYWHERE = np.ones((256, 256), np.bool_)


def face() -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(portrait(), (256, 256), interpolation=cv2.INTER_AREA), np.uint8)


def blob(seed: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (64, 64), interpolation=cv2.INTER_LINEAR), np.uint8)


def test_ssim_is_what_scikit_image_computes() -> None:
    # structural_similarity of scikit-image 0.26 with the arguments that `ssim_map` names: mean, a pixel, a corner
    for other, expected in (
        (np.roll(blob(1), 2, 1), (0.563750, 0.798118, -0.101559)),
        (blob(2), (0.041609, 0.099174, -0.097995)),
        (blob(1) // 2, (0.648406, 0.645259, 0.658041)),
    ):
        found = ssim_map(blob(1), other)
        assert (found.mean(), found[10, 20], found[0, 0]) == pytest.approx(expected, abs=5e-5)


def test_identical_pictures_leave_no_gap() -> None:
    picture = face()
    assert ssim_map(picture, picture).min() == pytest.approx(1, abs=1e-4)
    assert ms_ssim(picture, picture, EVERYWHERE.astype(np.float32)) == pytest.approx(1, abs=1e-4)
    assert psnr(picture, picture) == MAX_PSNR
    assert gap_closed(1.0, 0.4) == 1
    assert gap_closed(0.4, 0.4) == 0
    assert gap_closed(0.2, 0.4) == pytest.approx(-1 / 3)  # worse than doing nothing
    assert gap_closed(1.0, 1.0) is None


def test_psnr_of_a_known_error() -> None:
    picture = np.full((256, 256, 3), 100, np.uint8)
    brighter = picture.copy()
    brighter[:128] += 10
    top = np.zeros((256, 256), np.bool_)
    top[:128] = True
    assert psnr(brighter, picture, top) == pytest.approx(20 * np.log10(255 / 10), abs=1e-3)
    assert psnr(brighter, picture) == pytest.approx(20 * np.log10(255 / 10) + 10 * np.log10(2), abs=1e-3)
    assert psnr(brighter, picture, ~top) == MAX_PSNR


def test_ms_ssim_forgives_a_small_shift_more_than_ssim_does_and_keeps_to_its_region() -> None:
    picture, moved = face(), np.roll(face(), 2, 1)
    whole = EVERYWHERE.astype(np.float32)
    assert ssim_map(moved, picture).mean() < ms_ssim(moved, picture, whole) < 0.99
    spoilt = picture.copy()
    spoilt[:, :64] = 0
    right = whole.copy()
    right[:, :160] = 0
    assert ms_ssim(spoilt, picture, right) > 0.99 > ms_ssim(spoilt, picture, whole)


@pytest.mark.parametrize(("deviation", "low", "high"), [(0.5, 0.88, 0.97), (1.0, 0.6, 0.85), (2.0, 0.3, 0.6)])
def test_a_soft_picture_is_seen_to_be_soft(deviation: float, low: float, high: float) -> None:
    soft = np.asarray(cv2.GaussianBlur(face(), (0, 0), deviation), np.uint8)
    assert low < sharpness(detail(soft), detail(face()), EVERYWHERE) < high


def test_noise_and_a_shift_are_not_sharpness() -> None:
    real = detail(face())
    noise = np.random.default_rng(1).normal(0, 3, (256, 256, 3))
    noisy = np.clip(face() + noise, 0, 255).astype(np.uint8)
    assert sharpness(detail(noisy), real, EVERYWHERE) == pytest.approx(1, abs=0.05)
    inside = np.zeros((256, 256), np.bool_)
    inside[40:216, 40:216] = True
    assert sharpness(detail(np.roll(face(), 3, 0)), real, inside) == pytest.approx(1, abs=0.03)


def test_steady_change_is_no_unrest_and_a_flicker_is() -> None:
    still = np.full((64, 64, 3), 100, np.uint8)
    assert unrest(still, still + 5, still + 10).max() == pytest.approx(0, abs=1e-3)
    assert unrest(still, still + 5, still).mean() == pytest.approx(10, abs=1e-2)


def test_the_face_region_is_the_hull_grown_by_a_share_of_the_width() -> None:
    landmarks = default_basis().mean * 60 + np.array([128, 128, 0], np.float32)
    region = face_region(landmarks, 256)
    left, _, right, bottom = face_box(landmarks)
    columns, rows = np.flatnonzero(region.any(0)), np.flatnonzero(region.any(1))
    grown = 0.12 * (right - left)
    assert columns[0] == pytest.approx(left - grown, abs=1.5)
    assert columns[-1] == pytest.approx(right + grown, abs=1.5)
    assert rows[-1] == pytest.approx(bottom + grown, abs=1.5)
