"""The guide: which step is asked for now, and whether the face before the camera follows. Sans-I/O, `now` comes in.

Steps come in an order drawn by lot, each only after the face has come back to rest. Whoever does something else than
what is asked for too often, as a recording does that has all the steps in it, begins anew in another order, and may do
so twice; who does not manage a step in its time gets it later. docs/enrolment.md, "In the page".
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from telepresence.enrolment.steps import DRAWN, LONGEST_US, SHUT, WIDE, Measure, Step, follower, middle, turned

REST_US: Final = 700_000  # at rest, and still, before anything is measured against it
REST_PICTURES: Final = 5
FRONT: Final = 18.0  # degrees that a face at rest may look past the camera to a side: a screen beside the camera
TILTED: Final = 25.0  # and up or down
PARTED: Final = 0.1  # canonical units between the lips at rest, at most
STILL: Final = 2.5  # degrees within REST_US

BACK_US: Final = 150_000  # near rest, between two steps
BACK_TURN: Final = 9.0  # degrees
BACK_RAISE: Final = 7.0
BACK_MOUTH: Final = 0.08
BACK_LIDS: Final = 0.6

STEP_US: Final = 15_000_000  # for one step, while a face is seen
WRONG_US: Final = 300_000  # something else than what is asked for, held so long, is no accident
GAPE_US: Final = 350_000
ASLEEP_US: Final = 250_000  # a blink takes up to 200 ms
CHIN_UP: Final = 1.1  # of RAISE: more is no accident
CHIN_ALONG: Final = 1.6  # the same where the chin goes up by itself: with a smile, or an open mouth
LIVELY: Final = 1.4  # of TURN: who speaks moves the head
MAX_WRONG: Final = 2
MAX_ANEW: Final = 2  # a recording that is tried often enough meets an order that suits it
GONE_US: Final = 1_500_000  # without a picture of the face: whoever it is comes back to rest first


class Phase(StrEnum):
    """What is waited for."""

    BACK = "back"
    """The face is to come back to rest."""
    ACT = "act"
    """The step is to be followed."""
    DONE = "done"
    """Nothing: all steps are done."""


class News(StrEnum):
    """What a picture has brought about."""

    FOLLOWED = "followed"
    WRONG = "wrong"
    """Something else was done than what is asked for."""
    SLOW = "slow"
    """The step comes again later."""
    ANEW = "anew"
    """Too much else was done: all begins anew, in another order."""
    FINISHED = "finished"


@dataclass(slots=True)
class _Watch:
    """What is known of the step at hand."""

    phase: Phase = Phase.BACK
    progress: float = 0.0
    act_us: int = 0
    back_us: int = 0


def draw() -> list[Step]:
    """The steps in an order that nobody could have known."""
    steps: list[Step] = list(DRAWN)
    secrets.SystemRandom().shuffle(steps)
    return steps


class Guide:
    """Follows one enrolment.

    Args:
        draw_order: gives the order of DRAWN, each time that one is needed.
    """

    def __init__(self, draw_order: Callable[[], Sequence[Step]] = draw) -> None:
        self._draw = draw_order
        self.begin()

        self.anew = 0
        """How often all had to begin anew because too much else was done."""

    def begin(self) -> None:
        """From the beginning, in a new order."""
        self._left: list[Step] = [Step.REST, *self._draw()]
        self.done: dict[Step, bool] = {}
        """Steps that are over, and whether each was followed (else skipped)."""
        self._rest: Measure | None = None
        self._resting: deque[tuple[int, Measure]] = deque()
        self.wrong = 0
        """How often something else was done than what was asked for."""
        self._last_us: int | None = None
        self._take()

    @property
    def step(self) -> Step | None:
        """What is asked for now; None when all is done."""
        return self._left[0] if self._left else None

    @property
    def phase(self) -> Phase:
        """What is waited for."""
        return self._now.phase

    @property
    def progress(self) -> float:
        """How far the step has come, 0..1."""
        return self._now.progress

    @property
    def order(self) -> list[Step]:
        """All steps: those that are over, then those to come."""
        return [*self.done, *self._left]

    @property
    def followed(self) -> bool:
        """Whether every step was followed, none skipped, and not at the fourth attempt: what `live` means."""
        return not self._left and all(self.done.values()) and self.anew <= MAX_ANEW

    def retake(self, step: Step) -> None:
        """Ask for a step once more, next."""
        self.done.pop(step, None)
        self._left = [step, *(one for one in self._left if one is not step)]
        if step is Step.REST:
            self._rest = None
        self._take()

    def skip(self) -> News | None:
        """Leave the step at hand out; rest cannot be."""
        step = self.step
        if step is None or step is Step.REST:
            return None
        return self._over(step, followed=False)

    def see(self, face: Measure | None, at_us: int) -> News | None:
        """A picture has come.

        Args:
            face: what it shows; None if there is no face in it, or one that cannot be used.
            at_us: when; any monotonic clock.
        """
        step = self.step
        if step is None or face is None:
            return None
        passed_us = 0 if self._last_us is None else at_us - self._last_us
        if passed_us > GONE_US:
            self._take()
        self._last_us, passed_us = at_us, max(0, min(passed_us, LONGEST_US))
        if step is Step.REST or self._rest is None:
            return self._wait_for_rest(face, at_us)
        change = face.since(self._rest)
        if self._now.phase is Phase.BACK:
            self._come_back(change, passed_us)
            return None
        return self._act(step, change, at_us, passed_us)

    def _take(self) -> None:
        """Begin with the step that is next."""
        step = self.step
        self._now = _Watch(Phase.BACK if step else Phase.DONE)
        self._resting.clear()
        self._elsewhere_us: dict[int, int] = {}  # by the limit that it is held against
        self._warned = False
        if step is Step.REST:
            self._now.phase = Phase.ACT
        elif step is not None:
            self._follow = follower(step)

    def _wait_for_rest(self, face: Measure, at_us: int) -> News | None:
        resting = abs(face.left) <= FRONT and abs(face.up) <= TILTED and face.mouth <= PARTED
        if not resting or (self._resting and at_us - self._resting[-1][0] > LONGEST_US * 2):
            self._resting.clear()
        if not resting:
            self._now.progress = 0.0
            return None
        self._resting.append((at_us, face))
        while self._spread() > STILL:
            self._resting.popleft()
        span_us = at_us - self._resting[0][0]
        self._now.progress = min(0.99, span_us / REST_US)
        if span_us < REST_US or len(self._resting) < REST_PICTURES:
            return None
        rest = middle([measure for _, measure in self._resting])
        self._rest = rest
        return self._over(Step.REST, followed=True) if self.step is Step.REST else None

    def _spread(self) -> float:
        sides = [measure.left for _, measure in self._resting]
        heights = [measure.up for _, measure in self._resting]
        return max(max(sides) - min(sides), max(heights) - min(heights))

    def _come_back(self, change: Measure, passed_us: int) -> None:
        near = (
            abs(change.left) <= BACK_TURN
            and abs(change.up) <= BACK_RAISE
            and change.mouth <= BACK_MOUTH
            and change.lids >= BACK_LIDS
        )
        self._now.back_us = self._now.back_us + passed_us if near else 0
        if self._now.back_us >= BACK_US:
            self._now.phase = Phase.ACT

    def _act(self, step: Step, change: Measure, at_us: int, passed_us: int) -> News | None:
        self._now.act_us += passed_us
        self._now.progress = self._follow(change, at_us)
        if self._now.progress >= 1:
            return self._over(step, followed=True)
        if self._something_else(step, change, passed_us):
            self.wrong += 1
            if self.wrong > MAX_WRONG:
                self.anew += 1
                self.begin()
                return News.ANEW
            return News.WRONG
        if self._now.act_us < STEP_US:
            return None
        # What comes next must not be known: a recording could wait for it.
        rest = [one for one in self._left if one is not step]
        self._left = [*sorted(rest, key=lambda _: secrets.randbelow(1 << 30)), step]
        self._take()
        return News.SLOW

    def _something_else(self, step: Step, change: Measure, passed_us: int) -> bool:
        """Whether something else is clearly being done; told once, until the face is near rest again."""
        aside = abs(change.left) > BACK_TURN
        side = LIVELY if step is Step.SPEAK else 1.0
        chin = CHIN_ALONG if step in (Step.OPEN, Step.SMILE) else CHIN_UP
        ahead = not aside and abs(change.up) < BACK_RAISE  # landmarks of lids mean little on a head that is turned
        doing = {
            WRONG_US: (step is not Step.LEFT and turned(Step.LEFT, change) >= side)
            or (step is not Step.RIGHT and turned(Step.RIGHT, change) >= side)
            or (step not in (Step.UP, Step.SPEAK) and not aside and turned(Step.UP, change) >= chin),
            GAPE_US: step not in (Step.OPEN, Step.SPEAK, Step.SMILE) and change.mouth >= WIDE,
            ASLEEP_US: step not in (Step.BLINK, Step.SMILE, Step.SPEAK) and ahead and change.lids <= SHUT,
        }
        for limit_us, done in doing.items():
            self._elsewhere_us[limit_us] = self._elsewhere_us.get(limit_us, 0) + passed_us if done else 0
        if not any(doing.values()) and not aside:
            self._warned = False
        if self._warned or not any(self._elsewhere_us[limit_us] >= limit_us for limit_us in doing):
            return False
        self._warned = True
        return True

    def _over(self, step: Step, *, followed: bool) -> News:
        self.done[step] = followed
        self._left = [one for one in self._left if one is not step]
        self._take()
        return News.FINISHED if not self._left else News.FOLLOWED
