"""Whether one participant may be shown as the avatar that it offers: the gate, its clock, and what follows from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from telepresence.avatar.deletion import wished
from telepresence.rtc.exchange import AvatarExchange
from telepresence.rtc.monotonic import now_us
from telepresence.rtc.party import Ours
from telepresence.rtc.presence_exchange import PROOF_S, PresenceExchange
from telepresence.rtc.presence_messages import Challenge, Forget, Proof
from telepresence.rtc.session import Session
from telepresence.rtc.transfer import Offer

TICK_S: Final = 1.0
DELETED: Final = "its owner has deleted this avatar, so it is not shown any more"


class Proving:
    """One participant's right to be shown, over all connections to it.

    Args:
        us, them: ids in the room.
        ours: what we tell; set `ours` when that is another.
        on_avatar: gets their avatar once it may be shown, as `PeerEvents.on_peer_avatar`.
    """

    def __init__(self, us: str, them: str, ours: Ours, on_avatar: Callable[[bytes, bool], None]) -> None:
        self.unshown = ""
        """Why its avatar is not shown, for people; empty if it is, or is still on its way."""
        self.ours = ours
        self._on_avatar = on_avatar
        self.gate = PresenceExchange(us, them, self._deliver, self._refuse, lambda: self.exchange.forget())
        self.exchange = AvatarExchange(
            ours.avatar,
            ours.draws,
            ours.cache,
            lambda sha256, data: self.gate.on_avatar(sha256, data, True),
            lambda sha256, data: self.gate.on_avatar(sha256, data, False),
        )
        self._session: Session | None = None
        self._clock: asyncio.TimerHandle | None = None

    @property
    def label(self) -> str | None:
        """What its pictures are labelled with; None if nothing is shown."""
        ownership = self.gate.ownership
        return None if ownership is None else ownership.label

    @property
    def admits(self) -> bool:
        """Whether its motion may be shown: where nothing is drawn, nothing is asked."""
        return self.gate.admits or not self.ours.draws

    def begin(self, session: Session) -> None:
        """Its channels are open, or its hello was faster than that."""
        if session is not self._session:
            self._session = session
            self.gate.begin(session.number, *session.certificates)

    def on_offer(self, offer: Offer | None) -> None:
        """Its hello has come. Raises TransferError."""
        session = self._session
        if session is None:
            return
        self.exchange.on_offer(offer, session.channels)
        if not self.ours.draws:
            return
        if offer is None:
            self.unshown = ""
        challenge = self.gate.on_offer(None if offer is None else offer.sha256, now_us() / 1e6)
        if challenge is not None:
            self.unshown = ""
            session.channels.send_control(challenge)
            self._look_after(PROOF_S)

    def on_message(self, message: Challenge | Proof | Forget, offered: Offer | None) -> None:
        """Something about an avatar's owner; `offered` is what our last hello said."""
        if isinstance(message, Proof):
            self.gate.on_proof(message)
        elif isinstance(message, Forget):
            self._forget(message)
        elif self._session is not None:
            ours, sha256 = self.ours, offered.sha256 if offered else None
            proof = self.gate.on_challenge(message, ours.avatar, sha256, ours.key)
            if proof is not None:
                self._session.channels.send_control(proof)

    def close(self) -> None:
        """Ask nothing more."""
        if self._clock is not None:
            self._clock.cancel()

    def _deliver(self, data: bytes, whole: bool) -> None:
        if data:
            self.unshown = ""
        self._on_avatar(data, whole)
        ownership = self.gate.ownership
        if whole and data and ownership is not None and ownership.owner is not None and self.gate.sha256 is not None:
            cache, owner, kept = self.ours.cache, ownership.owner, self.gate.sha256
            asyncio.get_running_loop().run_in_executor(None, cache.supersede, owner, kept)

    def _refuse(self, reason: str) -> None:
        self.unshown = reason
        self._on_avatar(b"", True)

    def _look_after(self, wait_s: float) -> None:
        self.close()
        self._clock = asyncio.get_running_loop().call_later(wait_s, self._tick)

    def _tick(self) -> None:
        self.gate.tick(now_us() / 1e6)
        if self.gate.waits:
            self._look_after(TICK_S)

    def _forget(self, message: Forget) -> None:
        """Delete our copy, if its owner says so; and show it no longer."""
        shown = self.gate.shown_file
        if shown is not None and self.gate.sha256 == message.sha256 and wished(shown, message.signature):
            offered_still = self.gate.offered == message.sha256  # else another one is on its way, and welcome
            self.gate.take_back(DELETED if offered_still else "")
        cache = self.ours.cache
        asyncio.get_running_loop().run_in_executor(None, cache.forget_for, message.sha256, message.signature)
