"""No runtime may leave a device id or look a collector up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from telepresence.runtime.engine import open_engine
with open_engine("prior", 256, runtime=sys.argv[1]) as engine:
    engine.warm_up()
"""


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_nothing_is_written_outside_our_cache(runtime: str, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "ORT_")) and k != "CI"}
    environment["HOME"] = str(tmp_path)
    subprocess.run([sys.executable, "-c", SCRIPT, runtime], env=environment, check=True)
    written = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in written if path.parts[:2] != (".cache", "telepresence")] == []
