"""A fake camera that follows the guide: pieces of a real clip, put into the order that the guide will ask for.

Where there is no real clip, the sample avatar is drawn doing the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from telepresence.enrolment.steps import CLOSED, SHUT, SMILE, WIDE, Measure, Step, measure, middle
from telepresence.face.landmarks import LandmarkTracker
from telepresence.media import read_frames

SIDE, FPS = 480, 15
FIRST_REST_S = 5.0  # the page has to open meanwhile
REST_S = 1.5
HOLD_S = {Step.LEFT: 1.8, Step.RIGHT: 1.8, Step.UP: 1.8, Step.SMILE: 1.8, Step.OPEN: 1.2, Step.BLINK: 0.8}
TALK_S = 4.5
MAX_FRAMES = 900

Picture = np.ndarray


def write_actor(source: Path, order: Sequence[Step], out: Path) -> Path:
    """The camera's file (YUV4MPEG2); it plays in a loop."""
    import av

    shown = acted(*looked_at(source), order)
    coded: dict[int, bytes] = {}
    with out.open("wb") as file:
        file.write(f"YUV4MPEG2 W{SIDE} H{SIDE} F{FPS}:1 Ip A1:1 C420jpeg\n".encode())
        for picture in shown:
            if id(picture) not in coded:
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                coded[id(picture)] = frame.to_ndarray(format="yuv420p").tobytes()
            file.write(b"FRAME\n" + coded[id(picture)])
    return out


def looked_at(source: Path) -> tuple[list[Picture], list[Measure | None], float]:
    """A clip's pictures, what their face does, and how many there are in a second."""
    import cv2

    pictures, measures, times = [], [], []
    with LandmarkTracker() as tracker:
        for frame in read_frames(source):
            if len(pictures) == MAX_FRAMES:
                break
            picture = cv2.resize(frame.picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            face = tracker(picture)
            pictures.append(picture)
            measures.append(None if face is None else measure(face, SIDE, SIDE))
            times.append(frame.time_us)
    return pictures, measures, 1e6 / float(np.median([b - a for a, b in pairwise(times)]))


def acted(pictures: list[Picture], measures: list[Measure | None], fps: float, order: Sequence[Step]) -> list[Picture]:
    """Rest, and each step in its turn, as a camera of FPS would see it."""
    rest = _rest(measures)
    base = measures[rest]
    assert base is not None
    changes = [None if one is None else one.since(base) for one in measures]
    shown = [pictures[rest]] * round(FIRST_REST_S * FPS)
    for step in order:
        if step is Step.SPEAK:
            begin, end = _talk(changes, fps)
            wanted = np.linspace(begin, end - 1, round(TALK_S * FPS)).astype(int)
            shown += [pictures[i] for i in wanted]
        else:
            shown += [pictures[_extreme(changes, step)]] * round(HOLD_S[step] * FPS)
        shown += [pictures[rest]] * round(REST_S * FPS)
    return shown


def _rest(measures: list[Measure | None]) -> int:
    """The picture that is nearest to a face at rest that looks into the camera."""
    usual = middle([one for one in measures if one is not None])

    def off(index: int) -> float:
        one = measures[index]
        if one is None or one.lids < 0.9 * usual.lids:
            return np.inf
        return abs(one.left) / 10 + abs(one.up - usual.up) / 8 + max(0.0, one.mouth) / 0.05

    return min(range(len(measures)), key=off)


def _extreme(changes: list[Measure | None], step: Step) -> int:
    """The picture that shows a step most clearly, and no other."""

    def worth(index: int) -> float:
        one = changes[index]
        if one is None:
            return -np.inf
        aside = abs(one.left) / 8 + abs(one.up) / 8
        drowsy = max(0.0, 0.85 - one.lids) * 4
        if step in (Step.LEFT, Step.RIGHT):
            return min((1 if step is Step.LEFT else -1) * one.left, 20) - max(0.0, one.up - 6) - drowsy
        if step is Step.UP:
            return min(one.up, 12) - abs(one.left) / 2 - drowsy
        if step is Step.SMILE:
            return min(one.corners / SMILE, 1.8) - aside / 4 - max(0.0, one.mouth - WIDE) * 10
        if step is Step.OPEN:
            return one.mouth / WIDE - aside / 4
        return (1 - one.lids) / (1 - SHUT) - aside / 2 - max(0.0, one.mouth - CLOSED) * 5

    return max(range(len(changes)), key=worth)


def _talk(changes: list[Measure | None], fps: float) -> tuple[int, int]:
    """Where the mouth moves most for TALK_S while the head looks ahead."""
    length = round(TALK_S * fps)

    def worth(begin: int) -> float:
        part = changes[begin : begin + length]
        steps = [abs(b.mouth - a.mouth) for a, b in pairwise(part) if a is not None and b is not None]
        aside = [max(0.0, abs(one.left) - 8) + max(0.0, abs(one.up) - 6) for one in part if one is not None]
        return sum(steps) - sum(aside) / 10

    begin = max(range(0, max(1, len(changes) - length), 5), key=worth)
    return begin, min(begin + length, len(changes))


def described(source: Path) -> dict[str, Any]:
    """For people: how far the best pictures of a clip go."""
    _, measures, fps = looked_at(source)
    base = measures[_rest(measures)]
    assert base is not None
    changes = [None if one is None else one.since(base) for one in measures]
    steps = {step: changes[_extreme(changes, step)] for step in HOLD_S}
    return {"rest": base, **steps, "talk": _talk(changes, fps)}
