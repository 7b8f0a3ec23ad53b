"""Hiding native chatter must not swallow a line of our own."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import os, sys, threading
from telepresence.native_logs import detach_stderr, quiet_native_logs
detach_stderr()
with quiet_native_logs():
    os.write(2, b"native chatter\\n")
    print("our own line", file=sys.stderr)
    thread = threading.Thread(target=lambda: print("of another thread", file=sys.stderr))
    thread.start()
    thread.join()
os.write(2, b"native, later\\n")
"""


def test_only_native_output_is_hidden() -> None:
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert sorted(run.stderr.splitlines()) == ["native, later", "of another thread", "our own line"]


def test_no_stderr_at_all() -> None:
    script = "import sys; from telepresence.native_logs import detach_stderr; detach_stderr(); print('on')"
    run = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -c "{script}" 2>&-'], capture_output=True, text=True, check=True
    )
    assert run.stdout == "on\n"
