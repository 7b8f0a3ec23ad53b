"""What an avatar is. `avatar.file` packs it, `avatar.enrol` makes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import AvatarError
from telepresence.face.motion import Pose, fit_pose, to_square
from telepresence.face.topology import EYE_CORNERS_OUTER, N_LANDMARKS

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

MIN_SIDE: Final = 64  # pixels of a reference or plate
MAX_SIDE: Final = 512
MAX_REFERENCES: Final = 32
MAX_NAME: Final = 100  # characters
MAX_LANDMARK: Final = 16 * MAX_SIDE  # pixels either way; further out than this is no face
MAX_NEUTRAL: Final = 8.0  # canonical units either way
MIN_EYES: Final = 2.0  # pixels between the outer eye corners; a face in profile has few
MIN_NEUTRAL_EYES: Final = 0.3  # canonical units, where people have about 1
MADE: Final = ("live", "photos", "video", "sample")


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """One picture of the person and what is known of it."""

    picture: Picture
    """(S, S, 3) uint8 RGB, 64 <= S <= 512; the source's central square."""
    landmarks: Floats
    """(478, 3) float32, pixels of `picture`."""
    matte: Picture
    """(S, S) uint8, 255 where the person is."""

    def __post_init__(self) -> None:
        side = _check_picture("reference picture", self.picture)
        if self.matte.shape != (side, side) or self.matte.dtype != np.uint8:
            raise AvatarError(f"matte: ({side}, {side}) uint8 is needed, not {self.matte.shape} {self.matte.dtype}")
        _check_points("landmarks", self.landmarks, MAX_LANDMARK)
        _check_size("landmarks", self.landmarks, MIN_EYES)

    @property
    def side(self) -> int:
        """S, pixels."""
        return int(self.picture.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class Avatar:
    """Everything that a receiver needs of a person."""

    name: str
    """Shown to others; 1 to 100 printable characters."""
    references: tuple[Reference, ...]
    """1 to 32; the first is closest to a frontal face at rest and stands for the person until the others are there."""
    neutral: Floats
    """(478, 3) float32, the neutral shape in canonical coordinates."""
    background: Picture
    """(S, S, 3) uint8 RGB, the background plate: what is behind the person of the first reference."""
    free_for_all: bool = False
    """Anyone may be shown as this avatar (the bundled sample)."""
    engine: str | None = None
    """Engine that it was enrolled for; None leaves the choice to the receiver."""
    personal: Mapping[str, bytes] = field(default_factory=dict)
    """Person-specific tensors, by the engine's hash; opaque here."""
    owner: bytes | None = None
    """The owner's public key; opaque here."""
    signature: bytes | None = None
    """The owner's signature; opaque here, `avatar.owner` checks it."""
    made: str | None = None
    """How: one of `MADE`; `live` is enrolled in the page by randomly ordered poses. None: the file does not say."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= MAX_NAME or not self.name.isprintable():
            raise AvatarError(f"an avatar's name has 1 to {MAX_NAME} printable characters")
        if not 1 <= len(self.references) <= MAX_REFERENCES:
            raise AvatarError(f"an avatar has 1 to {MAX_REFERENCES} references, not {len(self.references)}")
        _check_points("neutral shape", self.neutral, MAX_NEUTRAL)
        _check_size("neutral shape", self.neutral, MIN_NEUTRAL_EYES)
        _check_picture("background plate", self.background)

    @property
    def rest(self) -> Pose:
        """The head's pose at rest, as in the first reference."""
        first = self.references[0]
        return fit_pose(to_square(first.landmarks, first.side, first.side), self.neutral)


def _check_picture(what: str, picture: Picture) -> int:
    side = picture.shape[0] if picture.ndim else 0
    if picture.shape != (side, side, 3) or picture.dtype != np.uint8 or not MIN_SIDE <= side <= MAX_SIDE:
        raise AvatarError(
            f"{what}: a square RGB uint8 picture of {MIN_SIDE} to {MAX_SIDE} pixels is needed, "
            f"not {picture.shape} {picture.dtype}"
        )
    return side


def _check_points(what: str, points: Floats, limit: float) -> None:
    if points.shape != (N_LANDMARKS, 3) or points.dtype != np.float32:
        raise AvatarError(f"{what}: ({N_LANDMARKS}, 3) float32 is needed, not {points.shape} {points.dtype}")
    if not (np.isfinite(points).all() and float(np.abs(points).max()) <= limit):
        raise AvatarError(f"{what}: values must be finite and within +-{limit:g}")


def _check_size(what: str, points: Floats, least: float) -> None:
    """A face shrunk to a point has no pose, and would be drawn as nothing for ever."""
    right, left = points[list(EYE_CORNERS_OUTER)]
    if float(np.linalg.norm(left - right)) < least:
        raise AvatarError(f"{what}: the outer eye corners are closer than {least:g}; this is not a face")
