"""Whose picture is drawn next, and how large: the speaker first, small pictures at a rate of their own, nobody starves.

Pure: time comes in as an argument, and what a picture costs is measured by whoever draws. Rates are planned so that
all of them together fit into the time there is: everybody gets a minimum, what is left goes to who is shown large, and
then to the others. Within the plan the speaker goes first, and who has waited far too long before that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from telepresence.edge.messages import View

SMALL: Final = 128  # pixels, side of a small picture
SMALL_UP_TO: Final = 160  # device pixels on the screen: who is shown no larger gets small pictures
LARGE_FROM: Final = 192  # who is shown so large gets large ones; between the two it stays as it is

FULL_PER_S: Final = 30.0  # planned for; who has that is drawn whenever there is motion
SPEAKER_PER_S: Final = 15.0  # at the least, as far as the machine can
TILE_PER_S: Final = 5.0  # the same of everybody else who can be seen: what docs/edge.md declares
LEAST_PER_S: Final = 1.0  # whatever the machine
BUDGET: Final = 0.85  # of the render worker's time, so that it can keep to its plan
SPEAKER_SHARE: Final = 0.6  # of the budget that the speaker's minimum may take from the others'
STARVING: Final = 2.5  # of its interval: who has waited so long goes before everybody
ALONG: Final = 0.5  # of its interval: who is due so soon is drawn along, where several at once cost less
EARLY: Final = 0.15  # of its interval: motion that is there so much too early is drawn at once
COST_US: Final = 30_000  # of a picture, before one was measured
SMOOTHING: Final = 0.1  # weight of the newest measurement


@dataclass(slots=True)
class _One:
    """What is known of a participant."""

    size: int
    """Side of its pictures, pixels."""
    speaker: bool = True
    hidden: bool = False
    drawn_us: int | None = None
    """When its last picture was begun; None before the first."""
    interval_us: float = 0.0
    """Between two pictures, by plan; 0: draw whenever there is motion."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What to do now."""

    draw: tuple[str, ...]
    """Whom to draw, together; empty: nobody is to be drawn yet."""
    wait_us: float | None
    """Until one of those asked about is to be drawn, if nobody is now; None: none of them is, whatever the time."""


