"""The shipped engine in ONNX Runtime Web: every operator is there, and it draws the golden pictures."""

from __future__ import annotations

import json
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest

from telepresence.resources import shipped
from telepresence.runtime.golden import MIN_PSNR, compare, inputs
from telepresence.runtime.info import find_engine

_SCRIPT = Path(__file__).with_name("engine.mjs")
_RUNTIME = Path("vendor") / "onnxruntime-web" / "dist" / "ort.wasm.min.mjs"


def test_the_engine_draws_its_golden_pictures_in_webassembly(tmp_path: Path) -> None:
    node, runtime = shutil.which("node"), shipped("web") / _RUNTIME
    if node is None or not runtime.is_file():
        missing = "node" if node is None else "web/vendor (make web)"
        warnings.warn(f"{missing} is missing: the engine in WebAssembly was not tested", stacklevel=1)
        pytest.skip(f"{missing} is missing")
    info, size = find_engine("live"), 256
    given = inputs(size, info.references)
    for name, array in given.items():
        (tmp_path / f"{name}.bin").write_bytes(np.ascontiguousarray(array).tobytes())
    job = {
        "runtime": str(runtime),
        "encode": str(info.graph("encode", size)),
        "render": str(info.graph("render", size)),
        "size": size,
        "references": len(given["picture"]),
        "pictures": len(given["keypoints"]),
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    command = [node, str(_SCRIPT), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    shape = (len(given["keypoints"]), size, size, 4)
    drawn = np.frombuffer((tmp_path / "pictures.bin").read_bytes(), np.uint8).reshape(shape)
    with np.load(info.folder / f"golden-{size}.npz", allow_pickle=False) as golden:
        difference = compare(drawn, golden["pictures"])
    print(difference, done.stdout)
    assert difference.psnr >= MIN_PSNR, difference
