"""The headset stream's messages."""

from __future__ import annotations

import contextlib
import json
import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telepresence.errors import InputError, ProtocolError
from telepresence.face.stereo import direction_of
from telepresence.sinks.headset import protocol
from telepresence.sinks.headset.port import headset_port
from telepresence.sinks.headset.protocol import HeadPose, Hello, Seat, Seats, frame, parse
from telepresence.sinks.headset.table import seats, seen_from


def pose(position: tuple[float, ...] = (0, 1, 0), turn: tuple[float, ...] = (0, 0, 0, 1), ipd: float = 0.06) -> bytes:
    return frame(protocol.POSE, struct.pack(">Q3f4ff", 7, *position, *turn, ipd))


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_understood(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        parse(data)


@given(st.sampled_from([1, 7, 8]), st.binary(max_size=200))
def test_any_body_is_refused_or_understood(kind: int, body: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        parse(frame(kind, body))


@pytest.mark.parametrize(
    "bad",
    [
        pose((math.nan, 0, 0)),
        pose((math.inf, 0, 0)),
        pose((1e6, 0, 0)),
        pose(turn=(0, 0, 0, 0)),
        pose(turn=(0, 0, math.nan, 1)),
        pose(ipd=-1),
        pose(ipd=3),
        pose(ipd=math.nan),
        frame(protocol.POSE, b"short"),
        frame(protocol.HELLO, b"{}"),
        frame(protocol.HELLO, b"[" * 5000),
        frame(protocol.HELLO, b'{"version":1,"token":"x","mode":"films"}'),
        frame(protocol.SEATS, b'{"seats":[{"place":0,"position":[1,2],"yaw":0}]}'),
        frame(protocol.SEATS, b'{"seats":[{"place":0,"position":[NaN,2,3],"yaw":0}]}'),
        frame(protocol.SEATS, b'{"seats":[{"place":999,"position":[1,2,3],"yaw":0}]}'),
        frame(protocol.SEATS, b'{"raised":NaN}'),
        frame(protocol.SEATS, b'{"raised":1e9}'),
        frame(protocol.SEATS, b'{"raised":true}'),
        b"\0\0\0\0\1",
        b"\0\0\1\0\7abc",
        bytes(protocol.MAX_CLIENT_BYTES + 1),
    ],
)
def test_what_is_no_head_and_no_seat_is_refused(bad: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(bad)


def test_several_frames_in_a_message_and_unknown_ones_left_out() -> None:
    hello = frame(protocol.HELLO, json.dumps({"version": 1, "token": "t", "mode": "motion", "new": 1}).encode())
    place = frame(protocol.SEATS, b'{"seats":[{"place":2,"position":[1,2,3],"yaw":0.5}]}')
    found = parse(hello + frame(99, b"later") + place + pose())
    assert found[0] == Hello("t", "motion", 1)
    assert found[1] == Seats({2: Seat((1, 2, 3), 0.5)})
    assert isinstance(found[2], HeadPose)
    np.testing.assert_allclose(found[2].right, [1, 0, 0])


def test_a_hello_of_another_version_is_understood_whatever_else_it_says() -> None:
    assert parse(frame(protocol.HELLO, b'{"version":9}')) == [Hello("", "pictures", 9)]


def test_a_turned_head_has_its_right_elsewhere() -> None:
    half = math.sqrt(0.5)
    (looking_left,) = parse(pose(turn=(0, half, 0, half)))
    assert isinstance(looking_left, HeadPose)
    np.testing.assert_allclose(looking_left.right, [0, 0, -1], atol=1e-6)


def test_everybody_at_the_table_faces_the_viewer() -> None:
    (here,) = parse(pose((0, 1.2, 0)))
    assert isinstance(here, HeadPose)
    for count in range(1, 11):
        table = seats(list(range(count)))
        for seat in table.values():
            seen = seen_from(seat, here)
            assert direction_of(seen.position) == pytest.approx((0, 0), abs=1e-6)
            assert np.linalg.norm(seen.position) == pytest.approx(1.3)
        across = [seat.position[0] for seat in table.values()]
        assert across == sorted(across)


def test_who_steps_to_the_right_is_on_the_right_of_the_picture() -> None:
    (here,) = parse(pose((0.3, 1.2, 0)))
    assert isinstance(here, HeadPose)
    assert direction_of(seen_from(seats([0])[0], here).position)[0] == pytest.approx(math.atan2(0.3, 1.3))


def test_everybody_can_be_raised_but_who_was_put_somewhere() -> None:
    (told,) = parse(frame(protocol.SEATS, b'{"raised":0.25,"seats":[{"place":3,"position":[0,1,-1],"yaw":0}]}'))
    assert told == Seats({3: Seat((0.0, 1.0, -1.0), 0.0)}, 0.25)
    for seat, raised in zip(seats([0, 1]).values(), seats([0, 1], 0.25).values(), strict=True):
        assert raised.position == pytest.approx((seat.position[0], seat.position[1] + 0.25, seat.position[2]))


@given(st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: 0.3 < sum(v * v for v in q) < 3.9))
def test_a_heads_axes_are_those_of_its_rotation(turn: tuple[float, ...]) -> None:
    (here,) = parse(pose(turn=turn))
    assert isinstance(here, HeadPose)
    x, y, z, w = np.array(turn) / np.linalg.norm(turn)
    for axis, found in (((1, 0, 0), here.right), ((0, 0, -1), here.forward)):
        into = np.cross((x, y, z), axis) * 2  # the rotation of a vector by a quaternion
        np.testing.assert_allclose(found, axis + w * into + np.cross((x, y, z), into), atol=1e-5)


def test_the_sizes_that_the_document_names() -> None:
    picture = protocol.picture(1, 256, None, 2, 3, (0, 0), (0, 0), b"jpeg")
    assert len(picture) == 5 + 44 + 4
    zeros = np.zeros(4, np.float32), np.zeros(3, np.float32), np.zeros(52, np.float32), np.zeros((478, 3), np.float32)
    assert len(protocol.motion(1, True, 5, 6, *zeros)) == protocol.MOTION_BYTES == 5995


def test_ports() -> None:
    assert headset_port("browser") is None
    assert headset_port("headsets.mp4") is None
    assert headset_port("headset") == 8443
    assert headset_port("headset:0") == 0
    for bad in ("headset:", "headset:x", "headset:70000", "headset:-1"):
        with pytest.raises(InputError, match="port"):
            headset_port(bad)
