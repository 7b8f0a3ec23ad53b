from __future__ import annotations

import numpy as np
import pytest

from telepresence.face.basis import SCHEMA, default_basis
from telepresence.face.fit import point_weights
from telepresence.face.topology import (
    EYE_CORNERS_OUTER,
    IRIS_LEFT,
    IRIS_RIGHT,
    LIPS,
    MOUTH_OPENING,
    N_FACE,
    RIGID,
    rigid_weights,
)
from tests.face import synthetic


def test_shapes_types_and_size() -> None:
    basis = default_basis()
    assert basis.schema == SCHEMA == 1
    assert basis.mean.shape == (478, 3)
    assert basis.components.shape == (basis.size, N_FACE, 3)
    assert basis.projector.shape == (basis.size, N_FACE * 3)
    assert basis.identity.shape[1:] == (N_FACE, 3)
    assert basis.size == 48  # what a packet of schema 1 carries
    for array in (basis.mean, basis.components, basis.projector, basis.identity):
        assert array.dtype == np.float32
        assert np.isfinite(array).all()


def test_mean_face_is_upright_symmetric_and_one_unit_wide() -> None:
    mean = default_basis().mean
    right, left = mean[list(EYE_CORNERS_OUTER)]
    assert np.allclose([right[0], left[0]], [-0.5, 0.5], atol=1e-5)
    assert np.allclose(right[1:], left[1:], atol=1e-5)
    assert np.allclose(rigid_weights() @ mean, 0, atol=1e-6)
    assert abs(mean[10, 0]) < 1e-3  # forehead and chin lie on the axis
    assert abs(mean[152, 0]) < 1e-3
    assert mean[152, 1] > 0.5 > mean[10, 1]
    assert mean[1, 2] < mean[[234, 454], 2].min()  # nose before ears
    gap = np.linalg.norm(mean[MOUTH_OPENING[0]] - mean[MOUTH_OPENING[1]])
    assert gap < 0.03  # the mean neutral shape has its mouth shut


def test_rigid_weights() -> None:
    weights = rigid_weights()
    assert weights.sum() == pytest.approx(1)
    assert not weights[list(LIPS)].any()
    assert not weights[N_FACE:].any()
    assert weights[list(RIGID)].min() == weights.max()


def test_projector_is_the_inverse_of_the_components() -> None:
    basis = default_basis()
    product = basis.projector @ basis.components.reshape(basis.size, -1).T
    assert np.abs(product - np.eye(basis.size)).max() < 5e-3  # stored in half precision


def test_components_are_orthogonal_in_the_weighted_space_and_descend() -> None:
    basis = default_basis()
    weighted = basis.components.reshape(basis.size, -1) * np.repeat(np.sqrt(point_weights()), 3)
    energy = np.linalg.norm(weighted, axis=1)
    assert (np.diff(energy) <= 1e-3 * energy[0]).all()
    cosines = weighted @ weighted.T / np.outer(energy, energy) - np.eye(basis.size)
    assert np.abs(cosines).max() < 5e-3


def test_analyse_undoes_displacement() -> None:
    basis, coefficients = default_basis(), synthetic.expression(3)
    gaze = np.array([[0.03, -0.01], [0.04, 0.02]], np.float32)
    found, found_gaze = basis.analyse(basis.displacement(coefficients, gaze))
    assert np.abs(found - coefficients).max() < 0.02
    assert np.abs(found_gaze - gaze).max() < 1e-5


def test_no_expression_is_no_displacement() -> None:
    basis = default_basis()
    assert not basis.displacement(np.zeros(basis.size, np.float32), np.zeros((2, 2), np.float32)).any()


def test_gaze_moves_the_irises_and_nothing_else() -> None:
    basis = default_basis()
    gaze = np.array([[0.05, 0], [0, 0.02]], np.float32)
    moved = basis.displacement(np.zeros(basis.size, np.float32), gaze)
    assert not moved[:N_FACE].any()
    assert np.allclose(moved[list(IRIS_RIGHT)], [0.05, 0, 0])
    assert np.allclose(moved[list(IRIS_LEFT)], [0, 0.02, 0])


def test_the_basis_can_open_a_mouth_and_shut_an_eye() -> None:
    basis = default_basis()
    opening = np.abs(basis.components[:, 14, 1] - basis.components[:, 13, 1])
    lids = np.abs(basis.components[:, 145, 1] - basis.components[:, 159, 1])
    assert opening.max() > 0.03
    assert lids.max() > 0.01


def test_weights_of_the_fit() -> None:
    weights = point_weights()
    assert weights.shape == (N_FACE,)
    assert weights[13] == weights[159] == 3 * weights[9]
