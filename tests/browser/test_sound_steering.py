"""web/call/sync.js: its decisions, tested by Node.js without a browser."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from pathlib import Path

import pytest


def test_lips_and_sound_are_brought_together() -> None:
    node = shutil.which("node")
    if node is None:
        warnings.warn("node is missing: the decisions of web/call/sync.js were not tested", stacklevel=1)
        pytest.skip("node is missing: install Node.js 20 to test web/call/sync.js")
    tests = Path(__file__).with_name("sync.test.mjs")
    done = subprocess.run([node, "--test", str(tests)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
