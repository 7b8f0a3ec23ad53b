"""Which face clips there are, whose they are, and which of them training may see."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final, Protocol

from telepresence.errors import InputError
from telepresence.face.fit import HELD_OUT
from telepresence.generator.data.layouts import (
    MANIFEST,
    ClipSource,
    Crop,
    hdtf_sources,
    manifest_sources,
    unique,
    voxceleb_sources,
)

__all__ = ["HELD_OUT", "ClipSource", "Crop", "may_train", "read_sources", "some_people", "split"]

RESEARCH_ONLY: Final = "B"  # rights tier whose footage ships no weights


class _Described(Protocol):
    @property
    def identity(self) -> str: ...
    @property
    def rights(self) -> str: ...
    @property
    def scored(self) -> bool: ...


def read_sources(folder: Path) -> list[ClipSource]:
    """List the clips of a folder, in order of names: ours (MANIFEST.json), VoxCeleb2's or HDTF's layout.

    Raises:
        InputError: there is no such folder, its layout is none of these, or a list in it is damaged.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the one that holds the clips")
    if (folder / MANIFEST).is_file():
        sources = manifest_sources(folder)
    else:
        sources = voxceleb_sources(folder) or hdtf_sources(folder)
    if not sources:
        raise InputError(
            f"{folder}: no face clips of a layout that is known. Expected one of: a {MANIFEST} beside the clips, whose "
            "items have file, identity, rights_tier and real_human; VoxCeleb2, dev/mp4/id00012/VIDEO/00001.mp4; HDTF, "
            "clips named RD_Radio11_0.mp4, or Radio11_0.mp4 beside RD_crop_wh.txt"
        )
    return unique(sources)


def split(
    sources: Iterable[ClipSource], held_out: Collection[str] = HELD_OUT, *, research: bool = False
) -> tuple[list[ClipSource], list[ClipSource]]:
    """Divide clips by identity into those to train on and those of the held-out people. Altered clips are in neither.

    Args:
        sources: what `read_sources` found.
        held_out: identities that training never sees.
        research: also train on clips of rights tier B; the weights must then not be shipped.
    """
    listed = list(sources)
    validation = [source for source in listed if source.scored and source.identity in held_out]
    return [source for source in listed if may_train(source, held_out, research=research)], validation


def may_train(clip: _Described, held_out: Collection[str] = HELD_OUT, *, research: bool = False) -> bool:
    """Whether training may see a clip (or what describes one); arguments as those of `split`."""
    allowed = research or clip.rights != RESEARCH_ONLY
    return clip.scored and allowed and clip.identity not in held_out


def some_people(sources: Iterable[_Described], share: float) -> tuple[str, ...]:
    """About a `share` (0 to 1) of the identities, to hold out of a collection that names none. Always the same ones.

    Each is judged by a hash of its name alone, so that a collection that grows keeps its split.
    """
    identities = sorted({source.identity for source in sources})
    return tuple(name for name in identities if _fraction(name) < share)


def _fraction(name: str) -> float:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
