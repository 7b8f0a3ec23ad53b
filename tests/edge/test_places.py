"""Who is shown where, and that nobody is moved who can be seen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from telepresence.edge.places import Places


def test_the_lowest_free_place_is_taken_and_kept() -> None:
    places = Places()
    assert [places.arrive(name) for name in "abc"] == [0, 1, 2]
    places.leave("a")
    assert (places["b"], places["c"]) == (1, 2)
    assert places.arrive("d") == 0
    assert places.arrive("d") == 0
    places.leave("nobody")
    assert places.get("a") is None


def test_who_connects_first_of_all_takes_the_place_of_who_cannot_be_reached() -> None:
    places = Places()
    for name in "abc":
        places.arrive(name)
    assert places.connect("c", lambda other: other != "a") == 0
    assert (places["a"], places["b"]) == (2, 1)
    assert places.connect("a", lambda other: True) == 2


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["arrive", "connect", "leave", "lose"]))))
def test_no_two_share_a_place_and_nobody_connected_is_moved(steps: list[tuple[str, str]]) -> None:
    places, there, up = Places(), set[str](), set[str]()
    for name, step in steps:
        held = {other: places[other] for other in up if other != name}
        if step == "arrive" or (step == "connect" and name not in there):
            places.arrive(name)
            there.add(name)
        if step == "connect":
            if name not in up:
                places.connect(name, lambda other: other in up)
            up.add(name)
        elif step == "leave":
            places.leave(name)
            there.discard(name)
            up.discard(name)
        elif step == "lose":
            up.discard(name)
        assert {other: places.get(other) for other in held} == held
        found = [places[other] for other in there]
        assert len(set(found)) == len(found)
