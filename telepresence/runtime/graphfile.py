"""What an ONNX file says of itself. Needs the package onnx."""

from __future__ import annotations

from typing import Any

import numpy as np

from telepresence.errors import EngineError
from telepresence.runtime.contract import TensorSpec


def specs(values: Any) -> dict[str, TensorSpec]:
    """What a graph's inputs or outputs (onnx.ValueInfoProto) look like.

    Raises:
        EngineError: one has no fixed shape.
    """
    from onnx import helper

    found = {}
    for value in values:
        kind = value.type.tensor_type
        shape = tuple(axis.dim_value for axis in kind.shape.dim)
        if not all(axis.HasField("dim_value") for axis in kind.shape.dim):
            raise EngineError(f"tensor {value.name!r} has no fixed shape; export the engine with static shapes")
        found[value.name] = TensorSpec(shape, np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type)))
    return found
