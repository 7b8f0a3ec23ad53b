"""What NVIDIA's bindings take, written down from the bindings themselves: `tensorrt_api.json`.

Their wheels install without a GPU; to import them without TensorRT's libraries, put empty ones that define the dozen
functions they ask for on LD_LIBRARY_PATH. Then, with the bindings of one version on PYTHONPATH:

    python -m tests.runtime.tensorrt_api >> tests/runtime/tensorrt_api.json    (one object a version: merge by hand)
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

RECORD = Path(__file__).with_name("tensorrt_api.json")

METHODS = (
    "Builder.__init__", "Builder.build_serialized_network", "Builder.create_builder_config", "Builder.create_network",
    "IBuilderConfig.clear_flag", "IBuilderConfig.create_timing_cache", "IBuilderConfig.set_flag",
    "IBuilderConfig.set_memory_pool_limit", "IBuilderConfig.set_timing_cache", "ICudaEngine.create_execution_context",
    "ICudaEngine.get_tensor_dtype",
    "ICudaEngine.get_tensor_mode", "ICudaEngine.get_tensor_name", "ICudaEngine.get_tensor_shape",
    "IExecutionContext.execute_async_v3", "IExecutionContext.set_tensor_address", "ILogger.__init__", "ILogger.log",
    "IProgressMonitor.__init__", "IProgressMonitor.phase_finish", "IProgressMonitor.phase_start",
    "IProgressMonitor.step_complete", "ITimingCache.serialize", "OnnxParser.__init__", "OnnxParser.get_error",
    "OnnxParser.parse", "ParserError.desc", "Runtime.__init__", "Runtime.deserialize_cuda_engine",
)  # fmt: skip
PROPERTIES = (
    "IBuilderConfig.builder_optimization_level", "IBuilderConfig.hardware_compatibility_level",
    "IBuilderConfig.progress_monitor", "ICudaEngine.num_io_tensors", "OnnxParser.num_errors",
    "Runtime.engine_host_code_allowed",
)  # fmt: skip
MEMBERS = (
    "BuilderFlag.TF32", "BuilderFlag.VERSION_COMPATIBLE", "HardwareCompatibilityLevel.AMPERE_PLUS",
    "HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY", "ILogger.Severity.ERROR", "ILogger.Severity.INTERNAL_ERROR",
    "MemoryPoolType.WORKSPACE",
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED", "TensorIOMode.INPUT", "TensorIOMode.OUTPUT",
)  # fmt: skip


def recorded() -> dict[str, Any]:
    """Version -> methods (overloads, each a list of arguments, those with a default ending in =), properties, enums."""
    record: dict[str, Any] = json.loads(RECORD.read_text())
    return record


def record(trt: ModuleType) -> dict[str, Any]:
    """The same from the real module."""
    return {
        "methods": {name: _overloads(_find(trt, name)) for name in METHODS},
        "properties": [name for name in PROPERTIES if isinstance(_find(trt, name), property)],
        "members": {name: int(_find(trt, name)) for name in MEMBERS},
    }


def _find(trt: ModuleType, path: str) -> Any:
    found: Any = trt
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _overloads(method: Any) -> list[list[str]]:
    name = method.__name__
    lines = re.findall(rf"^(?:\d+\. )?{re.escape(name)}\((.*)\) ->", method.__doc__, re.MULTILINE)
    overloads = []
    for line in lines:
        if line.startswith("*args"):
            continue
        line = re.sub(r"<[^>]*>", "default", line)
        arguments = [argument.strip() for argument in line.split(",")]
        names = [a.split(":")[0].strip() + ("=" if "=" in a else "") for a in arguments]
        overloads.append([name for name in names if name != "self"])
    return overloads


if __name__ == "__main__":
    import tensorrt_bindings

    json.dump({tensorrt_bindings.__version__: record(tensorrt_bindings)}, sys.stdout, indent=1)