@dataclass(slots=True)
class Scheduler:
    """Everybody who may be drawn. By one thread at a time.

    Attributes:
        large: side of a picture at full size, pixels.
        small: side of a small one; None if there are none.
    """

    large: int
    small: int | None = None
    _all: dict[str, _One] = field(default_factory=dict)
    _costs_us: dict[int, float] = field(default_factory=dict)
    _view: View | None = None

    def arrive(self, participant: str) -> None:
        """Somebody may be drawn from now on; nothing happens if that is so already."""
        if participant not in self._all:
            self._all[participant] = _One(self.large)
            self.look(self._view)

    def leave(self, participant: str) -> None:
        """Somebody is not drawn any more."""
        if self._all.pop(participant, None) is not None:
            self._plan()

    def look(self, view: View | None) -> None:
        """What can be seen has changed; None: nobody says, so everybody is large and nobody first."""
        self._view = view
        for participant, one in self._all.items():
            one.hidden = view is not None and participant in view.hidden
            one.speaker = view is None or view.speaker in (None, participant)
            side = None if view is None or participant == view.speaker else view.tiles.get(participant)
            one.size = self._size(one.size, side)
        self._plan()

    def size(self, participant: str) -> int:
        """Side of the pictures that a participant is to be drawn with."""
        one = self._all.get(participant)
        return one.size if one else self.large

    def hidden(self, participant: str) -> bool:
        """Whether a participant cannot be seen."""
        one = self._all.get(participant)
        return one is not None and one.hidden

    def thins(self, participant: str) -> bool:
        """Whether some of a participant's motion is meant not to be drawn."""
        one = self._all.get(participant)
        return one is not None and (one.hidden or one.interval_us > 0)

    def again(self) -> None:
        """Decide on everybody anew, after `small` has changed."""
        self.look(self._view)

    def per_s(self, participant: str) -> float:
        """Pictures a second by plan; 0 if it is hidden."""
        one = self._all[participant]
        return 0.0 if one.hidden else 1e6 / one.interval_us if one.interval_us else FULL_PER_S

    @property
    def several(self) -> bool:
        """Whether more than one may be drawn."""
        return len(self._all) > 1

    def room(self) -> float:
        """The time there is over what everybody who can be seen needs at the least; infinite if nobody can be seen."""
        need = sum(
            (SPEAKER_PER_S if one.speaker else TILE_PER_S) * self._costs_us.get(one.size, 0.0) / 1e6
            for one in self._all.values()
            if not one.hidden
        )
        return BUDGET / need if need else float("inf")

    def turn(self, ready: Collection[str], now_us: int, together: bool = False) -> Turn:
        """Who of those for whom there is something to draw is drawn now.

        Args:
            ready: whom a new picture could be drawn of.
            now_us: any monotonic clock.
            together: whether several at once cost less than one by one; they are of one size.
        """
        waits = {p: self._wait_us(self._all[p], now_us) for p in ready if p in self._all and not self._all[p].hidden}
        due = [participant for participant, wait_us in waits.items() if wait_us <= 0]
        if not due:
            return Turn((), min(waits.values(), default=None))
        due.sort(key=lambda participant: self._order(participant, now_us))
        size = self._all[due[0]].size
        if not together:
            return Turn((due[0],), None)
        # Else everybody would keep to a time of its own, for good, and nothing would ever be drawn together.
        soon = [p for p, wait_us in waits.items() if 0 < wait_us <= ALONG * self._all[p].interval_us]
        return Turn(tuple(p for p in (*due, *soon) if self._all[p].size == size), None)

    def drawn(self, participants: Iterable[str], size: int, begun_us: int, took_us: int) -> None:
        """Pictures of `size` were drawn together, in so much time."""
        who = list(participants)
        for participant in who:
            if participant in self._all:
                self._all[participant].drawn_us = begun_us
        each_us = took_us / max(1, len(who))
        before = self._costs_us.get(size)
        self._costs_us[size] = each_us if before is None else before + SMOOTHING * (each_us - before)
        self._plan()

    def _size(self, now: int, side: int | None) -> int:
        if side is None or self.small is None or side >= LARGE_FROM:
            return self.large
        return self.small if side <= SMALL_UP_TO else now

    def _wait_us(self, one: _One, now_us: int) -> float:
        if one.drawn_us is None:
            return 0.0
        return one.drawn_us + one.interval_us * (1 - EARLY) - now_us

    def _order(self, participant: str, now_us: int) -> tuple[bool, bool, float]:
        """Lowest first: who starves, then the speaker, then who has waited longest of its own interval."""
        one = self._all[participant]
        waited_us = float("inf") if one.drawn_us is None else now_us - one.drawn_us
        waited = waited_us / (one.interval_us or 1e6 / FULL_PER_S)
        return waited < STARVING, not one.speaker, -waited

    def _plan(self) -> None:
        """Give everybody who can be seen a rate, so that all fit into the budget."""
        seen = {p: one for p, one in self._all.items() if not one.hidden}
        cost = {p: self._costs_us.get(one.size, COST_US) / 1e6 for p, one in seen.items()}
        first = [p for p, one in seen.items() if one.speaker]
        others = [p for p, one in seen.items() if not one.speaker]
        rate = dict.fromkeys(first, SPEAKER_PER_S) | dict.fromkeys(others, TILE_PER_S)
        left = BUDGET - sum(rate[p] * cost[p] for p in seen)
        if left < 0:
            _shrink(rate, cost, first, BUDGET * (SPEAKER_SHARE if others else 1.0))
            _shrink(rate, cost, others, BUDGET - sum(rate[p] * cost[p] for p in first))
        for group in (first, others):
            left = BUDGET - sum(rate[p] * cost[p] for p in seen)
            _grow(rate, cost, group, left)
        if len(seen) == 1:
            rate = dict.fromkeys(seen, FULL_PER_S)  # nobody to share with
        for participant, one in seen.items():
            one.interval_us = 0.0 if rate[participant] >= FULL_PER_S else 1e6 / rate[participant]


def _shrink(rate: dict[str, float], cost: Mapping[str, float], group: Collection[str], budget: float) -> None:
    """Lower a group's rates alike, until they cost no more than the budget, but not below LEAST_PER_S."""
    need = sum(rate[p] * cost[p] for p in group)
    for p in group if need > budget else ():
        rate[p] = max(LEAST_PER_S, rate[p] * max(0.0, budget) / need)


def _grow(rate: dict[str, float], cost: Mapping[str, float], group: Collection[str], left: float) -> None:
    """Spend what is left on a group: the same rate more for each, up to FULL_PER_S."""
    each = sum(cost[p] for p in group)
    for p in group if left > 0 and each > 0 else ():
        rate[p] = min(FULL_PER_S, rate[p] + left / each)
