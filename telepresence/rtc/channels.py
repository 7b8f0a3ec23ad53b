"""The three data channels between two edges: motion, control, avatar. `docs/edge.md` specifies them.

Nothing that arrives can raise out of a handler here: aiortc ends the connection on that. What breaks the rules is
counted, and who breaks them again and again is reported, once, through `on_abuse`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import Any, Final, Protocol

from aiortc import RTCDataChannel, RTCPeerConnection

from telepresence.errors import MissingReferenceError, ProtocolError
from telepresence.hub.limits import TokenBucket
from telepresence.rtc import hello, transfer
from telepresence.rtc.monotonic import now_us
from telepresence.wire import codec
from telepresence.wire.clock import ClockOffset
from telepresence.wire.thrift import THRIFTY_ACK_EVERY, Rate, Thrift

logger = logging.getLogger(__name__)

MOTION_ID: Final = 0
CONTROL_ID: Final = 2
AVATAR_ID: Final = 4

HEARTBEAT_S: Final = 1.0
FLUSH_US: Final = 100_000  # a motion that waited so long for the other of its pair goes alone
MAX_MISSES: Final = 3  # heartbeats in a row without a sign of life

MOTION_PER_S: Final = 240  # messages a second that a peer may send: twice the fastest camera
CONTROL_PER_S: Final = 20
AVATAR_PER_S: Final = 20_000  # bounded by the offer's size anyway
VIOLATIONS_PER_S: Final = 2.0
MAX_VIOLATIONS: Final = 100  # at once


@dataclass
class Counters:
    """What one participant's channels have seen, over all connections to it."""

    sent: int = 0
    """Motion packets handed to the transport."""
    skipped: int = 0
    """Motion packets not sent because the transport still held an older one."""
    left_out: int = 0
    """Motions not sent because nobody would have seen them."""
    received: int = 0
    """Messages with motion received; some carry two."""
    violations: int = 0
    """Messages that broke a rule."""
    missing: int = 0
    """Motion messages whose reference had not arrived; they break no rule."""
    payload_sent_bytes: int = 0
    """On the motion channel, pings and acknowledgements included."""
    payload_received_bytes: int = 0
    """Likewise."""


class ChannelEvents(Protocol):
    """What a user of Channels is told. All calls come on the event loop and must return at once."""

    def on_open(self) -> None:
        """All three channels are open."""

    def on_motion(self, packet: codec.MotionPacket, now_us: int) -> None:
        """A motion packet has arrived, maybe for the second time."""

    def on_control(self, message: hello.Control) -> None:
        """A control message has arrived. May raise ProtocolError."""

    def on_avatar_message(self, message: transfer.Data | transfer.Acknowledgement) -> None:
        """A message of a transfer has arrived. May raise ProtocolError."""

    def on_abuse(self) -> None:
        """The peer breaks rules faster than it may. Said once."""

    def on_silence(self) -> None:
        """Three heartbeats without a sign of life. Said once."""


