"""What `telepresence evaluate` is asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from telepresence.errors import InputError
from telepresence.evaluate.clips import MANIFEST
from telepresence.evaluate.protocol import RUN
from telepresence.paths import refuse_overwriting, require_suffix

PRIOR: Final = "prior"
_RECORDED: Final = ("shots", "fine_tune", "whole", "minutes", "everyone", "only", "frames", "through_motion")


@dataclass(frozen=True, slots=True)
class Options:
    """The command's options, by their names."""

    clips: Path
    engine: str = PRIOR
    shots: str = "1,8,32"
    fine_tune: bool = False
    whole: bool = False
    """Also with the generator's weights."""
    minutes: float = 5.0
    """Fine-tuning at most, a clip."""
    everyone: bool = False
    only: tuple[str, ...] = ()
    frames: int = 60
    pairs: int = 6
    """Avatars to be driven by somebody else."""
    size: int = 256
    runtime: str | None = None
    through_motion: bool = False
    landmarks: Path = Path("out/landmarks")
    weights: Path | None = None
    json: Path | None = None
    sheet: Path | None = None
    blind: Path | None = None

    def check(self) -> None:
        """Look at what is cheap to look at before any work starts.

        Raises:
            InputError: too few frames, or something cannot be written.
        """
        if self.frames < RUN:
            raise InputError(f"--frames {self.frames}: at least {RUN}, so that what changes over time can be judged")
        if self.whole and not self.fine_tune:
            raise InputError("--whole says what --fine-tune learns; give that too")
        if self.sheet:
            require_suffix("--sheet", self.sheet, ".png")
        refuse_overwriting({"--json": self.json, "--sheet": self.sheet}, (self.clips / MANIFEST,))
        if self.blind and self.blind.exists() and not (self.blind.is_dir() and not any(self.blind.iterdir())):
            raise InputError(f"--blind {self.blind}: a new or empty folder is needed, so that no key fits wrong pairs")

    def protocol(self) -> dict[str, Any]:
        """What of the options decides the figures."""
        asked = asdict(self)
        return {name: asked[name] for name in _RECORDED} | {"clips": self.clips.name}
