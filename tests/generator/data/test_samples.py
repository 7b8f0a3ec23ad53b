from __future__ import annotations

from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from telepresence.errors import InputError
from telepresence.face.topology import EYE_OPENING_LEFT, EYE_OPENING_RIGHT, MOUTH_OPENING
from telepresence.generator.data import samples
from telepresence.generator.data.clips import Clip, parse_clip
from telepresence.generator.data.samples import NEAR_US, Sample, Sampler, telling_frames
from tests.generator.data.made import SIDE, STEP_US, clip_bytes, face_points, frame_picture, made_clip


def numbers(points: NDArray[np.float32]) -> NDArray[np.int64]:
    """Which frames of a made clip unaugmented points belong to."""
    return np.rint((points[..., 1, 0] - face_points()[1, 0]) * 1000).astype(np.int64)


def test_a_sample_has_what_it_promises() -> None:
    sample = Sampler([made_clip()], references=8, seed=1).draw()
    assert sample.target.shape == sample.plate.shape == (SIDE, SIDE, 3)
    assert sample.target_matte.shape == (SIDE, SIDE)
    assert sample.references.shape == (8, SIDE, SIDE, 3)
    assert sample.reference_mattes.shape == (8, SIDE, SIDE)
    assert sample.reference_points.shape == sample.all_reference_points.shape == (8, 478, 3)
    assert sample.target_points.dtype == sample.reference_points.dtype == np.float32
    assert all(a.dtype == np.uint8 for a in (sample.target, sample.target_matte, sample.references, sample.plate))
    assert (sample.identity, sample.clip) == ("ann", "clip")


def test_a_seed_repeats_and_another_differs() -> None:
    clips = [made_clip(), made_clip(name="b", identity="bob")]

    def drawn(seed: int) -> list[Sample]:
        sampler = Sampler(clips, seed=seed)
        return [sampler.draw() for _ in range(4)]

    for one, other in zip(drawn(7), drawn(7), strict=True):
        for field in fields(Sample):
            assert np.array_equal(getattr(one, field.name), getattr(other, field.name))
    assert any(not np.array_equal(a.target, b.target) for a, b in zip(drawn(7), drawn(8), strict=True))


def test_without_augmentation_frames_come_as_they_are() -> None:
    clip = made_clip()
    sampler = Sampler([clip], references=4, seed=2, augment=False)
    for _ in range(10):
        sample = sampler.draw()
        target, frames = int(numbers(sample.target_points)), numbers(sample.reference_points)
        assert np.array_equal(sample.target, clip.picture(target))
        assert all(np.array_equal(p, clip.picture(int(i))) for p, i in zip(sample.references, frames, strict=True))
        assert np.array_equal(sample.reference_mattes[1], clip.matte(int(frames[1])))
        assert np.array_equal(sample.plate, clip.plate)


def test_the_numbers_of_references_come_as_often_as_planned() -> None:
    sampler = Sampler([made_clip(60)], references=8, seed=3, augment=False)
    drawn = [sampler.draw(lambda r, t: []) for _ in range(2000)]
    counts = Counter(sample.distinct for sample in drawn)
    assert set(counts) == set(range(1, 9))
    assert counts[1] / 2000 == pytest.approx(0.35, abs=0.04)
    assert sum(counts[n] for n in (2, 3, 4)) / 2000 == pytest.approx(0.25, abs=0.04)
    for sample in drawn[:300]:
        frames = numbers(sample.all_reference_points)
        assert len(set(frames[: sample.distinct].tolist())) == sample.distinct
        assert (frames[sample.distinct :] == frames[0]).all()


def test_several_references_keep_away_from_the_target() -> None:
    sampler = Sampler([made_clip(60)], seed=4, augment=False)
    gaps = []
    for _ in range(300):
        sample = sampler.draw(lambda r, t: [])
        gap = np.abs(numbers(sample.all_reference_points) - numbers(sample.target_points)) * STEP_US
        gaps.append((sample.distinct, int(gap.min())))
    assert min(gap for distinct, gap in gaps if distinct > 1) > NEAR_US
    assert any(gap <= NEAR_US for distinct, gap in gaps if distinct == 1)


