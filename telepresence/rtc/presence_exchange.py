"""Who may be shown: holds a participant's avatar back until they have proved that it is theirs. Sans-I/O.

On every connection, and whenever another avatar is offered, the receiver sends a challenge and the sender a proof
(`avatar.presence`). `docs/ownership.md` has the messages. One of these for each other participant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from telepresence.avatar.owner import Ownership, public_bytes, verify
from telepresence.avatar.presence import Moment, binding, new_challenge, prove, proves
from telepresence.errors import AvatarError
from telepresence.rtc.presence_messages import Challenge, Proof

PROOF_S: Final = 10.0  # for a proof to come after the challenge
UNPROVED: Final = "it did not prove that the avatar is its own, so it is not shown"
NO_PROOF: Final = f"{UNPROVED}; the telepresence there may be an older one: update it"

_Deliver = Callable[[bytes, bool], None]


@dataclass(frozen=True, slots=True)
class _Shown:
    """What was handed on, and is shown until it is taken back."""

    sha256: str
    data: bytes
    whole: bool
    ownership: Ownership


class PresenceExchange:
    """Both halves: what we prove to a participant, and what it proves to us.

    What was shown on one connection stays on the next, at rest: `admits` says whether it may move. It may once the same
    avatar was proved again.

    Args:
        us, them: ids in the room.
        deliver: gets what came of their avatar, and whether it is whole, once it may be shown. Empty bytes take back
            what is shown: all of it if `whole`, else only what was not whole.
        refuse: told, in words for people, why it is not shown.
        forget: told that what came is not kept here: it must come again when it is offered again.
    """

    def __init__(
        self,
        us: str,
        them: str,
        deliver: _Deliver,
        refuse: Callable[[str], None],
        forget: Callable[[], None] = lambda: None,
    ) -> None:
        self.admits = False
        """Whether what is shown may move: it was proved on this connection. True while they offer nothing."""
        self._us, self._them = us, them
        self._deliver, self._refuse, self._forget = deliver, refuse, forget
        self._shown: _Shown | None = None
        self._session = 0
        self._certificates = (b"", b"")  # ours, theirs
        self._heard = False  # whether they have offered anything on this connection
        self._offered: str | None = None
        self._challenge: Challenge | None = None  # the one that waits for its proof
        self._due_s = float("inf")
        self._proof: tuple[Moment, bytes] | None = None
        self._held: tuple[bytes, bool] | None = None
        self._refused = False  # for good, as far as this offer goes

    @property
    def ownership(self) -> Ownership | None:
        """Of what is shown; None if nothing is."""
        return self._shown.ownership if self._shown else None

    @property
    def sha256(self) -> str | None:
        """Of the avatar that is shown."""
        return self._shown.sha256 if self._shown else None

    @property
    def offered(self) -> str | None:
        """SHA-256 of what their last hello offered."""
        return self._offered

    @property
    def shown_file(self) -> bytes | None:
        """What is shown, maybe only the beginning of it."""
        return self._shown.data if self._shown else None

    @property
    def waits(self) -> bool:
        """Whether a proof is still missing."""
        return self._challenge is not None and self._proof is None and self._due_s < float("inf")

    def begin(self, session: int, ours: bytes, theirs: bytes) -> None:
        """A new connection: whatever was proved before counts no more. Certificates as of `certificate_of`."""
        self._session, self._certificates = session, (ours, theirs)
        if self._held is not None or self._refused:
            self._forget()
        self._heard, self.admits = False, False
        self._clear()

    def on_offer(self, sha256: str | None, now_s: float) -> Challenge | None:
        """They offer an avatar, or none: what to send them. The same one again on a connection changes nothing."""
        first = not self._heard
        if not first and sha256 == self._offered:
            return None
        if not first and (self._held is not None or self._refused):
            self._forget()
        self._heard, self._offered = True, sha256
        self._clear()
        if sha256 is None or (first and sha256 != self.sha256):
            self.take_back()  # of another connection, and not what is to be proved on this one
        if sha256 is None:
            self.admits = True
            return None
        self._challenge, self._due_s = Challenge(new_challenge(), sha256), now_s + PROOF_S
        self._decide()  # what is free for all needs no proof
        return self._challenge

    def on_challenge(
        self, challenge: Challenge, avatar: bytes | None, sha256: str | None, key: Ed25519PrivateKey | None
    ) -> Proof | None:
        """They want ours: what to send them; None for an avatar that is free for all, or that we do not offer.

        Args:
            challenge: theirs.
            avatar: our file.
            sha256: what our hello offered on this connection.
            key: ours, if there is one.
        """
        if avatar is None or key is None or challenge.sha256 != sha256 or not self._session:
            return None
        try:
            ownership = verify(avatar)
        except AvatarError:  # an old file of ours: the receiver says so, in the words of its own check
            return None
        if ownership is None or ownership.owner != public_bytes(key):
            return None
        ours, theirs = self._certificates
        moment = self._moment(challenge, self._us, self._them, binding(ours, theirs))
        return Proof(prove(moment, key), challenge.sha256)

    def on_proof(self, proof: Proof) -> None:
        """What they send for our challenge. One is enough: a second is ignored, as is one that nobody asked for."""
        challenge = self._challenge
        if challenge is None or proof.sha256 != challenge.sha256 or self._proof is not None:
            return
        ours, theirs = self._certificates
        self._proof = self._moment(challenge, self._them, self._us, binding(theirs, ours)), proof.signature
        self._decide()

    def on_avatar(self, sha256: str, data: bytes, whole: bool) -> None:
        """Their avatar, or the beginning of it. Empty: what is shown of one that is not whole is taken back."""
        if not data:
            self._held = None
            if self._shown is not None and not self._shown.whole:
                self._shown, self.admits = None, False
            self._deliver(data, whole)
        elif self._refused or sha256 != self._offered:
            self._forget()
        else:
            self._held = data, whole
            self._decide()

    def tick(self, now_s: float) -> None:
        """Time passes: call now and then, about once a second."""
        if now_s < self._due_s or self._proof is not None:
            return
        held = self._held
        if held is None and self._shown is not None and self._shown.sha256 == self._offered and not self.admits:
            held = self._shown.data, self._shown.whole
        if held is None or verify(held[0]) is None:
            return  # it is still on its way
        self._due_s = float("inf")
        self.take_back()
        self._held = held  # should the proof come after all
        self._refuse(NO_PROOF)

    def take_back(self, reason: str = "") -> None:
        """Show nothing of their avatar any more; the reason, if there is one, is for people."""
        had, self._shown = self._shown, None
        self.admits = False
        if had is not None:
            self._deliver(b"", True)
        if reason:
            self._drop(reason)

    def _moment(self, challenge: Challenge, sender: str, receiver: str, bound: bytes) -> Moment:
        return Moment(challenge.nonce, bytes.fromhex(challenge.sha256), sender, receiver, self._session, bound)

    def _decide(self) -> None:
        """Show what is held, refuse it, or wait for the rest."""
        shown, held = self._shown, self._held
        if held is None:
            if shown is not None and shown.sha256 == self._offered and not self.admits:
                self._admit(shown.ownership)
            return
        data, whole = held
        try:
            ownership = verify(data)
        except AvatarError as error:
            self._drop(str(error))
            return
        if ownership is None:
            if whole:
                self._drop("the avatar is cut short")
            return
        if self._offered is None or not self._admit(ownership):
            return
        self._held = None
        if whole or shown is None or not shown.whole:  # the beginning of a new one replaces nothing that is whole
            self._shown = _Shown(self._offered, data, whole, ownership)
        self._deliver(data, whole)

    def _admit(self, ownership: Ownership) -> bool:
        """Whether what is offered may be shown by now; refuses it if it may not be at all."""
        if not ownership.free_for_all:
            if self._proof is None or ownership.owner is None:
                return False
            if not proves(self._proof[0], ownership.owner, self._proof[1]):
                self._drop(UNPROVED)
                return False
        self.admits = True
        return True

    def _drop(self, reason: str) -> None:
        """Refuse this offer for good, and whatever is shown of this participant: who has proved one avatar and offers
        another that is not its own is not to go on as the first."""
        had, self._shown = self._shown, None
        self._clear()
        self.admits, self._refused = False, True
        if had is not None:
            self._deliver(b"", True)
        self._forget()
        self._refuse(reason)

    def _clear(self) -> None:
        self._challenge, self._proof, self._held = None, None, None
        self._due_s, self._refused = float("inf"), False
