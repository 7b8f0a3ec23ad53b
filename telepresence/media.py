"""Clips and photos from disk as upright RGB pictures. PyAV and Pillow, both imported on first use."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.errors import MediaError

if TYPE_CHECKING:
    from PIL import Image

Picture = NDArray[np.uint8]

MAX_PHOTO_BYTES: Final = 64 * 1024 * 1024
MAX_SIDE: Final = 16384  # pixels, photo or clip
MAX_PIXELS: Final = 64 * 1024 * 1024  # 192 MiB of RGB: a 61-megapixel camera's photo fits
MAX_CLIP_PIXELS: Final = 4096 * 2304  # a frame; decoders keep several
DECODER_THREADS: Final = 2  # the rest of the machine belongs to landmarks and engine
ALPHA_OVER: Final = 128  # grey that a transparent photo is laid over
DEFAULT_FPS: Final = 25.0  # for a clip that names no rate

_PHOTO_SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif", ".ppm", ".pgm"}
)
_AVATAR_SUFFIX: Final = ".avatar"
_COMPLETE: Final = 0.98  # of what a clip's header says; edits and rounding take a picture or two
_PHOTO_MAGIC: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*")


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture with its capture time."""

    picture: Picture
    """(H, W, 3) uint8 RGB, upright."""
    time_us: int
    """Microseconds after the clip's first frame."""


@dataclass(frozen=True, slots=True)
class ClipInfo:
    """What a clip's header says; sizes are those of upright pictures."""

    width: int
    height: int
    fps: float
    frames: int | None
    """None where the container does not say."""
    duration_s: float | None
    """None where the container does not say."""
    has_sound: bool = False


def is_photo(path: Path) -> bool:
    """Whether a file is a photo, by content first and by name second.

    Raises:
        MediaError: there is no such file.
    """
    with _opened(path) as file:
        head = file.read(16)
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return webp or head.startswith(_PHOTO_MAGIC) or path.suffix.lower() in _PHOTO_SUFFIXES


def read_photo(path: Path) -> Picture:
    """Read a photo: upright by its EXIF orientation, transparency laid over grey, (H, W, 3) uint8 RGB.

    Raises:
        MediaError: no such file, not a photo, damaged or too large.
    """
    from PIL import ImageOps

    with _opened(path) as file:
        if path.stat().st_size > MAX_PHOTO_BYTES:
            raise MediaError(f"{path}: more than {MAX_PHOTO_BYTES >> 20} MiB; save it smaller, 2000 pixels are plenty")
        image = _recognised(path, file)
        _check_size(path, *image.size, MAX_PIXELS)
        try:
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
        except Exception as error:
            raise MediaError(f"{path}: the photo is damaged ({error}); copy it again or save it anew") from error


def _recognised(path: Path, file: Any) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the size is checked next
            return Image.open(file)
    except Image.DecompressionBombError as error:
        raise MediaError(f"{path}: far too many pixels; {_at_most(MAX_PIXELS)}") from error
    except UnidentifiedImageError as error:  # its text is a Python object's
        raise MediaError(f"{path}: not a photo that can be read; save it as JPEG or PNG") from error
    except Exception as error:  # Pillow's format plugins raise whatever their parsers trip over
        raise MediaError(f"{path}: not a photo that can be read ({error}); save it as JPEG or PNG") from error