def test_references_are_spread_out() -> None:
    sampler = Sampler([made_clip(200)], seed=5, augment=False)
    spans = []
    for _ in range(400):
        sample = sampler.draw(lambda r, t: [])
        if sample.distinct == 8:
            spans.append(int(np.ptp(numbers(sample.all_reference_points))))
    assert max(spans) > 150  # over the whole clip
    assert 25 < min(spans) < 60  # or, as in enrolment, over a part of it


def test_very_short_clips_give_what_they_have() -> None:
    sampler = Sampler([made_clip(4)], seed=6)
    assert all(sampler.draw().distinct == 1 for _ in range(30))  # every frame is near every other
    sampler = Sampler([made_clip(9)], seed=6)
    assert {sampler.draw().distinct for _ in range(100)} <= {1, 2, 3}


def test_only_what_is_chosen_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    monkeypatch.setattr(Clip, "picture", lambda self, i: (decoded.append(i), frame_picture(i))[1])
    sampler = Sampler([made_clip()], references=8, seed=7)
    asked: list[tuple[tuple[int, ...], ...]] = []

    def choose(references: NDArray[np.float32], target: NDArray[np.float32]) -> list[int]:
        asked.append((references.shape, target.shape))
        return [5, 2, 2]

    sample = sampler.draw(choose)
    assert asked == [((8, 478, 3), (478, 3))]
    assert len(decoded) == len(set(decoded)) <= 3
    assert sample.chosen.tolist() == [5, 2, 2]
    assert sample.references.shape[0] == 3
    assert np.array_equal(sample.reference_points, sample.all_reference_points[[5, 2, 2]])
    assert np.array_equal(sample.references[1], sample.references[2])


def test_choosing_sees_what_the_sample_holds() -> None:
    seen: list[NDArray[np.float32]] = []
    sampler = Sampler([made_clip()], seed=8)
    sample = sampler.draw(lambda r, t: (seen.extend([r, t]), [0])[1])
    assert np.array_equal(seen[0], sample.all_reference_points)
    assert np.array_equal(seen[1], sample.target_points)


def test_target_and_references_are_augmented_alike() -> None:
    """A clip of one and the same frame: whatever was drawn, all pictures and points must agree."""
    raw = clip_bytes(1)
    clip = parse_clip(raw, "one")
    sampler = Sampler([clip], references=2, seed=9)
    changed = 0
    for _ in range(30):
        sample = sampler.draw()
        assert np.array_equal(sample.references[0], sample.target)
        assert np.array_equal(sample.reference_mattes[1], sample.target_matte)
        assert np.array_equal(sample.reference_points[0], sample.target_points)
        changed += int(not np.array_equal(sample.target, clip.picture(0)))
    assert changed > 25


def test_new_backgrounds_come_now_and_then_and_are_everywhere() -> None:
    sampler = Sampler([made_clip(1)], references=1, seed=10)
    new = 0
    for _ in range(200):
        sample = sampler.draw()
        free = sample.target_matte == 0
        new += int(free.any() and np.array_equal(sample.target[free], sample.plate[free]))
    assert 8 <= new <= 36


def test_people_come_equally_but_for_the_root_of_their_frames() -> None:
    clips = [made_clip(90, name="a", identity="ann"), made_clip(10, name="b", identity="bob")]
    clips += [made_clip(5, name="c", identity="bob"), made_clip(10, name="d", identity="bob")]
    sampler = Sampler(clips, seed=11, augment=False)
    drawn = Counter(sampler.draw(lambda r, t: []).clip for _ in range(3000))
    people = np.sqrt(90), np.sqrt(25)
    assert drawn["a"] / 3000 == pytest.approx(people[0] / sum(people), abs=0.04)
    assert drawn["b"] / (drawn["b"] + drawn["c"] + drawn["d"]) == pytest.approx(0.4, abs=0.06)


def expressive(what: str) -> NDArray[np.float32]:
    points = face_points()
    if what == "mouth":
        points[MOUTH_OPENING[1], 1] += 0.1
    if what == "shut":
        for top, low in (EYE_OPENING_LEFT, EYE_OPENING_RIGHT):
            points[low] = points[top]
    if what in ("turned", "nodding"):
        angle, axis = 0.5, {"turned": 0, "nodding": 1}[what]
        cos, sin = np.cos(angle), np.sin(angle)
        points[:, axis], points[:, 2] = (
            cos * points[:, axis] + sin * points[:, 2],
            cos * points[:, 2] - sin * points[:, axis],
        )
    return points


