"""Weights of the live engine, from training or out of an engine's own graphs, which are their only home."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch

from telepresence.errors import EngineError, InputError
from telepresence.generator.live import Network

MAX_BYTES: Final = 256 * 1024 * 1024
_PREFIXES: Final = {"encode-256.onnx": ("encoder.", "encoder."), "render-256.onnx": ("network.", "")}


def read_weights(path: Path) -> Network:
    """The network of `weights.pt` or `checkpoint.pt`, rounded to float16 as engines keep it.

    Raises:
        InputError: not such a file, or of another network.
    """
    try:
        size = path.stat().st_size
        if size <= MAX_BYTES:
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); give the weights.pt that training wrote"
        ) from error
    except Exception as error:  # torch raises what it likes on a file that is none of its own
        raise InputError(
            f"{path} is damaged or not a file of weights; give the weights.pt that training wrote"
        ) from error
    if size > MAX_BYTES:
        raise InputError(f"{path} is larger than {MAX_BYTES >> 20} MiB; give the weights.pt that training wrote")
    if not isinstance(state, dict):
        raise InputError(f"{path} is not a file of weights; give the weights.pt that training wrote")
    return _load(state.get("average", state), str(path))


def weights_of_engine(folder: Path) -> Network:
    """The network inside an engine's graphs: what person-specific fine-tuning starts from.

    Raises:
        EngineError: the folder's graphs are not those of a live engine.
    """
    import onnx
    from onnx import numpy_helper

    state = {}
    for name, (prefix, own) in _PREFIXES.items():
        try:
            graph = onnx.load(str(folder / name)).graph
        except Exception as error:
            raise EngineError(f"{folder / name} cannot be read; restore the engine's folder") from error
        for tensor in graph.initializer:
            key = tensor.name.removesuffix(".half")
            if key != tensor.name and key.startswith(prefix):
                state[own + key.removeprefix(prefix)] = torch.from_numpy(numpy_helper.to_array(tensor).copy())
    try:
        return _load(state, str(folder))
    except InputError as error:
        raise EngineError(f"engine {folder.name!r} cannot be fine-tuned: it is not a live engine") from error


def _load(state: dict[str, Any], where: str) -> Network:
    network = Network()
    try:
        network.load_state_dict({name: value.half().float() for name, value in state.items()})
    except (RuntimeError, AttributeError, TypeError) as error:
        raise InputError(f"{where}: these are the weights of another network ({str(error).splitlines()[0]})") from error
    return network.eval()
