"""What the guide asks for, and how far a face has to go for each. Sans-I/O: measures and times in, progress out.

Measures are changes from the person's own face at rest, so that neither a low camera nor a crooked smile counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from telepresence.face.basis import default_basis
from telepresence.face.motion import fit_pose, rotation_matrix, to_square
from telepresence.face.topology import EYE_OPENING_LEFT, EYE_OPENING_RIGHT, MOUTH_CORNERS, MOUTH_OPENING

Floats = NDArray[np.float32]


class Step(StrEnum):
    """One thing that the guide asks for; left and right are the person's own."""

    REST = "rest"
    LEFT = "left"
    RIGHT = "right"
    UP = "up"
    SMILE = "smile"
    OPEN = "open"
    BLINK = "blink"
    SPEAK = "speak"


DRAWN: Final = tuple(step for step in Step if step is not Step.REST)
"""Those that come in an order drawn by lot; rest is always first, since the others are measured against it."""

TURN: Final = 15.0  # degrees from rest, to either side: `avatar.choose.TURNED`, and what a reference is worth from on
RAISE: Final = 8.0  # degrees: heads go up by less than they turn, and landmarks see less of it
SMILE: Final = 0.045  # canonical units that the corners of the mouth go up, outward by half
WIDE: Final = 0.16  # canonical units between the inner lips, more than at rest
CLOSED: Final = 0.07
SHUT: Final = 0.5  # of the lids' opening at rest; landmarks of shut lids never meet
AWAKE: Final = 0.7
TALK: Final = 0.03  # canonical units that the lips' opening changes within TALK_WINDOW_US while one speaks
TALK_WINDOW_US: Final = 700_000
REVERSALS: Final = 5  # times that the mouth goes from opening to closing or back in a sentence, at the least
REVERSAL: Final = 0.015  # canonical units: less is noise

TURN_US: Final = 350_000  # to be held
SMILE_US: Final = 400_000
WIDE_US: Final = 250_000
SHUT_US: Final = 130_000
SPEAK_US: Final = 1_800_000
LONGEST_US: Final = 250_000  # between two pictures: what happened in a longer gap nobody saw

_CHIN: Final = (152, 175, 199)
_CORNER_DROP: Final = 0.35  # of how far the chin goes down, which takes the corners of the mouth along


@dataclass(frozen=True, slots=True)
class Measure:
    """What a face does, in one picture; or, as a difference from rest, how far it has gone."""

    left: float
    """Degrees that the head faces to the person's own left."""
    up: float
    """Degrees that it faces up."""
    mouth: float
    """Canonical units between the inner lips."""
    lids: float
    """Mean opening of the eyes: canonical units; in a difference, of the opening at rest."""
    corners: float
    """Canonical units: how high and how far apart the corners of the mouth are."""

    def since(self, rest: Measure) -> Measure:
        """How far this is from rest."""
        return Measure(
            self.left - rest.left,
            self.up - rest.up,
            self.mouth - rest.mouth,
            self.lids / max(rest.lids, 1e-3),
            self.corners - rest.corners,
        )


def measure(landmarks: Floats, width: int, height: int) -> Measure:
    """Measure a face (478, 3), landmarks in pixels of a width x height picture."""
    points = to_square(landmarks, width, height)
    pose = fit_pose(points, default_basis().mean)
    turned = rotation_matrix(pose.rotation)
    shape = pose.invert(points)
    right, left = shape[list(MOUTH_CORNERS)]
    lids = [float(np.linalg.norm(shape[a] - shape[b])) for a, b in (EYE_OPENING_RIGHT, EYE_OPENING_LEFT)]
    upper, lower = MOUTH_OPENING
    raised = -float(right[1] + left[1]) / 2 + _CORNER_DROP * float(shape[list(_CHIN), 1].mean())
    return Measure(
        # The face looks along -z of its own coordinates; the picture's right is the person's left, and its y is down.
        left=float(np.degrees(np.arctan2(-turned[0, 2], turned[2, 2]))),
        up=float(np.degrees(np.arcsin(np.clip(turned[1, 2], -1, 1)))),
        mouth=float(np.linalg.norm(shape[upper] - shape[lower])),
        lids=sum(lids) / 2,
        corners=raised + float(left[0] - right[0]) / 4,
    )


def middle(measures: list[Measure]) -> Measure:
    """The median of several measures: what is at rest."""
    rows = np.array([[m.left, m.up, m.mouth, m.lids, m.corners] for m in measures])
    return Measure(*(float(value) for value in np.median(rows, 0)))


