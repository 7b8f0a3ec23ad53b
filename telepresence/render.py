"""Render a clip offline: the call's own modules in a row, without a network.

    frame -> landmarks -> motion -> packet bytes -> motion -> keypoints -> engine -> recording

One picture comes out per frame that goes in.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.file import load
from telepresence.avatar.model import Avatar
from telepresence.avatar.samples import SAMPLE_MOTION, load_track, sample_avatar
from telepresence.errors import FaceError, MediaError
from telepresence.face.landmarks import LandmarkTracker
from telepresence.face.motion import Motion, to_square
from telepresence.face.retarget import Framing, Retarget
from telepresence.face.smoothing import MotionSmoother
from telepresence.face.tracking import MotionExtractor
from telepresence.media import ClipInfo, clip_info, ended_early, is_photo, read_frames
from telepresence.paths import refuse_overwriting, require_suffix
from telepresence.runtime.engine import Engine, open_engine
from telepresence.runtime.info import DEFAULT_ENGINE
from telepresence.sinks.label import label as label_of
from telepresence.sinks.recording import VideoWriter
from telepresence.wire.codec import MotionDecoder, MotionEncoder

Floats = NDArray[np.float32]
Progress = Callable[[int, int | None], None]
Write = Callable[[NDArray[np.uint8], int], None]

MANY_LOST: Final = 0.2  # of the pictures; more without a face than that is worth a word
TRACK_SUFFIX: Final = ".motion"
_NAMED: Final = ("av", "mediapipe", "numpy", "onnxruntime", "openvino")


@dataclass(slots=True)
class RenderReport:
    """What a render did, for people (`text`) and for programs (`json`)."""

    frames: int = 0
    """Frames in, and pictures out."""
    lost: int = 0
    """Frames without a face: the avatar held still."""
    seconds: float = 0.0
    """Length of the clip."""
    payload_bytes: int = 0
    """Of all packets together."""
    engine: str = ""
    size: int = 0
    runtime: str = ""
    framing: str = ""
    sound: bool = False
    stages_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    """Per stage of the way: `median` and `p95` milliseconds a picture."""
    versions: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    """What is amiss with the clip, a line each; for standard error."""

    def json(self) -> str:
        """The report as a JSON object; keys are the fields' names."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def text(self) -> str:
        """A few lines for a terminal."""
        kbps = self.payload_bytes * 8 / 1000 / max(self.seconds, 1e-6)
        stages = ", ".join(f"{name} {figures['median']:.1f}" for name, figures in self.stages_ms.items())
        lost = f", {self.lost} without a face" if self.lost else ""
        return (
            f"{self.frames} pictures{lost}; motion {kbps:.0f} kbit/s\n"
            f"engine {self.engine} at {self.size} on {self.runtime}; median ms a picture: {stages}"
        )


class _Stopwatch:
    """Milliseconds per stage and picture."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.taken.setdefault(stage, []).append((time.perf_counter() - begin) * 1e3)

    def figures(self) -> dict[str, dict[str, float]]:
        return {
            stage: {"median": round(float(np.median(ms)), 3), "p95": round(float(np.percentile(ms, 95)), 3)}
            for stage, ms in self.taken.items()
        }


@dataclass(frozen=True, slots=True)
class _Sent:
    """What the sender's half has for one frame; no packet where it never saw a face."""

    time_us: int
    data: bytes | None
    lost: bool


def render_files(
    avatar: Path | None,
    drive: Path | None,
    out: Path,
    *,
    engine: str = DEFAULT_ENGINE,
    size: int = 256,
    framing: Framing = "relative",
    runtime: str | None = None,
    json_out: Path | None = None,
    progress: Progress | None = None,
    label: str | None = None,
) -> RenderReport:
    """`render` with paths; the sample avatar and the recorded motion stand in for what is not given.

    Raises:
        InputError: a file cannot be read or written, or the engine not be executed; the message says what to do.
    """
    refuse_overwriting({"--out": out, "--json": json_out}, (avatar, drive or SAMPLE_MOTION))
    shown = load(avatar) if avatar else sample_avatar()
    report = render(
        shown,
        drive or SAMPLE_MOTION,
        out,
        engine=engine,
        size=size,
        framing=framing,
        runtime=runtime,
        progress=progress,
        label=label,
    )
    if json_out is not None:
        try:
            json_out.write_text(report.json())
        except OSError as error:
            raise MediaError(
                f"{json_out}: cannot be written ({error.strerror}); choose another place with --json"
            ) from error
    return report


