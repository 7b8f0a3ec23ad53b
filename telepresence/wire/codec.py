"""The motion codec: a motion in about 17 bytes, by difference from one that the receiver is known to hold.

One `MotionEncoder` and one `MotionDecoder` per peer connection and direction. A message refers only to a motion that
the receiver has acknowledged, or that is in the same message, so whatever arrives is usable at once and a loss harms
nothing that follows. Without acknowledgements the messages stand alone. `docs/packets.md` specifies them to the bit;
`web/codec/` is the same in JavaScript. Sans-I/O. What an edge needs of it is gathered here.
"""

from __future__ import annotations

from telepresence.wire.decoder import ACK_EVERY, MotionDecoder, Received, grids
from telepresence.wire.encoder import MotionEncoder
from telepresence.wire.held import HELD
from telepresence.wire.packets import (
    MAX_PACKET_BYTES,
    SCHEMAS,
    Ack,
    MotionPacket,
    Ping,
    Pong,
    decode_ack,
    encode_ack,
    encode_ping,
    kind_of,
)

__all__ = [
    "ACK_EVERY",
    "HELD",
    "MAX_PACKET_BYTES",
    "SCHEMAS",
    "Ack",
    "MotionDecoder",
    "MotionEncoder",
    "MotionPacket",
    "Ping",
    "Pong",
    "Received",
    "decode_ack",
    "encode_ack",
    "encode_ping",
    "grids",
    "kind_of",
]
