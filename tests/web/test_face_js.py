"""The face in JavaScript: its asset and its vectors are what the Python makes, and it passes them."""

from __future__ import annotations

import json
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest

from telepresence.face.export import FILE, export
from telepresence.resources import shipped
from tests.web import make_vectors

_TESTS = Path(__file__).with_name("face.test.mjs")


def test_the_page_has_the_numbers_of_the_package() -> None:
    written = (shipped("web") / FILE).read_bytes()
    assert written == export() or _alike(written, export()), "run: python -m telepresence.face.export"


def _alike(one: bytes, other: bytes) -> bool:
    """The same but for the last digit of what is solved for, which depends on the machine's algebra."""
    import numpy as np

    head = 4 + int.from_bytes(one[:4], "little")
    if one[:head] != other[:head] or len(one) != len(other):
        return False
    arrays = json.loads(one[4:head])["arrays"]
    for fields in arrays.values():
        start = head + fields["start"]
        count = int(np.prod(fields["shape"]))
        kind = "<f2" if fields["type"] == "float16" else "<f4"
        a, b = (np.frombuffer(data, kind, count, start).astype(float) for data in (one, other))
        if not np.allclose(a, b, rtol=1e-3, atol=1e-4 * max(1e-9, float(np.abs(b).max()))):
            return False
    return True


def test_the_vectors_are_those_of_the_python() -> None:
    _compare(json.loads(make_vectors.FILE.read_text()), json.loads(make_vectors.text()), "vectors")


def _compare(one: Any, other: Any, where: str) -> None:
    hint = f"{where}; run: python -m tests.web.make_vectors"
    if isinstance(one, float) or isinstance(other, float):
        assert one == pytest.approx(other, abs=1e-4, rel=1e-4), hint
    elif isinstance(one, list):
        assert len(one) == len(other), hint
        for n, (a, b) in enumerate(zip(one, other, strict=True)):
            _compare(a, b, f"{where}[{n}]")
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), hint
        for name in one:
            _compare(one[name], other[name], f"{where}.{name}")
    else:
        assert one == other, hint


def test_faces_in_javascript() -> None:
    node = shutil.which("node")
    if node is None:
        warnings.warn("node is missing: the face in JavaScript was not tested", stacklevel=1)
        pytest.skip("node is missing: install Node.js 20 to test the face in JavaScript")
    done = subprocess.run([node, "--test", str(_TESTS)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
