import json
import string
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telepresence.errors import SignallingError
from telepresence.hub.codec import encode, parse_from_client, parse_from_hub
from telepresence.hub.messages import (
    MAX_MESSAGE_BYTES,
    MAX_NAME_CHARACTERS,
    MAX_NESTING,
    MAX_SCHEMAS,
    MAX_SDP_BYTES,
    MAX_SESSION,
    Arrived,
    IceServer,
    Join,
    Joined,
    Leave,
    Left,
    Participant,
    Payload,
    Refused,
    Relay,
    Relayed,
)

JOIN = {"type": "join", "protocol": 1, "token": "t.t", "room": "den", "name": "Ada", "schemas": [1]}
OFFER = {"kind": "offer", "session": 1, "sdp": "v=0\r\n"}
ADA = Participant("a", "Ada \U0001f600", (1, 2))

FROM_CLIENT = [
    Join("t.t", "den", "Ada", (1, 2)),
    Join("t.t", "den", "", (1,), "r.r"),
    Relay("b", Payload("offer", MAX_SESSION, 'v=0\r\ns="é"\t\\\r\n')),
    Relay("b", Payload("bye", 0)),
    Relay("b", Payload("offer", 2, "v=0\r\n", "sound")),
    Relay("b", Payload("bye", 2, media="sound")),
    Leave(),
]
FROM_HUB = [
    Joined("a", "r.r", (ADA,), (IceServer(("turn:t:1", "stun:s:1"), "u", "c"), IceServer(("stun:s",))), True),
    Joined("a", "r.r", ()),
    Joined("a", "r.r", (), relay_only=True),
    Joined("a", "r.r", (replace(ADA, vouched=True),), name="Bob"),
    Arrived(ADA),
    Left("a"),
    Relayed("a", Payload("answer", 3, "v=0\r\n")),
    Relayed("a", Payload("answer", 3, "v=0\r\n", "sound")),
    Refused("full", "the room is full"),
    Refused("away", "not here", "b"),
]


@pytest.mark.parametrize("message", FROM_CLIENT, ids=repr)
def test_clients_messages_survive_the_way_to_the_hub(message):
    assert parse_from_client(encode(message)) == message


@pytest.mark.parametrize("message", FROM_HUB, ids=repr)
def test_the_hubs_messages_survive_the_way_to_a_client(message):
    assert parse_from_hub(encode(message)) == message


def test_what_is_on_the_wire_stays_as_it_is():
    assert encode(Relay("b", Payload("offer", 7, "v=0\r\n"))) == (
        '{"type":"relay","to":"b","payload":{"kind":"offer","session":7,"sdp":"v=0\\r\\n"}}'
    )
    assert encode(Relay("b", Payload("bye", 7, media="sound"))) == (
        '{"type":"relay","to":"b","payload":{"kind":"bye","session":7,"media":"sound"}}'
    )
    assert encode(Join("t.t", "den", "Ada", (1,))) == (
        '{"type":"join","protocol":1,"token":"t.t","room":"den","name":"Ada","schemas":[1],"resume":null}'
    )
    assert encode(Arrived(ADA)) == '{"type":"arrived","id":"a","name":"Ada \U0001f600","schemas":[1,2]}'


def test_unknown_fields_are_ignored_and_not_passed_on():
    relay = {"type": "relay", "to": "b", "later": [1], "payload": OFFER | {"later": {}}}
    assert parse_from_client(json.dumps(relay)) == Relay("b", Payload("offer", 1, "v=0\r\n"))


