"""Which pictures of a person become references: one at rest, then those that differ most in expression and pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.face.landmarks import face_box
from telepresence.face.motion import fit_pose, to_square
from telepresence.face.topology import (
    EYE_OPENING_LEFT,
    EYE_OPENING_RIGHT,
    EYELIDS,
    IRIS_LEFT,
    IRIS_RIGHT,
    LIPS,
    LIPS_INNER,
    MOUTH_OPENING,
    RIGID,
)

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

# What counts as one step of difference; chosen so that an open mouth, shut lids and a head turned by 20 degrees are
# each about three steps from rest.
LIPS_STEP: Final = 0.03  # canonical units, root mean square over the lips
LIDS_STEP: Final = 0.018  # canonical units, root mean square over the lids
TURN_STEP: Final = 0.12  # radians

SHUT: Final = 0.45  # of the usual lid opening: below it the eyes are shut
AWAKE: Final = 0.85  # of the usual lid opening: below it a blink may be under way
OPEN_MOUTH: Final = 0.12  # canonical units between the inner lips
TURNED: Final = 0.25  # radians of yaw, about 14 degrees
TEETH: Final = 0.02  # bright part of the mouth, canonical units squared
NEAR: Final = 0.5  # steps: as good as the same picture, so the sharper one is taken
DISTINCT: Final = 0.75  # steps: a picture nearer than this to a chosen one adds nothing
ODD: Final = 3.0  # medians: a face whose bones fit this much worse than usual is mistracked, or someone else


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a candidate picture shows, as far as choosing goes."""

    features: Floats
    """(D,) float32, in steps; the distance of two looks is that of these."""
    yaw: float
    """Radians; positive when the head turns to the picture's right."""
    turn: float
    """Radians off frontal."""
    mouth: float
    """Between the inner lips, canonical units."""
    lids: float
    """Mean opening of the eyes, canonical units."""
    teeth: float
    """Bright area in the mouth, canonical units squared."""
    rest: float
    """Steps from a frontal face at rest that looks ahead."""
    sharpness: float
    misfit: float
    """Of the bones to the neutral shape, canonical units."""


def look_at(picture: Picture, landmarks: Floats, neutral: Floats) -> Look:
    """Describe one candidate: picture (H, W, 3), its landmarks (478, 3) and the person's neutral shape."""
    height, width = picture.shape[:2]
    return describe(landmarks, neutral, width, height, sharpness(picture, landmarks), bright_mouth(picture, landmarks))


def describe(landmarks: Floats, neutral: Floats, width: int, height: int, sharp: float, bright: float) -> Look:
    """`look_at` without the picture: `sharp` and `bright` are what `sharpness` and `bright_mouth` said of it."""
    points = to_square(landmarks, width, height)
    pose = fit_pose(points, neutral)
    moved = pose.invert(points) - neutral
    shape = moved + neutral
    lips = moved[list(LIPS), :2].ravel() / (LIPS_STEP * np.sqrt(len(LIPS)))
    lids = moved[list(EYELIDS), :2].ravel() / (LIDS_STEP * np.sqrt(len(EYELIDS)))
    turn = pose.rotation / TURN_STEP
    gaze = moved[[IRIS_RIGHT[0], IRIS_LEFT[0]], :2].mean(0) / 0.04
    rest = np.sqrt((lips**2).sum() + 0.5 * (lids**2).sum() + (turn**2).sum() + (gaze**2).sum())
    opening = [
        float(np.linalg.norm(shape[a] - shape[b])) for a, b in (EYE_OPENING_RIGHT, EYE_OPENING_LEFT, MOUTH_OPENING)
    ]
    return Look(
        features=np.concatenate([lips, lids, turn]).astype(np.float32),
        yaw=float(pose.rotation[1]),
        turn=float(np.linalg.norm(pose.rotation)),
        mouth=opening[2],
        lids=(opening[0] + opening[1]) / 2,
        teeth=bright * _mouth_area(shape),
        rest=float(rest),
        sharpness=sharp,
        misfit=float(np.sqrt((moved[list(RIGID), :2] ** 2).sum(1).mean())),
    )


