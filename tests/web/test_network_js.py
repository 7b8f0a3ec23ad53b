"""The page's own side of hub and peers passes its tests, without a browser."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from pathlib import Path

import pytest

_TESTS = Path(__file__).with_name("network.test.mjs")


def test_a_page_speaks_to_hub_and_peers() -> None:
    node = shutil.which("node")
    if node is None:
        warnings.warn("node is missing: the page's side of hub and peers was not tested", stacklevel=1)
        pytest.skip("node is missing: install Node.js 20 to test the page's side of hub and peers")
    done = subprocess.run([node, "--test", str(_TESTS)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
