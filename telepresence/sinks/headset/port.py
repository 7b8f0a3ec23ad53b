"""What `--sink headset[:PORT]` says."""

from __future__ import annotations

from typing import Final

from telepresence.errors import InputError

WORD: Final = "headset"
DEFAULT_PORT: Final = 8443


def headset_port(sink: str) -> int | None:
    """The port of `--sink headset[:PORT]`; None for another sink.

    Raises:
        InputError: what follows is no port.
    """
    word, colon, port = sink.partition(":")
    if word != WORD:
        return None
    if not colon:
        return DEFAULT_PORT
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise InputError(f"--sink {sink}: after headset: comes a port, 0 to 65535")
    return int(port)