def _to_rgb(image: Image.Image) -> Picture:
    from PIL import Image

    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        deep = np.asarray(image).astype(np.float64)
        top = 65535.0 if deep.max() > 255 else 255.0
        image = Image.fromarray(np.clip(deep / top * 255, 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        over = Image.new("RGBA", image.size, (ALPHA_OVER, ALPHA_OVER, ALPHA_OVER, 255))
        image = Image.alpha_composite(over, image.convert("RGBA"))
    return np.ascontiguousarray(image.convert("RGB"))


def clip_info(path: Path) -> ClipInfo:
    """Read a clip's header and first frame (which alone knows its rotation).

    Raises:
        MediaError: no such file, not a clip, no picture in it.
    """
    with _container(path) as container:
        stream = _video_stream(path, container)
        first = next(_decoded(path, container, stream), None)
        if first is None:
            raise MediaError(f"{path}: the clip holds no picture; export it again, as MP4 with H.264 if in doubt")
        height, width = _upright(first, stream).shape[:2]
        duration = float(container.duration / 1_000_000) if container.duration else None
        fps = float(stream.average_rate or stream.guessed_rate or DEFAULT_FPS)
        return ClipInfo(width, height, fps, stream.frames or None, duration, bool(container.streams.audio))


def read_frames(path: Path) -> Iterator[Frame]:
    """Read a clip's frames in order of presentation, upright by its rotation metadata, pixels made square.

    Raises:
        MediaError: no such file, not a clip, or damaged; raised where the damage is, after the frames before it.
    """
    with _container(path) as container:
        stream = _video_stream(path, container)
        step_us = round(1e6 / float(stream.average_rate or stream.guessed_rate or DEFAULT_FPS))
        first_us: int | None = None
        last_us = -step_us
        for decoded in _decoded(path, container, stream):
            stamp = decoded.pts
            at_us = last_us + step_us
            if stamp is not None:
                own_us = round(Fraction(stamp) * decoded.time_base * 1_000_000)
                first_us = own_us if first_us is None else first_us
                at_us = max(own_us - first_us, last_us + 1)  # broken stamps must not run backwards
            last_us = at_us
            yield Frame(_upright(decoded, stream), at_us)
        if last_us < 0:
            raise MediaError(f"{path}: the clip holds no picture; export it again, as MP4 with H.264 if in doubt")


def ended_early(path: Path, info: ClipInfo, frames: int, seconds: float) -> str | None:
    """A line to say if a clip held less than its header says, as one that was cut short does; else None.

    Args:
        path: the clip.
        info: its header.
        frames: how many were read, to the clip's end.
        seconds: when the last of them ended.
    """
    if info.frames is None or info.duration_s is None:
        return None
    if frames >= info.frames * _COMPLETE or seconds >= info.duration_s * _COMPLETE:
        return None
    return f"{path}: ends early, after {frames} of {info.frames} pictures; was it copied completely?"


def _opened(path: Path) -> Any:
    try:
        if path.is_file() and path.stat().st_size == 0:
            raise MediaError(f"{path}: an empty file; copy it again")
        return path.open("rb")
    except OSError as error:
        raise MediaError(f"{path}: cannot be opened ({error.strerror}); check the path") from error


def _container(path: Path) -> Any:
    import av

    _opened(path).close()
    if path.suffix.lower() == _AVATAR_SUFFIX:
        raise MediaError(
            f"{path}: that is an avatar, where a photo or a clip is needed; to be shown as it, use --avatar {path.name}"
        )
    try:
        return av.open(str(path), options={"max_pixels": str(MAX_CLIP_PIXELS)}, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        raise MediaError(
            f"{path}: not a clip that can be read ({_reason(error)}); if it plays elsewhere, convert it with: "
            f"ffmpeg -i {path.name} -pix_fmt yuv420p converted.mp4"
        ) from error


def _video_stream(path: Path, container: Any) -> Any:
    if not container.streams.video:
        raise MediaError(f"{path}: the file has no video in it; choose a clip that shows the person")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise MediaError(f"{path}: no decoder here knows its video; export it again, as MP4 with H.264")
    _check_size(path, stream.codec_context.width, stream.codec_context.height, MAX_CLIP_PIXELS)
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = DECODER_THREADS
    return stream


def _decoded(path: Path, container: Any, stream: Any) -> Iterator[Any]:
    import av

    try:
        for frame in container.decode(stream):
            _check_size(path, frame.width, frame.height, MAX_CLIP_PIXELS)  # a stream may change its size midway
            yield frame
    except (av.error.FFmpegError, ValueError) as error:
        raise MediaError(
            f"{path}: the clip is damaged ({_reason(error)}); copy it again, or save what can be read with: "
            f"ffmpeg -err_detect ignore_err -i {path.name} repaired.mp4"
        ) from error


def _upright(frame: Any, stream: Any) -> Picture:
    """One decoded frame as RGB: rotation metadata applied, anamorphic pixels stretched square."""
    aspect = stream.sample_aspect_ratio or Fraction(1)
    width = frame.width if aspect <= 0 else min(MAX_SIDE, max(1, round(frame.width * aspect)))
    if frame.width * frame.height <= MAX_CLIP_PIXELS < width * frame.height:
        width = frame.width  # an absurd aspect is a damaged header, not a picture
    picture = frame.to_ndarray(format="rgb24", width=width, height=frame.height)
    turns = round(getattr(frame, "rotation", 0) / 90) % 4  # degrees counter-clockwise, like numpy's
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def _check_size(path: Path, width: int, height: int, max_pixels: int) -> None:
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= max_pixels):
        raise MediaError(f"{path}: {width} x {height} pixels; {_at_most(max_pixels)}")


def _at_most(max_pixels: int) -> str:
    return f"at most {max_pixels / 1e6:.0f} megapixels can be read; scale it down first"
