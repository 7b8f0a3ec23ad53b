from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from telepresence.errors import MissingReferenceError, PacketError
from telepresence.face.motion import MAX_ROTATION, MAX_TRANSLATION, SCALE_RANGE, Motion, Pose
from telepresence.wire.codec import HELD, MotionDecoder, MotionEncoder, decode_ack, encode_ack, grids
from telepresence.wire.packets import KIND_DELTA, KIND_WHOLE, Ack, MotionPacket
from tests.wire.make_vectors import answered, described, encode
from tests.wire.motions import PICTURE_US, error, moving

VECTORS = Path(__file__).with_name("vectors")
STREAM = json.loads((VECTORS / "stream.json").read_text())
REFUSED = json.loads((VECTORS / "refused.json").read_text())
RECEIVED = json.loads((VECTORS / "received.json").read_text())
CLOSE = 0.01  # a quantiser's step and a bit, in every unit


def packets(decoder: MotionDecoder, data: bytes) -> tuple[MotionPacket, ...]:
    received = decoder.receive(data)
    assert isinstance(received, tuple)
    return received


def kind(data: bytes) -> int:
    return data[0] & 15


def test_the_checked_in_messages_of_strangers() -> None:
    """Leaps, times at their end, and motion itself; what is not held is handed on."""
    decoder = MotionDecoder()
    for case in RECEIVED:
        wanted = {name: value for name, value in case.items() if name not in ("why", "message")}
        assert answered(decoder, bytes.fromhex(case["message"])) == wanted, case["why"]


def test_the_checked_in_conversation_byte_for_byte() -> None:
    encoder, decoder = MotionEncoder(first_sequence=STREAM["first_sequence"]), MotionDecoder()
    for step in STREAM["steps"]:
        assert encode(encoder, step["given"]).hex() == step["message"]
        assert encoder.repeating == step["repeating"]
        if "packets" not in step:
            continue
        found = packets(decoder, bytes.fromhex(step["message"]))
        assert [described(p, grids(decoder)[p.sequence]) for p in found] == step["packets"]
        assert encode_ack(decoder.ack()).hex() == step["ack"]
        if step["ack_arrives"]:
            encoder.acknowledge(decode_ack(bytes.fromhex(step["ack"])))


def test_the_conversation_covers_what_can_happen() -> None:
    messages = [bytes.fromhex(step["message"]) for step in STREAM["steps"]]
    assert {kind(m) for m in messages} == {KIND_WHOLE, KIND_DELTA}
    assert {len(step.get("packets", ())) for step in STREAM["steps"]} == {0, 1, 2}
    assert any(step["repeating"] for step in STREAM["steps"])


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case["why"])
def test_refused(case: dict[str, str]) -> None:
    decoder = MotionDecoder()
    with pytest.raises(MissingReferenceError if case["error"] == "missing" else PacketError) as caught:
        decoder.receive(bytes.fromhex(case["message"]))
    assert isinstance(caught.value, MissingReferenceError) == (case["error"] == "missing")
    assert (decoder.refused, decoder.missing) == (1, int(case["error"] == "missing"))


def test_motion_comes_out_as_it_went_in() -> None:
    encoder, decoder = MotionEncoder(), MotionDecoder()
    for i, motion in enumerate(moving(60)):
        (found,) = packets(decoder, encoder.encode(i * PICTURE_US, motion))
        encoder.acknowledge(decoder.ack())
        assert error(found.motion, motion) < CLOSE
        assert np.abs(found.motion.expression - motion.expression).max() < 2
        assert abs(found.capture_us - i * PICTURE_US) <= 250
        assert found.sequence == i


def test_without_acknowledgement_every_message_stands_alone() -> None:
    encoder = MotionEncoder()
    for i, motion in enumerate(moving(10)):
        message = encoder.encode(i * PICTURE_US, motion)
        assert kind(message) == KIND_WHOLE
        assert len(packets(MotionDecoder(), message)) == 1


