"""Browsers are measured with the priorities that they have for users."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from telepresence.bench.ordinary import CAP_SYS_NICE, as_users_have_it

RAISE = "import os; os.setpriority(os.PRIO_PROCESS, 0, -5)"


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")
def test_what_is_started_cannot_raise_its_priority_and_this_process_keeps_what_it_has() -> None:
    found: dict[str, object] = {}

    def other_thread() -> None:  # what is dropped is one thread's: this run's browsers start in another
        before = _capabilities("CapEff")
        as_users_have_it()
        found["kept"] = _capabilities("CapEff") == before
        found["bound"] = _capabilities("CapBnd") >> CAP_SYS_NICE & 1
        found["raised"] = (
            subprocess.run([sys.executable, "-c", RAISE], capture_output=True, check=False).returncode == 0
        )

    thread = threading.Thread(target=other_thread)
    thread.start()
    thread.join()
    assert found["kept"]
    assert not found["raised"]
    if os.geteuid() == 0:
        assert found["bound"] == 0


def _capabilities(which: str) -> int:
    with open("/proc/thread-self/status") as lines:
        return next(int(line.split()[1], 16) for line in lines if line.startswith(which))
