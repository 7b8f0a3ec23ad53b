"""Rate against distortion: what an avatar's pictures are worth beside ordinary codecs' at the same rate, same clip.

The avatar is enrolled from the first part of the clip and judged on the rest; codecs are judged on the same pictures.
Everything is 256x256, payload only, no headers, settings for calls: low delay, no look-ahead, no pictures referred to
that have not been shown. At rates that a modern codec can use at all it is nearer to the camera's picture than an
avatar is: this table says where that begins.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.bench.camera import FPS, FRAME_US, paced
from telepresence.errors import MediaError

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]

SIZE: Final = 256
SECONDS: Final = 6.0
ENROLLED: Final = 0.4  # of the clip, from its beginning
EVERY: Final = 3  # pictures of the rest that are judged
LEAST_PICTURES: Final = 45
RATES: Final = (10, 20, 40, 80)  # kbit/s asked for, besides the avatar's own
SAME_RATE: Final = 0.05  # a codec that cannot go lower gives the same again and again
OUTER_EYES: Final = (33, 263)


@dataclass(frozen=True)
class Encoder:
    """A codec with settings for calls."""

    title: str
    names: Sequence[str]
    """Of encoders, best first; the first that is there is taken."""
    options: Mapping[str, str]


CODECS: Final = (
    Encoder("AV1", ("libsvtav1",), {"preset": "10", "svtav1-params": "pred-struct=1:rc=2:rtc=1:keyint=-1:lookahead=0"}),
    Encoder("VP9", ("libvpx-vp9",), {"deadline": "realtime", "cpu-used": "5", "lag-in-frames": "0"}),
    Encoder("H.265", ("libx265",), {"preset": "veryfast", "tune": "zerolatency", "x265-params": "log-level=none"}),
    Encoder("H.264", ("libx264",), {"preset": "veryfast", "tune": "zerolatency"}),
    Encoder("VP8", ("libvpx",), {"deadline": "realtime", "cpu-used": "4", "lag-in-frames": "0"}),
)


@dataclass(frozen=True)
class Judged:
    """How near pictures come to the camera's."""

    ssim: float
    """Mean over the whole picture."""
    ssim_face: float
    """The same in the face's region."""
    landmarks_pct: float | None
    """Mean distance of all landmarks, in outer eye-corner distances; None where too few faces were found."""
    lips_pct: float | None
    faces: float
    """Share of pictures in which a face was found."""

    def row(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "ssim": round(self.ssim, 4),
            "ssim_face": round(self.ssim_face, 4),
            "landmarks_pct": None if self.landmarks_pct is None else round(self.landmarks_pct, 2),
            "lips_pct": None if self.lips_pct is None else round(self.lips_pct, 2),
            "faces": round(self.faces, 3),
        }


class Judge:
    """Compares pictures with the camera's; landmarks are found in each picture by itself, as of a photo."""

    def __init__(self, real: Mapping[int, Picture]) -> None:
        from telepresence.evaluate.pictures import face_region
        from telepresence.face.landmarks import LandmarkTracker

        self._tracker = LandmarkTracker(still=True)
        self._real = {}
        for i, picture in real.items():
            points = self._tracker(picture)
            if points is not None:
                self._real[i] = picture, points, face_region(points, SIZE)
        if not self._real:
            raise MediaError("no face was found in the pictures to judge by; choose another clip")

    @property
    def numbers(self) -> Sequence[int]:
        """Of the pictures that are judged."""
        return list(self._real)

    def __call__(self, pictures: Mapping[int, Picture]) -> Judged:
        """Of the pictures by number those that can be judged."""
        from telepresence.evaluate.pictures import ssim_map
        from telepresence.face.topology import LIPS

        whole, faces, all_points, lips = [], [], [], []
        for i, (real, truth, region) in self._real.items():
            if i not in pictures:
                continue
            similar = ssim_map(pictures[i], real)
            whole.append(float(similar.mean()))
            faces.append(float(similar[np.asarray(region, bool)].mean()))
            points = self._tracker(pictures[i])
            if points is not None:
                eyes = np.linalg.norm(truth[OUTER_EYES[0]] - truth[OUTER_EYES[1]])
                gap = np.linalg.norm((points - truth)[:, :2], axis=1) / eyes
                all_points.append(float(gap.mean()))
                lips.append(float(gap[list(LIPS)].mean()))
        enough = len(all_points) * 2 >= len(whole) > 0
        return Judged(
            float(np.mean(whole)),
            float(np.mean(faces)),
            100 * float(np.median(all_points)) if enough else None,
            100 * float(np.median(lips)) if enough else None,
            len(all_points) / max(1, len(whole)),
        )

    def close(self) -> None:
        """Free the tracker."""
        self._tracker.close()