def test_any_subset_that_arrives_is_usable_at_once() -> None:
    generator = np.random.default_rng(3)
    encoder, decoder, complete = MotionEncoder(repeat=False), MotionDecoder(), MotionDecoder()
    for i, motion in enumerate(moving(300)):
        message = encoder.encode(i * PICTURE_US, motion)
        (expected,) = packets(complete, message)
        if generator.random() < 0.5:
            (found,) = packets(decoder, message)
            assert found.motion.expression.tobytes() == expected.motion.expression.tobytes()
            if generator.random() < 0.5:
                encoder.acknowledge(decoder.ack())
    assert decoder.missing == 0


def test_reference_expires_and_the_stream_repairs_itself() -> None:
    encoder, decoder = MotionEncoder(), MotionDecoder()
    first, second, third = moving(3)
    packets(decoder, encoder.encode(0, first))
    encoder.acknowledge(decoder.ack())
    assert kind(encoder.encode(PICTURE_US, second)) == KIND_DELTA
    assert kind(encoder.encode(5_000_000, third)) == KIND_WHOLE  # the acknowledged one is too old to be referred to


def test_a_receiver_that_lost_its_memory_says_so() -> None:
    encoder, forgetful = MotionEncoder(), MotionDecoder()
    motions = moving(3)
    packets(MotionDecoder(), encoder.encode(0, motions[0]))
    encoder.acknowledge(Ack(0))
    with pytest.raises(MissingReferenceError):
        forgetful.receive(encoder.encode(PICTURE_US, motions[1]))
    encoder.acknowledge(decode_ack(encode_ack(forgetful.ack())))
    assert len(packets(forgetful, encoder.encode(2 * PICTURE_US, motions[2]))) == 1


def test_acknowledgements_are_due_after_the_first_then_every_few_and_when_something_is_missing() -> None:
    encoder, decoder = MotionEncoder(), MotionDecoder()
    due = []
    for i, motion in enumerate(moving(9)):
        packets(decoder, encoder.encode(i * PICTURE_US, motion))
        due.append(decoder.ack_due(4))
        if due[-1]:
            encoder.acknowledge(decoder.ack())
    assert due == [True, False, False, False, True, False, False, False, True]
    with pytest.raises(MissingReferenceError):
        decoder.receive(bytes([0x15, 200, 0x10, 66]))
    assert decoder.ack_due(4)


def test_a_new_avatar_is_never_a_difference() -> None:
    encoder, decoder = MotionEncoder(), MotionDecoder()
    packets(decoder, encoder.encode(0, moving(1)[0], epoch=3))
    encoder.acknowledge(decoder.ack())
    message = encoder.encode(PICTURE_US, moving(1)[0], epoch=4)
    assert kind(message) == KIND_WHOLE
    assert packets(decoder, message)[0].epoch == 4


def test_repeats_begin_with_losses_and_end_with_them() -> None:
    encoder, decoder = MotionEncoder(), MotionDecoder()
    shown: set[int] = set()
    for i, motion in enumerate(moving(1500)):
        message = encoder.encode(i * PICTURE_US, motion)
        if i % 10 == 4 and i < 400:
            continue
        shown |= {p.sequence for p in packets(decoder, message)}
        encoder.acknowledge(decoder.ack())
        if i == 399:
            assert encoder.repeating
    assert not encoder.repeating
    assert set(range(100, 1500)) <= shown  # every lost one was in the next message


def test_two_motions_in_a_message() -> None:
    encoder, decoder = MotionEncoder(), MotionDecoder()
    a, b = moving(2)
    found = packets(decoder, encoder.encode_pair(MotionPacket(0, 0, a), MotionPacket(0, 40_000, b, rest=True)))
    assert [(p.sequence, p.capture_us, p.rest) for p in found] == [(0, 0, False), (1, 40_000, True)]
    with pytest.raises(ValueError, match="one epoch"):
        encoder.encode_pair(MotionPacket(0, 0, a, epoch=1), MotionPacket(0, 1, b, epoch=2))


@pytest.mark.parametrize("ack", [Ack(5), Ack(40_000, 0xFFFFFFFF), Ack(0xFFFF, 0xFFFFFFFF), Ack(None)])
def test_an_acknowledgement_of_what_was_never_sent_changes_nothing(ack: Ack) -> None:
    encoder = MotionEncoder()
    message = encoder.encode(0, moving(1)[0])
    encoder.acknowledge(ack)
    assert kind(message) == kind(encoder.encode(PICTURE_US, moving(1)[0])) == KIND_WHOLE


