from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telepresence.errors import PacketError
from telepresence.face.basis import default_basis
from telepresence.face.motion import MAX_ROTATION, MAX_TRANSLATION, SCALE_RANGE, Motion, Pose, keypoints
from telepresence.wire.codec import (
    MAX_EXPRESSION,
    MAX_PACKET_BYTES,
    SCHEMAS,
    MotionPacket,
    Packet,
    Ping,
    Pong,
    decode,
    encode,
)
from tests.face import synthetic

# Written out by hand from docs/packets.md, not by the encoder.
MOTION_HEX = (
    "11 01"  # version 1, kind 1; schema 1
    "00 00 00 07"  # sequence
    "00 00 00 00 00 0f 42 40"  # capture time, 1 s
    "03 01"  # epoch 3; flag: rest
    "28 be  d7 42  00 00"  # rotation (1, -1, 0) rad, steps of pi / 32767
    "20 00  e0 00"  # translation (+0.5, -0.5), steps of 2 / 32767
    "33 33"  # scale 0.4, steps of 2 / 65535
    "19 99  00 00  00 00  e6 67"  # gaze (0.05, 0), (0, -0.05), steps of 0.25 / 32767
    "03"  # three coefficients, steps of 32 / 32767
    "04 00  fc 00  00 00"  # +1, -1, 0 deviations
)
PING_HEX = "12 00  00 00 00 2a  00 00 00 01 00 00 00 05"
PONG_HEX = "13 00  00 00 00 2a  00 00 00 01 00 00 00 05  00 00 00 00 07 5b cd 15"


def rest_motion(count: int = 3) -> Motion:
    values = np.zeros(count, np.float32)
    values[:2] = 1, -1
    pose = Pose(np.array([1, -1, 0], np.float32), np.array([0.5, -0.5], np.float32), 0.4)
    return Motion(pose, values, np.array([[0.05, 0], [0, -0.05]], np.float32))


def lively(seed: int = 0) -> MotionPacket:
    rng = np.random.default_rng(seed)
    pose = synthetic.pose(*rng.uniform(-1, 1, 3), *rng.uniform(-1, 1, 2), scale=float(rng.uniform(0.1, 1)))
    gaze = rng.uniform(-0.1, 0.1, (2, 2))
    return MotionPacket(seed, 10**9 + seed, synthetic.motion(pose, synthetic.expression(seed), gaze), seed % 256)


def test_motion_bytes() -> None:
    expected = bytes.fromhex(MOTION_HEX)
    assert encode(MotionPacket(7, 1_000_000, rest_motion(), epoch=3, rest=True)).hex(" ") == expected.hex(" ")
    packet = decode(expected)
    assert isinstance(packet, MotionPacket)
    assert (packet.sequence, packet.capture_us, packet.epoch, packet.rest) == (7, 1_000_000, 3, True)
    assert packet.motion.schema == 1
    assert packet.motion.pose.rotation == pytest.approx([1, -1, 0], abs=5e-5)
    assert packet.motion.pose.translation == pytest.approx([0.5, -0.5], abs=4e-5)
    assert packet.motion.pose.scale == pytest.approx(0.4, abs=2e-5)
    assert packet.motion.gaze.reshape(-1) == pytest.approx([0.05, 0, 0, -0.05], abs=4e-6)
    assert packet.motion.expression[:3] == pytest.approx([1, -1, 0], abs=5e-4)


@pytest.mark.parametrize(
    ("text", "packet"), [(PING_HEX, Ping(42, 2**32 + 5)), (PONG_HEX, Pong(42, 2**32 + 5, 123_456_789))]
)
def test_ping_and_pong_bytes(text: str, packet: Packet) -> None:
    assert encode(packet).hex() == bytes.fromhex(text).hex()
    assert decode(bytes.fromhex(text)) == packet


