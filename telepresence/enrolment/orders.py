"""What the studio is asked besides what pages say, and what it hands on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from telepresence.avatar.model import Avatar
from telepresence.enrolment.gathering import Material

How = Literal["live", "video", "photos"]


@dataclass(frozen=True, slots=True)
class Photos:
    """Photos that were uploaded, to make an avatar of."""

    paths: Sequence[Path]


@dataclass(frozen=True, slots=True)
class Again:
    """Tell how things stand."""


@dataclass(frozen=True, slots=True, eq=False)
class Accepted:
    """What the person wants to be shown as."""

    avatar: Avatar
    how: How
    material: Material | None
