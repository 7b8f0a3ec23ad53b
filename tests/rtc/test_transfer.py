"""Avatar transfer without a network: windows, order, size, hash."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telepresence.errors import TransferError
from telepresence.rtc.transfer import (
    CHUNK_BYTES,
    HEAD_BYTES,
    MAX_AVATAR_BYTES,
    MAX_DELAY_US,
    MAX_MESSAGE_BYTES,
    WINDOW_BYTES,
    Acknowledgement,
    Data,
    Incoming,
    Offer,
    Outgoing,
    offer_of,
    parse_message,
    parse_offer,
)
from telepresence.wire.codec import MAX_PACKET_BYTES

FILE = random.Random(1).randbytes(50_000)


def drain(outgoing: Outgoing, now_us: int = 0, room: int = WINDOW_BYTES) -> list[bytes]:
    messages = []
    while (message := outgoing.next_message(now_us, room)) is not None:
        messages.append(message)
    return messages


def data(message: bytes) -> Data:
    parsed = parse_message(message)
    assert isinstance(parsed, Data)
    return parsed


def transfer(outgoing: Outgoing, incoming: Incoming, delay_us: int = 1_000) -> int:
    """Run to the end; returns the most bytes that were ever under way."""
    now, most = 0, 0
    while not outgoing.done:
        messages = drain(outgoing, now)
        assert messages, "stuck"
        most = max(most, sum(map(len, messages)))
        now += delay_us
        for message in messages:
            piece = data(message)
            acknowledgement = parse_message(incoming.take(piece.offset, piece.chunk))
            assert isinstance(acknowledgement, Acknowledgement)
            outgoing.acknowledge(acknowledgement.received, now)
    return most


def test_file_arrives_whole_within_the_window() -> None:
    incoming = Incoming(offer_of(FILE))
    most = transfer(Outgoing(FILE), incoming)
    assert incoming.result() == FILE
    assert WINDOW_BYTES - MAX_MESSAGE_BYTES < most <= WINDOW_BYTES


def test_a_message_fits_one_sctp_packet() -> None:
    assert MAX_MESSAGE_BYTES <= MAX_PACKET_BYTES
    assert max(map(len, drain(Outgoing(FILE)))) == MAX_MESSAGE_BYTES


def test_message_bytes() -> None:
    message = Outgoing(b"abc").next_message(0)
    assert message == b"\x01\x00\x00\x00\x00abc"
    assert Incoming(offer_of(b"abc")).take(0, b"abc") == b"\x02\x00\x00\x00\x03"


def test_a_smaller_room_is_kept_but_never_stops_the_transfer() -> None:
    assert len(drain(Outgoing(FILE), room=3_000)) == 2
    assert len(drain(Outgoing(FILE), room=0)) == 1


def test_window_shrinks_while_acknowledgements_are_slow_and_recovers() -> None:
    outgoing, now = Outgoing(FILE * 20), 0

    def turn(delay_us: int) -> int:
        nonlocal now
        messages = drain(outgoing, now)
        now += delay_us
        outgoing.acknowledge(data(messages[-1]).offset + len(data(messages[-1]).chunk), now)
        return len(messages)

    assert turn(1_000) == WINDOW_BYTES // MAX_MESSAGE_BYTES
    slow = [turn(1_000 + 3 * MAX_DELAY_US) for _ in range(6)]
    assert slow[-1] == 1
    fast = [turn(1_000) for _ in range(60)]
    assert fast[-1] == WINDOW_BYTES // MAX_MESSAGE_BYTES


def test_goes_on_where_a_lost_connection_left_it() -> None:
    incoming = Incoming(offer_of(FILE))
    for message in drain(Outgoing(FILE))[:3]:
        incoming.take(data(message).offset, data(message).chunk)
    assert incoming.received == 3 * CHUNK_BYTES
    transfer(Outgoing(FILE, incoming.received), incoming)
    assert incoming.result() == FILE


@pytest.mark.parametrize("offset", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES + 1, 40_000])
def test_order_is_enforced(offset: int) -> None:
    incoming = Incoming(offer_of(FILE))
    incoming.take(0, FILE[:CHUNK_BYTES])
    with pytest.raises(TransferError):
        incoming.take(offset, FILE[offset : offset + CHUNK_BYTES])
    assert incoming.prefix == FILE[:CHUNK_BYTES]


def test_more_than_offered_is_refused_before_it_is_kept() -> None:
    incoming = Incoming(Offer("0" * 64, 10))
    with pytest.raises(TransferError):
        incoming.take(0, b"x" * 11)
    incoming.take(0, b"x" * 9)
    with pytest.raises(TransferError):
        incoming.take(9, b"xx")
    with pytest.raises(TransferError):
        incoming.take(9, b"")
    assert incoming.received == 9


def test_another_file_than_offered_is_refused() -> None:
    incoming = Incoming(offer_of(b"wanted"))
    incoming.take(0, b"unwant")
    with pytest.raises(TransferError, match="hash"):
        incoming.result()


def test_result_before_the_end_is_refused() -> None:
    with pytest.raises(TransferError):
        Incoming(offer_of(FILE)).result()


@pytest.mark.parametrize("received", [-1, 1_000_000])
def test_impossible_acknowledgements_are_refused(received: int) -> None:
    outgoing = Outgoing(FILE)
    drain(outgoing)
    with pytest.raises(TransferError):
        outgoing.acknowledge(received, 1)
    outgoing.acknowledge(2 * CHUNK_BYTES, 1)
    with pytest.raises(TransferError):
        outgoing.acknowledge(CHUNK_BYTES, 2)


def test_a_start_beyond_the_end_is_refused() -> None:
    with pytest.raises(TransferError):
        Outgoing(FILE, len(FILE) + 1)


GOOD = {"sha256": hashlib.sha256(FILE).hexdigest(), "size": len(FILE), "epoch": 3}


def test_offer_round_trip() -> None:
    assert parse_offer(GOOD) == Offer(str(GOOD["sha256"]), len(FILE), 3)
    assert parse_offer(offer_of(FILE, 3).fields()) == parse_offer(GOOD)


@pytest.mark.parametrize(
    "change",
    [
        {"size": MAX_AVATAR_BYTES + 1}, {"size": 0}, {"size": -1}, {"size": True}, {"size": 1.0}, {"size": "1"},
        {"sha256": "0" * 63}, {"sha256": "G" * 64}, {"sha256": "../" + "0" * 61}, {"sha256": None},
        {"epoch": 256}, {"epoch": -1},
    ],
)  # fmt: skip
def test_bad_offers_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(TransferError):
        parse_offer(GOOD | change)


@settings(deadline=None)
@given(st.binary(max_size=64) | st.binary(min_size=MAX_MESSAGE_BYTES - 2, max_size=MAX_MESSAGE_BYTES + 2))
def test_any_message_parses_or_is_refused(message: bytes) -> None:
    try:
        parsed = parse_message(message)
    except TransferError:
        return
    assert len(message) >= HEAD_BYTES
    assert isinstance(parsed, Data | Acknowledgement)
