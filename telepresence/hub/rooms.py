"""Who is in which room. Sans-I/O: `now` is an argument, seconds of any clock that only goes forward.

A participant whose connection drops keeps id and place for a grace period; nobody is told unless it runs out.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from telepresence.errors import RoomFullError
from telepresence.hub.messages import MAX_PARTICIPANTS, Participant

GRACE_S: Final = 20.0  # how long a place is kept for somebody whose connection dropped
MAX_ROOMS: Final = 1024  # on one hub


@dataclass(frozen=True, slots=True)
class Entry:
    """The outcome of a join."""

    participant: Participant
    """The one who joined, with the id that it has now."""
    others: tuple[Participant, ...]
    """Everybody else in the room, those within the grace period included, in order of arrival."""
    returned: bool
    """The place was still there: the others were never told that anybody left, and are not told now."""


@dataclass(frozen=True, slots=True)
class Departure:
    """A place that became free."""

    room: str
    """In this room."""
    id: str
    """It was this participant's."""


@dataclass(slots=True)
class _Seat:
    participant: Participant
    away_since: float | None = None


class Rooms:
    """All rooms of a hub. Rooms come into being with their first participant and go with their last."""

    def __init__(
        self,
        *,
        capacity: int = MAX_PARTICIPANTS,
        grace_s: float = GRACE_S,
        new_id: Callable[[], str] = lambda: secrets.token_urlsafe(9),
    ) -> None:
        if not 1 <= capacity <= MAX_PARTICIPANTS:
            raise ValueError(f"a room has 1 to {MAX_PARTICIPANTS} places, not {capacity}")
        self._capacity = capacity
        self._grace_s = grace_s
        self._new_id = new_id
        self._rooms: dict[str, dict[str, _Seat]] = {}

    def join(
        self, room: str, name: str, schemas: tuple[int, ...], *, resume_id: str = "", vouched: bool = False
    ) -> Entry:
        """Take a place. With `resume_id` (vouched for by the caller) the participant gets that id again.

        Call `expire` first, so that places whose time is up are free. Tell `entry.others` unless `entry.returned`.

        Raises:
            RoomFullError: no free place, or too many rooms.
        """
        seats = self._rooms.get(room, {})
        participant = Participant(resume_id or self._new_id(), name, schemas, vouched)
        seat = seats.get(participant.id)
        if seat is None:
            if len(seats) >= self._capacity:
                raise RoomFullError(f"the room is full ({self._capacity} participants); wait until somebody leaves")
            if not seats and len(self._rooms) >= MAX_ROOMS:
                raise RoomFullError("the hub has no free room; wait until one empties")
        others = tuple(s.participant for s in seats.values() if s.participant.id != participant.id)
        self._rooms.setdefault(room, seats)[participant.id] = _Seat(participant)
        return Entry(participant, others, returned=seat is not None)

    def disconnect(self, room: str, participant_id: str, *, now: float) -> None:
        """The connection dropped: the grace period starts. Call `expire` when it is over."""
        seat = self._rooms.get(room, {}).get(participant_id)
        if seat is not None:
            seat.away_since = now

    def leave(self, room: str, participant_id: str) -> bool:
        """The participant goes for good; False if it was not there. Tell `members(room)`."""
        seats = self._rooms.get(room, {})
        if seats.pop(participant_id, None) is None:
            return False
        if not seats:
            del self._rooms[room]
        return True

    def expire(self, now: float) -> list[Departure]:
        """Free the places whose grace period is over. Tell `members` of each room about its departures."""
        over = [
            Departure(room, participant_id)
            for room, seats in self._rooms.items()
            for participant_id, seat in seats.items()
            if seat.away_since is not None and now - seat.away_since >= self._grace_s
        ]
        for departure in over:
            self.leave(departure.room, departure.id)
        return over

    def members(self, room: str) -> tuple[Participant, ...]:
        """Everybody in the room, those within the grace period included, in order of arrival."""
        return tuple(seat.participant for seat in self._rooms.get(room, {}).values())