class Channels:
    """The channels of one peer connection. Create before the offer or answer; `close` when it is no longer wanted.

    Args:
        pc: what they belong to.
        events: who is told.
        counters, clock: outlive the connection.
        rate: how many messages motion takes.
    """

    def __init__(
        self,
        pc: RTCPeerConnection,
        events: ChannelEvents,
        counters: Counters,
        clock: ClockOffset,
        *,
        rate: Rate = Rate.ADAPTIVE,
    ) -> None:
        self._events = events
        self._counters = counters
        self._clock = clock
        self._motion = pc.createDataChannel("motion", ordered=False, maxRetransmits=0, negotiated=True, id=MOTION_ID)
        self._control = pc.createDataChannel("control", negotiated=True, id=CONTROL_ID)
        self._avatar = pc.createDataChannel("avatar", negotiated=True, id=AVATAR_ID)
        # Random, so that nobody takes this connection's packets for those of the one before.
        self._encoder = codec.MotionEncoder(first_sequence=random.getrandbits(32))
        self._thrift = Thrift(self._encoder, rate)
        self._ack_every = THRIFTY_ACK_EVERY if rate is Rate.THRIFTY else codec.ACK_EVERY
        self._decoder = codec.MotionDecoder()
        self._heard = False
        self._closed = False
        self._heartbeat: asyncio.Task[None] | None = None
        self._violations = TokenBucket(burst=MAX_VIOLATIONS, per_s=VIOLATIONS_PER_S)
        self._listen(self._motion, self._on_motion, MOTION_PER_S)
        self._listen(self._control, self._on_control, CONTROL_PER_S)
        self._listen(self._avatar, self._on_avatar, AVATAR_PER_S)
        pc.on("datachannel", self._on_stranger)

    @property
    def open(self) -> bool:
        """Whether all three channels are open."""
        return all(c.readyState == "open" for c in (self._motion, self._control, self._avatar)) and not self._closed

    def send_motion(self, packet: codec.MotionPacket) -> bool:
        """Send motion unless the transport still holds an older one: it would only become stale.

        The packet gets a sequence of this connection's own.
        """
        if not self.open or self._motion.bufferedAmount > 0:
            self._counters.skipped += 1
            return False
        before = self._thrift.skipped
        message = self._thrift.offer(packet.capture_us, packet.motion, epoch=packet.epoch, rest=packet.rest)
        self._counters.left_out += self._thrift.skipped - before
        if message is not None:
            self._counters.sent += self._send_motion_bytes(message)
        return True

    def send_control(self, message: hello.Control) -> None:
        """Send a control message; dropped when the connection is gone, since then the next one says hello again."""
        if self.open:
            self._control.send(hello.encode(message))

    def send_avatar(self, message: bytes) -> None:
        """Send a message of a transfer; the caller keeps to the transfer's window."""
        if self.open:
            self._avatar.send(message)

    def violation(self) -> None:
        """Count a broken rule."""
        self._counters.violations += 1
        if not self._violations.take(now_us() / 1e6) and not self._closed:
            self.close()
            self._events.on_abuse()

    def close(self) -> None:
        """Stop the heartbeat and fall silent; events stop too. The peer connection is closed by its owner."""
        self._closed = True
        if self._heartbeat:
            self._heartbeat.cancel()

    def _listen(self, channel: RTCDataChannel, handle: Any, per_s: float) -> None:
        bucket = TokenBucket(burst=per_s, per_s=per_s)

        def on_message(message: bytes | str) -> None:
            if self._closed:
                return
            try:
                if not bucket.take(now_us() / 1e6):
                    raise ProtocolError("too many messages")
                handle(message)
            except ProtocolError as error:
                # Control messages are few, and without a hello there is no call: people need to know why.
                level = logging.WARNING if channel is self._control else logging.DEBUG
                logger.log(level, "refused on %s: %s", channel.label, error)
                self.violation()
            except Exception:
                logger.exception("a message on %s could not be handled", channel.label)
                self.violation()

        channel.on("message", on_message)
        channel.on("open", self._on_channel_open)

    def _on_channel_open(self) -> None:
        if self.open and self._heartbeat is None:
            self._heartbeat = asyncio.ensure_future(self._beat())
            self._events.on_open()

    def _on_stranger(self, channel: RTCDataChannel) -> None:
        channel.close()
        self.violation()

    def _on_motion(self, message: bytes | str) -> None:
        now = now_us()
        if isinstance(message, str):
            raise ProtocolError("text on the motion channel")
        try:
            received = self._decoder.receive(message)
        except MissingReferenceError:
            self._counters.missing += 1
            received = ()
        self._heard = True
        self._counters.payload_received_bytes += len(message)
        if isinstance(received, tuple):
            self._on_packets(received, now)
        elif isinstance(received, codec.Ack):
            self._encoder.acknowledge(received)
        elif isinstance(received, codec.Ping):
            self._send_motion_bytes(codec.encode_ping(codec.Pong(received.sequence, received.sent_us, now)))
        else:
            self._clock.pong(received, now)

    def _on_packets(self, packets: tuple[codec.MotionPacket, ...], now: int) -> None:
        """Hand motion on, the older first, and tell the sender what it may refer to from now on."""
        self._counters.received += bool(packets)
        if self._decoder.ack_due(self._ack_every):
            self._send_motion_bytes(codec.encode_ack(self._decoder.ack()))
        for packet in packets:
            self._events.on_motion(packet, now)

    def _on_control(self, message: bytes | str) -> None:
        parsed = hello.parse(message)
        if parsed is not None:
            self._events.on_control(parsed)

    def _on_avatar(self, message: bytes | str) -> None:
        if isinstance(message, str):
            raise ProtocolError("text on the avatar channel")
        self._events.on_avatar_message(transfer.parse_message(message))

    def _send_motion_bytes(self, message: bytes) -> bool:
        """Send unless the transport is full; returns whether it was sent."""
        if not self.open or self._motion.bufferedAmount > codec.MAX_PACKET_BYTES:
            return False
        self._motion.send(message)
        self._counters.payload_sent_bytes += len(message)
        return True

    async def _beat(self) -> None:
        misses = 0
        while misses < MAX_MISSES:
            self._heard = False
            waiting = self._thrift.flush(now_us() - FLUSH_US)
            if waiting is not None:  # its second motion may never come, if the camera has stopped
                self._counters.sent += self._send_motion_bytes(waiting)
            if self._motion.bufferedAmount == 0:
                self._send_motion_bytes(codec.encode_ping(self._clock.ping(now_us())))
            await asyncio.sleep(HEARTBEAT_S)
            misses = 0 if self._heard else misses + 1
        if not self._closed:
            self.close()
            self._events.on_silence()
