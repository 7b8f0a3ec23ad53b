"""An avatar on its way: cut into chunks, acknowledged, put together, verified. Sans-I/O; `docs/edge.md` has the bytes.

aiortc has one outbound queue for all channels, so what an avatar leaves in it, motion waits for. Three things keep
that short: a chunk fits one SCTP packet; at most `WINDOW_BYTES` are under way, counted until the receiver has them in
its hands (the channel's own `bufferedAmount` forgets bytes as soon as SCTP takes them); and the window shrinks while
acknowledgements take longer than they could (as in LEDBAT, RFC 6817), so that on a slow link the wait stays short too.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from telepresence.errors import TransferError

MAX_AVATAR_BYTES: Final = 8 * 1024 * 1024
WINDOW_BYTES: Final = 8 * 1024  # sent and not yet acknowledged, heads included
CHUNK_BYTES: Final = 1152  # of the file in one message
MAX_DELAY_US: Final = 8_000  # that the avatar's own bytes may add to the link's delay
FILTER: Final = 4  # acknowledgements of which the fastest counts: one late one is the machine's, not the link's

KIND_DATA: Final = 1
KIND_ACK: Final = 2
_HEAD: Final = struct.Struct("!BI")  # kind, offset of the data in the file, or bytes received
HEAD_BYTES: Final = _HEAD.size
MAX_MESSAGE_BYTES: Final = HEAD_BYTES + CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class Offer:
    """What a participant says of its avatar in its hello."""

    sha256: str
    """Of the whole file, 64 lower-case hexadecimal digits."""
    size: int
    """Of the file, bytes: 1..MAX_AVATAR_BYTES."""
    epoch: int = 0
    """Counts up, modulo 256, when the participant changes its avatar; motion packets carry it."""

    def fields(self) -> dict[str, Any]:
        """As in the hello."""
        return {"sha256": self.sha256, "size": self.size, "epoch": self.epoch}


def parse_offer(value: object) -> Offer:
    """Check an offer from a peer.

    Raises:
        TransferError: malformed, or larger than an avatar may be.
    """
    if not isinstance(value, dict):
        raise TransferError("avatar is not an object")
    sha256, size, epoch = value.get("sha256"), value.get("size"), value.get("epoch", 0)
    if not isinstance(sha256, str) or len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise TransferError("avatar.sha256 is not 64 hexadecimal digits")
    if type(size) is not int or not 1 <= size <= MAX_AVATAR_BYTES:
        raise TransferError(f"avatar.size is not an integer from 1 to {MAX_AVATAR_BYTES}")
    if type(epoch) is not int or not 0 <= epoch <= 255:
        raise TransferError("avatar.epoch is not an integer from 0 to 255")
    return Offer(sha256, size, epoch)


def offer_of(data: bytes, epoch: int = 0) -> Offer:
    """The offer of one's own avatar file."""
    return Offer(hashlib.sha256(data).hexdigest(), len(data), epoch)


