"""What processes cost, of this one and a child."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from telepresence.bench import load
from telepresence.bench.load import Load, read, spent

pytestmark = pytest.mark.skipif(not load.known(), reason="needs /proc")

BUSY = "import sys\nfor _ in range(3_000_000): pass\nprint('done', flush=True)\nsys.stdin.read()"


def test_a_child_with_a_name_of_its_own_is_not_counted_with_its_parent() -> None:
    child = subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        before = read({"ours": os.getpid()})
        assert child.stdout is not None
        child.stdout.readline()
        together, apart = read({"ours": os.getpid()}), read({"ours": os.getpid(), "child": child.pid})
        assert apart["child"].cpu_s > 0.02
        assert apart["child"].memory_mib > 1
        assert apart["child"].threads == 1
        assert apart["child"].files >= 3
        assert together["ours"].threads == apart["ours"].threads + 1
        assert spent(before, together)["ours"] >= 0
    finally:
        child.communicate()


def test_a_process_that_does_not_run_costs_nothing() -> None:
    assert read({"gone": None}) == {}
    assert read({"gone": 2**22 + 5})["gone"] == Load()


def test_a_process_that_was_started_anew_counts_from_its_beginning() -> None:
    assert spent({}, {"new": Load(2.0)}) == {"new": 2.0}
    assert spent({"same": Load(3.0)}, {"same": Load(2.0)}) == {"same": 0.0}
