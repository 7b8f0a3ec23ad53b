"""`python -m telepresence.leash telepresence ARGUMENTS`: that command, ended as by SIGTERM when standard input ends.

Whoever starts it holds the other end of a pipe, which closes however that process ends: nothing outlives it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Final

STDIN: Final = 0


def main() -> None:
    """Run the command named in the arguments."""
    from telepresence.cli import main as command

    threading.Thread(target=_watch, daemon=True, name="leash").start()
    sys.argv = sys.argv[1:]
    command()


def _watch() -> None:
    while os.read(STDIN, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
