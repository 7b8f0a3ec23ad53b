"""Which frames of a clip an avatar is made of, and which it is judged on. Pure.

A clip has two splits. `first`: references from its first fifth, judged on the rest. `late`: references from, and
learning on, its first 60 % (at most LEARN_S of it), judged on the last 40 %.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.model import MAX_REFERENCES
from telepresence.bench.fidelity import REACH, SHUT
from telepresence.errors import InputError

FIRST_SHARE: Final = 0.2
LATE_SHARE: Final = 0.6
LEARN_S: Final = 30.0
LEAST_LEARN_S: Final = 5.0  # less is no "half a minute of video"
LEAST_TEST: Final = 10  # frames with a face
RUN: Final = 10  # consecutive frames, so that what changes over time can be judged
TUNED_REFERENCES: Final = 8
MAX_BLINKS: Final = 8  # a clip's; each costs about ten pictures more

SplitName = Literal["first", "late"]
_Item = TypeVar("_Item")
_SHOTS: Final = re.compile(r"(\d{1,2})(@60)?")


@dataclass(frozen=True, slots=True)
class Shots:
    """One way of making an avatar from a clip."""

    key: str
    """Its name in the report: `1`, `8`, `8@60`, `8+ft`."""
    count: int
    """References asked for; one is the clip's first frame with a face, more are chosen as enrolment chooses."""
    split: SplitName
    tuned: bool = False
    still: bool = False
    """Fine-tuned on its references alone, not on what lies between them."""
    whole: bool = False
    """Fine-tuned with the generator's weights: drawn by an engine of the person's own."""


def parse_shots(text: str, *, fine_tune: bool = False, still: bool = False, whole: bool = False) -> tuple[Shots, ...]:
    """`1,8,32` (references from the first fifth), `8@60` (from the first 60 %); fine-tuning adds `8@60` and `8+ft`.

    Args:
        text: as the option has it.
        fine_tune: also fine-tuned: 8 of the first 60 %, and as many as are asked for from there.
        still: the engine is fine-tuned on references alone: that adds `1+ft`, `8+ft`, `8@60+ft`, of each the same.
        whole: then also `1+whole`, `8+whole`, with the generator's weights.

    Raises:
        InputError: not such a list.
    """
    found: dict[str, Shots] = {}
    for part in (p.strip() for p in text.split(",")):
        match = _SHOTS.fullmatch(part)
        if match is None or not 1 <= int(match[1]) <= MAX_REFERENCES:
            raise InputError(
                f"--shots {text}: write numbers of references from 1 to {MAX_REFERENCES} with commas between, such as "
                "1,8,32; 8@60 takes them from the first 60 % of a clip"
            )
        found[part] = Shots(part, int(match[1]), "late" if match[2] else "first")
    if fine_tune and still:
        tuned = [replace(s, key=f"{s.key}+ft", tuned=True, still=True) for s in found.values()]
        more = [replace(s, key=f"{s.key}+whole", tuned=True, still=True, whole=True) for s in found.values()]
        return (*found.values(), *tuned, *(more if whole else ()))
    if fine_tune:
        late = {s.count for s in found.values() if s.split == "late"}
        for count in sorted(late | {TUNED_REFERENCES}):
            found.setdefault(f"{count}@60", Shots(f"{count}@60", count, "late"))
            found[f"{count}+ft"] = Shots(f"{count}+ft", count, "late", tuned=True)
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class Split:
    """Frame numbers of one clip."""

    learn: range
    """Where references come from, and what fine-tuning may see."""
    test: range


def split(name: SplitName, frames: int, fps: float) -> Split:
    """Divide a clip of so many frames."""
    if name == "first":
        cut = int(FIRST_SHARE * frames)
        return Split(range(max(cut, 1)), range(max(cut, 1), frames))
    cut = int(LATE_SHARE * frames)
    return Split(range(min(cut, int(LEARN_S * fps))), range(cut, frames))


def too_short(shots: Shots, parts: Split, seen: NDArray[np.bool_], fps: float) -> str | None:
    """Why a clip cannot be used for these shots; None if it can. `seen` (T,): frames with a face."""
    learn, test = int(seen[parts.learn].sum()), int(seen[parts.test].sum())
    if test < LEAST_TEST:
        return f"only {test} frames with a face to be judged on; {LEAST_TEST} are needed"
    if shots.count > 1 and learn < shots.count:
        return f"only {learn} frames with a face where {shots.count} references are to come from"
    if shots.tuned and not shots.still and learn < LEAST_LEARN_S * fps:
        return f"only {learn / fps:.1f} s with a face to learn from; {LEAST_LEARN_S:g} s are needed"
    return None


def candidates(shots: Shots, parts: Split, seen: NDArray[np.bool_]) -> list[int]:
    """Frames that references may be; a single one is the first of the whole clip that shows a face."""
    there = np.flatnonzero(seen)
    if shots.count == 1:
        return [int(there[0])]
    return [int(i) for i in there if i in parts.learn]


def judged_frames(seen: NDArray[np.bool_], test: range, count: int) -> list[int]:
    """About `count` frames with a face: runs of RUN consecutive ones, evenly over the test part."""
    starts = np.linspace(test.start, max(test.stop - RUN, test.start), max(1, -(-count // RUN)))
    sample = {int(start) + i for start in np.round(starts) for i in range(RUN)}
    wanted = set(test) if count >= len(test) else sample
    return [i for i in sorted(wanted) if i in test and seen[i]]


def blink_frames(eyes: NDArray[np.float32], test: range, limit: int = MAX_BLINKS) -> list[range]:
    """Frames around each blink of the test part, at most `limit` blinks, evenly chosen.

    Blinks are rare, so a sample of frames would miss most of them.

    Args:
        eyes: (T,) opening of the eyes, NaN where no face was found.
        test: the frames to search.
        limit: how many blinks to return at most.
    """
    part = eyes[test.start : test.stop]
    if not np.isfinite(part).any():
        return []
    shut = np.concatenate([[False], np.nan_to_num(part, nan=np.inf) < SHUT * np.nanmedian(part), [False]])
    first, last = np.flatnonzero(shut[1:] & ~shut[:-1]), np.flatnonzero(~shut[1:] & shut[:-1])
    found = [
        range(max(test.start + int(a) - REACH, test.start), min(test.start + int(b) + REACH, test.stop))
        for a, b in zip(first, last, strict=True)
    ]
    return evenly(found, limit)


def evenly(items: Sequence[_Item], limit: int) -> list[_Item]:
    """At most `limit` of the items, evenly spread."""
    if len(items) <= limit:
        return list(items)
    return [items[int(i)] for i in np.linspace(0, len(items) - 1, limit)]
