"""Draw training samples: a target frame, references of the same clip, all augmented alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import InputError
from telepresence.face.topology import EYE_CORNERS_OUTER, EYE_OPENING_LEFT, EYE_OPENING_RIGHT, MOUTH_OPENING
from telepresence.generator.data.clips import Clip
from telepresence.generator.data.colour import Colour, draw_colour, draw_plate, replace_background
from telepresence.generator.data.warp import Resampler, Warp, draw_warp

Floats = NDArray[np.float32]
Indices = NDArray[np.intp]
Picture = NDArray[np.uint8]
Choose = Callable[[Floats, Floats], Indices | Sequence[int]]

SEVERAL: Final = ((1, 1, 0.35), (2, 4, 0.25), (5, 8, 0.40))  # how many distinct references: from, to, how often
PAIR_US: Final = 150_000  # at most between the two frames of a pair: further apart there may be a cut
NEAR_US: Final = 400_000  # so close in time a frame shows what the target shows
NARROW_SHARE: Final = 0.5  # of the samples with several references take them from a part of the clip, as enrolment does
NARROW: Final = (0.2, 0.6)  # of the clip's frames
TELLING: Final = 2.0  # how much likelier a frame with an open mouth, shut eyes or a turned head is to be a target
OPEN_MOUTH: Final = 0.12  # of the distance between the outer eye corners, as the others below
SHUT: Final = 0.5  # of the clip's usual lid opening
TURNED: Final = 0.3  # radians
CUT_OFF_FRAMES: Final = 16
CUT_OFF_ROWS: Final = 3  # pixels
NEW_PLATE_SHARE: Final = 0.1
_UP: Final = (10, 152)  # forehead and chin


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One training sample; S is the side of the pictures, U how many references `choose` asked for."""

    target: Picture
    """(S, S, 3) uint8 RGB."""
    target_matte: Picture
    """(S, S) uint8."""
    target_points: Floats
    """(478, 3) float32, square coordinates, like all points."""
    references: Picture
    """(U, S, S, 3) uint8 RGB, in the order of `chosen`."""
    reference_mattes: Picture
    """(U, S, S) uint8."""
    reference_points: Floats
    """(U, 478, 3) float32."""
    plate: Picture
    """(S, S, 3) uint8 RGB."""
    all_reference_points: Floats
    """(R, 478, 3) float32, what `choose` saw; the first `distinct` differ, the rest repeat the first."""
    chosen: Indices
    """(U,) which of the R references are here."""
    distinct: int
    """How many different references there are, 1 to R."""
    identity: str
    clip: str


