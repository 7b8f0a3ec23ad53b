"""A clip's candidates for references, parted at its cuts: references come from one person in one framing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.choose import bright_mouth, sharpness
from telepresence.avatar.flaws import MAX_TURN, cut_off, turn_degrees
from telepresence.avatar.photos import DOUBTFUL, the_one
from telepresence.errors import FaceError
from telepresence.face.identity import difference, neutral_shape
from telepresence.face.landmarks import LandmarkTracker, detect_faces, face_box, same_face
from telepresence.face.motion import to_square
from telepresence.media import ClipInfo, ended_early, read_frames

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]
Progress = Callable[[str], None]

MAX_CANDIDATES: Final = 400  # pictures of a clip that are looked at, evenly over its first MAX_FRAMES
MAX_FRAMES: Final = 7200  # four minutes at 30 fps; the rest of a longer clip is not read
USUAL_FPS: Final = 60.0  # headers of clips without a steady rate name any
MIN_CANDIDATES: Final = 5  # a face seen less often than this in a clip was hardly in it
MANY_AWAY: Final = 0.2  # of the pictures looked at: if more show no face, it is said

ASKED: Final = 40  # times a clip at most, apart from where scenes begin: whether others are in the picture
LEAST_APART: Final = 60  # frames between two such questions

THUMB: Final = 24  # pixels; what cuts and framings are told by
CUT: Final = 8.0  # of 255, mean change of the thumb from one frame to the next: a talking head changes by 0.5 to 3
DRIFT: Final = 26.0  # of 255, between a scene's first thumb and a later one: faded into another, or only moved
SETTLE_S: Final = 0.6  # seconds before and after a fade to somebody else that may show both
SUDDEN: Final = 6.0  # times the usual change: a camera that is carried changes a lot in every frame
JUMP: Final = 0.5  # face heights from one candidate to the next, if those are few frames apart
RESIZED: Final = 1.3  # face height against the height before
NEAR_FRAMES: Final = 3  # candidates no further apart than this cannot jump without a cut
SAME_VIEW: Final = 12.0  # of 255, between the median thumbs of two scenes: the same room, seen alike
SHAPE_PICTURES: Final = 40


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A picture of a clip with a face in it, measured at once so that the picture need not be kept."""

    index: int
    seconds: float
    landmarks: Floats
    sharp: float
    bright: float
    facing: bool
    """Whole in the picture, and not turned away."""
    take: int
    scene: int
    thumb: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    candidates: list[Candidate]
    shape: Floats
    thumb: Floats
    height: float

    def goes_with(self, other: _Scene) -> bool:
        """The same person and framing; within one take the view may have moved."""
        if not 1 / RESIZED < self.height / other.height < RESIZED:
            return False
        alike = float(np.abs(self.thumb - other.thumb).mean()) < SAME_VIEW
        one_take = self.candidates[0].take == other.candidates[0].take
        return (one_take or alike) and difference(self.shape, other.shape) < DOUBTFUL


def clip_candidates(path: Path, info: ClipInfo, say: Progress) -> list[Candidate]:
    """Candidates of the longest part of a clip that shows one person in one framing.

    Raises:
        MediaError: the clip cannot be read.
        FaceError: hardly any picture shows a face, all are turned away, or two faces are about the same size.
    """
    candidates = _look(path, info, say)
    if len(candidates) < MIN_CANDIDATES:
        raise FaceError(
            f"{path}: a face was found in only {len(candidates)} pictures; use a clip of a few seconds that shows one "
            "face from the front, well lit and not covered"
        )
    say(f"{path.name}: {len(candidates)} pictures with a face")
    facing = [candidate for candidate in candidates if candidate.facing]
    if len(facing) < MIN_CANDIDATES:
        raise FaceError(
            f"{path}: the head is turned away by more than {MAX_TURN:.0f} degrees, or cut off by the picture's edge; "
            "use a clip that shows the whole head and looks into the camera"
        )
    return _longest(path, facing, (info.width, info.height), say)


