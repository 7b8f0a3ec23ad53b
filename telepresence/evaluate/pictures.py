"""Figures of pictures against real ones: SSIM, MS-SSIM, PSNR, sharpness, flicker, and the region of the face. Pure.

Pictures are (S, S, 3) uint8 RGB of one size; regions are (S, S) bool.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.face.landmarks import face_box

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]
Region = NDArray[np.bool_]

GROWN: Final = 0.12  # of the face's width
MAX_PSNR: Final = 60.0  # dB; identical pictures would be infinitely good
WINDOW: Final = (11, 1.5)  # pixels across and deviation of SSIM's Gaussian window
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
SCALES: Final = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # MS-SSIM's exponents, finest first
BAND: Final = (0.7, 2.0)  # pixels at 256: deviations whose difference keeps fine detail and drops single-pixel noise
LOCAL: Final = 4.0  # pixels at 256: over which detail's strength is taken
STEADY: Final = 1.0  # pixels at 256: blur before comparing over time, so that the camera's grain counts little


def face_region(landmarks: Floats, size: int) -> Region:
    """Convex hull of landmarks (478, 3), in pixels of a picture of `size`, grown by 12 % of the face's width."""
    import cv2

    hull = np.ones((size, size), np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.rint(landmarks[:, :2]).astype(np.int32)), 0)
    left, _, right, _ = face_box(landmarks)
    away = cv2.distanceTransform(hull, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(away <= GROWN * (right - left), np.bool_)


def part_region(landmarks: Floats, points: tuple[int, ...], size: int) -> Region:
    """Convex hull of some landmarks, grown by two pixels."""
    import cv2

    hull = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.rint(landmarks[list(points), :2]).astype(np.int32)), 1)
    return np.asarray(cv2.dilate(hull, np.ones((5, 5), np.uint8)) > 0, np.bool_)


def ssim_map(one: Picture, other: Picture) -> Floats:
    """Structural similarity per pixel (S, S), mean over the channels: Wang et al. 2004, Gaussian window.

    The same as scikit-image's `structural_similarity(full=True, gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False, data_range=255)`, three times as fast.
    """
    light, contrast = _ssim_parts(one.astype(np.float32), other.astype(np.float32))
    out: Floats = (light * contrast).mean(2)
    return out


def ms_ssim(one: Picture, other: Picture, weights: Floats) -> float:
    """Multi-scale SSIM over a region: Wang, Simoncelli, Bovik 2003; five scales, so pictures of 176 pixels and more.

    Args:
        one: (S, S, 3).
        other: (S, S, 3).
        weights: (S, S) float32, what each pixel counts; averaged down with the pictures.
    """
    a, b, w = one.astype(np.float32), other.astype(np.float32), weights
    product = np.ones(3)
    for level, exponent in enumerate(SCALES):
        light, contrast = _ssim_parts(a, b)
        last = level == len(SCALES) - 1
        kept = light * contrast if last else contrast
        mean = (kept * w[..., None]).sum((0, 1)) / max(float(w.sum()), 1e-9)
        product *= np.maximum(mean, 0) ** exponent
        if not last:
            a, b, w = _halved(a), _halved(b), _halved(w)
    return float(product.mean())


def psnr(one: Picture, other: Picture, region: Region | None = None) -> float:
    """Peak signal-to-noise ratio in dB, at most MAX_PSNR."""
    squared = (one.astype(np.float32) - other.astype(np.float32)) ** 2
    mean = float(squared.mean() if region is None else squared[region].mean())
    return min(MAX_PSNR, 10 * float(np.log10(255**2 / max(mean, 1e-9))))


def detail(picture: Picture) -> Floats:
    """How strong fine detail is around each pixel (S, S), grey levels: local deviation of a band-pass of brightness.

    Detail counts by its amplitude and not its energy, so that a few hard edges do not outweigh all skin.
    """
    grey, unit = _grey(picture), picture.shape[0] / 256
    band = _blurred(grey, BAND[0] * unit) - _blurred(grey, BAND[1] * unit)
    strength: Floats = np.sqrt(_blurred(band * band, LOCAL * unit))
    return strength


def sharpness(drawn: Floats, real: Floats, region: Region) -> float:
    """Detail drawn over detail there is, both from `detail`: 1 is as sharp as the camera, less is soft."""
    return float(drawn[region].mean() / max(float(real[region].mean()), 1e-6))


def unrest(before: Picture, now: Picture, after: Picture) -> Floats:
    """How much each pixel (S, S) departs from steady change, grey levels: |second difference over time|."""
    a, b, c = (_blurred(_grey(p), STEADY * p.shape[0] / 256) for p in (before, now, after))
    out: Floats = np.abs(a - 2 * b + c)
    return out


def gap_closed(ssim: float, still: float) -> float | None:
    """How much of the difference that a still reference has to the real picture is gone; None if it has none."""
    return None if still >= 1 - 1e-6 else 1 - (1 - ssim) / (1 - still)


def _ssim_parts(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Luminance term, and contrast times structure, per pixel and channel."""
    mean_a, mean_b = _window(a), _window(b)
    both = mean_a * mean_b
    square_a, square_b = mean_a * mean_a, mean_b * mean_b
    variance = _window(a * a) - square_a + _window(b * b) - square_b
    covariance = _window(a * b) - both
    return (2 * both + C1) / (square_a + square_b + C1), (2 * covariance + C2) / (variance + C2)


def _window(picture: Floats) -> Floats:
    import cv2

    kernel = cv2.getGaussianKernel(*WINDOW, cv2.CV_32F)
    return np.asarray(cv2.sepFilter2D(picture, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT), np.float32)


def _halved(picture: Floats) -> Floats:
    import cv2

    height, width = picture.shape[:2]
    return np.asarray(cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA), np.float32)


def _grey(picture: Picture) -> Floats:
    import cv2

    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.float32)


def _blurred(picture: Floats, deviation: float) -> Floats:
    import cv2

    return np.asarray(cv2.GaussianBlur(picture, (0, 0), deviation, borderType=cv2.BORDER_REFLECT), np.float32)
