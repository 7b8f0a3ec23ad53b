"""What a page may say, and everything else that it may not."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telepresence.edge import messages
from telepresence.edge.messages import About, Delay, Enter, Leave, Return, Take, View, Voice, parse
from telepresence.errors import ProtocolError
from telepresence.hub.messages import MAX_MESSAGE_BYTES


def text(**fields: Any) -> str:
    return json.dumps(fields)


def test_each_type_is_understood() -> None:
    assert parse(text(type="page", token="t")) == Enter("t")
    assert parse(text(type="take")) == Take()
    assert parse(text(type="leave")) == Leave()
    assert parse(text(type="join")) == Return()
    assert parse(text(type="state", name=" Ada ", muted=True, camera=False)) == About("Ada", True, False)
    assert parse(text(type="state", muted=False, camera=True, page_ms=12)) == About("", False, True, 12.0)
    view = parse(text(type="view", speaker="a", tiles={"a": 500.4, "b": 0}, hidden=["c"]))
    assert view == View("a", {"a": 500, "b": 1}, frozenset("c"))
    assert parse(text(type="view", speaker=None)) == View(None)
    voice = parse(text(type="voice", mouth=[0, 0.5, 1], level=0.25, at_us=7))
    assert voice == Voice((0.0, 0.5, 1.0), 0.25, 7)
    assert parse(text(type="delay", place="all", ms=20)) == Delay(None, 20.0)
    assert parse(text(type="delay", place=3, ms=0)) == Delay(3, 0.0)
    assert parse(text(type="delay", place=3, ms=7, age_ms=110)) == Delay(3, 7.0, 110.0)
    assert parse(text(type="of a later version", x=1)) is None


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        text(type=1),
        text(type="page"),
        text(type="page", token="x" * 10_000),
        text(type="state", name="a\u202eb", muted=False, camera=False),
        text(type="state", name="x" * 65, muted=False, camera=False),
        text(type="state", name="", muted=1, camera=False),
        text(type="state", muted=False, camera=False, page_ms=-1),
        text(type="view", tiles=[]),
        text(type="view", tiles={str(i): 1 for i in range(13)}),
        text(type="view", tiles={"a": 1e9}),
        text(type="view", hidden=["no id"]),
        text(type="view", hidden=[str(i) for i in range(13)]),
        text(type="voice", mouth=[0, 0], level=0),
        text(type="voice", mouth=[0, 0, 1.1], level=0),
        text(type="voice", mouth=[0, 0, True], level=0),
        '{"type":"voice","mouth":[0,0,0],"level":NaN}',
        text(type="delay", place=12, ms=0),
        text(type="delay", place="none", ms=0),
        text(type="delay", place=0, ms=201),
        text(type="delay", place=0, ms=0, age_ms=5001),
        text(type="delay", place=0, ms=0, age_ms="x"),
        text(type="relay", to="a", payload={}),
        text(type="relay", to="a", payload={"kind": "bye", "session": 1}),  # motion: the edge's own
        " " * (MAX_MESSAGE_BYTES + 1),
    ],
)
def test_what_breaks_a_rule_is_refused(bad: str) -> None:
    with pytest.raises(ProtocolError):
        parse(bad)


_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
_types = st.sampled_from(["page", "take", "leave", "join", "state", "view", "voice", "delay", "relay", "x"])
_fields = st.sampled_from(["token", "name", "muted", "camera", "speaker", "tiles", "hidden", "mouth", "level", "ms"])


@given(_types, st.dictionaries(_fields, _json, max_size=5))
def test_the_parser_is_total(kind: str, fields: dict[str, Any]) -> None:
    try:
        message = parse(json.dumps({"type": kind} | fields))
    except ProtocolError:
        return
    if isinstance(message, Voice):
        assert all(math.isfinite(value) and 0 <= value <= 1 for value in message.mouth)


def test_what_an_edge_says() -> None:
    assert json.loads(messages.said("x" * 1000, "error")) == {"type": "said", "text": "x" * 500, "level": "error"}
    assert json.loads(messages.returned()) == {"type": "returned"}
    assert json.loads(messages.superseded("headset")) == {"type": "superseded", "by": "headset"}
    assert json.loads(messages.pictures([(0, 90_000, 12.5, 8.5, 3.0), (1, 4, None, 0.0, 0.0)], 7.04)) == {
        "type": "pictures",
        "now_ms": 7.0,
        "at": [[0, 90_000, 12.5, 8.5, 3.0], [1, 4, None, 0.0, 0.0]],
    }
    assert json.loads(messages.room({"room": "r"})) == {"type": "room", "room": "r"}
