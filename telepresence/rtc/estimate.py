"""What an edge tells its own page of the bandwidth between them: that there is plenty, since it is loopback.

aiortc's estimate is one of delays. Over loopback these are those of a busy machine, so it makes the page's encoder save
where nothing is to be saved, and landmarks suffer. And a browser paces each picture's packets at two and a half times
the estimate, which is one and a half times what came: a picture's last packet leaves 9 ms after the first, whatever its
size.
"""

from __future__ import annotations

import logging
from typing import Any, Final

logger = logging.getLogger(__name__)

PLENTY_BITS_PER_S: Final = 30_000_000  # a browser's encoder keeps to its own limits, 1.7 to 2.5 Mbit/s
EVERY_MS: Final = 1000
MAX_STREAMS: Final = 4  # a camera's, and its repetitions'
_NAME: Final = "_RTCRtpReceiver__remote_bitrate_estimator"


class Plenty:
    """Stands in for aiortc's RemoteBitrateEstimator."""

    def __init__(self) -> None:
        self._told_ms: int | None = None
        self._ssrcs: dict[int, None] = {}

    def add(
        self, arrival_time_ms: int, abs_send_time: int, payload_size: int, ssrc: int
    ) -> tuple[int, list[int]] | None:
        """A packet has come; what is to be told now: bits a second, and of which streams."""
        known = ssrc in self._ssrcs
        if not known and len(self._ssrcs) >= MAX_STREAMS:
            del self._ssrcs[next(iter(self._ssrcs))]
        self._ssrcs[ssrc] = None
        if known and self._told_ms is not None and arrival_time_ms - self._told_ms < EVERY_MS:
            return None
        self._told_ms = arrival_time_ms
        return PLENTY_BITS_PER_S, list(self._ssrcs)


def plenty(receiver: Any) -> bool:
    """Let a video receiver tell its page so. False if aiortc has changed: then its own estimate stands."""
    if getattr(receiver, _NAME, None) is None:
        logger.warning("aiortc has changed: a page's pictures get slower and worse while this machine is busy")
        return False
    setattr(receiver, _NAME, Plenty())
    return True
