"""The MediaPipe adapter: a picture -> landmarks. MediaPipe is imported on first use.

Face Mesh with refined lips and irises (Grishchenko et al. 2020, "Attention Mesh"); coordinates as `face.motion` says.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from telepresence.face.topology import N_LANDMARKS, OVAL
from telepresence.native_logs import quiet_native_logs

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

MIN_SIDE: Final = 16  # pixels; smaller pictures hold no face and trip the graph
MIN_CONFIDENCE: Final = 0.5
STILL_FACES: Final = 4  # searched for in a still, so that the largest can be taken
SAME_FACE: Final = 0.5  # of the smaller box: two finds that share as much are one face

_first_face = threading.Event()


class LandmarkTracker:
    """Landmarks of one face, followed from picture to picture. One per stream; not thread-safe.

    With `still=True` pictures are unrelated: each is searched anew and the largest face is taken.
    """

    def __init__(self, *, still: bool = False) -> None:
        self._mesh = _face_mesh(still=still, faces=STILL_FACES if still else 1)

    def __call__(self, rgb: Picture) -> Floats | None:
        """Find the face in a picture.

        Args:
            rgb: (H, W, 3) uint8, upright, any size.

        Returns:
            Landmarks (478, 3) float32, isotropic pixels of `rgb`; None where no face is seen.
        """
        faces = self.everybody(rgb)
        return faces[0] if faces else None

    def everybody(self, rgb: Picture) -> list[Floats]:
        """All faces that are found, largest first: up to four with `still`, else one at most."""
        return sorted(_process(self._mesh, rgb), key=face_area, reverse=True)

    def close(self) -> None:
        """Free the graph. Safe to call twice."""
        mesh, self._mesh = self._mesh, None
        if mesh is not None:
            mesh.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def detect_faces(rgb: Picture, limit: int = STILL_FACES) -> list[Floats]:
    """Find up to `limit` faces in a still picture (H, W, 3), largest first: landmarks (478, 3) each.

    MediaPipe's detector sees a picture at 128 x 128 and misses small faces, so a picture in which it finds none is
    searched once more in overlapping parts of half its size.
    """
    mesh = _face_mesh(still=True, faces=limit)
    try:
        faces = _process(mesh, rgb)
        if not faces:
            for x, y, part in _parts(rgb):
                moved = [face + np.array([x, y, 0], np.float32) for face in _process(mesh, part)]
                faces += [face for face in moved if not any(same_face(face, other) for other in faces)]
    finally:
        mesh.close()
    return sorted(faces, key=face_area, reverse=True)[:limit]


def face_box(landmarks: Floats) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of the face oval, in the landmarks' unit."""
    oval = landmarks[list(OVAL), :2]
    left, top = oval.min(0)
    right, bottom = oval.max(0)
    return float(left), float(top), float(right), float(bottom)


def face_area(landmarks: Floats) -> float:
    """Area of the face's box, in the landmarks' unit squared."""
    left, top, right, bottom = face_box(landmarks)
    return (right - left) * (bottom - top)


def same_face(a: Floats, b: Floats) -> bool:
    """Whether two finds in a picture are one face: what their boxes share is most of the smaller one."""
    boxes = np.array([face_box(a), face_box(b)])
    low, high = boxes[:, :2].max(0), boxes[:, 2:].min(0)
    shared = float(np.clip(high - low, 0, None).prod())
    return shared >= SAME_FACE * max(min(face_area(a), face_area(b)), 1e-6)


def _parts(rgb: Picture) -> Iterator[tuple[int, int, Picture]]:
    height, width = rgb.shape[:2]
    for y in (0, height // 4, height // 2):
        for x in (0, width // 4, width // 2):
            yield x, y, rgb[y : y + (height + 1) // 2, x : x + (width + 1) // 2]


def _process(mesh: Any, rgb: Picture) -> list[Floats]:
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"a picture is (H, W, 3) uint8, not {rgb.shape} {rgb.dtype}")
    height, width = rgb.shape[:2]
    if min(height, width) < MIN_SIDE:
        return []
    with nullcontext() if _first_face.is_set() else quiet_native_logs():  # the graph logs again on its first face
        found = mesh.process(np.ascontiguousarray(rgb)).multi_face_landmarks or []
    if found:
        _first_face.set()
    scale = np.array([width, height, width], np.float32)
    faces = [np.array([(p.x, p.y, p.z) for p in face.landmark], np.float32) * scale for face in found]
    return [face for face in faces if face.shape == (N_LANDMARKS, 3) and np.isfinite(face).all()]


def _face_mesh(*, still: bool, faces: int) -> Any:
    with quiet_native_logs():
        warnings.filterwarnings("ignore", message="SymbolDatabase.GetPrototype")  # of MediaPipe's own protobuf use
        from mediapipe.python.solutions.face_mesh import FaceMesh

        mesh = FaceMesh(
            static_image_mode=still,
            max_num_faces=faces,
            refine_landmarks=True,
            min_detection_confidence=MIN_CONFIDENCE,
            min_tracking_confidence=MIN_CONFIDENCE,
        )
        mesh.process(np.zeros((64, 64, 3), np.uint8))  # the graph logs, and allocates, on its first picture
    return mesh
