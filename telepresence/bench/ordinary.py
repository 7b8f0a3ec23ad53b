"""What root's programs may do and nobody else's, taken from those that are started for measuring."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

CAP_SYS_NICE: Final = 23  # capabilities(7)
_PR_CAPBSET_DROP: Final = 24  # prctl(2)


def as_users_have_it() -> None:
    """Programs started by this thread from now on cannot raise their own priority; this process keeps what it has.

    Chromium, started by root, puts the threads that draw, decode and carry packets eight steps of `nice` above all
    others, and sound at real time. On two cores an edge's event loop then gets a tenth of what it asks for, which no
    user ever sees: their browsers ask for the same, and are refused. Without root there is nothing to take away.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, CAP_SYS_NICE, 0, 0, 0)
