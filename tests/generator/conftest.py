"""Everything here needs torch, which a call does not: the extra `train` brings it."""

from __future__ import annotations

import importlib.util
import warnings

MISSING = [name for name in ("torch", "onnx", "onnxscript", "scipy") if importlib.util.find_spec(name) is None]
if MISSING:
    warnings.warn(f"tests of the generators are skipped: no {', '.join(MISSING)}; make setup-train", stacklevel=1)
    collect_ignore_glob = ["test_*.py"]
