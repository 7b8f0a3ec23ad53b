"""Make the shipped basis from landmarks of face clips: `python -m telepresence.face.fit CLIPS_DIR`.

Needs a folder with clips and a MANIFEST.json that names each clip's `identity` and `rights_tier`. Clips of tier B
(research only), clips whose pixels are not real, and the held-out people of `HELD_OUT` are left out of the fit; the
held-out people are what the report is about. Landmarks are cached under `--cache`, so a second run takes seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from telepresence.face.motion import fit_pose, to_square
from telepresence.face.topology import (
    EYE_CORNERS_OUTER,
    EYE_OPENING_LEFT,
    EYE_OPENING_RIGHT,
    EYELIDS,
    LIPS,
    MOUTH_OPENING,
    N_FACE,
    N_LANDMARKS,
    rigid_weights,
)

Floats = NDArray[np.float32]

# Never in any training of this project, so that figures about them mean something: all framings, webcams first.
HELD_OUT: Final = (
    "audun", "fomdv_man", "cnn_presenter", "german_anchor", "vr4_woman", "pixabay_doctor", "justin", "streamer1",
    "actalker_woman", "lia_vox2", "dagan_woman", "feifei", "grid_e", "grid_f",
)  # fmt: skip
EXPRESSIONS: Final = 48
IDENTITIES: Final = 16
FRAMES_PER_PERSON: Final = 600  # more would let the longest clips decide
_PAIRS: Final = ((33, 263), (133, 362), (61, 291), (234, 454), (127, 356), (93, 323), (58, 288))  # right, left
FOREHEAD, CHIN = 10, 152  # they span the face's vertical axis: what zero pitch means
REST_SHARE: Final = 0.15  # of a clip's frames count as "at rest": mouth most closed, eyes most open
MAX_YAW: Final = 0.5  # radians; MediaPipe's depth is a guess, so turned heads would leak pose into shape


def main() -> None:
    """Fit, report on held-out people, write basis-1.npz."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("out/landmarks"))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("basis-1.npz"))
    options = parser.parse_args()
    people = read_people(options.clips, options.cache)
    train = {name: clips for name, clips in people.items() if name not in HELD_OUT}
    test = {name: clips for name, clips in people.items() if name in HELD_OUT}
    arrays = fit(train)
    report(arrays, test)
    stored = {name: a.astype(np.float32 if name == "mean" else np.float16) for name, a in arrays.items()}
    np.savez_compressed(options.out, **stored)
    print(f"{len(train)} people in the fit, {len(test)} held out, {options.out.stat().st_size} bytes: {options.out}")


def read_people(folder: Path, cache: Path) -> dict[str, list[Floats]]:
    """Landmarks of every usable clip in square coordinates, (T, 478, 3), by identity."""
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    people: dict[str, list[Floats]] = {}
    for item in manifest["items"]:
        if item["rights_tier"].startswith("B") or item["real_human"].startswith("real person, pixels"):
            continue
        landmarks = clip_landmarks(folder / item["file"], cache)
        seen = landmarks[np.isfinite(landmarks).all((1, 2))]
        if len(seen) > 20:
            square = np.stack([to_square(points, *item["size"]) for points in seen])
            people.setdefault(item["identity"], []).append(square)
    return people


def clip_landmarks(path: Path, cache: Path) -> Floats:
    """Landmarks of every frame (T, 478, 3) in pixels, NaN where no face was found; cached by the clip's name.

    `NAME.json` beside the cached file says which clip it was made from: another one of that name gets its own. A cached
    file of which nothing is said is taken for the clip's.
    """
    kept = cache / f"{path.stem}.npy"
    made_from = kept.with_suffix(".json")
    if kept.exists() and not _contradicts(made_from, path):
        stored: Floats = np.load(kept, allow_pickle=False)
        return stored
    from telepresence.face.landmarks import LandmarkTracker
    from telepresence.media import read_frames

    lost = np.full((N_LANDMARKS, 3), np.nan, np.float32)
    with LandmarkTracker() as tracker:
        found = [tracker(frame.picture) for frame in read_frames(path)]
    landmarks = np.stack([lost if f is None else f for f in found])
    cache.mkdir(parents=True, exist_ok=True)
    made_from.unlink(missing_ok=True)  # it must never speak of another file than the one beside it
    np.save(kept, landmarks)
    made_from.write_text(json.dumps({"bytes": path.stat().st_size, "sha256": _digest(path)}) + "\n")
    return landmarks