def rate_distortion(
    source: Path, *, engine: str, runtime: str | None = None, say: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """The table, JSON-ready: `avatar` and `codecs`, each a list of rows by rate.

    Raises:
        TelepresenceError: the clip or the engine cannot be used.
    """
    pictures = [square(picture) for picture in paced(source, SECONDS)]
    if len(pictures) < LEAST_PICTURES:
        raise MediaError(f"{source}: too short to judge pictures by; {LEAST_PICTURES / FPS:g} s are needed")
    begin = int(ENROLLED * len(pictures))
    judge = Judge({i: pictures[i] for i in range(begin, len(pictures), EVERY)})
    try:
        say("rate and distortion: avatar")
        kbps, drawn = _avatar(pictures, begin, judge.numbers, engine, runtime)
        ours = {"kbps": round(kbps, 2), **judge(drawn).row()}
        still = judge(dict.fromkeys(judge.numbers, pictures[0])).row()
        rows = []
        for codec in CODECS:
            say(f"rate and distortion: {codec.title}")
            rows += _rows(codec, pictures, judge, [kbps, *RATES])
    finally:
        judge.close()
    return {
        "size": SIZE,
        "pictures": len(pictures),
        "judged": len(judge.numbers),
        "enrolled_from": f"the first {begin} pictures",
        "avatar": [ours],
        "still": still,
        "codecs": rows,
    }


def square(picture: Picture, size: int = SIZE) -> Picture:
    """The central square at `size`."""
    import cv2

    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    way = cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    cut = picture[top : top + side, left : left + side]
    return np.ascontiguousarray(cv2.resize(cut, (size, size), interpolation=way))


def _avatar(
    pictures: Sequence[Picture], begin: int, wanted: Sequence[int], engine: str, runtime: str | None
) -> tuple[float, dict[int, Picture]]:
    """Payload kbit/s, and the pictures wanted as a receiver would draw them."""
    from telepresence.avatar.enrol import enrol
    from telepresence.face.landmarks import LandmarkTracker
    from telepresence.face.motion import to_square
    from telepresence.face.retarget import Retarget
    from telepresence.face.smoothing import MotionSmoother
    from telepresence.face.tracking import MotionExtractor
    from telepresence.runtime.engine import open_engine
    from telepresence.wire.codec import MotionDecoder, MotionEncoder

    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "enrol.mp4"
        _encode_file(clip, pictures[:begin])
        avatar = enrol([clip], name="bench")
    encoder, decoder = MotionEncoder(), MotionDecoder()
    extract, smooth = MotionExtractor(neutral=avatar.neutral), MotionSmoother()
    retarget = Retarget(avatar.neutral, avatar.rest, "absolute")
    size, drawn, keypoints = 0, {}, retarget.at_rest()
    with open_engine(engine, SIZE, runtime=runtime) as opened, LandmarkTracker() as tracker:
        prepared = opened.prepare(avatar)
        for i, picture in enumerate(pictures):
            points, at_us = tracker(picture), round(i * FRAME_US)
            if points is not None:
                motion = smooth(extract(to_square(points, SIZE, SIZE)), at_us)
                data = encoder.encode(at_us, motion)
                size += len(data)
                received = decoder.receive(data)
                for packet in received if isinstance(received, tuple) else ():
                    keypoints = retarget(packet.motion, packet.capture_us)
                if decoder.ack_due():
                    encoder.acknowledge(decoder.ack())
            if i in wanted:
                drawn[i] = opened.render(prepared, keypoints)[..., :3].copy()
    return size * 8 * FPS / 1000 / len(pictures), drawn


def _rows(codec: Encoder, pictures: Sequence[Picture], judge: Judge, rates: Sequence[float]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for asked in rates:
        got = encoded(codec, pictures, asked)
        if got is None:
            continue
        kbps, decoded = got
        if rows and abs(kbps / rows[-1]["kbps"] - 1) < SAME_RATE:
            continue
        chosen = {i: decoded[i] for i in judge.numbers if i < len(decoded)}
        if chosen:
            row = {"codec": codec.title, "asked_kbps": round(asked, 2), "kbps": round(kbps, 2)}
            rows.append(row | judge(chosen).row())
    return rows


@contextlib.contextmanager
def _same_schedule() -> Iterator[None]:
    """SVT-AV1, run by root, gives its caller real-time priority for good, and every browser that it starts later."""
    if not hasattr(os, "sched_getscheduler"):  # not Linux
        yield
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != before[0]:
            os.sched_setscheduler(0, *before)


def encoded(codec: Encoder, pictures: Sequence[Picture], kbps: float) -> tuple[float, list[Picture]] | None:
    """Through a codec and back: the kbit/s that it took, and the pictures; None if it is not there or refuses."""
    with _same_schedule():
        return _encoded(codec, pictures, kbps)


def _encoded(codec: Encoder, pictures: Sequence[Picture], kbps: float) -> tuple[float, list[Picture]] | None:
    import av

    os.environ.setdefault("SVT_LOG", "1")  # errors only: it tells its whole configuration otherwise
    name = next((name for name in codec.names if name in av.codecs_available), None)
    if name is None:
        return None
    try:
        out = av.CodecContext.create(name, "w")
        out.width = out.height = SIZE
        out.pix_fmt, out.framerate = "yuv420p", FPS
        out.time_base = _time_base()
        out.bit_rate, out.gop_size, out.max_b_frames = round(kbps * 1000), 10_000, 0
        out.thread_count = 1
        out.options = dict(codec.options)
        packets = []
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = i, _time_base()
            packets += out.encode(frame)
        packets += out.encode(None)
        into = av.CodecContext.create(_decoder(name), "r")
        if out.extradata:
            into.extradata = out.extradata
        frames = [frame for packet in [*packets, None] for frame in into.decode(packet)]
    except (av.FFmpegError, ValueError, OSError):
        return None
    size = sum(packet.size for packet in packets)
    return size * 8 * FPS / 1000 / len(pictures), [frame.to_ndarray(format="rgb24") for frame in frames]


def _time_base() -> Any:
    import fractions

    return fractions.Fraction(1, FPS)


def _decoder(encoder: str) -> str:
    import av

    names = {
        "libsvtav1": ("libdav1d", "av1"), "libvpx-vp9": ("vp9",), "libvpx": ("vp8",), "libx264": ("h264",),
        "libx265": ("hevc",),
    }  # fmt: skip
    return next(name for name in names[encoder] if name in av.codecs_available)


def _encode_file(path: Path, pictures: Sequence[Picture]) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "6", "preset": "veryfast"})
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
