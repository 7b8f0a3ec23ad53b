"""LPIPS, CSIM and FID: figures that need networks which are not shipped. Each is had when its file is there.

FOLDER/lpips.onnx           two inputs float32 [1, 3, S, S], RGB from -1 to 1; output: the distance
FOLDER/face-embedding.onnx  input float32 [1, 3, 112, 112], RGB from -1 to 1, the face aligned as ArcFace has it;
                            output [1, D]
FOLDER/inception.onnx       input float32 [1, 3, 299, 299], RGB from -1 to 1; output [1, D], the pooled features
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import InputError
from telepresence.face.topology import IRIS_LEFT, IRIS_RIGHT, MOUTH_CORNERS
from telepresence.runtime import telemetry

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

FILES: Final = {"lpips": "lpips.onnx", "csim": "face-embedding.onnx", "fid": "inception.onnx"}
INCEPTION_SIDE: Final = 299
ALIGNED_SIDE: Final = 112
NOSE_TIP: Final = 1
# Deng et al. 2019, "ArcFace": eyes, nose tip, mouth corners in the aligned picture, left to right as seen.
ALIGNED: Final = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))


class Learned:
    """The networks of one folder, as far as they are there."""

    def __init__(self, folder: Path | None) -> None:
        """Load what there is.

        Raises:
            InputError: no such folder, or a file in it is no ONNX graph that can be executed.
        """
        if folder is not None and not folder.is_dir():
            raise InputError(f"--weights {folder}: no such folder; docs/evaluate.md says what belongs into it")
        self._sessions: dict[str, Any] = {}
        self.missing: list[dict[str, str]] = []
        """What cannot be had, for the report: `figure`, `put` (the file's place), `what` (belongs there)."""
        for figure, name in FILES.items():
            path = None if folder is None else folder / name
            if path is not None and path.is_file():
                self._sessions[figure] = _session(path)
            else:
                place = str(path) if path else f"{name} in a folder that --weights names"
                self.missing.append({"figure": figure, "put": place, "what": _WHAT[figure]})

    def has(self, figure: str) -> bool:
        """Whether `lpips`, `csim` or `fid` can be had."""
        return figure in self._sessions

    def lpips(self, one: Picture, other: Picture) -> float:
        """Zhang et al. 2018: perceptual distance, 0 for identical pictures."""
        return float(self._run("lpips", _planes(one), _planes(other)).reshape(-1)[0])

    def csim(self, one: Picture, one_points: Floats, other: Picture, other_points: Floats) -> float:
        """Cosine of the angle between two faces' embeddings; landmarks in pixels of their pictures."""
        a, b = (self._embedding(picture, points) for picture, points in ((one, one_points), (other, other_points)))
        return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9))

    def features(self, picture: Picture) -> Floats:
        """(D,) what FID compares."""
        import cv2

        side = (INCEPTION_SIDE, INCEPTION_SIDE)
        return self._run("fid", _planes(cv2.resize(picture, side, interpolation=cv2.INTER_LINEAR))).reshape(-1)

    def _embedding(self, picture: Picture, landmarks: Floats) -> Floats:
        return self._run("csim", _planes(aligned(picture, landmarks))).reshape(-1)

    def _run(self, figure: str, *inputs: Floats) -> Floats:
        session = self._sessions[figure]
        feeds = {spec.name: value for spec, value in zip(session.get_inputs(), inputs, strict=False)}
        try:
            return np.asarray(session.run(None, feeds)[0], np.float32)
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise InputError(
                f"{FILES[figure]} in --weights is another network ({error}); it has to be: {_WHAT[figure]}"
            ) from error


def aligned(picture: Picture, landmarks: Floats) -> Picture:
    """The face (112, 112, 3), moved, turned and scaled so that eyes, nose and mouth lie where ArcFace has them."""
    import cv2

    points = [landmarks[list(IRIS_RIGHT)].mean(0), landmarks[list(IRIS_LEFT)].mean(0), landmarks[NOSE_TIP]]
    source = np.array([*points, *landmarks[list(MOUTH_CORNERS)]], np.float64)[:, :2]
    rows = np.zeros((10, 4))  # x' = a x - b y + c, y' = b x + a y + d, least squares
    rows[0::2] = np.stack([source[:, 0], -source[:, 1], np.ones(5), np.zeros(5)], 1)
    rows[1::2] = np.stack([source[:, 1], source[:, 0], np.zeros(5), np.ones(5)], 1)
    a, b, c, d = np.linalg.lstsq(rows, np.array(ALIGNED).reshape(-1), rcond=None)[0]
    matrix = np.array([[a, -b, c], [b, a, d]])
    return np.asarray(cv2.warpAffine(picture, matrix, (ALIGNED_SIDE, ALIGNED_SIDE)), np.uint8)


def frechet(one: Sequence[Floats], other: Sequence[Floats]) -> float:
    """Distance of two sets of features (D,): Heusel et al. 2017, equation 6. Two of each at least."""
    a, b = (np.stack(list(s)).astype(np.float64) for s in (one, other))
    gap = a.mean(0) - b.mean(0)
    cov_a, cov_b = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    middle = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_b @ root), 0)).sum()
    return float(gap @ gap + np.trace(cov_a) + np.trace(cov_b) - 2 * middle)


def _planes(picture: Picture) -> Floats:
    return (picture.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]


def _session(path: Path) -> Any:
    telemetry.disable()
    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise InputError(f"{path}: not a graph that ONNX Runtime can execute ({error}); export it anew") from error


_WHAT: Final = {
    "lpips": "ONNX, two inputs float32 [1,3,S,S] RGB from -1 to 1, output the LPIPS distance",
    "csim": "ONNX, input float32 [1,3,112,112] RGB from -1 to 1 aligned as for ArcFace, output [1,D] embedding",
    "fid": "ONNX, input float32 [1,3,299,299] RGB from -1 to 1, output [1,D] pooled Inception features",
}
