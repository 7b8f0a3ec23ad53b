"""When a page's camera captured a picture, on this machine's clock, from what RTP and its reports say. Sans-I/O.

A picture's RTP time counts 1/90000 s on the camera's clock, from anywhere. A sender report (RFC 3550 section 6.4.1)
says what the sender's wall clock showed at some RTP time. What that clock is off by is told by the reports' arrivals:
none can arrive before it was sent, and over loopback the quickest of a few takes a fraction of a millisecond. So
nothing is assumed of the two wall clocks, which a browser and the system need not agree about after the time was set.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

from telepresence.rtc.stats import Window

VIDEO_HZ: Final = 90_000
WRAP: Final = 1 << 32
REPORTS: Final = 16  # that vote on the wall clock's offset; a browser sends one or two a second
MOST_US: Final = 500_000  # from the camera up to decoding; more is not the page's way but nonsense
NONSENSE_US: Final = 2_000_000  # off by so much, the reports are of another clock
AHEAD_US: Final = 20_000  # a picture may seem to be captured after it was decoded by no more than this


class CaptureClock:
    """RTP time of one camera's track -> microseconds on our monotonic clock. Reports may come in another thread."""

    def __init__(self) -> None:
        self._delays: deque[int] = deque(maxlen=REPORTS)  # arrival less the sender's wall clock
        self._report: tuple[int, int] | None = None  # an RTP time, and our clock then in microseconds
        self._last_us: int | None = None

    def report(self, ntp: int, rtp: int, arrived_us: int) -> None:
        """A sender report has come.

        Args:
            ntp: its wall clock, 32.32 bits, seconds since 1900.
            rtp: its RTP time, 32 bits.
            arrived_us: when, our monotonic clock.
        """
        wall_us = (ntp * 1_000_000) >> 32
        if not ntp:  # RFC 3550: a sender without a clock says zero
            return
        delay = arrived_us - wall_us
        if self._delays and abs(delay - min(self._delays)) > NONSENSE_US:
            self._delays.clear()  # its clock has been set, or its machine has slept
        self._delays.append(delay)
        self._report = rtp, wall_us + min(self._delays)

    @property
    def known(self) -> bool:
        """Whether a report has come."""
        return self._report is not None

    def captured_us(self, rtp: int, decoded_us: int) -> int | None:
        """When the picture of this RTP time was captured; None while that is not known.

        Between MOST_US and nothing before it was decoded, and later than the picture before.
        """
        if self._report is None:
            return None
        at_rtp, at_us = self._report
        ahead = (rtp - at_rtp + WRAP // 2) % WRAP - WRAP // 2
        captured = at_us + ahead * 1_000_000 // VIDEO_HZ
        if not -AHEAD_US <= decoded_us - captured <= NONSENSE_US:
            return None
        return max(decoded_us - MOST_US, min(captured, decoded_us))

    def in_order(self, captured_us: int) -> int:
        """This time, or as soon after the one before as is needed for capture times never to go back."""
        last = self._last_us
        self._last_us = captured_us if last is None else max(captured_us, last + 1)
        return self._last_us


class PageLeg:
    """How long pictures take from the page's camera to the edge: the part of their age that is the page's."""

    def __init__(self) -> None:
        self._window = Window()
        self._lock = threading.Lock()

    def add(self, captured_us: int | None, decoded_us: int) -> None:
        """A picture has been decoded; from any thread."""
        if captured_us is not None:
            with self._lock:
                self._window.add(decoded_us, (decoded_us - captured_us) / 1000)

    def page_ms(self, now_us: int) -> float | None:
        """The median of late, milliseconds; None without any."""
        with self._lock:
            return self._window.percentile(now_us, 50)