class Outgoing:
    """The sending side of one transfer: ask `next_message` until it has nothing, then after every `acknowledge`."""

    def __init__(self, data: bytes, start: int = 0) -> None:
        if not 0 <= start <= len(data):
            raise TransferError(f"the receiver wants to go on at {start} of {len(data)} bytes")
        self._data = data
        self._sent = start
        self._acknowledged = start
        self._under_way: deque[tuple[int, int]] = deque()  # end of a chunk in the file, when it was sent
        self._window = float(WINDOW_BYTES)
        self._shortest_us: int | None = None
        self._shrunk_us = 0
        self._recent_us: deque[int] = deque(maxlen=FILTER)

    @property
    def done(self) -> bool:
        """Whether the receiver has everything."""
        return self._acknowledged == len(self._data)

    def next_message(self, now_us: int, room_bytes: int = WINDOW_BYTES) -> bytes | None:
        """The next message to send now; None while the window is full or when all is sent.

        Args:
            now_us: any monotonic clock.
            room_bytes: a further bound on the bytes under way. One message may be under way whatever the bounds.
        """
        chunk = min(CHUNK_BYTES, len(self._data) - self._sent)
        message_bytes = HEAD_BYTES + chunk
        used = self._sent - self._acknowledged + len(self._under_way) * HEAD_BYTES
        if chunk == 0 or (used and used + message_bytes > min(self._window, room_bytes)):
            return None
        message = _HEAD.pack(KIND_DATA, self._sent) + self._data[self._sent : self._sent + chunk]
        self._sent += chunk
        self._under_way.append((self._sent, now_us))
        return message

    def acknowledge(self, received: int, now_us: int) -> None:
        """Take the receiver's count in.

        Raises:
            TransferError: it claims to have what was not sent, or less than before.
        """
        if not self._acknowledged <= received <= self._sent:
            raise TransferError(f"{received} bytes acknowledged; {self._acknowledged} to {self._sent} were possible")
        self._acknowledged = received
        while self._under_way and self._under_way[0][0] <= received:
            _, sent_us = self._under_way.popleft()
            self._adapt(sent_us, now_us)

    def _adapt(self, sent_us: int, now_us: int) -> None:
        took_us = now_us - sent_us
        self._shortest_us = took_us if self._shortest_us is None else min(took_us, self._shortest_us)
        self._recent_us.append(took_us)
        if min(self._recent_us) <= self._shortest_us + MAX_DELAY_US:
            self._window = min(WINDOW_BYTES, self._window + CHUNK_BYTES * CHUNK_BYTES / self._window)
        elif sent_us >= self._shrunk_us:  # once for all that was under way together
            self._window = max(CHUNK_BYTES, self._window / 2)
            self._shrunk_us = now_us


class Incoming:
    """The receiving side of one transfer. Survives a rebuilt connection: ask for the rest from `received`."""

    def __init__(self, offer: Offer) -> None:
        if not 1 <= offer.size <= MAX_AVATAR_BYTES:
            raise TransferError(f"{offer.size} bytes; an avatar has at most {MAX_AVATAR_BYTES}")
        self.offer = offer
        self._buffer = bytearray()
        self._hash = hashlib.sha256()

    @property
    def received(self) -> int:
        """Bytes of the file that are here, from its beginning."""
        return len(self._buffer)

    @property
    def prefix(self) -> bytes:
        """What is here so far: enough for the avatar's first reference, perhaps. Not yet verified."""
        return bytes(self._buffer)

    @property
    def complete(self) -> bool:
        """Whether the last byte is here."""
        return len(self._buffer) == self.offer.size

    def take(self, offset: int, chunk: bytes) -> bytes:
        """Take a data message in; returns the acknowledgement to send.

        Raises:
            TransferError: out of order, or more than was offered. The transfer is as it was.
        """
        if offset != len(self._buffer):
            raise TransferError(f"data for offset {offset}; {len(self._buffer)} is next")
        if not chunk or len(self._buffer) + len(chunk) > self.offer.size:
            raise TransferError(f"{len(chunk)} bytes at {offset}; {self.offer.size} were offered in all")
        self._buffer += chunk
        self._hash.update(chunk)
        return _HEAD.pack(KIND_ACK, len(self._buffer))

    def result(self) -> bytes:
        """The whole file, verified.

        Raises:
            TransferError: not complete, or it is not what was offered.
        """
        if not self.complete:
            raise TransferError(f"{len(self._buffer)} of {self.offer.size} bytes are here")
        if not hmac.compare_digest(self._hash.hexdigest(), self.offer.sha256):
            raise TransferError("the avatar is not the one that was offered: its hash differs")
        return bytes(self._buffer)


@dataclass(frozen=True, slots=True)
class Data:
    """A piece of the file."""

    offset: int
    chunk: bytes


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """How much of the file the receiver has."""

    received: int


def parse_message(message: bytes) -> Data | Acknowledgement:
    """A message of the avatar channel.

    Raises:
        TransferError: malformed or too long.
    """
    if not HEAD_BYTES <= len(message) <= MAX_MESSAGE_BYTES:
        raise TransferError(f"{len(message)} bytes; {HEAD_BYTES} to {MAX_MESSAGE_BYTES} make an avatar message")
    kind, number = _HEAD.unpack_from(message)
    if kind == KIND_DATA:
        return Data(number, message[HEAD_BYTES:])
    if kind == KIND_ACK and len(message) == HEAD_BYTES:
        return Acknowledgement(number)
    raise TransferError(f"avatar message of kind {kind} with {len(message)} bytes")
