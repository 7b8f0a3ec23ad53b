"""What `telepresence join` was given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from telepresence.errors import InputError
from telepresence.runtime.info import DEFAULT_ENGINE
from telepresence.sinks.headset.port import headset_port

CAMERA: Final = "camera"  # `--sink camera[:DEVICE]`


@dataclass(frozen=True)
class EdgeConfig:
    """The options of `telepresence join`."""

    url: str
    camera: str = "browser"
    avatar: Path | None = None
    sink: str | Sequence[str] = "browser"
    """One, or several of `browser`, `camera[:DEVICE]` and one file; `headset[:PORT]` and `null` stand alone."""
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
    def sinks(self) -> tuple[str, ...]:
        """All sinks, each once."""
        return tuple(dict.fromkeys([self.sink] if isinstance(self.sink, str) else self.sink))

    @property
    def draws(self) -> bool:
        """Whether the others are drawn at all."""
        return self.sinks != ("null",)

    @property
    def shows(self) -> bool:
        """Whether pages show the others."""
        return "browser" in self.sinks

    @property
    def headset(self) -> int | None:
        """The port for headsets, if they are the sink."""
        return headset_port(self.sinks[0]) if self.sinks else None

    @property
    def device(self) -> str | None:
        """The virtual camera's device, empty for the first one that is there; None: it is no sink."""
        found = [sink for sink in self.sinks if sink.partition(":")[0] == CAMERA]
        return found[0].partition(":")[2] if found else None

    def file(self) -> Path | None:
        """Where a recording goes, if a sink is a file.

        Raises:
            InputError: a sink is neither a word that is known nor a file that can be, or they do not go together.
        """
        others = [sink for sink in self.sinks if sink != "browser" and sink.partition(":")[0] != CAMERA]
        alone = [sink for sink in others if sink == "null" or headset_port(sink) is not None]
        if alone and len(self.sinks) > 1:
            raise InputError(f"--sink {alone[0]} goes with no other; leave it out, or the others")
        if not self.sinks or len(self.sinks) - len(others) - ("browser" in self.sinks) > 1:
            raise InputError("--sink: one at least, and one camera at most")
        files = [Path(sink) for sink in others if sink not in alone]
        for file in files:
            if file.suffix.lower() != ".mp4":
                raise InputError(
                    f"--sink {file}: neither browser nor camera[:DEVICE] nor headset[:PORT] nor null nor a file that "
                    "ends in .mp4"
                )
        if len(files) > 1:
            raise InputError("--sink: one file at most; join twice to record twice")
        return files[0] if files else None
