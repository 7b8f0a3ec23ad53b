import itertools

import pytest

from telepresence.errors import RoomFullError
from telepresence.hub import rooms as module
from telepresence.hub.rooms import Departure, Rooms


def make(**options) -> Rooms:
    numbers = itertools.count()
    return Rooms(new_id=lambda: f"p{next(numbers)}", **options)


def join(rooms: Rooms, room: str = "den", **options) -> str:
    return rooms.join(room, "", (1,), **options).participant.id


def ids(rooms: Rooms, room: str = "den") -> list[str]:
    return [p.id for p in rooms.members(room)]


def test_a_joiner_learns_who_is_there_in_order_of_arrival():
    rooms = make()
    join(rooms), join(rooms)
    entry = rooms.join("den", "Ada", (1, 2), resume_id="")
    assert [p.id for p in entry.others] == ["p0", "p1"]
    assert (entry.participant.id, entry.participant.name, entry.participant.schemas) == ("p2", "Ada", (1, 2))
    assert not entry.returned


def test_rooms_are_apart():
    rooms = make()
    join(rooms)
    assert rooms.join("attic", "", (1,)).others == ()
    assert (ids(rooms), ids(rooms, "attic"), ids(rooms, "cellar")) == (["p0"], ["p1"], [])


def test_a_full_room_stays_full_until_somebody_leaves():
    rooms = make(capacity=2)
    join(rooms), join(rooms)
    with pytest.raises(RoomFullError, match="2"):
        join(rooms)
    assert rooms.leave("den", "p0")
    assert join(rooms) == "p3"
    assert ids(rooms) == ["p1", "p3"]


def test_a_place_is_kept_over_the_grace_period_and_returned():
    rooms = make(capacity=1, grace_s=10)
    join(rooms)
    rooms.disconnect("den", "p0", now=100)
    assert rooms.expire(109.9) == []
    with pytest.raises(RoomFullError):
        join(rooms)
    entry = rooms.join("den", "", (1,), resume_id="p0")
    assert entry.returned
    assert rooms.expire(1000) == []


def test_a_place_is_free_after_the_grace_period():
    rooms = make(grace_s=10)
    join(rooms), join(rooms)
    rooms.disconnect("den", "p0", now=100)
    assert rooms.expire(110) == [Departure("den", "p0")]
    assert ids(rooms) == ["p1"]
    entry = rooms.join("den", "", (1,), resume_id="p0")
    assert entry.participant.id == "p0"
    assert not entry.returned


def test_an_empty_room_is_forgotten(monkeypatch):
    monkeypatch.setattr(module, "MAX_ROOMS", 1)
    rooms = make()
    join(rooms)
    with pytest.raises(RoomFullError, match="no free room"):
        join(rooms, "attic")
    assert rooms.members("attic") == ()
    rooms.leave("den", "p0")
    join(rooms, "attic")


def test_leaving_twice_or_from_nowhere_changes_nothing():
    rooms = make()
    join(rooms)
    assert not rooms.leave("den", "nobody")
    assert not rooms.leave("attic", "p0")
    rooms.disconnect("den", "nobody", now=0)
    rooms.disconnect("attic", "p0", now=0)
    assert rooms.expire(1e9) == []
    assert ids(rooms) == ["p0"]


def test_ids_are_hard_to_guess_by_default():
    rooms = Rooms()
    assert len({rooms.join("den", "", (1,)).participant.id for _ in range(12)}) == 12
    assert all(len(p.id) >= 12 for p in rooms.members("den"))


def test_a_capacity_beyond_the_protocol_is_refused():
    with pytest.raises(ValueError, match="12"):
        Rooms(capacity=13)