@pytest.mark.parametrize("seed", range(10))
def test_round_trip_within_half_a_step(seed: int) -> None:
    sent = lively(seed)
    got = decode(encode(sent))
    assert isinstance(got, MotionPacket)
    assert (got.sequence, got.capture_us, got.epoch, got.rest) == (sent.sequence, sent.capture_us, sent.epoch, False)
    a, b, slack = sent.motion, got.motion, 1e-6
    assert np.abs(a.pose.rotation - b.pose.rotation).max() <= MAX_ROTATION / 32767 / 2 + slack
    assert np.abs(a.pose.translation - b.pose.translation).max() <= MAX_TRANSLATION / 32767 / 2 + slack
    assert abs(a.pose.scale - b.pose.scale) <= SCALE_RANGE[1] / 65535 / 2 + slack
    assert np.abs(a.gaze - b.gaze).max() <= 0.25 / 32767 / 2 + slack
    assert np.abs(a.expression - b.expression).max() <= 32 / 32767 / 2 + slack
    neutral = synthetic.person(seed)
    error = np.abs(keypoints(a, neutral) - keypoints(b, neutral))[:, :2].max()
    assert error < 1 / 512  # a quarter of a pixel at 256


@pytest.mark.parametrize("seed", range(3))
def test_a_second_time_nothing_is_lost(seed: int) -> None:
    data = encode(lively(seed))
    assert encode(decode(data)) == data


def test_sizes() -> None:
    assert len(encode(lively())) == 2 + 14 + 20 + 1 + 2 * 48 == 133
    most = Motion(synthetic.pose(), np.full(MAX_EXPRESSION, 6, np.float32), np.zeros((2, 2), np.float32))
    assert len(encode(MotionPacket(0, 0, most))) <= MAX_PACKET_BYTES == 1160
    too_many = Motion(synthetic.pose(), np.zeros(MAX_EXPRESSION + 1, np.float32), np.zeros((2, 2), np.float32))
    with pytest.raises(ValueError, match="129 expression coefficients"):
        encode(MotionPacket(0, 0, too_many))


@pytest.mark.parametrize("count", [0, 1, 47])
def test_coefficients_left_out_are_zero(count: int) -> None:
    short = Motion(synthetic.pose(), np.ones(count, np.float32), np.zeros((2, 2), np.float32))
    got = decode(encode(MotionPacket(0, 0, short)))
    assert isinstance(got, MotionPacket)
    assert got.motion.expression.shape == (default_basis().size,)
    assert got.motion.expression[:count] == pytest.approx(np.ones(count), abs=5e-4)
    assert not got.motion.expression[count:].any()
    assert np.isfinite(keypoints(got.motion, default_basis().mean)).all()


@pytest.mark.parametrize("count", [49, 128])
def test_more_coefficients_than_the_schema_has_are_refused(count: int) -> None:
    many = Motion(synthetic.pose(), np.ones(count, np.float32), np.zeros((2, 2), np.float32))
    with pytest.raises(PacketError, match="coefficients"):
        decode(encode(MotionPacket(0, 0, many)))


@pytest.mark.parametrize("packet", [lively(), Ping(1, 2), Pong(1, 2, 3)], ids=["motion", "ping", "pong"])
def test_every_truncation_and_every_extension_is_refused(packet: Packet) -> None:
    data = encode(packet)
    for cut in range(len(data)):
        with pytest.raises(PacketError):
            decode(data[:cut])
    for more in (b"\0", b"\0\0", bytes(500)):
        with pytest.raises(PacketError):
            decode(data + more)


@pytest.mark.parametrize("version", [v for v in range(16) if v != 1])
def test_other_versions_are_refused(version: int) -> None:
    for packet in (lively(), Ping(1, 2)):
        data = encode(packet)
        with pytest.raises(PacketError, match=f"version {version}"):
            decode(bytes([version << 4 | data[0] & 15]) + data[1:])


@pytest.mark.parametrize("kind", [k for k in range(16) if k not in (1, 2, 3)])
def test_other_kinds_are_refused(kind: int) -> None:
    with pytest.raises(PacketError, match=f"kind {kind}"):
        decode(bytes([0x10 | kind]) + encode(lively())[1:])


