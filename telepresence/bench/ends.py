"""What a simulated link has at its ends: a codec, and what decides on the motion shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from telepresence.face.motion import Motion
from telepresence.wire import plain
from telepresence.wire.arrival import Newest
from telepresence.wire.codec import Ack, MotionDecoder, MotionEncoder, decode_ack, encode_ack
from telepresence.wire.packets import MotionPacket
from telepresence.wire.thrift import Rate, Thrift


class Codec(Protocol):
    """Both ends of a motion codec, and what the receiving one tells the sending one."""

    def encode(self, packet: MotionPacket) -> bytes | None:
        """Motion -> message; None if there is nothing to send."""

    def decode(self, data: bytes) -> Sequence[MotionPacket]:
        """Message -> motions, oldest first. May raise PacketError."""

    def feedback(self) -> bytes | None:
        """What the receiver answers after a message; None if nothing."""

    def on_feedback(self, data: bytes) -> None:
        """Take the answer in, at the sender."""


class PlainCodec:
    """The first issue's packet: every one stands alone, nothing is answered."""

    def encode(self, packet: MotionPacket) -> bytes:
        """Motion -> message."""
        return plain.encode(packet)

    def decode(self, data: bytes) -> Sequence[MotionPacket]:
        """Message -> motions."""
        packet = plain.decode(data)
        return [packet] if isinstance(packet, MotionPacket) else []

    def feedback(self) -> bytes | None:
        """Nothing is answered."""
        return None

    def on_feedback(self, data: bytes) -> None:
        """Nothing is answered."""


class MotionCodec:
    """The codec of the call: differences from what was acknowledged, which is every fourth message or so."""

    def __init__(self) -> None:
        self._encoder, self._decoder = MotionEncoder(), MotionDecoder()

    def encode(self, packet: MotionPacket) -> bytes | None:
        """Motion -> message; None if there is nothing to send."""
        return self._encoder.encode(
            packet.capture_us, packet.motion, epoch=packet.epoch, rest=packet.rest, still=packet.still
        )

    def decode(self, data: bytes) -> Sequence[MotionPacket]:
        """Message -> motions, oldest first. Raises PacketError."""
        received = self._decoder.receive(data)
        return received if isinstance(received, tuple) else ()

    def feedback(self) -> bytes | None:
        """What the decoder holds, as often as a call says it."""
        return encode_ack(self._decoder.ack()) if self._decoder.ack_due() else None

    def on_feedback(self, data: bytes) -> None:
        """What may be referred to from now on."""
        ack: Ack = decode_ack(data)
        self._encoder.acknowledge(ack)


class AdaptiveCodec(MotionCodec):
    """As a call sends: nothing while the head keeps still."""

    def __init__(self) -> None:
        super().__init__()
        self._thrift = Thrift(self._encoder, Rate.ADAPTIVE)

    def encode(self, packet: MotionPacket) -> bytes | None:
        """Motion -> message; None if nobody would see it."""
        return self._thrift.offer(packet.capture_us, packet.motion, epoch=packet.epoch, rest=packet.rest)


class Shower(Protocol):
    """What decides on the motion shown."""

    @property
    def shown_capture_us(self) -> int | None:
        """When what is shown was captured."""

    def receive(self, packet: MotionPacket, now_us: int) -> bool:
        """A packet has arrived."""

    def sample(self, now_us: int) -> Motion | None:
        """What is shown now."""


class HoldNewest:
    """The first issue's playout: the newest motion stands until the next one comes."""

    def __init__(self) -> None:
        self._newest = Newest()
        self._motion: Motion | None = None
        self.shown_capture_us: int | None = None

    def receive(self, packet: MotionPacket, now_us: int) -> bool:
        """Newest wins."""
        newest = self._newest.accept(packet)
        if newest:
            self._motion, self.shown_capture_us = packet.motion, packet.capture_us
        return newest

    def sample(self, now_us: int) -> Motion | None:
        """The newest motion."""
        return self._motion
