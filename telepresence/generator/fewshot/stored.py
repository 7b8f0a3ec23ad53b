"""Weights inside a few-shot engine: out of its graphs, which are their only home, and into those of a person's own.

`judge.npz` holds the discriminator, which only fine-tuning needs: each weight as int8, `NAME`, times a float16 of its
row, `NAME.scale`. It goes on learning there, so what rounding costs is learned back.
"""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from telepresence.errors import EngineError, InputError
from telepresence.generator.export import HALF, describe, write_golden
from telepresence.generator.fewshot.described import described, description
from telepresence.generator.fewshot.engine import REFERENCES, FewShotEncode, FewShotRender
from telepresence.generator.fewshot.network import Discriminator, FewShot
from telepresence.runtime.info import EngineInfo, read_info

JUDGE: Final = "judge.npz"
LEVELS: Final = 63  # either side of zero: the file's compression then needs six bits a weight
MAX_JUDGE_BYTES: Final = 64 * 1024 * 1024
PREFIX: Final = "network."  # of weights' names in the graphs


def weights_of_engine(folder: Path) -> FewShot:
    """The networks inside an engine's graphs: what fine-tuning starts from.

    Raises:
        EngineError: the folder is not a few-shot engine's, or its graphs are not those that it describes.
    """
    import onnx
    from onnx import numpy_helper

    config = described(folder)
    if config is None:
        raise EngineError(f"engine {folder.name!r} is not a few-shot engine")
    state = {}
    for kind in ("encode", "render"):
        path = folder / f"{kind}-{config.size}.onnx"
        try:
            tensors = onnx.load(str(path)).graph.initializer
        except Exception as error:  # onnx raises what it likes on a file that is none of its own
            raise EngineError(f"{path} cannot be read; restore the engine's folder") from error
        for tensor in tensors:
            name = _own(tensor.name)
            if name is not None:
                state[name] = torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))
    network = FewShot(config, spectral=False)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        told = str(error).splitlines()[0]
        raise EngineError(
            f"{folder}: its graphs hold other networks than its engine.toml describes, of width {config.width:g} and "
            f"{config.size} pixels ({told}); export it again, or restore its folder"
        ) from error
    return network.eval()


def judge_of_engine(info: EngineInfo) -> tuple[Discriminator, bool] | None:
    """The discriminator of plain weights, and whether its columns were matched to embeddings; None if none came along.

    Raises:
        EngineError: it is damaged, or another engine's.
    """
    config = described(info.folder)
    if config is None or JUDGE not in info.files:
        return None
    path = info.folder / JUDGE
    try:
        if path.stat().st_size > MAX_JUDGE_BYTES:
            raise EngineError(f"{path} is larger than {MAX_JUDGE_BYTES >> 20} MiB; restore the engine's folder")
        if hashlib.sha256(path.read_bytes()).hexdigest() != info.files[JUDGE]:
            raise EngineError(f"{path} is damaged or was changed; restore the engine's folder")
        with np.load(path, allow_pickle=False) as data:
            state, matched = _decoded(data), bool(data["matched"])
        judge = Discriminator(config, 1, spectral=False)
        judge.load_state_dict(state)
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        told = str(error).splitlines()[0]
        raise EngineError(f"{path} is not this engine's discriminator ({told}); restore the engine's folder") from error
    return judge, matched


def write_judge(path: Path, judge: Discriminator, *, matched: bool) -> None:
    """Write a discriminator of plain weights with one column, the mean of all it was trained with."""
    arrays: dict[str, np.ndarray[Any, Any]] = {"matched": np.array(matched)}
    for name, value in judge.state_dict().items():
        rows = value.detach().float().numpy().reshape(len(value), -1)
        scale = (np.abs(rows).max(1) / LEVELS).astype(np.float16)
        safe = np.maximum(scale.astype(np.float32), 1e-8)[:, None]
        arrays[name] = np.rint(rows / safe).clip(-127, 127).astype(np.int8).reshape(value.shape)
        arrays[f"{name}.scale"] = scale
    np.savez_compressed(path, **arrays)


def require_new(folder: Path) -> None:
    """Refuse a folder that has something in it.

    Raises:
        InputError: it has, or it is none.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"--whole {folder}: a new or empty folder is needed for the person's own engine")


def write_own_engine(base: EngineInfo, network: FewShot, folder: Path) -> EngineInfo:
    """Write an engine like `base` with other weights: a person's own, after fine-tuning of the whole generator.

    Args:
        base: the engine that fine-tuning started from.
        network: its networks now.
        folder: new or empty.

    Raises:
        InputError: the folder has something in it, or cannot be written.
        EngineError: a graph of `base` cannot be read.
    """
    require_new(folder)
    state = {name: value.detach().half().numpy() for name, value in network.state_dict().items()}
    rounded = FewShot(network.config, spectral=False).eval()
    rounded.load_state_dict({name: torch.from_numpy(value).float() for name, value in state.items()})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for size in base.sizes:
            for kind in ("encode", "render"):
                _rewrite(base.graph(kind, size), folder, state)
            write_golden(folder, size, REFERENCES, FewShotEncode(rounded, size), FewShotRender(rounded, size))
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise InputError(f"--whole {folder}: cannot be written ({error.strerror}); give another folder") from error
    text = f"Few-shot (Zakharov et al. 2019), fine-tuned for one person from {base.name} {base.version}."
    describe(folder, f"{base.name}-own"[:64], REFERENCES, text, sizes=base.sizes, tables=description(network.config))
    return read_info(folder)


def _rewrite(path: Path, folder: Path, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(path))
    for tensor in model.graph.initializer:
        name = _own(tensor.name)
        if name is not None:
            tensor.CopyFrom(numpy_helper.from_array(state[name].reshape(tuple(tensor.dims)), tensor.name))
    (folder / path.name).write_bytes(model.SerializeToString(deterministic=True))


def _own(name: str) -> str | None:
    """A weight's name in the networks by that in a graph; None if it is no weight."""
    return name.removeprefix(PREFIX).removesuffix(HALF) if name.startswith(PREFIX) and name.endswith(HALF) else None


def _decoded(data: Mapping[str, Any]) -> dict[str, Tensor]:
    return dict(_pairs(data))


def _pairs(data: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    for name in data:
        if name == "matched" or name.endswith(".scale"):
            continue
        values, scale = data[name].astype(np.float32), data[f"{name}.scale"].astype(np.float32)
        yield name, torch.from_numpy(values * scale.reshape(-1, *[1] * (values.ndim - 1)))
