"""How face clips lie on disk: our own MANIFEST.json, VoxCeleb2 and HDTF.

VoxCeleb2 (Chung, Nagrani, Zisserman 2018): `dev/mp4/id00012/21Uxsk56VDQ/00001.mp4`, faces cropped already; `test/` has
other people, and what `dev/txt` says of the tracks is not needed. Any of the three upper folders can be given.

HDTF (Zhang, Li, Ding, Fan 2021): its lists (`RD_crop_wh.txt` ...) name the faces' places in clips that users cut out of
longer videos, `Radio11_0.mp4`. Tools that cut and crop at once write `RD_Radio11_000.mp4`. Both are read, with or
without the lists, from the folder or the folders in it; a clip that is square is taken to be cropped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from telepresence.errors import InputError

MANIFEST: Final = "MANIFEST.json"
MAX_LIST_BYTES: Final = 64 * 1024 * 1024  # a manifest, or one of HDTF's lists
ALTERED: Final = "real person, pixels"  # how `real_human` begins where pixels were restored, dubbed or made upstream
VIDEO_SUFFIXES: Final = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi"})
THIRD_PARTY: Final = "C"  # both collections were taken from YouTube; what is free there is the lists, not the footage

_VOX_PERSON: Final = re.compile(r"id\d{5}")
_VOX_PARTS: Final = ("dev", "test")
_HDTF_CLIP: Final = re.compile(r"(?:(RD|WDA|WRA)_)?([A-Za-z][\w-]*?)_(\d+)")
_HDTF_CROP: Final = re.compile(r"\S+_\d+\.mp4(\s+\d+){4}")  # clip, left, width, top, height
_HDTF_HEIGHT: Final = re.compile(r"\S+\.mp4\s+\d+")  # video, height of its frames
_HDTF_SUBSETS: Final = ("RD", "WDA", "WRA")


@dataclass(frozen=True, slots=True)
class Crop:
    """The square of a frame that a clip is cut to."""

    left: int
    top: int
    side: int
    of_height: int | None = None
    """The frame's height that the pixels above refer to; None: whatever it has."""


@dataclass(frozen=True, slots=True)
class ClipSource:
    """One clip as it lies on disk."""

    name: str
    """Unique in its folder; may contain slashes."""
    identity: str
    """Who is in it; splits go by this."""
    frames: Path
    """The video file."""
    rights: str
    """Tier of the footage: A free, B research only, C third-party."""
    scored: bool
    """False where pixels are not a camera's: such a clip is neither trained on nor scored."""
    crop: Crop | None = None
    """None: the central square."""


def manifest_sources(folder: Path) -> list[ClipSource]:
    """Clips of a folder with a MANIFEST.json; what else it lists, as photos, is passed over.

    Raises:
        InputError: the manifest is damaged, or not one of clips.
    """
    path = folder / MANIFEST
    try:
        items = [i for i in json.loads(_read(path))["items"] if Path(i["file"]).suffix.lower() in VIDEO_SUFFIXES]
        return [_item(folder, item) for item in items]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not a manifest of clips ({type(error).__name__}: {error}); it needs `items`, each with file, "
            "identity, rights_tier and real_human"
        ) from error


def _item(folder: Path, item: dict[str, Any]) -> ClipSource:
    file = Path(item["file"])
    if file.is_absolute() or ".." in file.parts:
        raise InputError(f"{folder / MANIFEST}: {file} lies outside of the folder; list only files below it")
    return ClipSource(
        name=file.with_suffix("").as_posix(),
        identity=str(item["identity"]),
        frames=folder / file,
        rights=str(item["rights_tier"])[:1],
        scored=not str(item["real_human"]).startswith(ALTERED),
    )


def voxceleb_sources(folder: Path) -> list[ClipSource]:
    """Clips of VoxCeleb2, `dev` and `test` together if both are there; empty if it is not VoxCeleb2."""
    roots = [folder, folder / "mp4", *(folder / part / "mp4" for part in _VOX_PARTS)]
    people = [person for root in roots for person in _folders(root) if _VOX_PERSON.fullmatch(person.name)]
    return [
        _vox_clip(person, video, clip) for person in people for video in _folders(person) for clip in _videos(video)
    ]


def _vox_clip(person: Path, video: Path, clip: Path) -> ClipSource:
    return ClipSource(f"{person.name}/{video.name}/{clip.stem}", person.name, clip, THIRD_PARTY, True)


def hdtf_sources(folder: Path) -> list[ClipSource]:
    """Clips of HDTF; empty if it is not HDTF.

    Raises:
        InputError: one of the lists is damaged.
    """
    folders = [folder, *_folders(folder)]
    crops = _hdtf_crops(folders)
    sources = []
    for clip in (clip for one in folders for clip in _videos(one)):
        match = _HDTF_CLIP.fullmatch(clip.stem)
        listed = crops.get(f"{match[2]}_{int(match[3])}") if match else None
        if match and (match[1] or listed):
            subset, video = match[1] or (listed or ("", None))[0], match[2]
            name = f"{subset}_{video}_{int(match[3])}"
            crop = listed[1] if listed else None
            sources.append(ClipSource(name, _hdtf_identity(subset, video), clip, THIRD_PARTY, True, crop))
    return sources


def _hdtf_identity(subset: str, video: str) -> str:
    """`AmyKlobuchar0` and `AmyKlobuchar1` are one person; `Radio1` and `Radio2` are names of videos."""
    return f"hdtf_{video}" if subset == "RD" else f"hdtf_{video.rstrip('0123456789')}"


def _hdtf_crops(folders: Iterable[Path]) -> dict[str, tuple[str, Crop]]:
    """Subset and square of each clip that the lists name, by `VIDEO_INDEX`."""
    crops: dict[str, tuple[str, Crop]] = {}
    for folder in folders:
        for subset in _HDTF_SUBSETS:
            heights = {
                Path(fields[0]).stem: int(fields[1])
                for fields in _hdtf_list(folder / f"{subset}_resolution.txt", _HDTF_HEIGHT)
            }
            for name, left, side, top, _ in _hdtf_list(folder / f"{subset}_crop_wh.txt", _HDTF_CROP):
                video, _, index = Path(name).stem.rpartition("_")
                square = Crop(int(left), int(top), int(side), heights.get(video))
                crops[f"{video}_{int(index)}"] = (subset, square)
    return crops


def _hdtf_list(path: Path, line: re.Pattern[str]) -> Iterator[list[str]]:
    """Fields of a list's lines. Lines of another form, as the real lists have a few, belong to videos without clips."""
    if not path.is_file():
        return
    lines = [text.strip() for text in _read(path).splitlines() if text.strip()]
    good = [text.split() for text in lines if line.fullmatch(text)]
    if lines and not good:
        raise InputError(f"{path}: no line of it is one of HDTF's list; fetch it anew from HDTF's repository")
    yield from good


def unique(sources: Iterable[ClipSource]) -> list[ClipSource]:
    """In order of names; where two share one, the file's folder is put before it."""
    seen: dict[str, ClipSource] = {}
    for source in sorted(sources, key=lambda source: (source.name, source.frames)):
        name = source.name
        while name in seen:
            name = f"{source.frames.parent.name}/{name}"
        seen[name] = replace(source, name=name)
    return [seen[name] for name in sorted(seen)]


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir()) if path.is_dir() else []


def _videos(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file())


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise InputError(f"{path}: more than {MAX_LIST_BYTES >> 20} MiB; this is no list of clips")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file; copy it again") from error