class Sampler:
    """An endless supply of samples. Deterministic for a seed; not thread-safe, but clips may be shared."""

    def __init__(
        self,
        clips: Sequence[Clip],
        *,
        references: int = 8,
        seed: int = 0,
        augment: bool = True,
        several: Sequence[tuple[int, int, float]] = SEVERAL,
    ) -> None:
        """Supply samples of some clips.

        Args:
            clips: all of one side.
            references: R, at least 1.
            seed: of all draws; samplers that work side by side need different ones.
            augment: warp, mirror, recolour; False gives frames as they are.
            several: how many of the references are distinct: from, to, how often.

        Raises:
            InputError: there is no clip to draw from, or their pictures differ in size.
        """
        if not clips or any(clip.side != clips[0].side for clip in clips):
            raise InputError("a sampler needs clips, all prepared at the same size; prepare them anew with one --size")
        self._clips = list(clips)
        self._references = references
        self._random = np.random.default_rng(seed)
        self._augment = augment
        self._several = several
        self._shares = _clip_shares(self._clips)
        self._cut_off = [_cut_off(clip) for clip in self._clips]
        self._targets = [_target_shares(clip) for clip in self._clips]
        self._pair_targets = [_pair_shares(clip, shares) for clip, shares in zip(clips, self._targets, strict=True)]
        with_pairs = [shares.any() for shares in self._pair_targets]
        self._pair_clips = self._shares * with_pairs / max(float((self._shares * with_pairs).sum()), 1e-12)

    def draw(self, choose: Choose | None = None) -> Sample:
        """Draw one sample.

        Args:
            choose: told the points of all references (R, 478, 3) and of the target (478, 3), augmented; returns which
                references (U,) are needed. Only these are decoded. None: all.
        """
        return self.draw_several(1, choose)[0]

    def draw_several(self, count: int, choose: Choose | None = None) -> list[Sample]:
        """Draw samples that differ in nothing but the target: any frames of one clip.

        Args:
            count: how many, at least 1.
            choose: as `draw`'s; asked once, with the first target.
        """
        number = int(self._random.choice(len(self._clips), p=self._shares))
        frames, shares = len(self._clips[number]), self._targets[number]
        return self._draw(number, [int(self._random.choice(frames, p=shares)) for _ in range(count)], choose)

    def draw_pair(self, choose: Choose | None = None) -> tuple[Sample, Sample] | None:
        """Draw two samples whose targets are neighbouring frames, at most `PAIR_US` apart, and all else is the same.

        Args:
            choose: as `draw`'s; asked once, with the first target.

        Returns:
            None if no clip has two such frames.
        """
        if not self._pair_clips.any():
            return None
        number = int(self._random.choice(len(self._clips), p=self._pair_clips))
        target = int(self._random.choice(len(self._clips[number]), p=self._pair_targets[number]))
        first, second = self._draw(number, [target, target + 1], choose)
        return first, second

    def _draw(self, number: int, targets: list[int], choose: Choose | None) -> list[Sample]:
        """Samples of one clip that differ in nothing but the target."""
        random, clip = self._random, self._clips[number]
        distinct = self._draw_references(clip, targets)
        frames = np.concatenate([distinct, np.full(self._references - len(distinct), distinct[0])])
        points = clip.points[np.concatenate([frames, targets])]
        reference_count = len(frames)
        first = points[reference_count]
        warp = draw_warp(random, first, cut_off=self._cut_off[number]) if self._augment else None
        if warp is not None:
            points = warp.points(points)
        reference_points, target_points = points[:reference_count], points[reference_count:]
        wanted = range(self._references) if choose is None else choose(reference_points, target_points[0])
        chosen = np.asarray(wanted, np.intp)
        look = _Look.of(random, clip, warp) if warp else _Look(clip, None, None, None, clip.plate)
        pictures, mattes = look.draw_frames([*frames[chosen], *targets])
        return [
            Sample(
                target=pictures[len(chosen) + i],
                target_matte=mattes[len(chosen) + i],
                target_points=target_points[i],
                references=pictures[: len(chosen)],
                reference_mattes=mattes[: len(chosen)],
                reference_points=reference_points[chosen],
                plate=look.plate if look.new_plate is None else look.new_plate,
                all_reference_points=reference_points,
                chosen=chosen,
                distinct=len(distinct),
                identity=clip.identity,
                clip=clip.name,
            )
            for i in range(len(targets))
        ]

    def _draw_references(self, clip: Clip, targets: list[int]) -> Indices:
        """Distinct frames, in no order; one may be anywhere, several keep away from the targets."""
        random = self._random
        low, high, _ = self._several[int(random.choice(len(self._several), p=[share for *_, share in self._several]))]
        count = min(int(random.integers(low, high, endpoint=True)), self._references)
        if count == 1:
            return random.integers(len(clip), size=1)
        far = np.flatnonzero(np.abs(clip.times_us - clip.times_us[targets][:, None]).min(0) > NEAR_US)
        if random.random() < NARROW_SHARE:
            length = max(count, int(len(far) * random.uniform(*NARROW)))
            start = int(random.integers(max(1, len(far) - length + 1)))
            far = far[start : start + length]
        if len(far) < count:  # a very short clip
            return far if len(far) else random.integers(len(clip), size=1)
        edges = np.linspace(0, len(far), count + 1).astype(int)
        spread = [far[random.integers(start, end)] for start, end in pairwise(edges)]
        return random.permutation(np.array(spread, np.intp))


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """How the pictures of one sample are drawn."""

    clip: Clip
    resample: Resampler | None
    colour: Colour | None
    new_plate: Picture | None
    """What comes in the plate's place."""
    plate: Picture
    """The clip's own, warped and coloured."""

    @staticmethod
    def of(random: np.random.Generator, clip: Clip, warp: Warp) -> _Look:
        """Draw colour and background."""
        resample = Resampler(warp, clip.side)
        colour = draw_colour(random)
        plate = resample.smooth(clip.plate)
        plate = colour(plate) if colour else plate
        new = draw_plate(random, clip.side) if random.random() < NEW_PLATE_SHARE else None
        return _Look(clip, resample, colour, new, plate)

    def draw_frames(self, frames: Sequence[int]) -> tuple[Picture, Picture]:
        """Pictures (N, S, S, 3) and mattes (N, S, S) of N frames; one that comes twice is drawn once."""
        unique, places = np.unique(frames, return_inverse=True)
        drawn = [self._draw(int(frame)) for frame in unique]
        return np.stack([drawn[place][0] for place in places]), np.stack([drawn[place][1] for place in places])

    def _draw(self, frame: int) -> tuple[Picture, Picture]:
        picture, matte = self.clip.picture(frame), self.clip.matte(frame)
        if self.resample:
            picture, matte = self.resample.picture(picture), self.resample.smooth(matte)
        if self.colour:
            picture = self.colour(picture)
        if self.new_plate is not None:
            picture = replace_background(picture, matte, self.plate, self.new_plate)
        return picture, matte


