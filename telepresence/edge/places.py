"""Where each participant is shown. Pure."""

from __future__ import annotations

from collections.abc import Callable


class Places:
    """Participants and their places, 0 and up. A place is kept until its participant leaves.

    One exception, for pages that show a few places only: who connects for the first time takes the lowest place whose
    holder is out of reach, and the two change places. Whoever is connected is never moved.
    """

    def __init__(self) -> None:
        self._held: dict[str, int] = {}

    def __getitem__(self, participant: str) -> int:
        return self._held[participant]

    def get(self, participant: str) -> int | None:
        """A participant's place; None if it has none."""
        return self._held.get(participant)

    def arrive(self, participant: str) -> int:
        """Take the lowest free place; who has one keeps it."""
        if participant not in self._held:
            taken = set(self._held.values())
            self._held[participant] = next(place for place in range(len(taken) + 1) if place not in taken)
        return self._held[participant]

    def connect(self, participant: str, reachable: Callable[[str], bool]) -> int:
        """The participant has connected for the first time."""
        own = self.arrive(participant)
        lower = [(place, other) for other, place in self._held.items() if place < own and not reachable(other)]
        if lower:
            place, other = min(lower)
            self._held[participant], self._held[other] = place, own
        return self._held[participant]

    def leave(self, participant: str) -> None:
        """Free a place."""
        self._held.pop(participant, None)
