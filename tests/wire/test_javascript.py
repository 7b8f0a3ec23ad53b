"""The codec's JavaScript twin passes the same vectors."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from pathlib import Path

import pytest

_TESTS = Path(__file__).with_name("codec.test.mjs")


def test_the_twin_passes_its_tests() -> None:
    node = shutil.which("node")
    if node is None:
        warnings.warn("node is missing: the JavaScript codec was not tested", stacklevel=1)
        pytest.skip("node is missing: install Node.js 20 to test the JavaScript codec")
    done = subprocess.run([node, "--test", str(_TESTS)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