def test_other_schemas_are_refused() -> None:
    data = bytearray(encode(lively()))
    for schema in set(range(256)) - set(SCHEMAS):
        data[1] = schema
        with pytest.raises(PacketError, match=f"schema {schema}"):
            decode(bytes(data))


def test_unknown_flags_are_ignored() -> None:
    data = bytearray(encode(lively()))
    data[15] = 0xFE
    packet = decode(bytes(data))
    assert isinstance(packet, MotionPacket)
    assert not packet.rest


def test_too_long_is_refused_before_anything_is_read() -> None:
    with pytest.raises(PacketError, match="1161 bytes"):
        decode(bytes([0x11, 1]) + bytes(MAX_PACKET_BYTES - 1))


def assert_sensible(motion: Motion) -> None:
    basis = default_basis()
    assert np.linalg.norm(motion.pose.rotation) <= MAX_ROTATION * 1.000001
    assert np.abs(motion.pose.translation).max() <= MAX_TRANSLATION
    assert SCALE_RANGE[0] <= motion.pose.scale <= SCALE_RANGE[1]
    assert np.abs(motion.expression).max() <= basis.limit
    assert np.abs(motion.gaze).max() <= np.float32(basis.gaze_limit)
    points = keypoints(motion, basis.mean)
    assert np.isfinite(points).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30])
def test_nonsense_is_bounded_before_it_is_sent(value: float) -> None:
    wild = Motion(
        Pose(np.full(3, value, np.float32), np.full(2, value, np.float32), value),
        np.full(48, value, np.float32),
        np.full((2, 2), value, np.float32),
    )
    with np.errstate(over="ignore"):
        got = decode(encode(MotionPacket(0, 0, wild)))
    assert isinstance(got, MotionPacket)
    assert_sensible(got.motion)


def decode_or_refuse(data: bytes) -> None:
    try:
        packet = decode(data)
    except PacketError:
        return
    if isinstance(packet, MotionPacket):
        assert_sensible(packet.motion)
        assert encode(decode(encode(packet))) == encode(packet)


@given(st.binary(max_size=1300))
def test_any_bytes_are_a_packet_or_refused(data: bytes) -> None:
    decode_or_refuse(data)


@given(st.sampled_from([0x11, 0x12, 0x13]), st.binary(max_size=200))
def test_any_bytes_behind_a_valid_head(first: int, body: bytes) -> None:
    decode_or_refuse(bytes([first, 1]) + body)


@given(st.integers(0, 48).flatmap(lambda n: st.binary(min_size=34 + 2 * n, max_size=34 + 2 * n)))
def test_any_numbers_in_a_well_formed_packet_are_bounded(numbers: bytes) -> None:
    body, tail = numbers[:34], numbers[34:]
    packet = decode(bytes([0x11, 1]) + body + bytes([len(tail) // 2]) + tail)
    assert isinstance(packet, MotionPacket)
    assert_sensible(packet.motion)


@given(st.data())
def test_flipped_bits(data: st.DataObject) -> None:
    packet = bytearray(encode(lively(1)))
    for _ in range(data.draw(st.integers(1, 8))):
        packet[data.draw(st.integers(0, len(packet) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    decode_or_refuse(bytes(packet))


def test_numbers_that_wrap() -> None:
    got = decode(encode(MotionPacket(2**32 + 5, 2**64 - 1, synthetic.motion(), epoch=256 + 9)))
    assert isinstance(got, MotionPacket)
    assert (got.sequence, got.epoch, got.capture_us) == (5, 9, 2**64 - 1)


def test_bytes_from_other_buffers() -> None:
    data = encode(lively())
    assert struct.unpack_from("!I", data, 2) == (0,)
    for buffer in (bytearray(data), memoryview(data)):
        assert encode(decode(bytes(buffer))) == data
