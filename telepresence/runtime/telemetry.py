"""Neither runtime may phone home from a program that promises to fetch and send nothing but motion."""

from __future__ import annotations

import os
import sys


def disable() -> None:
    """Switch the runtimes' own usage reports off; call it before either is imported.

    onnxruntime's wheels since 1.32 keep a device id and events under ~/.cache/Microsoft and look their collector up
    unless this variable is set (its Python call to disable them comes too late for the files). OpenVINO's tools report
    through the package openvino_telemetry, and do without where that cannot be imported.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    if "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # importing it raises ImportError
