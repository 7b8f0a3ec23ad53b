"""What an engine's description says of its few-shot networks: the table `network` of engine.toml. Without torch."""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from telepresence.errors import EngineError, InputError
from telepresence.generator.fewshot.config import FewShotConfig, config_of

TABLE = "network"


def described(folder: Path) -> FewShotConfig | None:
    """The networks of the engine in a folder; None if it is another kind of engine.

    Raises:
        EngineError: the description cannot be read, or says of the networks what is not understood.
    """
    path = folder / "engine.toml"
    try:
        with path.open("rb") as file:
            values: Any = tomllib.load(file).get(TABLE)
    except (OSError, ValueError) as error:
        raise EngineError(f"{path} cannot be read ({error}); restore the engine's folder") from error
    if values is None:
        return None
    try:
        return config_of(values, path)
    except InputError as error:
        raise EngineError(f"{error}; or restore the engine's folder") from error


def description(config: FewShotConfig) -> str:
    """The table as TOML."""
    lines = [f"{name} = {str(value).lower()}" for name, value in asdict(config).items()]
    return f"\n[{TABLE}]\n" + "\n".join(lines) + "\n"
