"""Decisions of the page, tested by Node.js without a browser: lips and sound, and how connections are made anew."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["sync", "connection", "sound", "room-socket"])
def test_modules_of_the_page(name: str) -> None:
    node = shutil.which("node")
    if node is None:
        warnings.warn(f"node is missing: {name}.test.mjs was not run", stacklevel=1)
        pytest.skip("node is missing: install Node.js 20 to test the page's modules")
    tests = Path(__file__).with_name(f"{name}.test.mjs")
    done = subprocess.run([node, "--test", str(tests)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
