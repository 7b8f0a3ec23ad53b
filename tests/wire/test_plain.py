from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telepresence.errors import PacketError
from telepresence.wire.packets import MotionPacket, Ping, Pong
from telepresence.wire.plain import decode, encode
from tests.wire.motions import error, moving


def test_motion_survives() -> None:
    packet = MotionPacket(2**32 - 1, 123_456_789, moving(1)[0], epoch=200, rest=True, still=True)
    data = encode(packet)
    found = decode(data)
    assert isinstance(found, MotionPacket)
    assert error(found.motion, packet.motion) < 1e-4
    assert np.abs(found.motion.expression - packet.motion.expression).max() < 1e-3
    assert (found.sequence, found.capture_us, found.epoch, found.rest, found.still) == (
        2**32 - 1,
        123_456_789,
        200,
        1,
        1,
    )


@pytest.mark.parametrize("packet", [Ping(1, 2), Pong(3, 4, 5)])
def test_pings_survive(packet: Ping | Pong) -> None:
    assert decode(encode(packet)) == packet


@given(st.binary(max_size=200))
def test_any_bytes_are_a_packet_or_refused(data: bytes) -> None:
    try:
        decode(bytes([0x11, 1]) + data)
        decode(data)
    except PacketError:
        pass
