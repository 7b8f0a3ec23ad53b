"""Control messages: byte-exact, and total on whatever comes."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telepresence.errors import ProtocolError
from telepresence.rtc.hello import MAX_CONTROL_BYTES, Hello, Presence, Refuse, Want, common_schema, encode, parse
from telepresence.rtc.transfer import Offer

SHA = "ab" * 32
MESSAGES = [
    (
        Hello((1, 2), Offer(SHA, 1000, 3)),
        b'{"type":"hello","protocol":1,"schemas":[1,2],"avatar":{"sha256":"'
        + SHA.encode()
        + b'","size":1000,"epoch":3}}',
    ),
    (Hello((1,), None), b'{"type":"hello","protocol":1,"schemas":[1],"avatar":null}'),
    (Want(SHA, 50), b'{"type":"want","sha256":"' + SHA.encode() + b'","start":50}'),
    (Refuse("schema", "no common one"), b'{"type":"refuse","code":"schema","message":"no common one"}'),
]


@pytest.mark.parametrize(("message", "data"), MESSAGES)
def test_bytes_both_ways(message: Hello | Want | Refuse, data: bytes) -> None:
    assert encode(message) == data
    assert parse(data) == message
    assert parse(data.decode()) == message


def test_a_later_version_may_say_more() -> None:
    assert parse(b'{"type":"farewell"}') is None
    assert parse(b'{"type":"hello","protocol":1,"schemas":[1],"avatar":null,"mood":"good"}') == Hello((1,), None)


def test_the_highest_common_schema_is_used() -> None:
    assert common_schema((1, 2, 3), (0, 2, 3, 9)) == 3
    assert common_schema((1,), (2,)) is None


def test_a_message_too_long_is_not_even_read() -> None:
    with pytest.raises(ProtocolError, match="allowed"):
        parse(b" " * (MAX_CONTROL_BYTES + 1))


def test_an_explanation_is_shown_without_control_characters_and_cut() -> None:
    refuse = parse(json.dumps({"type": "refuse", "code": "x", "message": "a\x1b[31m\n" + "b" * 1000}))
    assert isinstance(refuse, Refuse)
    assert refuse.message.isprintable()
    assert len(refuse.message) <= 300


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
_KEYS = st.sampled_from(["protocol", "schemas", "avatar", "sha256", "start", "code", "message", "size", "epoch"])
_FIELDS = st.dictionaries(_KEYS, _VALUES, max_size=9)


@settings(deadline=None)
@given(st.sampled_from(["hello", "want", "refuse", "x", None, 1, []]), _FIELDS)
def test_any_object_parses_or_is_refused(kind: object, fields: dict[str, object]) -> None:
    with contextlib.suppress(ProtocolError):
        parse(json.dumps({"type": kind} | fields))


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_bytes_parse_or_are_refused(data: bytes | str) -> None:
    with contextlib.suppress(ProtocolError):
        parse(data)


def test_how_somebody_wants_to_be_shown_comes_through_and_nonsense_does_not() -> None:
    for presence in (Presence(), Presence("Ada", True, False, True, 21.5)):
        assert parse(encode(presence)) == presence
    assert parse(b'{"type":"state"}') == Presence()
    for bad in ('"muted":1', '"name":7', '"name":"a\\u202eb"', '"page_ms":-1', '"page_ms":true', '"page_ms":1e9'):
        with pytest.raises(ProtocolError):
            parse(f'{{"type":"state",{bad}}}'.encode())