class Follower(Protocol):
    """Watches whether one step is followed."""

    def __call__(self, change: Measure, at_us: int) -> float:
        """How far the step has come, 0..1; 1 is done. `change` is from rest, times never go back."""


class Held:
    """Something has to be reached, and held."""

    def __init__(self, amount: Callable[[Measure], float], hold_us: int) -> None:
        self._amount = amount
        self._hold_us = hold_us
        self._held_us = 0
        self._last_us: int | None = None

    def __call__(self, change: Measure, at_us: int) -> float:
        """Six tenths for reaching it, the rest for holding it."""
        amount = self._amount(change)
        passed_us = 0 if self._last_us is None else min(at_us - self._last_us, LONGEST_US)
        self._last_us = at_us
        self._held_us = self._held_us + passed_us if amount >= 1 else 0
        if self._held_us >= self._hold_us:
            return 1.0
        return 0.6 * max(0.0, min(1.0, amount)) + 0.39 * self._held_us / self._hold_us


class ThereAndBack:
    """Something has to be reached and held for a moment, and then let go again."""

    def __init__(self, there: Follower, back: Callable[[Measure], bool]) -> None:
        self._there = there
        self._back = back
        self._reached = False

    def __call__(self, change: Measure, at_us: int) -> float:
        """Seven tenths for getting there."""
        if not self._reached:
            far = self._there(change, at_us)
            self._reached = far >= 1
            return 0.7 * far
        return 1.0 if self._back(change) else 0.7


class Closing:
    """Both eyes have to be shut for a moment, and open again: counted from the first shut picture to the first open."""

    def __init__(self) -> None:
        self._since_us: int | None = None
        self._last_us = 0

    def __call__(self, change: Measure, at_us: int) -> float:
        """Half for the lids on their way down."""
        if change.lids <= SHUT:
            if self._since_us is None or at_us - self._last_us > LONGEST_US:
                self._since_us = at_us
            self._last_us = at_us
            return 0.8
        if self._since_us is not None and change.lids >= AWAKE:
            shut_us, self._since_us = min(at_us, self._last_us + LONGEST_US) - self._since_us, None
            if shut_us >= SHUT_US:
                return 1.0
        return 0.5 * max(0.0, min(1.0, (1 - change.lids) / (1 - SHUT)))


class Talking:
    """The lips have to move as they do in a sentence: for so long, and to and fro."""

    def __init__(self) -> None:
        self._recent: deque[tuple[int, float]] = deque()
        self._talked_us = 0
        self._reversals = 0
        self._rising = True
        self._extreme: float | None = None

    def __call__(self, change: Measure, at_us: int) -> float:
        """By time and by reversals, whichever is less."""
        passed_us = min(at_us - self._recent[-1][0], LONGEST_US) if self._recent else 0
        self._recent.append((at_us, change.mouth))
        while at_us - self._recent[0][0] > TALK_WINDOW_US:
            self._recent.popleft()
        openings = [mouth for _, mouth in self._recent]
        if max(openings) - min(openings) >= TALK:
            self._talked_us += passed_us
        self._turn(change.mouth)
        return min(self._talked_us / SPEAK_US, self._reversals / REVERSALS, 1.0)

    def _turn(self, mouth: float) -> None:
        extreme = mouth if self._extreme is None else self._extreme
        if (mouth - extreme) * (1 if self._rising else -1) >= 0:
            extreme = mouth
        elif abs(mouth - extreme) >= REVERSAL:
            self._rising, self._reversals, extreme = not self._rising, self._reversals + 1, mouth
        self._extreme = extreme


def turned(step: Step, change: Measure) -> float:
    """How far a head is on its way to a side or up, of what is asked for; 0 for other steps."""
    if step is Step.UP:
        return change.up / RAISE
    return {Step.LEFT: 1, Step.RIGHT: -1}.get(step, 0) * change.left / TURN


def follower(step: Step) -> Follower:
    """Who watches a step. Rest has none: the guide itself waits for it."""
    if step in (Step.LEFT, Step.RIGHT, Step.UP):
        return Held(lambda change: turned(step, change), TURN_US)
    if step is Step.SMILE:
        return Held(lambda change: change.corners / SMILE, SMILE_US)
    if step is Step.OPEN:
        return ThereAndBack(Held(lambda change: change.mouth / WIDE, WIDE_US), lambda change: change.mouth <= CLOSED)
    return Closing() if step is Step.BLINK else Talking()
