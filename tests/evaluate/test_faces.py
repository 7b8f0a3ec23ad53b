from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from telepresence.evaluate.faces import blinks_kept, eye_opening, landmark_errors, mouth_correlation, mouth_opening
from telepresence.face.basis import default_basis
from telepresence.face.topology import EYE_CORNERS_OUTER, LIPS, MOUTH_OPENING

Floats = NDArray[np.float32]


def still_face(count: int, scale: float = 60) -> Floats:
    return np.repeat(default_basis().mean[None] * scale, count, 0).astype(np.float32)


def eyes_apart(points: Floats) -> float:
    right, left = points[0, list(EYE_CORNERS_OUTER)]
    return float(np.linalg.norm(left - right))


def test_a_shifted_mouth_is_a_known_error_of_the_lips_alone() -> None:
    truth, shown = still_face(4), still_face(4)
    shown[:, list(LIPS), 0] += 3
    found = landmark_errors(shown, truth)
    assert found["nme_lips"] == pytest.approx(3 / eyes_apart(truth), rel=1e-4)
    assert found["nme_mean"] == pytest.approx(found["nme_lips"] * len(LIPS) / 478, rel=1e-4)
    assert found["nme_eyes"] == found["nme_irises"] == 0


def test_a_wrong_gaze_is_an_error_of_the_irises() -> None:
    truth, shown = still_face(4), still_face(4)
    shown[:, 468:, 0] += 2
    found = landmark_errors(shown, truth)
    assert found["nme_irises"] == pytest.approx(2 / eyes_apart(truth), rel=1e-4)
    assert found["nme_eyes"] == 0


def test_openings_do_not_depend_on_the_face_s_size() -> None:
    assert mouth_opening(still_face(1, 30)) == pytest.approx(mouth_opening(still_face(1, 90)), rel=1e-4)
    assert eye_opening(still_face(1, 30)) == pytest.approx(eye_opening(still_face(1, 90)), rel=1e-4)


def test_a_mouth_that_opens_by_half_in_time_correlates_and_one_that_opens_late_does_not() -> None:
    phase = np.arange(60) * 2 * np.pi / 20
    points = still_face(60)
    points[:, MOUTH_OPENING[1], 1] += (6 * (1 - np.cos(phase))).astype(np.float32)
    truth = mouth_opening(points)
    assert mouth_correlation(truth / 2 + 0.1, truth) == pytest.approx(1, abs=1e-5)
    assert abs(mouth_correlation(np.roll(truth, 5), truth) or 1) < 0.05
    assert mouth_correlation(np.full(60, 0.1, np.float32), truth) == 0
    assert mouth_correlation(truth, np.full(60, 0.1, np.float32)) is None  # nobody speaks


def test_only_deep_blinks_are_kept() -> None:
    truth = np.full(30, 0.2, np.float32)
    truth[[5, 15, 25]] = 0.04
    shown = truth.copy()
    shown[15] = 0.14  # hardly shut
    shown[25] = np.nan  # the face is gone
    runs = [range(3, 8), range(13, 18), range(25, 26)]
    assert blinks_kept(truth, truth, runs, 0.2, 0.2) == (3, 3)
    assert blinks_kept(shown, truth, runs, 0.2, 0.2) == (3, 1)
    always_shut = np.full(30, 0.04, np.float32)
    assert blinks_kept(always_shut, truth, runs, 0.04, 0.2) == (3, 0)
    assert blinks_kept(truth, truth, [range(10, 12)], 0.2, 0.2) == (0, 0)  # not a blink at this size
