"""Clips to be judged on: which of a folder, and their pictures and landmarks in the avatar's framing."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.framing import Square, choose_square
from telepresence.avatar.model import MAX_SIDE
from telepresence.errors import FaceError, InputError, MediaError
from telepresence.face.fit import HELD_OUT, clip_landmarks
from telepresence.face.motion import to_square
from telepresence.media import clip_info, read_frames

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

MANIFEST: Final = "MANIFEST.json"
VIDEOS: Final = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"})
UNREAL: Final = "real person, pixels"  # how a manifest begins to say that pixels were restored or dubbed
FRAMING_FRAMES: Final = 200


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip and who it shows."""

    path: Path
    identity: str
    held_out: bool | None = None
    """Of all training; None where nothing says who it shows."""

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem


def find_clips(
    folder: Path, *, everyone: bool = False, only: Collection[str] = ()
) -> tuple[list[Clip], list[dict[str, str]]]:
    """Clips of a folder, and those left out with the reason.

    With a MANIFEST.json only people held out of all training, unless `everyone`; never clips whose pixels are not
    real. Without one every video, each of somebody else.

    Args:
        folder: holds the clips.
        everyone: also people whom training may have seen.
        only: identities or clips' names; nobody else then.

    Raises:
        InputError: no such folder, no clip in it, a name in `only` that is not there, or a damaged manifest.
    """
    if not folder.is_dir():
        raise InputError(f"--clips {folder}: no such folder; give one with videos, and a {MANIFEST} if there is one")
    named: list[tuple[Clip, bool]]  # clip, real
    if (folder / MANIFEST).exists():
        named = list(_from_manifest(folder))
    else:
        named = [
            (Clip(p, p.stem), True) for p in sorted(folder.iterdir()) if p.suffix.lower() in VIDEOS and p.is_file()
        ]
    unknown = sorted(set(only) - {n for clip, _ in named for n in (clip.name, clip.identity)})
    if unknown:
        raise InputError(f"--only {','.join(unknown)}: neither a person nor a clip of {folder}; see its {MANIFEST}")
    clips, left_out = [], []
    for clip, real in named:
        if only and not {clip.name, clip.identity} & set(only):
            continue
        if clip.held_out is False and not (everyone or only):
            continue
        if real:
            clips.append(clip)
        else:
            left_out.append({"clip": clip.name, "reason": "its pixels were restored or dubbed upstream"})
    if not clips:
        raise InputError(
            f"--clips {folder}: nothing to judge on; with a {MANIFEST} only held-out people count unless --everyone"
        )
    return clips, left_out


def _from_manifest(folder: Path) -> Iterator[tuple[Clip, bool]]:
    path = folder / MANIFEST
    try:
        items: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["items"]
        for item in items:
            name, identity = str(item["file"]), str(item["identity"])
            real = not str(item.get("real_human", "")).startswith(UNREAL)
            yield Clip(folder / name, identity, identity in HELD_OUT), real
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(
            f"{path} is not a list of clips ({error!r}); it needs items with a file and an identity each, "
            "or take it away and every video counts"
        ) from error


class Footage:
    """A clip in the framing that an avatar of it has. Landmarks are there at once, pictures are read when asked for."""

    def __init__(self, clip: Clip, cache: Path) -> None:
        """Find the faces, or read them from the folder `cache` where an earlier run kept them.

        Raises:
            MediaError: not a clip.
            FaceError: no face, or one too small to make an avatar of.
        """
        self.clip = clip
        info = clip_info(clip.path)
        self.fps, self.shape = info.fps, (info.height, info.width)
        pixels = clip_landmarks(clip.path, cache)
        self.seen: NDArray[np.bool_] = np.isfinite(pixels).all((1, 2))
        """(T,) which frames show a face."""
        there = np.flatnonzero(self.seen)
        if not len(there):
            raise FaceError(f"{clip.path}: no face was found in any frame")
        some = there[:: -(-len(there) // FRAMING_FRAMES)]
        self.square: Square = choose_square(info.width, info.height, [pixels[i] for i in some], str(clip.path))
        side = self.square.side
        self.points: Floats = np.stack([to_square(self.square.landmarks(p, side), side, side) for p in pixels])
        """(T, 478, 3) square coordinates of the framing; NaN where no face was found."""

    @property
    def frames(self) -> int:
        """T."""
        return len(self.points)

    @property
    def reference_side(self) -> int:
        """Pixels of a reference picture: all there are, up to what an avatar may hold."""
        return min(MAX_SIDE, self.square.side)

    def landmarks(self, index: int, size: int) -> Floats:
        """(478, 3) in pixels of a picture of `size`."""
        out: Floats = (self.points[index] + np.array([1, 1, 0], np.float32)) * np.float32(size / 2)
        return out

    def pictures(self, indices: Sequence[int], size: int) -> Iterator[tuple[int, Picture]]:
        """The wanted frames in ascending order, (size, size, 3) each.

        Scaled as an engine scales references, so that neither is sharper than the other by its filter alone.

        Raises:
            MediaError: the clip changes its size midway.
            InputError: it has fewer frames than its kept landmarks say.
        """
        wanted, last, count = set(indices), max(indices, default=-1), 0
        for count, frame in enumerate(read_frames(self.clip.path), 1):
            if frame.picture.shape[:2] != self.shape:
                raise MediaError(f"{self.clip.path}: its pictures change their size midway; cut it there")
            if count - 1 in wanted:
                yield count - 1, scaled(self.square.cut(frame.picture, self.square.side), size)
            if count > last:
                return
        raise InputError(
            f"{self.clip.path}: {count} frames, but the landmarks kept of it are of {self.frames}; they are another "
            "clip's of the same name, so give --landmarks another folder"
        )


def scaled(picture: Picture, size: int) -> Picture:
    """A square picture at another size, filtered before it shrinks."""
    if picture.shape[0] == size:
        return picture
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC), np.uint8)
