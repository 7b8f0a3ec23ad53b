"""A participant's connection and whoever owns it: what one tells the other."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from telepresence.rtc.cache import AvatarCache
from telepresence.rtc.transfer import Offer, offer_of
from telepresence.wire.codec import SCHEMAS, MotionPacket
from telepresence.wire.thrift import Rate

if TYPE_CHECKING:
    from telepresence.rtc.peer import Peer


class State(enum.StrEnum):
    """Where a participant's connection stands."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    LOST = "lost"
    REFUSED = "refused"
    """For good: no common motion schema or protocol, or the peer broke rules again and again. `reason` says which."""


@dataclass(frozen=True)
class Ours:
    """What we tell every participant."""

    avatar: bytes | None
    """Our avatar file; None if we show nothing."""
    draws: bool = True
    """Whether this edge draws the others at all."""
    schemas: Sequence[int] = SCHEMAS
    cache: AvatarCache = field(default_factory=AvatarCache)
    epoch: int = 0
    rate: Rate = Rate.ADAPTIVE
    """How many messages our motion takes."""

    @cached_property
    def offer(self) -> Offer | None:
        """Our avatar's offer; hashing it takes milliseconds, so it is made once for all participants."""
        return None if self.avatar is None else offer_of(self.avatar, self.epoch)


class PeerEvents(Protocol):
    """What a peer's owner is told, on the event loop."""

    def on_peer_motion(self, peer: Peer, packet: MotionPacket, now_us: int) -> None:
        """A packet newer than all before it."""

    def on_peer_avatar(self, peer: Peer, data: bytes, whole: bool) -> None:
        """Its avatar file, verified, or the beginning of it."""

    def on_peer_state(self, peer: Peer) -> None:
        """`peer.state` has changed."""