def test_a_replayed_message_gives_the_same_motion_and_moves_nothing() -> None:
    encoder, decoder = MotionEncoder(), MotionDecoder()
    messages = []
    for i, motion in enumerate(moving(100)):
        messages.append(encoder.encode(i * PICTURE_US, motion))
        packets(decoder, messages[-1])
        encoder.acknowledge(decoder.ack())
    before = (decoder.ack(), grids(decoder))
    packets(decoder, messages[0])  # a whole one, long forgotten
    packets(decoder, messages[-1])
    with pytest.raises(MissingReferenceError):
        decoder.receive(messages[5])
    assert (decoder.ack(), grids(decoder)) == before


def test_nonsense_is_sent_as_rest() -> None:
    nan = np.full(3, np.nan, np.float32)
    motion = Motion(
        Pose(nan, nan[:2], float("inf")), np.full(48, np.nan, np.float32), np.full((2, 2), np.inf, np.float32)
    )
    (found,) = packets(MotionDecoder(), MotionEncoder().encode(0, motion))
    assert np.isfinite(found.motion.expression).all()
    assert not found.motion.pose.rotation.any()


def test_messages_are_small() -> None:
    encoder, decoder = MotionEncoder(), MotionDecoder()
    sizes = []
    for i, motion in enumerate(moving(200, pace=0.3)):
        sizes.append(len(encoder.encode(i * PICTURE_US, motion)))
        packets(decoder, encoder.encode(i * PICTURE_US + 500, motion))
        encoder.acknowledge(decoder.ack())
    assert max(sizes[3:]) <= 48


def within_bounds(motion: Motion) -> bool:
    pose = motion.pose
    return bool(
        np.linalg.norm(pose.rotation) <= MAX_ROTATION * 1.0001
        and np.abs(pose.translation).max() <= MAX_TRANSLATION
        and SCALE_RANGE[0] <= pose.scale <= SCALE_RANGE[1]
        and np.abs(motion.expression).max() <= 6
        and np.abs(motion.gaze).max() <= 0.1201
    )


def swallow(decoder: MotionDecoder, data: bytes) -> None:
    try:
        received = decoder.receive(data)
    except PacketError:
        return
    for packet in received if isinstance(received, tuple) else ():
        assert within_bounds(packet.motion)
    assert len(grids(decoder)) <= HELD


MESSAGES = [bytes.fromhex(step["message"]) for step in STREAM["steps"]] + [
    bytes.fromhex(case["message"]) for case in REFUSED
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.binary(max_size=80) | st.sampled_from(MESSAGES), max_size=6))
def test_any_bytes_in_any_order_are_motion_or_refused(messages: list[bytes]) -> None:
    decoder = MotionDecoder()
    for data in messages:
        swallow(decoder, data)
    decode_ack(encode_ack(decoder.ack()))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(MESSAGES), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=4))
def test_damaged_messages_are_motion_or_refused(message: bytes, damage: list[tuple[int, int]]) -> None:
    decoder = MotionDecoder()
    for earlier in MESSAGES[:4]:
        swallow(decoder, earlier)
    data = bytearray(message)
    for at, value in damage:
        if at < len(data):
            data[at] = value
    swallow(decoder, bytes(data))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=10))
def test_any_acknowledgement_is_taken_or_refused(data: bytes) -> None:
    encoder = MotionEncoder()
    for i, motion in enumerate(moving(3)):
        encoder.encode(i * PICTURE_US, motion)
    try:
        encoder.acknowledge(decode_ack(data))
    except PacketError:
        return
    encoder.encode(4 * PICTURE_US, moving(1)[0])


def test_a_far_future_message_costs_no_more_than_the_memory_of_the_rest() -> None:
    decoder = MotionDecoder()
    motion = moving(1)[0]
    begun = time.process_time()
    for first in range(0, 2**32, 2**25):
        packets(decoder, MotionEncoder(first_sequence=first).encode(first, motion))
        assert len(grids(decoder)) <= HELD
    assert time.process_time() - begun < 60
