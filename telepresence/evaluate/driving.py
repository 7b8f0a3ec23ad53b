"""Keypoints that an engine is driven by: a clip's own, through motion, or on somebody else's avatar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.model import Avatar
from telepresence.errors import FaceError
from telepresence.evaluate.clips import Footage, scaled
from telepresence.evaluate.measure import Truth, follow
from telepresence.face.identity import difference, neutral_shape
from telepresence.face.motion import to_square
from telepresence.face.retarget import Framing, Retarget
from telepresence.face.tracking import MotionExtractor
from telepresence.runtime.engine import Engine, Prepared

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

CROSS_FRAMES: Final = 30  # of the driver, evenly spread; a neutral shape is steady from 20 on
CALIBRATION_S: Final = 1.5  # of the driver are not judged: `Retarget` learns where they rest


def drawer(engine: Engine, avatar: Avatar, points: Floats, size: int | None = None) -> Callable[[int], Picture]:
    """Frame number -> picture (S, S, 3), driven by keypoints (T, 478, 3); `size`: scaled to that."""
    prepared: Prepared = engine.prepare(avatar)
    return lambda i: scaled(engine.render(prepared, points[i])[..., :3].copy(), size or engine.size)


def through_motion(footage: Footage, avatar: Avatar, framing: Framing) -> Floats:
    """What a receiver would be driven by, without the codec: landmarks -> motion -> keypoints (T, 478, 3), NaN kept."""
    extractor = MotionExtractor(neutral=avatar.neutral)
    retarget = Retarget(avatar.neutral, avatar.rest, framing)
    out = np.full_like(footage.points, np.nan)
    for i in np.flatnonzero(footage.seen):
        out[i] = retarget(extractor(footage.points[i]), round(int(i) * 1e6 / footage.fps))
    return out


def real_neutral(truth: Truth) -> tuple[Floats, float]:
    """A person's neutral shape as the tracker sees it in real pictures of the size that is drawn.

    Returns:
        The shape (478, 3), and how far that of the first half of the frames is from that of the second.

    Raises:
        FaceError: too few of them show a face.
    """
    seen = [p for i in truth.test if (p := truth.tracked[i]) is not None]
    half = len(seen) // 2
    floor = difference(_neutral(seen[:half], truth.size), _neutral(seen[half:], truth.size))
    return _neutral(seen, truth.size), floor


def identity_kept(
    engine: Engine, avatar: Avatar, driver: Footage, target_shape: Floats, driver_shape: Floats
) -> dict[str, Any]:
    """Drive an avatar by somebody else, relative framing, and ask whose face the pictures show.

    Returns:
        `to_target`, `to_driver`: distances of the neutral shape drawn (`face.identity.difference`, canonical units);
        `apart`: that of the two people; `kept`: to_driver / (to_target + to_driver), 1 where nothing of the
        driver shows.

    Raises:
        FaceError: no face in what was drawn, or none in the driver's frames that are judged.
    """
    points = through_motion(driver, avatar, "relative")
    there = [int(i) for i in np.flatnonzero(driver.seen) if i >= CALIBRATION_S * driver.fps]
    draw = drawer(engine, avatar, points)
    frames = there[:: max(1, len(there) // CROSS_FRAMES)][:CROSS_FRAMES]
    found = follow({i: draw(i) for i in frames})
    shape = _neutral([p for p in found.values() if p is not None], engine.size)
    target, other = difference(shape, target_shape), difference(shape, driver_shape)
    return {
        "to_target": target,
        "to_driver": other,
        "apart": difference(target_shape, driver_shape),
        "kept": other / max(target + other, 1e-9),
        "frames": len(frames),
        "faces_lost": sum(p is None for p in found.values()),
    }


def _neutral(landmarks: list[Floats], size: int) -> Floats:
    if not landmarks:
        raise FaceError("no face was found in any of the pictures drawn")
    return neutral_shape([to_square(p, size, size) for p in landmarks])
