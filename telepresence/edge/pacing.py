"""How many of the camera's pictures become motion, where a machine cannot draw the others as often as it should. Pure.

Landmarks of a picture cost a third of what drawing one costs. A machine that finds 30 faces a second and draws six
gives its own user less than what the others get of them; so it finds fewer, and draws more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

STEPS_PER_S: Final = (15.0, 10.0)  # camera pictures a second after one step down, and after two
SHORT: Final = 1.0  # part of the least rates that there is time for: below, a step down
AMPLE: Final = 1.6  # the same: from here on, a step up. A step gives back less than the difference
LOOKS: Final = 16  # in a row that have to agree, four seconds of them: a machine is busy for a moment now and then
PATIENCE: Final = 16  # times as many, at the most, before a step up that was too much each time is tried again
EARLY: Final = 0.25  # of an interval: who comes so much too early passes, since cameras' intervals are uneven


@dataclass(slots=True)
class CameraPace:
    """Which camera pictures are looked at. `measured` by one thread, `passes` by another."""

    per_s: float | None = None
    """Pictures a second; None: every one."""
    _step: int = 0
    _short: int = 0
    _ample: int = 0
    _wait: int = LOOKS  # before a step up
    _rose: bool = False  # whether the last step was one up
    _due_us: float = 0.0

    def measured(self, room: float) -> None:
        """There is time for this part of what the others are to get at the least; see `Scheduler.room`."""
        self._short = self._short + 1 if room < SHORT else 0
        self._ample = self._ample + 1 if room >= AMPLE else 0
        if self._short >= LOOKS:
            if self._rose:  # and that was too much: what a step is worth differs from machine to machine
                self._wait = min(2 * self._wait, PATIENCE * LOOKS)
            self._set(self._step + 1)
        elif self._ample >= self._wait:
            if self._rose:  # and there was time for it
                self._wait = LOOKS
            self._set(self._step - 1)

    def passes(self, capture_us: int) -> bool:
        """Whether the picture captured then is looked at."""
        per_s = self.per_s
        if per_s is None:
            return True
        interval_us = 1e6 / per_s
        if not -interval_us < self._due_us - capture_us < 2 * interval_us:
            self._due_us = capture_us  # the first, one after a pause, or of a clock that was set
        if capture_us < self._due_us - EARLY * interval_us:
            return False
        self._due_us += interval_us
        return True

    def _set(self, step: int) -> None:
        self._rose = step < self._step
        self._step = min(max(step, 0), len(STEPS_PER_S))
        self._short = self._ample = 0
        self.per_s = STEPS_PER_S[self._step - 1] if self._step else None