def _look(path: Path, info: ClipInfo, say: Progress) -> list[Candidate]:
    # Browsers' recordings do not say how long they are: then the stride grows on the way.
    expected = info.frames or round((info.duration_s or 0) * min(info.fps, USUAL_FPS))
    stride = max(1, -(-min(expected, MAX_FRAMES) // MAX_CANDIDATES))
    candidates: list[Candidate] = []
    cuts, company = _Cuts(), _Company(expected)
    index, end_us, looked_at, seen = -1, 0.0, 0, 0
    with LandmarkTracker() as tracker:
        for index, frame in enumerate(islice(read_frames(path), MAX_FRAMES)):
            end_us = frame.time_us + 1e6 / info.fps
            cuts(frame.picture)
            if index % stride or frame.picture.shape[:2] != (info.height, info.width):
                continue  # a stream may change its size midway; one framing holds for all references
            looked_at += 1
            landmarks = tracker(frame.picture)
            if landmarks is None:
                continue
            seen += 1
            if candidates and index - candidates[-1].index <= NEAR_FRAMES and _jumped(candidates[-1], landmarks):
                cuts.cut()
            if company.asks(cuts.scene, index):
                where = f"{path}, at {frame.time_us / 1e6:.1f} s"
                since = company(frame.picture, landmarks, index, cuts, where)
                candidates = [candidate for candidate in candidates if candidate.index <= since]
            if company.reason is None:
                candidates.append(_candidate(index, frame.time_us, frame.picture, landmarks, cuts))
            if len(candidates) > MAX_CANDIDATES:
                stride, looked_at, seen = 2 * stride, looked_at // 2, seen // 2
                candidates = [candidate for candidate in candidates if candidate.index % stride == 0]
    if company.first and len(candidates) < MIN_CANDIDATES:
        raise company.first
    early = ended_early(path, info, index + 1, end_us / 1e6) if index + 1 < MAX_FRAMES else None
    _tell(path, say, company, early, seen / max(looked_at, 1) if candidates else 1.0)
    return candidates


def _tell(path: Path, say: Progress, company: _Company, early: str | None, seen: float) -> None:
    """What of the clip is not used; `seen` is the share of its pictures with a face."""
    if company.first:
        say(f"{company.first}; references come from where only one is")
    if early:
        say(early)
    if 1 - seen > MANY_AWAY:
        say(f"{path.name}: no face in {1 - seen:.0%} of the clip; those parts are not used")


class _Company:
    """Whether somebody else is in the picture: asked where a scene begins, then only now and then, as it is slow."""

    def __init__(self, frames: int) -> None:
        self.every = max(LEAST_APART, min(frames, MAX_FRAMES) // ASKED)
        self.reason: FaceError | None = None
        """Why what is shown now cannot be used."""
        self.first: FaceError | None = None
        """The first such reason."""
        self._scene, self._asked = -1, 0

    def asks(self, scene: int, index: int) -> bool:
        return scene != self._scene or index - self._asked >= self.every

    def __call__(self, picture: Picture, landmarks: Floats, index: int, cuts: _Cuts, where: str) -> int:
        """Ask; who comes or goes ends a scene. Returns the last frame so far that is to be trusted."""
        before, was = self.reason, self._asked
        begins = cuts.scene != self._scene
        try:
            self.reason = None
            _check_followed(picture, landmarks, where)
        except FaceError as error:
            self.reason, self.first = error, self.first or error
        if not begins and (self.reason is None) != (before is None):
            cuts.cut()
        self._scene, self._asked = cuts.scene, index
        return was if self.reason and not begins and before is None else index


def _check_followed(picture: Picture, landmarks: Floats, where: str) -> None:
    """The tracker follows one face, whoever else is there, and not always the largest.

    Raises:
        FaceError: two faces are about the same size, or a smaller one is followed.
    """
    faces = detect_faces(picture)
    if faces and not same_face(landmarks, the_one(faces, where)):
        raise FaceError(f"{where}: {len(faces)} faces; crop it so that only the person to enrol is left")


def _candidate(index: int, time_us: int, picture: Picture, landmarks: Floats, cuts: _Cuts) -> Candidate:
    return Candidate(
        index=index,
        seconds=time_us / 1e6,
        landmarks=landmarks,
        sharp=sharpness(picture, landmarks),
        bright=bright_mouth(picture, landmarks),
        facing=turn_degrees(picture, landmarks) <= MAX_TURN and cut_off(picture, landmarks) is None,
        take=cuts.take,
        scene=cuts.scene,
        thumb=cuts.thumb,
    )


class _Cuts:
    """Counts takes, which end at cuts, and scenes, which also end where a picture has slowly become another one.

    Called with every frame.
    """

    def __init__(self) -> None:
        self.take = self.scene = 0
        self.thumb: Floats = np.zeros((THUMB, THUMB), np.float32)
        self._first: Floats | None = None
        self._usual = 0.0

    def __call__(self, picture: Picture) -> None:
        import cv2

        before, small = self.thumb, cv2.resize(picture, (THUMB, THUMB), interpolation=cv2.INTER_AREA)
        self.thumb = small.mean(-1).astype(np.float32)
        if self._first is None:
            self._first = self.thumb
            return
        change = float(np.abs(self.thumb - before).mean())
        if change > max(CUT, SUDDEN * self._usual):
            self.cut()
            return
        if float(np.abs(self.thumb - self._first).mean()) > DRIFT:
            self.scene, self._first = self.scene + 1, self.thumb
        self._usual += 0.1 * (change - self._usual)

    def cut(self) -> None:
        """Here begins another take, and another scene."""
        self.take, self.scene, self._first = self.take + 1, self.scene + 1, self.thumb


def _jumped(before: Candidate, landmarks: Floats) -> bool:
    old, new = (np.array(face_box(points)) for points in (before.landmarks, landmarks))
    tall, now = old[3] - old[1], new[3] - new[1]
    moved = float(np.linalg.norm((old[:2] + old[2:] - new[:2] - new[2:]) / 2))
    return moved > JUMP * tall or not 1 / RESIZED < now / tall < RESIZED


def _longest(path: Path, candidates: list[Candidate], size: tuple[int, int], say: Progress) -> list[Candidate]:
    """Join scenes that show the same person alike, as after a cut away and back; keep the longest of what comes out."""
    numbers = sorted({candidate.scene for candidate in candidates})
    if len(numbers) == 1:
        return candidates
    scenes = [_scene([c for c in candidates if c.scene == number], size) for number in numbers]
    scenes.sort(key=lambda scene: -len(scene.candidates))
    groups: list[list[_Scene]] = []
    for scene in scenes:
        home = next((group for group in groups if scene.goes_with(group[0])), None)
        if home is None:
            groups.append([scene])
        else:
            home.append(scene)
    best = max(groups, key=lambda group: sum(len(scene.candidates) for scene in group))
    inside = {c.index for scene in best for c in scene.candidates}
    outside = [c for c in candidates if c.index not in inside]
    kept = [c for c in candidates if c.index in inside and not any(_fading(c, other) for other in outside)]
    if len(kept) < MIN_CANDIDATES:
        raise FaceError(
            f"{path}: {len(groups)} scenes, none long enough; use a clip without cuts that shows one person for a few "
            "seconds"
        )
    if len(groups) > 1:
        spans = ", ".join(f"{start:.1f} to {end:.1f} s" for start, end in _spans(kept))
        say(
            f"{path.name}: has cuts or fades; references come from {spans} only, the longest part with one person in "
            f"one framing ({len(kept)} of {len(candidates)} pictures)"
        )
    return kept


def _fading(one: Candidate, other: Candidate) -> bool:
    return one.take == other.take and abs(one.seconds - other.seconds) < SETTLE_S


def _spans(kept: Sequence[Candidate]) -> list[tuple[float, float]]:
    """When each take begins and ends, seconds, as far as it is kept."""
    seconds: dict[int, list[float]] = {}
    for candidate in kept:
        seconds.setdefault(candidate.take, []).append(candidate.seconds)
    return [(times[0], times[-1]) for times in seconds.values()]


def _scene(candidates: list[Candidate], size: tuple[int, int]) -> _Scene:
    some = candidates[:: -(-len(candidates) // SHAPE_PICTURES)]
    boxes = np.array([face_box(c.landmarks) for c in some])
    return _Scene(
        candidates,
        neutral_shape([to_square(c.landmarks, *size) for c in some]),
        np.median([c.thumb for c in some], 0).astype(np.float32),
        float(np.median(boxes[:, 3] - boxes[:, 1])),
    )
