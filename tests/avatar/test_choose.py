from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from telepresence.avatar.choose import Look, choose, describe, look_at, missing
from telepresence.face.basis import default_basis
from telepresence.face.landmarks import LandmarkTracker
from telepresence.face.motion import Pose
from telepresence.face.topology import EYE_OPENING_LEFT, EYE_OPENING_RIGHT, EYELIDS, LIPS
from telepresence.media import read_frames
from tests.clips import portrait

MEAN = default_basis().mean
SIDE = 256


def look(*, lids: float = 1.0, mouth: float = 0.0, yaw: float = 0.0, sharp: float = 100.0, teeth: float = 0.0) -> Look:
    """The mean face with lids shut to a part, the mouth opened by canonical units, the head turned by radians."""
    shape = MEAN.copy()
    for eye in (EYE_OPENING_RIGHT, EYE_OPENING_LEFT):
        points = [p for p in EYELIDS if abs(shape[p, 0] - shape[eye[0], 0]) < 0.25]
        middle = shape[points, 1].mean()
        shape[points, 1] = middle + lids * (shape[points, 1] - middle)
    centre = shape[list(LIPS), 1].mean()
    for point in LIPS:
        shape[point, 1] += mouth / 2 if shape[point, 1] > centre else -mouth / 2
    square = Pose(np.array([0, yaw, 0], np.float32), np.zeros(2, np.float32), 0.4).apply(shape)
    return describe((square + np.array([1, 1, 0], np.float32)) * SIDE / 2, MEAN, SIDE, SIDE, sharp, teeth)


def test_the_first_is_at_rest_with_open_eyes_and_sharp() -> None:
    looks = [
        look(mouth=0.3), look(lids=0.6), look(yaw=0.4), look(sharp=40), look(sharp=90), look(lids=0.1), look(yaw=-0.4),
    ]  # fmt: skip
    assert choose(looks, 1) == [4]


def test_a_beginning_blink_is_never_the_first() -> None:
    looks = [look(lids=0.7, sharp=500), *[look(yaw=0.15, mouth=0.02 * i) for i in range(5)]]
    assert choose(looks, 1) != [0]


def test_the_extremes_are_chosen() -> None:
    looks = [look(), look(mouth=0.3), look(lids=0.1), look(yaw=0.5), look(yaw=-0.5), look(mouth=0.02), look(yaw=0.03)]
    assert set(choose(looks, 5)) == {0, 1, 2, 3, 4}


def test_an_open_mouth_without_teeth_is_an_extreme_too() -> None:
    # The widest mouth also shows the most teeth of all, which are too few to count.
    looks = [look(), look(mouth=0.2, teeth=0.001), look(yaw=0.5), look(yaw=-0.5), look(lids=0.1), look(yaw=0.9)]
    assert choose(looks, 2) == [0, 1]


def test_what_adds_nothing_is_left_out() -> None:
    assert choose([look(), look(), look(yaw=0.01)], 8) in ([0], [1], [2])


def test_blurred_and_mistracked_pictures_are_left_out() -> None:
    rng = np.random.default_rng(3)
    good = [look(yaw=float(y), mouth=float(m)) for y, m in rng.uniform(0, 0.1, (20, 2))]
    blurred = look(mouth=0.4, sharp=5)
    torn = describe(rng.uniform(0, SIDE, (478, 3)).astype(np.float32), MEAN, SIDE, SIDE, 100, 0)
    assert not {20, 21} & set(choose([*good, blurred, torn], 8))


def test_where_all_are_blurred_or_mistracked_one_is_chosen_all_the_same() -> None:
    looks = [replace(look(), sharpness=sharp, misfit=misfit) for sharp, misfit in [(100, 1.0), (5, 0.01)] * 6]
    assert len(choose(looks, 8)) == 1


def test_the_sharper_of_two_alike_is_taken() -> None:
    looks = [look(sharp=100), look(mouth=0.3, sharp=70), look(mouth=0.305, sharp=100)]
    assert choose(looks, 2) == [0, 2]


def test_missing_names_what_was_not_seen() -> None:
    assert len(missing([look()])) == 5
    seen = [look(), look(mouth=0.3), look(lids=0.1), look(yaw=0.5), look(yaw=-0.5), look(mouth=0.2, teeth=1.0)]
    assert missing(seen) == []


def test_a_smile_shows_teeth() -> None:
    from telepresence.avatar.samples import sample_avatar

    assert look_at(portrait(), sample_avatar().references[0].landmarks, sample_avatar().neutral).teeth > 0.01


def test_on_a_real_clip_the_first_reference_has_open_eyes_and_another_shut_ones(faces: Path) -> None:
    looks = []
    with LandmarkTracker() as tracker:
        for index, frame in enumerate(read_frames(faces / "dev" / "obama_s3_256.mp4")):
            if index == 250:
                break
            landmarks = tracker(frame.picture)
            if landmarks is not None:
                looks.append(look_at(frame.picture, landmarks, MEAN))
    chosen = choose(looks, 8)
    lids = np.array([one.lids for one in looks])
    assert lids[chosen[0]] > 0.9 * np.median(lids)
    assert min(lids[chosen]) < 0.6 * np.median(lids)
    assert max(looks[i].mouth for i in chosen) > 0.9 * max(one.mouth for one in looks)