def _contradicts(made_from: Path, path: Path) -> bool:
    """Whether cached landmarks say that they are of another clip."""
    try:
        said = json.loads(made_from.read_text())
        size, sha256 = said["bytes"], said["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return path.exists() and (size != path.stat().st_size or sha256 != _digest(path))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fit(people: dict[str, list[Floats]]) -> dict[str, Floats]:
    """Mean face by repeated alignment, then one basis of expressions and one of neutral shapes."""
    mean = _first_mean(people)
    for _ in range(4):
        canonical = {name: [_canonical(clip, mean) for clip in clips] for name, clips in people.items()}
        neutrals = np.stack([np.median([_rest(clip) for clip in clips], 0) for clips in canonical.values()])
        mean = _normalise(neutrals.mean(0))
    residuals = []
    for clips in people.values():
        moved = np.concatenate([_residuals(clip, mean) for clip in clips])
        residuals.append(moved[:: max(1, len(moved) // FRAMES_PER_PERSON)])
    weights = point_weights()
    expression = np.concatenate(residuals)[:, :N_FACE]
    components, projector = _weighted_pca(expression, weights, EXPRESSIONS)
    identity, _ = _weighted_pca((neutrals - mean)[:, :N_FACE], np.ones(N_FACE, np.float32), IDENTITIES)
    return {"mean": mean, "components": components, "projector": projector, "identity": identity}


def point_weights() -> Floats:
    """(468,) what a displacement error counts: lips and lids are where the eye looks."""
    weights = np.ones(N_FACE, np.float32)
    weights[list(LIPS) + list(EYELIDS)] = 3.0
    return weights


def _first_mean(people: dict[str, list[Floats]]) -> Floats:
    first = next(iter(people.values()))[0][0]
    return _normalise(first - first[list(EYE_CORNERS_OUTER)].mean(0))


def _normalise(shape: Floats) -> Floats:
    """Upright, symmetric, centred on the points on bone; the outer eye corners are one unit apart."""
    shape = shape.astype(np.float64)
    across = np.sum([shape[left] - shape[right] for right, left in _PAIRS], 0)
    across /= np.linalg.norm(across)
    down = shape[CHIN] - shape[FOREHEAD]
    down -= across * (down @ across)
    down /= np.linalg.norm(down)
    upright = (shape - rigid_weights() @ shape) @ np.stack([across, down, np.cross(across, down)], 1)
    mirrored = upright * (-1, 1, 1)
    gaps = ((upright[:, None] - mirrored[None]) ** 2).sum(-1)
    _, partner = linear_sum_assignment(gaps)  # which landmark each one becomes in a mirror
    out = (upright + mirrored[partner]) / 2
    corners = out[list(EYE_CORNERS_OUTER)]
    unit: Floats = ((out - rigid_weights() @ out) / np.linalg.norm(corners[1] - corners[0])).astype(np.float32)
    return unit


def _canonical(clip: Floats, mean: Floats) -> Floats:
    """Frames (T, 478, 3) -> canonical shapes of those that look roughly ahead (all, if none do)."""
    poses = [fit_pose(points, mean) for points in clip]
    shapes = np.stack([pose.invert(points) for pose, points in zip(poses, clip, strict=True)])
    frontal = np.array([np.linalg.norm(pose.rotation) < MAX_YAW for pose in poses])
    return shapes[frontal] if frontal.sum() > 10 else shapes


def _residuals(clip: Floats, mean: Floats) -> Floats:
    """Displacements (T, 478, 3) from rest, the pose fitted to the person's own face, as it is in a call."""
    rest = _rest(_canonical(clip, mean))
    return _canonical(clip, rest) - rest


def _rest(shapes: Floats) -> Floats:
    """Median shape (478, 3) of the frames with the mouth most closed and the eyes most open."""
    mouth = _opening(shapes, MOUTH_OPENING)
    eyes = _opening(shapes, EYE_OPENING_LEFT) + _opening(shapes, EYE_OPENING_RIGHT)
    rank = mouth.argsort().argsort() + 0.5 * (-np.minimum(eyes, np.median(eyes))).argsort().argsort()
    chosen = rank.argsort()[: max(5, int(REST_SHARE * len(shapes)))]
    rest: Floats = np.median(shapes[chosen], 0)
    return rest


def _opening(shapes: Floats, pair: tuple[int, int]) -> Floats:
    distance: Floats = np.linalg.norm(shapes[:, pair[0]] - shapes[:, pair[1]], axis=-1)
    return distance


def _weighted_pca(residual: Floats, weights: Floats, count: int) -> tuple[Floats, Floats]:
    """Uncentred PCA in a weighted space: components (count, 468, 3) of one deviation each, projector (count, 1404)."""
    w = np.repeat(np.sqrt(weights), 3)
    x = residual.reshape(len(residual), -1) * w
    values, vectors = np.linalg.eigh(x.T.astype(np.float64) @ x / len(x))
    deviation = np.sqrt(values[::-1][:count])[:, None]
    axes = vectors[:, ::-1][:, :count].T
    components = (axes * deviation / w).reshape(count, -1, 3)
    return components.astype(np.float32), (axes / deviation * w).astype(np.float32)


def report(arrays: dict[str, Floats], people: dict[str, list[Floats]]) -> None:
    """Print what the basis loses on people that it was not fitted on, as a share of the eye-corner distance."""
    rows: list[Any] = []
    for name, clips in people.items():
        residual = np.concatenate([_residuals(clip, arrays["mean"]) for clip in clips])[:, :N_FACE]
        coefficients = residual.reshape(len(residual), -1) @ arrays["projector"].T
        error = np.linalg.norm((residual - np.tensordot(coefficients, arrays["components"], 1))[..., :2], axis=-1)
        still = np.linalg.norm(residual[..., :2], axis=-1)
        rows.append((name, error.mean(), error[:, list(LIPS)].mean(), error[:, list(EYELIDS)].mean(), still.mean()))
        print("{:16s} all {:.4f} lips {:.4f} lids {:.4f} (no expression: {:.4f})".format(*rows[-1]))
    print("median           all {:.4f} lips {:.4f} lids {:.4f}".format(*np.median([r[1:4] for r in rows], 0)))


if __name__ == "__main__":
    main()
