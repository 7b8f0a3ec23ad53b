"""Avatars between two edges: offers, transfers, the cache. Uses a connection's channels, and outlives it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from telepresence.errors import TransferError
from telepresence.rtc.cache import AvatarCache
from telepresence.rtc.hello import Control, Want
from telepresence.rtc.transfer import WINDOW_BYTES, Acknowledgement, Data, Incoming, Offer, Outgoing

logger = logging.getLogger(__name__)

STALL_S: Final = 10.0  # without a byte of it: what is shown of an unfinished avatar goes
OFFER_EVERY_S: Final = 5.0  # at the least between two offers on one connection: each is looked for on the disk
OFFER_AGAIN_S: Final = OFFER_EVERY_S + 3.0  # the same for the offerer: the first may have been as late as that
MAX_ATTEMPTS: Final = 2  # at an avatar whose bytes turn out not to be the offered ones
PREVIEW_BYTES: Final = (50_000, 100_000, 150_000)  # received: the first reference may be, and at last must be, there


class Sending(Protocol):
    """The part of Channels that a transfer uses."""

    @property
    def open(self) -> bool:
        """Whether anything can be sent."""

    def send_control(self, message: Control) -> None:
        """Send a control message."""

    def send_avatar(self, message: bytes) -> None:
        """Send a message of a transfer."""


class AvatarExchange:
    """Sends our avatar to one participant and fetches theirs.

    Args:
        data: our avatar file; None if we show nothing.
        wanted: whether we draw the other's avatar at all.
        on_avatar: gets the offered hash and their avatar file, which has it.
        on_preview: gets the offered hash and the beginning of the file while the rest is on its way. It is not yet
            known to have that hash; empty bytes take it back, when the rest turns out not to come, or to be another.
    """

    def __init__(
        self,
        data: bytes | None,
        wanted: bool,
        cache: AvatarCache,
        on_avatar: Callable[[str, bytes], None],
        on_preview: Callable[[str, bytes], None],
    ) -> None:
        self._data = data
        self._wanted = wanted
        self._cache = cache
        self._on_avatar = on_avatar
        self._on_preview = on_preview
        self._outgoing: Outgoing | None = None
        self._incoming: Incoming | None = None
        self._have: str | None = None
        self._attempts = 0
        self._offered: tuple[Offer | None, Sending, float] | None = None  # the last, on which connection, when
        self._looking: asyncio.Task[None] | None = None
        self._heard_s = 0.0
        self._watch: asyncio.TimerHandle | None = None

    def change(self, data: bytes | None) -> None:
        """Our avatar is another one; what is under way of the one before goes on."""
        self._data = data

    def forget(self) -> None:
        """What came is not kept: it is fetched again, from the cache or from them, when it is offered again."""
        self._have = None

    @property
    def receiving(self) -> float | None:
        """How much of their avatar is here, 0..1; None when nothing is under way."""
        incoming = self._incoming
        return None if incoming is None else incoming.received / incoming.offer.size

    @property
    def sending(self) -> bool:
        """Whether ours is under way."""
        return self._outgoing is not None

    def on_offer(self, offer: Offer | None, channels: Sending) -> None:
        """Their hello has come: fetch the avatar that it offers, unless it is here.

        Raises:
            TransferError: they change their avatar faster than they may.
        """
        now_s = asyncio.get_running_loop().time()
        if self._offered is not None and self._offered[1] is channels:
            before, _, offered_s = self._offered
            if offer == before:
                return
            if now_s - offered_s < OFFER_EVERY_S:
                raise TransferError(f"another avatar within {OFFER_EVERY_S:g} s")
        else:
            self._outgoing = None  # a new connection: they say what they still want
        self._offered = offer, channels, now_s
        if offer is None or not self._wanted or offer.sha256 == self._have:
            self._incoming = None  # of another one, which will not come any more
            return
        self._looking = asyncio.ensure_future(self._fetch(offer, channels))

    def on_want(self, want: Want, ours: Offer | None) -> None:
        """They want our avatar; `pump` begins to send it.

        Raises:
            TransferError: they want to go on beyond its end.
        """
        if self._data is not None and ours is not None and want.sha256 == ours.sha256:
            self._outgoing = Outgoing(self._data, want.start)

    def on_message(self, message: Data | Acknowledgement, now_us: int, channels: Sending) -> None:
        """A message of a transfer.

        Raises:
            TransferError: nobody asked for it, or it breaks the transfer's rules.
        """
        if isinstance(message, Acknowledgement):
            if self._outgoing is None:
                raise TransferError("an acknowledgement, but nothing was sent")
            self._outgoing.acknowledge(message.received, now_us)
            if self._outgoing.done:
                self._outgoing = None
            return
        incoming = self._incoming
        if incoming is None:
            raise TransferError("avatar data that nobody asked for")
        before = incoming.received
        self._heard_s = asyncio.get_running_loop().time()
        channels.send_avatar(incoming.take(message.offset, message.chunk))
        if incoming.complete:
            self._finish(incoming, channels)
        elif any(before < size <= incoming.received for size in PREVIEW_BYTES):
            self._on_preview(incoming.offer.sha256, incoming.prefix)
            if self._watch is None:
                self._look_after(STALL_S)

    def pump(self, now_us: int, channels: Sending, room_bytes: int = WINDOW_BYTES) -> None:
        """Send as much of our avatar as the window allows."""
        while self._outgoing and (message := self._outgoing.next_message(now_us, room_bytes)) is not None:
            channels.send_avatar(message)

    async def _fetch(self, offer: Offer, channels: Sending) -> None:
        # Reading and hashing 8 MiB takes 20 ms, which motion must not wait for.
        cached = await asyncio.get_running_loop().run_in_executor(None, self._cache.get, offer.sha256)
        if self._offered is None or self._offered[:2] != (offer, channels) or not channels.open:
            return  # overtaken by another offer, or the connection is gone: the next one says hello again
        if cached is not None:
            self._deliver(offer, cached)
            return
        if self._incoming is None or self._incoming.offer.sha256 != offer.sha256:
            self._incoming = Incoming(offer)
            self._attempts = 1
        channels.send_control(Want(offer.sha256, self._incoming.received))
        self._heard_s = asyncio.get_running_loop().time()
        self._look_after(STALL_S)

    def _look_after(self, wait_s: float) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch = asyncio.get_running_loop().call_later(wait_s, self._look)

    def _look(self) -> None:
        """Take back what is shown of an avatar that does not come; should it go on to come, it is shown when whole."""
        self._watch = None
        incoming = self._incoming
        if incoming is None:
            return
        left_s = self._heard_s + STALL_S - asyncio.get_running_loop().time()
        if left_s > 0:
            self._look_after(left_s)
        else:
            self._on_preview(incoming.offer.sha256, b"")

    def _finish(self, incoming: Incoming, channels: Sending) -> None:
        self._incoming = None
        try:
            data = incoming.result()
        except TransferError:
            if self._attempts < MAX_ATTEMPTS:
                self._attempts += 1
                self._incoming = Incoming(incoming.offer)
                channels.send_control(Want(incoming.offer.sha256, 0))
            else:
                self._on_preview(incoming.offer.sha256, b"")
            raise
        asyncio.get_running_loop().run_in_executor(None, self._cache.put, data)
        self._deliver(incoming.offer, data)

    def _deliver(self, offer: Offer, data: bytes) -> None:
        self._have = offer.sha256
        self._incoming = None
        self._on_avatar(offer.sha256, data)