@pytest.mark.parametrize("what", ["mouth", "shut", "turned", "nodding"])
def test_telling_frames_are_those_that_a_still_face_is_not(what: str) -> None:
    points = np.stack([face_points()] * 9 + [expressive(what)])
    assert telling_frames(points).tolist() == [False] * 9 + [True]


def test_telling_frames_are_targets_twice_as_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "telling_frames", lambda points: np.arange(len(points)) < 10)
    sampler = Sampler([made_clip(20)], seed=12, augment=False)
    drawn = [int(numbers(sampler.draw(lambda r, t: []).target_points)) for _ in range(2000)]
    assert np.mean(np.array(drawn) < 10) == pytest.approx(2 / 3, abs=0.04)


def test_clips_of_two_sizes_or_none_are_refused() -> None:
    with pytest.raises(InputError, match="one --size"):
        Sampler([made_clip(), made_clip(side=80)])
    with pytest.raises(InputError, match="needs clips"):
        Sampler([])


def test_augmented_faces_keep_their_landmarks(faces: Path, tmp_path: Path) -> None:
    """MediaPipe finds the face of a warped, mirrored, recoloured sample where the sample says that it is."""
    from telepresence.face.landmarks import LandmarkTracker
    from telepresence.face.motion import to_square
    from telepresence.generator.data.cache import prepare
    from telepresence.generator.data.clips import load_clip
    from telepresence.generator.data.sources import read_sources

    source = next(s for s in read_sources(faces / "dev") if s.name == "grid_bbaf2n")
    clip = load_clip(prepare(source, tmp_path, size=256))
    sampler = Sampler([clip], references=1, seed=13)
    gaps = []
    with LandmarkTracker(still=True) as tracker:
        for _ in range(12):
            sample = sampler.draw()
            found = tracker(sample.target)
            if found is not None:
                width = float(np.ptp(sample.target_points[:, 0]))
                gap = np.linalg.norm((to_square(found, 256, 256) - sample.target_points)[:, :2], axis=1)
                gaps.append(float(np.median(gap)) / width)
    assert len(gaps) >= 10
    assert np.median(gaps) < 0.025
    assert max(gaps) < 0.06


def test_a_pair_is_of_neighbours_and_differs_in_nothing_else() -> None:
    sampler = Sampler([made_clip()], references=4, seed=14)
    asked: list[int] = []

    def choose(references: NDArray[np.float32], target: NDArray[np.float32]) -> list[int]:
        asked.append(1)
        return [2, 0]

    for _ in range(10):
        pair = sampler.draw_pair(choose)
        assert pair is not None
        one, other = pair
        for field in fields(Sample):
            if not field.name.startswith("target"):
                assert np.array_equal(getattr(one, field.name), getattr(other, field.name)), field.name
        assert not np.array_equal(one.target_points, other.target_points)
    assert len(asked) == 10


def test_a_pair_is_never_across_a_gap_in_time() -> None:
    clip = made_clip(9)
    clip.times_us = np.array([0, 200, 400, 480, 700, 900, 1100, 1300, 1500], np.int64) * 1000
    sampler = Sampler([clip, made_clip(1, name="b", identity="bob")], seed=15, augment=False)
    for _ in range(20):
        pair = sampler.draw_pair(lambda r, t: [])
        assert pair is not None
        assert [int(numbers(sample.target_points)) for sample in pair] == [2, 3]
    clip.times_us = clip.times_us * 2
    assert Sampler([clip], seed=16).draw_pair() is None


def test_several_targets_share_everything_else() -> None:
    drawn = Sampler([made_clip()], references=3, seed=2, several=((3, 3, 1.0),)).draw_several(4)
    assert len(drawn) == 4
    for one in drawn:
        assert one.distinct == 3
        assert np.array_equal(one.references, drawn[0].references)
        assert np.array_equal(one.plate, drawn[0].plate)
    assert len({one.target.tobytes() for one in drawn}) > 1
