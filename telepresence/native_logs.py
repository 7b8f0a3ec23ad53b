"""Keep the chatter of native libraries out of what a user reads, and nothing else."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_native_logs = threading.Lock()


@contextmanager
def quiet_native_logs() -> Iterator[None]:
    """Hide what MediaPipe's C++ writes to stderr while it starts: a page of it, none of it of use to a user.

    File descriptor 2 points to nowhere meanwhile. `detach_stderr` keeps what Python writes out of that.
    `TELEPRESENCE_NATIVE_LOGS=1` shows it.
    """
    if os.environ.get("TELEPRESENCE_NATIVE_LOGS"):
        yield
        return
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _native_logs:
        try:
            kept = os.dup(2)
        except OSError:  # a daemon without stderr has nothing to keep quiet
            yield
            return
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(null)


def detach_stderr() -> None:
    """Give Python's stderr a descriptor of its own, so that hiding native logs never swallows a line of ours.

    For programs, not for libraries: call it once, first thing.
    """
    try:
        if sys.stderr.fileno() != 2:
            return
        sys.stderr = open(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")  # noqa: SIM115
    except (AttributeError, OSError, ValueError):  # no stderr, or a captured one: nothing to protect
        return
