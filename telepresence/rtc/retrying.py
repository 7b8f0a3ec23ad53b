"""When a lost connection is tried again, and how long an attempt may take. Pure: time comes in as an argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RETRY_S: Final = (0.1, 5.0)  # before the next attempt: first, most; doubling
EAGER_S: Final = 60.0  # after a connection was lost, during which nobody waits longer than EAGER_RETRY_S
EAGER_RETRY_S: Final = 0.5
OPEN_S: Final = 5.0  # from the answer to open channels
# A DTLS handshake that lost its first flight repeats it after 1 s, then after 2, 4 ...: to begin anew is faster. Of a
# connection that was up before the round trip is known, and opening takes about eight. The link may be a slower one
# when it is back: after PATIENT_S every third attempt gets OPEN_S.
PATIENT_S: Final = 30.0
REOPEN_S: Final = 1.4
REOPEN_ROUND_TRIPS: Final = 12
REOPEN_TIMES: Final = 2  # what the last one took to open: on a machine that is busy everything takes longer


@dataclass(slots=True)
class Retrying:
    """One participant's attempts."""

    _wait_s: float = RETRY_S[0]
    _attempts: int = 0  # to reconnect
    _lost_s: float | None = None  # when the last connection was lost
    _rtt_us: int | None = None  # of that one
    _took_s: float = 0.0  # to open, the last time

    def lost(self, now_s: float, rtt_us: int | None) -> None:
        """A connection that was up is lost; its round trip, if that is known."""
        self._attempts, self._lost_s, self._rtt_us = 0, now_s, rtt_us

    def ended(self, *, came_up: bool) -> None:
        """An attempt is over."""
        self._wait_s = RETRY_S[0] if came_up else min(RETRY_S[1], 2 * self._wait_s)

    def begin(self) -> None:
        """All anew: the other side wants a connection now, or we do."""
        self._wait_s = RETRY_S[0]

    def wait_s(self, now_s: float) -> float:
        """Seconds before the next attempt."""
        eager = self._lost_s is not None and now_s < self._lost_s + EAGER_S
        return min(self._wait_s, EAGER_RETRY_S) if eager else self._wait_s

    @property
    def ask_again_s(self) -> float:
        """Seconds before the other side, whose turn it is to offer, is asked once more."""
        return RETRY_S[1]

    def open_s(self, now_s: float) -> float:
        """Seconds that the attempt that begins now may take from the answer to open channels."""
        self._attempts += 1
        patient = self._lost_s is None or now_s > self._lost_s + PATIENT_S
        if self._rtt_us is None or (patient and self._attempts % 3 == 0):
            return OPEN_S
        by_link_s = REOPEN_S + REOPEN_ROUND_TRIPS * self._rtt_us / 1e6
        return min(OPEN_S, max(by_link_s, REOPEN_TIMES * self._took_s))

    def opened(self, took_s: float) -> None:
        """An attempt took so long from the answer to open channels."""
        self._took_s = took_s