def test_a_name_may_have_joiners_but_nothing_that_hides_or_reverses():
    assert parse_from_client(json.dumps(JOIN | {"name": " نمی\u200cدانم "})).name == "نمی\u200cدانم"
    for name in ("a\nb", "a\u202eb", "\x1b[31m", "\u2066", "\ud800"):
        with pytest.raises(SignallingError, match="name"):
            parse_from_client(json.dumps(JOIN | {"name": name}))


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": 2},
        {"protocol": None},
        {"token": ""},
        {"token": "a b"},
        {"token": "x" * 1025},
        {"room": ""},
        {"room": ".."},
        {"room": "a/b"},
        {"room": "é"},
        {"room": "r" * 65},
        {"room": "den\n"},
        {"name": None},
        {"name": "n" * (MAX_NAME_CHARACTERS + 1)},
        {"schemas": []},
        {"schemas": [True]},
        {"schemas": [256]},
        {"schemas": [-1]},
        {"schemas": [1.0]},
        {"schemas": "1"},
        {"schemas": [1] * (MAX_SCHEMAS + 1)},
        {"resume": 1},
        {"resume": ""},
        {"type": ["join"]},
    ],
    ids=str,
)
def test_a_join_with_one_thing_wrong_is_refused(change):
    with pytest.raises(SignallingError):
        parse_from_client(json.dumps(JOIN | change))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "candidate"},
        {"kind": None},
        {"kind": []},
        {"session": -1},
        {"session": MAX_SESSION + 1},
        {"session": "1"},
        {"session": True},
        {"sdp": ""},
        {"sdp": None},
        {"sdp": "v=0\0"},
        *({"sdp": f"v=0\r\ns=-{separator}m=video 9 x 96\r\n"} for separator in ("\r", "\x85", "\u2028", "\u2029")),
        *({"sdp": f"v=0\r\ns=-{separator}m=video 9 x 96\r\n"} for separator in "\v\f\x1c\x1d\x1e"),
        {"sdp": "\udfff"},
        {"sdp": "v" * (MAX_SDP_BYTES + 1)},
        {"sdp": "é" * (MAX_SDP_BYTES // 2 + 1)},
        {"kind": "bye"},
        *({"media": media} for media in ("video", "", None, ["sound"], {}, 1)),
    ],
    ids=lambda change: str(change)[:40],
)
def test_a_payload_with_one_thing_wrong_is_refused(change):
    with pytest.raises(SignallingError):
        parse_from_client(json.dumps({"type": "relay", "to": "b", "payload": OFFER | change}))


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "1", '"', "{", "{}", "NaN", '{"type":NaN}', "1" * 5000, '{"type":"join"', "\ud800", "\0"],
    ids=lambda text: repr(text)[:20],
)
def test_what_is_no_message_is_refused(text):
    for parse in (parse_from_client, parse_from_hub):
        with pytest.raises(SignallingError):
            parse(text)


def test_the_largest_sdp_fits_even_if_all_of_it_needs_escaping():
    relayed = Relayed("s" * 32, Payload("offer", MAX_SESSION, "\n" * MAX_SDP_BYTES))
    assert parse_from_hub(encode(relayed)) == relayed


def test_size_counts_in_bytes():
    padding = "é" * (MAX_MESSAGE_BYTES // 2)
    with pytest.raises(SignallingError, match="65536 bytes"):
        parse_from_client(json.dumps({"type": "leave", "x": padding}, ensure_ascii=False))
    assert parse_from_client(json.dumps({"type": "leave", "x": padding[100:]}, ensure_ascii=False)) == Leave()


def test_nesting_is_bounded_before_json_is_parsed():
    def nested(depth: int) -> str:
        return '{"type":"leave","x":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"

    assert parse_from_client(nested(MAX_NESTING)) == Leave()
    for depth in (MAX_NESTING + 1, 30_000):
        with pytest.raises(SignallingError, match="nested"):
            parse_from_client(nested(depth))
    assert parse_from_client('{"type":"leave","x":"\\"[[[[[[[[[[[["}') == Leave()


def test_an_error_quotes_nothing_of_the_message():
    for change in ({"token": "se cret"}, {"room": "se cret"}, {"name": "secret\n"}, {"schemas": ["secret"]}):
        with pytest.raises(SignallingError) as caught:
            parse_from_client(json.dumps(JOIN | change))
        assert "cret" not in str(caught.value)


repeatable = settings(deadline=None, derandomize=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(string.printable, max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=5,
)
names = ["type", "protocol", "token", "room", "name", "schemas", "resume", "to", "payload"]
fields = st.sampled_from([*names, "from", "id", "participants", "ice_servers", "code", "message"])
likely = st.sampled_from(
    ["join", "relay", "leave", "joined", "arrived", "left", "error", 1, "a", [1], OFFER, [JOIN | {"id": "a"}]]
)


def accepts_or_refuses(text: str) -> None:
    for parse, known in ((parse_from_client, Join | Relay | Leave), (parse_from_hub, object)):
        try:
            message = parse(text)
        except SignallingError:
            continue
        assert isinstance(message, known)
        assert parse(encode(message)) == message


@repeatable
@given(st.text())
def test_any_text_gives_a_message_or_a_signalling_error(text):
    accepts_or_refuses(text)


@repeatable
@given(st.dictionaries(fields, values | likely))
def test_any_object_gives_a_message_or_a_signalling_error(message):
    accepts_or_refuses(json.dumps(message))


@repeatable
@given(st.sampled_from(FROM_CLIENT + FROM_HUB), st.data())
def test_any_damaged_message_gives_a_message_or_a_signalling_error(message, data):
    text = encode(message)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    accepts_or_refuses(text[:start] + data.draw(st.text(max_size=4)) + text[end:])


def test_an_explanation_cannot_steer_a_terminal():
    text = json.dumps({"type": "error", "code": "token", "message": "\x1b]0;title\x07no\u202e"})
    assert parse_from_hub(text).message == " ]0;title no "
