"""The page's own side of hub and peers, and what it draws, pass their tests without a browser."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["network", "drawing"])
def test_a_page_speaks_to_hub_and_peers_and_draws(name: str) -> None:
    node = shutil.which("node")
    if node is None:
        warnings.warn("node is missing: the page's side of hub and peers was not tested", stacklevel=1)
        pytest.skip("node is missing: install Node.js 20 to test the page's side of hub and peers")
    tests = Path(__file__).with_name(f"{name}.test.mjs")
    done = subprocess.run([node, "--test", str(tests)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
