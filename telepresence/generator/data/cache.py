"""Prepare clips for training: decode once, cut and scale, find landmarks and mattes, keep it all in one file a clip."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.background import background_plate
from telepresence.avatar.framing import Square, central_square
from telepresence.errors import FaceError, MediaError, TelepresenceError
from telepresence.face.fit import clip_landmarks
from telepresence.face.matte import Matter, only_person
from telepresence.face.motion import to_square
from telepresence.generator.data.clips import SUFFIX, ClipMeta, build_clip, load_meta, write_atomically
from telepresence.generator.data.jpeg import encode_jpeg
from telepresence.generator.data.layouts import ClipSource, Crop
from telepresence.media import clip_info, read_frames

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]

SIDE: Final = 256  # pixels
FAST_FPS: Final = 23.5  # from here on neighbouring frames are so alike that every second is enough
MOST_FRAMES: Final = 700  # of a clip: more would only let the longest clips decide
FEWEST_FRAMES: Final = 8  # with a face: below this a clip teaches nothing
PICTURE_QUALITY: Final = 95
MATTE_QUALITY: Final = 90
PLATE_PICTURES: Final = 24
CROP_TOLERANCE: Final = 0.02  # of a listed square may lie outside of the frame
LANDMARK_FOLDER: Final = "landmarks"
_HASH_BYTES: Final = 1 << 20  # at a time


def prepare(
    source: ClipSource,
    folder: Path,
    *,
    size: int = SIDE,
    every: int | None = None,
    most: int = MOST_FRAMES,
    landmarks: Path | None = None,
) -> Path:
    """Prepare one clip, unless `folder` already holds it made from the same source in the same way.

    Args:
        source: the clip.
        folder: where the prepared file goes.
        size: side of the pictures kept, pixels: the source's central square, scaled.
        every: look at each n-th frame; None: at each second one from 24 frames a second on, else at all.
        most: keep at most so many frames, evenly spread.
        landmarks: folder of landmark files that may exist already (`face.fit.clip_landmarks`); None: in `folder`.

    Returns:
        The prepared file.

    Raises:
        MediaError: the clip cannot be read.
        FaceError: there is hardly a face in it.
    """
    out = clip_file(folder, source.name)
    info = clip_info(source.frames)
    every = every or (2 if info.fps >= FAST_FPS else 1)
    sha256 = _sha256(source)
    wanted = (source.name, source.identity, source.rights, source.scored, sha256, size, every)
    if _stored(out) == (*wanted, most):
        return out
    kept = landmarks / Path(source.name).parent if landmarks else folder / LANDMARK_FOLDER / sha256[:16]
    found = clip_landmarks(source.frames, kept)
    indices = _choose_frames(found, every, most)
    if len(indices) < FEWEST_FRAMES:
        raise FaceError(f"{source.frames}: a face in {len(indices)} frames only; at least {FEWEST_FRAMES} are needed")
    times, points, pictures, mattes = _read(source, indices, found, size)
    meta = ClipMeta(*wanted[:6], frames=len(pictures), every=every, most=most)
    spread = np.unique(np.linspace(0, len(pictures) - 1, PLATE_PICTURES).round().astype(int))
    plate = background_plate([pictures[i] for i in spread], [mattes[i] for i in spread])
    data = build_clip(
        meta,
        times_us=np.array(times, np.int64),
        points=np.stack(points),
        pictures=[encode_jpeg(picture, PICTURE_QUALITY) for picture in pictures],
        mattes=[encode_jpeg(matte, MATTE_QUALITY) for matte in mattes],
        plate=encode_jpeg(plate, PICTURE_QUALITY),
    )
    write_atomically(out, data)
    return out


def prepare_all(
    sources: Sequence[ClipSource],
    folder: Path,
    *,
    size: int = SIDE,
    every: int | None = None,
    landmarks: Path | None = None,
    jobs: int = 1,
    say: Callable[[str], None] = print,
) -> list[Path]:
    """`prepare` many clips in `jobs` processes; those that cannot be used are told and left out."""
    made: list[Path] = []
    # Started anew, not forked: MediaPipe's threads do not survive a fork.
    with ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn")) as pool:
        running = {
            pool.submit(prepare, source, folder, size=size, every=every, landmarks=landmarks): source
            for source in sources
        }
        for done, future in enumerate(as_completed(running), 1):
            try:
                made.append(future.result())
                say(f"{done}/{len(sources)} {running[future].name}: {load_meta(made[-1]).frames} frames")
            except TelepresenceError as error:
                say(f"{done}/{len(sources)} {running[future].name}: left out: {error}")
    return sorted(made)


def clip_file(folder: Path, name: str) -> Path:
    """Where the prepared clip of a source of this name lies."""
    return folder / (name.replace("/", "--") + SUFFIX)


def _stored(path: Path) -> tuple[object, ...] | None:
    if not path.exists():
        return None
    try:
        meta = load_meta(path)
    except MediaError:
        return None  # of another version, or cut short: made anew
    return (meta.name, meta.identity, meta.rights, meta.scored, meta.source_sha256, meta.side, meta.every, meta.most)


def _choose_frames(landmarks: Floats, every: int, most: int) -> list[int]:
    seen = np.isfinite(landmarks).all((1, 2))
    indices = [i for i in range(0, len(landmarks), every) if seen[i]]
    if len(indices) > most:
        indices = [indices[i] for i in np.linspace(0, len(indices) - 1, most).round().astype(int)]
    return indices


def _read(
    source: ClipSource, indices: Sequence[int], landmarks: Floats, size: int
) -> tuple[list[int], list[Floats], list[Picture], list[Picture]]:
    """Times, points in square coordinates, pictures and mattes of the frames at `indices`."""
    wanted, last = set(indices), max(indices)
    times: list[int] = []
    points: list[Floats] = []
    pictures: list[Picture] = []
    mattes: list[Picture] = []
    first_shape: tuple[int, ...] | None = None
    with Matter() as matter:
        for index, frame in enumerate(read_frames(source.frames)):
            if index > last:
                break
            shape = frame.picture.shape
            first_shape = first_shape or shape
            if index not in wanted or shape != first_shape:
                continue  # a stream may change its size midway; one framing holds for the clip
            square = _square(source, shape[1], shape[0])
            picture = square.cut(frame.picture, size)
            own = square.landmarks(landmarks[index], size)
            times.append(frame.time_us)
            points.append(to_square(own, size, size))
            pictures.append(picture)
            mattes.append(only_person(matter(picture), own))
    if len(pictures) < FEWEST_FRAMES:
        raise MediaError(f"{source.frames}: {len(pictures)} frames could be read; its landmarks may be another clip's")
    return times, points, pictures, mattes


def _square(source: ClipSource, width: int, height: int) -> Square:
    """What of a frame is kept; a square clip is cropped already."""
    crop: Crop | None = source.crop
    if crop is None or width == height:
        return central_square(width, height)
    scale = height / (crop.of_height or height)
    left, top, side = (round(value * scale) for value in (crop.left, crop.top, crop.side))
    side = min(side, width - left, height - top)  # lists are a pixel or two off here and there
    if side < crop.side * scale * (1 - CROP_TOLERANCE):
        raise MediaError(
            f"{source.frames}: {width} x {height} pixels, but the face's square of {crop.side} at ({crop.left}, "
            f"{crop.top}) is outside; use the resolution that the collection's list names"
        )
    return Square(left, top, side)


def _sha256(source: ClipSource) -> str:
    """Of the video, and of where it is to be cropped."""
    digest = hashlib.sha256()
    try:
        with source.frames.open("rb") as file:
            while block := file.read(_HASH_BYTES):
                digest.update(block)
    except OSError as error:
        raise MediaError(f"{source.frames}: cannot be read ({error.strerror}); check the path") from error
    if source.crop is not None:
        digest.update(repr(source.crop).encode())
    return digest.hexdigest()
