"""What `telepresence join` was given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from telepresence.errors import InputError
from telepresence.runtime.info import DEFAULT_ENGINE
from telepresence.sinks.headset.port import headset_port


@dataclass(frozen=True)
class EdgeConfig:
    """The options of `telepresence join`."""

    url: str
    camera: str = "browser"
    avatar: Path | None = None
    sink: str = "browser"
    name: str = ""
    page_port: int = 0
    page_origins: Sequence[str] = ()
    json_ready: bool = False
    engine: str = DEFAULT_ENGINE
    size: int = 256
    runtime: str | None = None
    thrifty: bool = False
    relay_only: bool = False

    @property
    def draws(self) -> bool:
        """Whether the others are drawn at all."""
        return self.sink != "null"

    def file(self) -> Path | None:
        """Where a recording goes, if the sink is a file.

        Raises:
            InputError: it is neither a word that is known nor a file that can be.
        """
        if self.sink in ("browser", "null") or headset_port(self.sink) is not None:
            return None
        file = Path(self.sink)
        if file.suffix.lower() != ".mp4":
            raise InputError(
                f"--sink {self.sink}: neither browser nor headset[:PORT] nor null nor a file that ends in .mp4"
            )
        return file
