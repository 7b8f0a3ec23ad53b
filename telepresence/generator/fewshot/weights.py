"""`weights.pt` of a few-shot run: configuration, averaged embedder and generator in float16, and the discriminator.

All weights are plain: what spectral norm made of them is multiplied in. Of the discriminator's columns only their mean
is kept, which is enough to begin fine-tuning with, and says nothing of anybody.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from telepresence.errors import InputError
from telepresence.generator.fewshot.config import config_of
from telepresence.generator.fewshot.network import Discriminator, FewShot

MAX_BYTES: Final = 512 * 1024 * 1024
_GIVE: Final = "give the weights.pt that train fewshot wrote"


def read_weights(path: Path) -> FewShot:
    """Embedder and generator of `weights.pt`, of plain weights, float32 after rounding to float16.

    Raises:
        InputError: not such a file, damaged, or of other networks.
    """
    state = _read(path)
    network = FewShot(config_of(state.get("config"), path), spectral=False)
    _load(network, state.get("state"), path)
    return network.eval()


def read_judge(path: Path) -> Discriminator:
    """The discriminator of `weights.pt`, with one column, the mean of all.

    Raises:
        InputError: as `read_weights`.
    """
    state = _read(path)
    judge = Discriminator(config_of(state.get("config"), path), 1, spectral=False)
    _load(judge, state.get("judge"), path)
    return judge


def judge_weights(judge: Discriminator) -> dict[str, Tensor]:
    """A discriminator's plain weights in float16, its columns' mean for one column."""
    plain: dict[str, Tensor] = {}
    with torch.no_grad():
        for path, module in judge.named_modules():
            for name in ("weight", "bias"):
                value = getattr(module, name, None)
                if isinstance(value, Tensor):
                    plain[f"{path}.{name}"] = value.detach().half()
        for name, parameter in judge.named_parameters():
            if name.endswith(".share"):
                plain[name] = parameter.detach().half()
    plain["columns.weight"] = judge.columns.weight.detach().mean(0, keepdim=True).half()
    return plain


def _read(path: Path) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"{path} is larger than {MAX_BYTES >> 20} MiB; {_GIVE}")
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); {_GIVE}") from error
    except Exception as error:  # torch raises what it likes on a file that is none of its own
        raise InputError(f"{path} is damaged or not a file of weights; {_GIVE}") from error
    if not isinstance(state, dict):
        raise InputError(f"{path} is not a file of weights; {_GIVE}")
    return state


def _load(module: torch.nn.Module, state: object, path: Path) -> None:
    try:
        module.load_state_dict({name: value.float() for name, value in state.items()})  # type: ignore[attr-defined]
    except (RuntimeError, AttributeError, TypeError) as error:
        told = str(error).splitlines()[0]
        raise InputError(f"{path}: these are the weights of other networks ({told}); {_GIVE}") from error
