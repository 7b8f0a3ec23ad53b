from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from telepresence.face.basis import default_basis
from telepresence.face.motion import keypoints
from telepresence.face.topology import LIPS_INNER, LIPS_OUTER, N_LANDMARKS
from telepresence.generator.mesh import RING_SCALES, Mesh, build_mesh
from tests.face import synthetic


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return build_mesh()


def edges(triangles: np.ndarray) -> Counter[tuple[int, int]]:
    found: Counter[tuple[int, int]] = Counter()
    for a, b, c in triangles:
        for one, other in ((a, b), (b, c), (c, a)):
            found[min(one, other), max(one, other)] += 1
    return found


def flat(mesh: Mesh) -> np.ndarray:
    """Vertices of the mean face, seen from the front."""
    return np.concatenate([default_basis().mean[mesh.landmarks], mesh.ring_mean])[:, :2]


def test_vertices_and_triangles_fit_together(mesh: Mesh) -> None:
    count = len(mesh.landmarks) + len(mesh.oval)
    assert len(set(mesh.landmarks.tolist())) == len(mesh.landmarks)
    assert mesh.landmarks.max() < N_LANDMARKS
    assert mesh.triangles.dtype == np.int64
    assert set(mesh.triangles.reshape(-1).tolist()) == set(range(count))
    assert len(mesh.triangles) <= 350  # the raster's tiles are made for about so many


def test_it_is_one_sheet_without_holes(mesh: Mesh) -> None:
    """Every edge has a triangle on both sides, but for the outermost ring; a disc has Euler characteristic 1."""
    per_edge = edges(mesh.triangles)
    assert set(per_edge.values()) == {1, 2}
    count = len(mesh.landmarks) + len(mesh.oval)
    outermost = set(range(count - len(mesh.oval) // len(RING_SCALES), count))
    border = {v for edge, n in per_edge.items() if n == 1 for v in edge}
    assert border == outermost
    assert count - len(per_edge) + len(mesh.triangles) == 1


def test_no_triangle_of_the_mean_face_is_a_sliver(mesh: Mesh) -> None:
    a, b, c = flat(mesh)[mesh.triangles].transpose(1, 0, 2)
    area = np.abs(np.cross(b - a, c - a)) / 2
    inner = mesh.mouth[:, 0, 0] == 1  # the shut mouth has none
    assert area[~inner].min() > 1e-5
    assert area.sum() == pytest.approx(area[~inner].sum(), rel=0.01)


def test_the_face_lies_in_the_rings(mesh: Mesh) -> None:
    face, rings = np.split(flat(mesh), [len(mesh.landmarks)])
    reach = np.linalg.norm(rings.reshape(len(RING_SCALES), -1, 2) - face.mean(0), axis=2)
    assert (np.diff(reach, axis=0) > 0).all()
    assert reach[0].min() > 0.6


def test_rings_end_at_rest_and_fade_below_the_chin(mesh: Mesh) -> None:
    motion = mesh.ring_motion.reshape(len(RING_SCALES), -1)
    assert not motion[-1].any()
    assert motion.min() >= 0
    assert motion.max() == 1
    down = mesh.ring_mean[:, 1].reshape(motion.shape)
    assert motion[0][down[0].argmin()] == 1 > motion[0][down[0].argmax()]


def test_the_mouth_spans_the_inner_lips(mesh: Mesh) -> None:
    inside = mesh.mouth[:, 0, 0] == 1
    assert inside.any()
    assert (mesh.mouth[inside][..., 0] == 1).all()
    assert not mesh.mouth[~inside].any()
    assert inside.sum() == 10  # a polygon of twelve corners
    corners = mesh.triangles[inside]
    assert set(mesh.landmarks[corners].reshape(-1).tolist()) <= set(LIPS_INNER)
    across, down = mesh.mouth[inside][..., 1], mesh.mouth[inside][..., 2]
    assert (across.min(), across.max()) == (pytest.approx(-1), pytest.approx(1))
    mean = default_basis().mean[mesh.landmarks[corners]]
    assert np.corrcoef(mean[..., 0].ravel(), across.ravel())[0, 1] > 0.99
    upper = np.isin(mesh.landmarks[corners], (13, 82, 312, 81, 311))
    lower = np.isin(mesh.landmarks[corners], (14, 87, 317, 88, 318))
    assert (down[upper] == 0).all()
    assert (down[lower] == 1).all()


def test_no_triangle_of_the_skin_bridges_the_mouth(mesh: Mesh) -> None:
    """Else an opening mouth would tear its corners."""
    half = len(LIPS_INNER) // 2
    lower = {*LIPS_INNER[1:half], *LIPS_OUTER[1:half]}
    upper = {*LIPS_INNER[half + 1 :], *LIPS_OUTER[half + 1 :]}
    for corners, mouth in zip(mesh.triangles, mesh.mouth[:, 0, 0], strict=True):
        ids = {int(mesh.landmarks[v]) for v in corners if v < len(mesh.landmarks)}
        assert mouth or not (ids & lower and ids & upper)


@pytest.mark.parametrize("seed", range(3))
def test_the_affine_fit_is_the_pose(mesh: Mesh, seed: int) -> None:
    """For the mean face itself the fit is exact, whatever the pose."""
    rng = np.random.default_rng(seed)
    at = synthetic.pose(*rng.uniform(-0.5, 0.5, 3), *rng.uniform(-0.3, 0.3, 2), scale=0.4)
    mean = default_basis().mean
    affine = mesh.affine @ keypoints(synthetic.motion(at), mean)
    assert affine.shape == (4, 3)
    assert np.abs(mean @ affine[:3] + affine[3] - at.apply(mean)).max() < 1e-4


def test_the_affine_fit_ignores_lips_lids_and_irises(mesh: Mesh) -> None:
    points = keypoints(synthetic.motion(), default_basis().mean)
    moved = points.copy()
    moved[[13, 14, 61, 291, 159, 145, 468, 473]] += 0.1
    assert np.array_equal(mesh.affine @ moved, mesh.affine @ points)


def test_built_twice_it_is_the_same(mesh: Mesh) -> None:
    again = build_mesh()
    for name in ("landmarks", "triangles", "mouth", "affine", "ring_mean", "ring_motion"):
        assert np.array_equal(getattr(again, name), getattr(mesh, name))