def sharpness(picture: Picture, landmarks: Floats) -> float:
    """Variance of the Laplacian over the face at a fixed size: larger is sharper; for pictures of one person only."""
    import cv2

    left, top, right, bottom = (round(v) for v in face_box(landmarks))
    face = picture[max(0, top) : max(1, bottom), max(0, left) : max(1, right)]
    if min(face.shape[:2]) < 8:
        return 0.0
    grey = cv2.cvtColor(cv2.resize(face, (128, 128), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def bright_mouth(picture: Picture, landmarks: Floats) -> float:
    """Which part of the inner mouth, 0 to 1, is bright and not red: teeth."""
    import cv2

    outline = np.rint(landmarks[list(LIPS_INNER), :2]).astype(np.int32)
    low, high = np.clip(outline.min(0), 0, None), outline.max(0) + 1
    mouth = picture[low[1] : max(high[1], 0), low[0] : max(high[0], 0)].astype(np.float32)
    if min(mouth.shape[:2]) < 2:
        return 0.0
    inside = np.zeros(mouth.shape[:2], np.uint8)
    cv2.fillPoly(inside, [outline - low], 1)
    left, top, right, bottom = (max(0, round(v)) for v in face_box(landmarks))
    skin = float(np.median(picture[top : bottom + 1, left : right + 1].max(-1)))
    bright = (mouth.min(-1) > 0.45 * skin) & (mouth.min(-1) > 0.6 * mouth.max(-1))
    return float(bright[inside > 0].mean()) if inside.any() else 0.0


def _mouth_area(shape: Floats) -> float:
    x, y = shape[list(LIPS_INNER), :2].T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


def choose(looks: Sequence[Look], count: int) -> list[int]:
    """Pick up to `count` looks, the one closest to rest first; fewer where the rest would add nothing."""
    usable = _usable(looks)
    features = np.stack([look.features for look in looks])
    chosen = [_first(looks, usable)]
    for extreme in _extremes(looks, usable):
        if len(chosen) < count and _distance(features, extreme, chosen) > DISTINCT:
            chosen.append(_sharper(looks, features, usable, extreme))
    while len(chosen) < count:
        apart = np.array([_distance(features, i, chosen) for i in usable])
        farthest = usable[int(apart.argmax())]
        if apart.max() < DISTINCT:
            break
        chosen.append(_sharper(looks, features, usable, farthest))
    return list(dict.fromkeys(chosen))


def missing(looks: Sequence[Look]) -> list[str]:
    """What an avatar's references do not show and a generator would have to invent."""
    usual = max(look.lids for look in looks)
    seen = {
        "the mouth open": any(look.mouth > OPEN_MOUTH for look in looks),
        "teeth in a smile": any(look.teeth > TEETH for look in looks),
        "the eyes shut": any(look.lids < SHUT * usual for look in looks),
        "the head turned to one side": any(look.yaw < -TURNED for look in looks),
        "the head turned to the other side": any(look.yaw > TURNED for look in looks),
    }
    return [what for what, there in seen.items() if not there]


def least_useful(looks: Sequence[Look], chosen: Sequence[int]) -> int:
    """Which picture to replace first: the one not chosen, or else the one chosen, that is most like another chosen.

    The first reference is never named. With a single look there is only that one.
    """
    features = np.stack([look.features for look in looks])
    spare = [i for i in range(len(looks)) if i not in chosen] or list(chosen[1:]) or [chosen[0]]
    return min(spare, key=lambda i: _distance(features, i, [j for j in chosen if j != i] or [i]))


def _usable(looks: Sequence[Look]) -> list[int]:
    """Leave out the blurred and the mistracked, where there is something else."""
    if len(looks) < 12:
        return list(range(len(looks)))
    sharp = np.array([look.sharpness for look in looks])
    misfit = np.array([look.misfit for look in looks])
    good = (sharp >= 0.6 * np.median(sharp)) & (misfit <= ODD * np.median(misfit))
    return [int(i) for i in np.flatnonzero(good)] or list(range(len(looks)))


def _first(looks: Sequence[Look], usable: Sequence[int]) -> int:
    """Nearest to rest among those whose eyes are open, and the sharpest of those that are nearly as near."""
    usual = float(np.percentile([looks[i].lids for i in usable], 60))
    awake = [i for i in usable if looks[i].lids >= AWAKE * usual] or list(usable)
    best = min(looks[i].rest for i in awake)
    return max((i for i in awake if looks[i].rest <= best + NEAR), key=lambda i: looks[i].sharpness)


def _extremes(looks: Sequence[Look], usable: Sequence[int]) -> list[int]:
    """What a generator cannot make up: shut lids, an open mouth, teeth, both sides of the head."""
    usual = float(np.percentile([looks[i].lids for i in usable], 60))
    shut, opened = min(usable, key=lambda i: looks[i].lids), max(usable, key=lambda i: looks[i].mouth)
    teeth = max(usable, key=lambda i: looks[i].teeth)
    left, right = min(usable, key=lambda i: looks[i].yaw), max(usable, key=lambda i: looks[i].yaw)
    there = (  # one picture may be several of these
        (opened, looks[opened].mouth > OPEN_MOUTH / 2),
        (shut, looks[shut].lids < SHUT * usual),
        (teeth, looks[teeth].teeth > TEETH / 2),
        (left, looks[left].yaw < -TURNED / 2),
        (right, looks[right].yaw > TURNED / 2),
    )
    return [index for index, worth in there if worth]


def _sharper(looks: Sequence[Look], features: Floats, usable: Sequence[int], index: int) -> int:
    near = [i for i in usable if np.linalg.norm(features[i] - features[index]) <= NEAR]
    return max([*near, index], key=lambda i: looks[i].sharpness)


def _distance(features: Floats, index: int, chosen: Sequence[int]) -> float:
    return float(np.linalg.norm(features[chosen] - features[index], axis=1).min())