def render(
    avatar: Avatar,
    clip: Path,
    out: Path,
    *,
    engine: str = DEFAULT_ENGINE,
    size: int = 256,
    framing: Framing = "relative",
    runtime: str | None = None,
    progress: Progress | None = None,
    label: str | None = None,
) -> RenderReport:
    """Drive an avatar with a clip, or with a recorded motion track (`.motion`), and write what a receiver would see.

    Args:
        avatar: who is shown.
        clip: who drives. Its sound is kept.
        out: `.mp4`; an earlier file is replaced when the new one is whole.
        engine: a shipped engine's name, or an engine's folder.
        size: side of the pictures, pixels.
        framing: `relative` keeps the avatar framed as enrolled; `absolute` puts the head where the driver's is, so that
            a clip driving an avatar enrolled from it comes out aligned with the clip's central square at `size`.
        runtime: a runtime's name; None for the fastest here.
        progress: called with pictures done and, where known, how many there will be.
        label: one of `sinks.label.LABELS`, drawn on every picture; None leaves them as they are, for measuring.

    Raises:
        InputError: the clip cannot be read or `out` not be written, or is an input.
        FaceError: no picture of the clip has a face.
        EngineError: no such engine, or nothing to execute it with.
    """
    _check_paths(clip, out)
    watch, encoder = _Stopwatch(), MotionEncoder()
    if clip.suffix.lower() == TRACK_SUFFIX:
        info, sent = _from_track(clip, encoder)
    else:
        info, sent = clip_info(clip), _from_clip(clip, avatar, encoder, watch)
    report = RenderReport(size=size, framing=framing, engine=engine)
    with open_engine(engine, size, runtime=runtime) as opened:
        opened.warm_up()
        report.engine, report.runtime = f"{opened.info.name} {opened.info.version}", opened.runtime_name
        with VideoWriter(out, size, info.fps) as writer:
            report.sound = info.has_sound and writer.add_sound(clip)
            retarget = Retarget(avatar.neutral, avatar.rest, framing)
            write = writer.write if label is None else _labelled(writer, label, size)
            _receive(avatar, sent, encoder, opened, write, retarget, watch, report,
                     lambda done: progress(done, info.frames) if progress else None)  # fmt: skip
            _judge(clip, info, report)
    report.seconds = info.duration_s or report.frames / info.fps
    report.stages_ms = watch.figures()
    report.versions = _versions()
    return report


def _labelled(writer: VideoWriter, text: str, size: int) -> Write:
    patch = label_of(text, size)

    def write(picture: NDArray[np.uint8], time_us: int) -> None:
        writer.write(patch.on_copy(picture), time_us)

    return write


def _from_clip(clip: Path, avatar: Avatar, encoder: MotionEncoder, watch: _Stopwatch) -> Iterator[_Sent]:
    """The sender's half: frames -> packets as bytes."""
    extractor, smooth = MotionExtractor(neutral=avatar.neutral), MotionSmoother()
    motion: Motion | None = None
    frames = read_frames(clip)
    with LandmarkTracker() as tracker:
        while True:
            with watch("decode"):
                frame = next(frames, None)
            if frame is None:
                return
            with watch("landmarks"):
                landmarks = tracker(frame.picture)
            data = None
            with watch("motion"):
                if landmarks is not None:
                    height, width = frame.picture.shape[:2]
                    motion = smooth(extractor(to_square(landmarks, width, height)), frame.time_us)
                if motion is not None:
                    data = encoder.encode(frame.time_us, motion, rest=landmarks is None)
            yield _Sent(frame.time_us, data, landmarks is None)


def _from_track(path: Path, encoder: MotionEncoder) -> tuple[ClipInfo, Iterator[_Sent]]:
    track = load_track(path)
    count, period_s = len(track.packets), track.period_us / 1e6
    sent = (
        _Sent(packet.capture_us, encoder.encode(packet.capture_us, packet.motion, rest=packet.rest), packet.rest)
        for packet in track.packets
    )
    return ClipInfo(0, 0, count / period_s, count, period_s), sent


def _receive(
    avatar: Avatar,
    sent: Iterator[_Sent],
    encoder: MotionEncoder,
    engine: Engine,
    write: Write,
    retarget: Retarget,
    watch: _Stopwatch,
    report: RenderReport,
    progress: Callable[[int], None],
) -> None:
    """The receiver's half: packets as bytes -> pictures in the file, and acknowledgements back to the encoder."""
    prepared = engine.prepare(avatar)
    report.warnings.extend(prepared.warnings)
    decoder = MotionDecoder()
    keypoints = retarget.at_rest()
    for one in sent:
        if one.data is not None:
            with watch("keypoints"):
                received = decoder.receive(one.data)
                for packet in received if isinstance(received, tuple) else ():
                    keypoints = keypoints if packet.rest else retarget(packet.motion, packet.capture_us)
                if decoder.ack_due():
                    encoder.acknowledge(decoder.ack())
            report.payload_bytes += len(one.data)
        with watch("engine"):
            picture = engine.render(prepared, keypoints)
        with watch("recording"):
            write(picture, one.time_us)
        report.frames += 1
        report.lost += one.lost
        progress(report.frames)


def _judge(clip: Path, info: ClipInfo, report: RenderReport) -> None:
    """Refuse a clip that showed nobody, and note what else is amiss with it; a recorded track is beyond doubt."""
    if clip.suffix.lower() == TRACK_SUFFIX:
        return
    if report.lost == report.frames:
        raise FaceError(
            f"{clip}: no face was found in any of its {report.frames} pictures, so nothing was written; use a clip "
            "that shows one face from the front, well lit and not covered"
        )
    if report.lost > MANY_LOST * report.frames:
        report.warnings.append(
            f"{clip}: no face was found in {report.lost} of {report.frames} pictures; the avatar held still there"
        )
    early = ended_early(clip, info, report.frames, report.frames / info.fps)
    if early:
        report.warnings.append(early)


def _check_paths(clip: Path, out: Path) -> None:
    require_suffix("--out", out, ".mp4")
    if clip.suffix.lower() != TRACK_SUFFIX and is_photo(clip):
        raise MediaError(
            f"{clip}: a photo does not move; drive with a clip, and use the photo with: telepresence enrol"
        )
    refuse_overwriting({"--out": out}, (clip,))


def _versions() -> dict[str, str]:
    from telepresence import __version__

    found: dict[str, Any] = {"telepresence": __version__}
    for name in _NAMED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
