"""A Ctrl-C after an engine was closed must end the program as any other does."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import signal, sys
from telepresence.runtime.engine import open_engine
with open_engine("prior", 256, runtime=sys.argv[1]) as engine:
    engine.warm_up()
caught = []
signal.signal(signal.SIGINT, lambda *_: caught.append(1))
for _ in range(20):
    signal.raise_signal(signal.SIGINT)
print(len(caught))
"""


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_signal_after_closing_is_survived(runtime: str) -> None:
    run = subprocess.run([sys.executable, "-c", SCRIPT, runtime], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.strip()) == (0, "20"), run.stderr
