"""A participant's connection and whoever owns it: what one tells the other."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telepresence.avatar.deletion import Tombstone
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
    key: Ed25519PrivateKey | None = field(default=None, repr=False)
    """What proves that the avatar is ours; None for one that is free for all."""
    deleted: tuple[Tombstone, ...] = ()
    """Avatars of ours that everybody is asked to delete their copies of, newest first."""

    @cached_property
    def offer(self) -> Offer | None:
        """Our avatar's offer; hashing it takes milliseconds, so it is made once for all participants."""
        return None if self.avatar is None else offer_of(self.avatar, self.epoch)


class PeerEvents(Protocol):
    """What a peer's owner is told, on the event loop."""

    def on_peer_motion(self, peer: Peer, packet: MotionPacket, now_us: int) -> None:
        """A packet newer than all before it."""

    def on_peer_avatar(self, peer: Peer, data: bytes, whole: bool) -> None:
        """Its avatar file, or the beginning of it, once it has proved that it is its own.

        Empty: nothing more is shown of it (`whole`), or not of the one whose rest does not come. `peer.proving` has the
        label, and why an avatar is not shown.
        """

    def on_peer_state(self, peer: Peer) -> None:
        """`peer.state` has changed."""