def _clip_shares(clips: Sequence[Clip]) -> NDArray[np.float64]:
    """How often each clip is drawn: a person by the square root of their frames, their clips by frames."""
    frames: dict[str, int] = {}
    for clip in clips:
        frames[clip.identity] = frames.get(clip.identity, 0) + len(clip)
    shares = np.array([len(clip) / np.sqrt(frames[clip.identity]) for clip in clips])
    return np.asarray(shares / shares.sum(), np.float64)


def _target_shares(clip: Clip) -> NDArray[np.float64]:
    """How often each frame is the target."""
    shares = np.where(telling_frames(clip.points), TELLING, 1.0)
    return np.asarray(shares / shares.sum(), np.float64)


def _pair_shares(clip: Clip, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """How often each frame is a pair's first; nothing where no frame follows soon enough."""
    follows = np.append(np.diff(clip.times_us) <= PAIR_US, False)
    kept = shares * follows
    return np.asarray(kept / max(float(kept.sum()), 1e-12), np.float64)


def _cut_off(clip: Clip) -> bool:
    """Whether the picture's upper edge cuts the person in some frame."""
    looked_at = np.unique(np.linspace(0, len(clip) - 1, CUT_OFF_FRAMES).astype(int))
    return any(bool((clip.matte(int(i))[:CUT_OFF_ROWS] > 127).any()) for i in looked_at)


def telling_frames(points: Floats) -> NDArray[np.bool_]:
    """Which frames of a clip (T, 478, 3) show an open mouth, shut eyes or a turned head: (T,) bool."""

    def between(pair: tuple[int, int]) -> Floats:
        return points[:, pair[1]] - points[:, pair[0]]

    across, down = between(EYE_CORNERS_OUTER), between(_UP)
    size = np.maximum(np.linalg.norm(across, axis=1), 1e-6)
    mouth = np.linalg.norm(between(MOUTH_OPENING), axis=1) / size
    lids = (
        np.linalg.norm(between(EYE_OPENING_LEFT), axis=1) + np.linalg.norm(between(EYE_OPENING_RIGHT), axis=1)
    ) / size
    yaw = np.arctan2(across[:, 2], np.hypot(across[:, 0], across[:, 1]))
    pitch = np.arctan2(down[:, 2], np.hypot(down[:, 0], down[:, 1]))
    turned = np.hypot(yaw, pitch - np.median(pitch)) > TURNED
    found: NDArray[np.bool_] = (mouth > OPEN_MOUTH) | (lids < SHUT * np.percentile(lids, 60)) | turned
    return found
