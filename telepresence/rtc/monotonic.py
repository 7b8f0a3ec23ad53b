"""The one clock of an edge: monotonic, so that setting the machine's time does not disturb a call."""

from __future__ import annotations

import time


def now_us() -> int:
    """Microseconds on this machine's monotonic clock."""
    return time.monotonic_ns() // 1000
