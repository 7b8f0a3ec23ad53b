"""Our hello to one participant, on each connection and again when our avatar is another one; what follows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from telepresence.rtc.exchange import OFFER_AGAIN_S, AvatarExchange
from telepresence.rtc.hello import Hello, Presence
from telepresence.rtc.party import Ours
from telepresence.rtc.presence import Presenter
from telepresence.rtc.presence_messages import Forget
from telepresence.rtc.session import Session
from telepresence.rtc.transfer import Offer

MAX_WISHES: Final = 8  # avatars of ours that others are asked to delete, on one connection


class Greeting:
    """What we tell one participant of ourselves.

    Args:
        ours: what we tell.
        exchange: of avatars, with this participant.
        session: the present connection.
    """

    def __init__(self, ours: Ours, exchange: AvatarExchange, session: Callable[[], Session | None]) -> None:
        self.ours = ours
        self.offer: Offer | None = ours.offer
        """The avatar that we have offered last."""
        self.offered_s = 0.0
        """When that was, on the loop's clock."""
        self._exchange = exchange
        self._session = session
        self._again: asyncio.TimerHandle | None = None
        self._greeted: Session | None = None  # the one on which our hello is on its way
        self._wished: set[str] = set()  # on this connection
        self._presenter = Presenter(self._send_presence)
        self.present = self._presenter.change
        """How we want to be shown."""

    def greet(self) -> None:
        """Say hello on the present connection, for the first time or again."""
        session = self._session()
        if session is None:
            return
        self.offer, self.offered_s = self.ours.offer, asyncio.get_running_loop().time()
        self._exchange.change(self.ours.avatar)
        session.channels.send_control(Hello(tuple(self.ours.schemas), self.offer))
        if self._greeted is not session:
            self._greeted = session
            self._wished.clear()
            self._presenter.greeted()
        for one in self.ours.deleted[:MAX_WISHES]:
            if one.sha256 not in self._wished and len(self._wished) < MAX_WISHES:
                self._wished.add(one.sha256)
                session.channels.send_control(Forget(one.sha256, one.signature))

    def change(self, ours: Ours) -> None:
        """Offer another avatar of ours: now, as soon as the rules allow, or on the next connection."""
        self.ours = ours
        self.follow()

    def follow(self) -> None:
        """Greet again if our avatar is another one by now, but not while one is under way: they would get a mixture."""
        session = self._session()
        if self.ours.offer == self.offer or not session or not session.channels.open or self._exchange.sending:
            return
        if self._again:
            self._again.cancel()
        loop = asyncio.get_running_loop()
        wait_s = self.offered_s + OFFER_AGAIN_S - loop.time()
        if wait_s > 0:
            self._again = loop.call_later(wait_s, self.follow)
        else:
            self.greet()

    def close(self) -> None:
        """Say nothing more."""
        self._presenter.close()
        if self._again:
            self._again.cancel()

    def _send_presence(self, presence: Presence) -> bool:
        session = self._session()
        if session is None or session is not self._greeted or not session.channels.open:
            return False
        session.channels.send_control(presence)
        return True
