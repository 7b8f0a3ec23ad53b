"""`bench headset`: both eyes' pictures, their disparity, the stream to a client, the page, what a GPU would have to do.

Every figure of docs/headset.md comes from here. The sample avatar, moved by the sample motion, on this machine alone.
"""

from __future__ import annotations

import asyncio
import json
import math
import ssl
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.samples import sample_avatar, sample_motion
from telepresence.errors import EngineError, TelepresenceError
from telepresence.face.motion import Pose
from telepresence.face.retarget import Retarget
from telepresence.face.stereo import Stereo, eye_keypoints, head_centre, unit_m, viewer
from telepresence.rtc.monotonic import now_us
from telepresence.sinks.headset import protocol
from telepresence.sinks.headset.packing import pack
from telepresence.sinks.headset.rehearsal import show
from telepresence.sinks.headset.renderer import pair, pairs

if TYPE_CHECKING:
    from telepresence.runtime.engine import Engine, Prepared
    from telepresence.sinks.headset.sink import HeadsetSink

Report = dict[str, Any]
Say = Callable[[str], None]

IPD_M: Final = 0.063
RIGHT: Final = np.array([1.0, 0.0, 0.0])
ACROSS_M: Final = 1.3
TARGET_HZ: Final = 72.0
PAIRS_PER_S: Final = 15.0  # of two eyes at 256x256 on two cores
POSE_S: Final = 1 / 72
STEP_S: Final = 0.9  # between two jumps of the head
STEP_M: Final = 0.25
NEAR_M: Final = 0.6  # of the viewer where disparity is measured: the nearer, the more there is
NOSE: Final = (1, 4, 5, 195)  # landmarks well before the head's centre
MIN_DEPTH_M: Final = 0.0005  # of disparity: less than that has no share worth telling


@dataclass(frozen=True)
class HeadsetConfig:
    """What is measured."""

    engine: str = "live"
    size: int = 256
    runtime: str | None = None
    seconds: float = 10.0
    page: bool = True


def run_headset(config: HeadsetConfig, say: Say) -> Report:
    """Everything, in about a minute and a half.

    Raises:
        TelepresenceError: the engine cannot be loaded, or a port not be had.
    """
    report: Report = {"what": "headset", "engine": config.engine, "size": config.size, "problems": []}
    say("both eyes")
    report |= _eyes(config)
    say("a client of the stream")
    with _own_data_folder():
        for guests in (1, 3):
            report[f"stream_{guests}"] = asyncio.run(_stream(config, guests))
        report["stream_motion"] = asyncio.run(_motion(config))
        if config.page:
            say("the page, in an emulated headset")
            from telepresence.bench.headset_page import measure_page

            for guests in (1, 3):
                try:
                    report[f"page_{guests}"] = asyncio.run(measure_page(config, guests))
                except TelepresenceError as error:
                    report["problems"].append(f"the page: {error}")
                    break
    return report


# the engine


def _eyes(config: HeadsetConfig) -> Report:
    from telepresence.runtime.engine import open_engine

    with open_engine(config.engine, config.size, runtime=config.runtime) as engine:
        engine.warm_up()
        prepared = engine.prepare(sample_avatar())
        scene = _Scene.made()
        stereos = [scene.seen(float(x)) for x in 0.2 * np.sin(np.arange(200))]
        report: Report = {"runtime": engine.runtime_name, "batches": engine.batches}
        report["keypoints_ms"] = _median(scene.keypoint_ms)
        report["pair"] = _pairs(engine, prepared, stereos, config.seconds)
        report["two_in_one_call"] = _batched(engine, prepared, stereos, config.seconds / 2)
        report["codecs"] = _codecs(pair(engine, prepared, stereos[0]))
        report["disparity"] = {**_geometry(), "in_pictures": _in_pictures(engine, prepared)}
    report["projection"] = _projection(config, float(report["pair"]["draw_ms"]))
    return report


@dataclass
class _Scene:
    """The sample avatar's keypoints as the sample motion moves them."""

    points: list[NDArray[np.float32]]
    metres: float
    at: int = 0
    keypoint_ms: list[float] = field(default_factory=list)

    @classmethod
    def made(cls) -> _Scene:
        """From the samples."""
        packets = sample_motion()
        rest, neutral = _rest(), sample_avatar().neutral
        retarget: Retarget = Retarget(neutral, rest, "relative")
        points = [retarget(packet.motion, packet.capture_us) for packet in packets[:200]]
        return cls(points, unit_m(rest.scale))

    def seen(self, x: float, distance: float = ACROSS_M) -> Stereo:
        """The next motion, for a head that is aside by x metres."""
        self.at += 1
        begin = time.perf_counter()
        seen = eye_keypoints(
            self.points[self.at % len(self.points)], viewer(np.array([x, 0.0, distance]), RIGHT, IPD_M), self.metres
        )
        self.keypoint_ms.append(1e3 * (time.perf_counter() - begin))
        return seen


def _rest() -> Pose:
    return sample_avatar().rest


def _pairs(engine: Engine, prepared: Prepared, stereos: list[Stereo], seconds: float) -> Report:
    draw: list[float] = []
    packing: list[float] = []
    sizes: list[int] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(draw) < 10:
        stereo = stereos[len(draw) % len(stereos)]
        begin = time.perf_counter()
        left, right = (pairs(engine, [(prepared, stereo)])[0]) if engine.batches else pair(engine, prepared, stereo)
        middle = time.perf_counter()
        sizes.append(len(pack(left, right)))
        draw.append(1e3 * (middle - begin))
        packing.append(1e3 * (time.perf_counter() - middle))
    whole = np.array(draw) + packing
    return {
        "draw_ms": _median(draw), "pack_ms": _median(packing), "pair_ms": _median(whole.tolist()),
        "pair_ms_p10": round(float(np.percentile(whole, 10)), 2),
        "pairs_per_s": round(1e3 / float(np.median(whole)), 1),
        "kilobytes": round(float(np.median(sizes)) / 1e3, 1), "pairs": len(draw),
    }  # fmt: skip


def _batched(engine: Engine, prepared: Prepared, stereos: list[Stereo], seconds: float) -> Report | None:
    """Two pictures in one call of the runtime that draws, against two calls; None where a batch cannot be made."""
    from telepresence.runtime.engine import runtimes
    from telepresence.runtime.many import Batch

    found = [runtime for group in runtimes() for runtime in group if runtime.name == engine.runtime_name]
    try:
        batch = Batch(engine.info, engine.size, found[0], 2)
    except (EngineError, ImportError, IndexError):
        return None
    together: list[float] = []
    alone: list[float] = []
    try:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(together) < 5:
            stereo = stereos[len(together) % len(stereos)]
            begin = time.perf_counter()
            batch.draw([(prepared.tensors, stereo.left), (prepared.tensors, stereo.right)])
            middle = time.perf_counter()
            pair(engine, prepared, stereo)
            together.append(1e3 * (middle - begin))
            alone.append(1e3 * (time.perf_counter() - middle))
    finally:
        batch.close()
    return {"one_call_ms": _median(together[2:]), "two_calls_ms": _median(alone[2:])}


def _codecs(eyes: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> dict[str, list[float]]:
    """Milliseconds and kilobytes of the packed pair by codec."""
    import cv2

    rgba = np.concatenate([cv2.cvtColor(eye, cv2.COLOR_RGBA2BGRA) for eye in eyes], axis=1)
    ways: dict[str, Callable[[], bytes]] = {
        "jpeg": lambda: pack(*eyes),
        "webp": lambda: bytes(cv2.imencode(".webp", rgba, (cv2.IMWRITE_WEBP_QUALITY, 80))[1]),
        "png": lambda: bytes(cv2.imencode(".png", rgba)[1]),
    }
    found = {}
    for name, way in ways.items():
        times = []
        for _ in range(9):
            begin = time.perf_counter()
            data = way()
            times.append(1e3 * (time.perf_counter() - begin))
        found[name] = [_median(times), round(len(data) / 1e3, 1)]
    return found


# geometry


def _geometry() -> Report:
    """Disparity of the keypoints against two pinhole cameras, metres on the picture's plane: the worst share."""
    avatar = sample_avatar()
    rest = _rest()
    points, metres = rest.apply(avatar.neutral), unit_m(rest.scale)
    head = (points - head_centre(points)) * np.array([1.0, -1.0, -1.0]) * metres
    worst = 0.0
    for distance in (0.6, 1.0, ACROSS_M, 2.0):
        for yaw in np.radians((0.0, -10.0, 14.0)):
            where = distance * np.array([np.sin(yaw), 0.0, np.cos(yaw)])
            right = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
            stereo = eye_keypoints(points, viewer(where, right, IPD_M), metres)
            ours = (stereo.right - stereo.left)[:, 0] * metres
            true = _pinhole(head, where + IPD_M / 2 * right, right) - _pinhole(head, where - IPD_M / 2 * right, right)
            told = np.abs(true) > MIN_DEPTH_M
            worst = max(worst, float(np.abs(ours[told] / true[told] - 1).max()))
    return {"worst_share": round(worst, 5)}


def _pinhole(head: NDArray[np.float64], eye: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far to the right a camera at `eye` sees points, on the plane through the origin that `right` lies in."""
    normal = np.array([-right[2], 0.0, right[0]])
    rays = head - eye
    met = eye + rays * (-(eye @ normal) / (rays @ normal))[:, None]
    across: NDArray[np.float64] = met @ right
    return across


def _in_pictures(engine: Engine, prepared: Prepared, pictures: int = 24) -> Report:
    """Where the nose is in both eyes' drawn pictures, as MediaPipe finds it, against geometry's disparity."""
    from telepresence.face.landmarks import LandmarkTracker

    scene, found, true = _Scene.made(), [], []
    with LandmarkTracker(still=True) as track:
        for _ in range(pictures):
            stereo = scene.seen(0.0, NEAR_M)
            drawn = [np.ascontiguousarray(eye[..., :3]) for eye in pair(engine, prepared, stereo)]
            marks = [track(eye) for eye in drawn]
            if marks[0] is None or marks[1] is None:
                continue
            nose, half = list(NOSE), engine.size / 2
            found.append(float((marks[1] - marks[0])[nose, 0].mean()) / half)
            points = scene.points[scene.at % len(scene.points)]
            near = _nearness(points, scene.metres)[nose]
            true.append(float((-IPD_M * near / (NEAR_M - near)).mean() / scene.metres))
    pixels = engine.size / 2
    return {
        "distance_m": NEAR_M, "pictures": len(found), "drawn_px": round(float(np.median(found)) * pixels, 2),
        "geometry_px": round(float(np.median(true)) * pixels, 2),
        "share": round(float(np.median(found) / np.median(true)), 3),
    }  # fmt: skip


def _nearness(points: NDArray[np.float32], metres: float) -> NDArray[np.float64]:
    """(478,) metres towards a viewer straight in front, from the plane through the head's centre."""
    return -(points - head_centre(points))[:, 2].astype(np.float64) * metres


def _projection(config: HeadsetConfig, draw_ms: float) -> Report | None:
    """Two eyes at 512x512, 72 times a second: what that takes, from a single picture's multiply-adds."""
    from telepresence.runtime.engine import find_engine

    try:
        import onnx

        from telepresence.runtime.count import cost

        info = find_engine(config.engine)
        here, there = (cost(onnx.load(str(info.graph("render", size)))) for size in (config.size, 512))
    except (ImportError, EngineError):
        return None
    per_s = 2 * TARGET_HZ
    speed = 2 * here.macs / (draw_ms / 1e3)  # multiply-adds a second, of two pictures, as measured here
    return {
        "picture_gmacs": round(there.macs / 1e9, 3), "picture_mb": round(there.moved_bytes / 1e6, 1),
        "needed_gmacs_per_s": round(there.macs * per_s / 1e9, 1),
        "needed_gb_per_s": round(there.moved_bytes * per_s / 1e9, 2),
        "here_gmacs_per_s": round(speed / 1e9, 1), "times_this_machine": round(there.macs * per_s / speed, 1),
    }  # fmt: skip


# the stream


@contextmanager
def _own_data_folder() -> Iterator[None]:
    """The certificate of a benchmark is not the user's."""
    import os

    before = os.environ.get("XDG_DATA_HOME")
    with tempfile.TemporaryDirectory(prefix="telepresence-bench-") as folder:
        os.environ["XDG_DATA_HOME"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["XDG_DATA_HOME"]
            else:
                os.environ["XDG_DATA_HOME"] = before


def _connect(sink: HeadsetSink) -> Any:
    import websockets

    trust = ssl.create_default_context(cafile=str(sink.certificate))
    return websockets.connect(f"wss://{urlsplit(sink.link).netloc}/stream", ssl=trust, max_size=1 << 22)


def _hello(sink: HeadsetSink, mode: str) -> bytes:
    token = urlsplit(sink.link).fragment.removeprefix("token=")
    return protocol.json_frame(protocol.HELLO, version=protocol.VERSION, token=token, mode=mode)


async def _stream(config: HeadsetConfig, guests: int) -> Report:
    """A client whose head jumps: pictures a second, and how long until one is drawn for the new place."""
    times: dict[int, list[float]] = {}
    steps: list[float] = []
    sizes: list[int] = []
    head = _Head()
    async with (
        show(engine=config.engine, size=config.size, runtime=config.runtime, guests=guests) as sink,
        _connect(sink) as socket,
    ):
        await socket.send(_hello(sink, "pictures"))
        moving = asyncio.ensure_future(_move(socket, head))
        end = time.monotonic() + config.seconds + 2
        async for message in socket:
            now = time.monotonic()
            if message[4] == protocol.PICTURE and now > end - config.seconds:
                times.setdefault(message[5], []).append(now)
                sizes.append(len(message))
                if message[5] == 0:
                    steps += head.seen(struct.unpack_from(">Q", message, 25)[0])
            if now > end:
                break
        moving.cancel()
        rtt_ms = 1e3 * await (await socket.ping())
    rates = sorted((len(seen) - 1) / (seen[-1] - seen[0]) for seen in times.values() if len(seen) > 2)
    return {
        "guests": guests, "pairs_per_s": [round(rate, 1) for rate in rates], "all_per_s": round(sum(rates), 1),
        "kilobytes": round(float(np.median(sizes)) / 1e3, 1),
        "mbit_per_s": round(8e-6 * float(np.median(sizes)) * sum(rates), 1), "rtt_ms": round(rtt_ms, 1),
        "step_ms_p50": _percentile(steps, 50), "step_ms_p95": _percentile(steps, 95), "steps": len(steps),
    }  # fmt: skip


class _Head:
    """Jumps from side to side, and remembers when."""

    def __init__(self) -> None:
        self._jumped_us = 0
        self._answered = True

    def pose(self, now: int, jump: bool) -> None:
        """A pose goes out; a jump is one that is to be answered."""
        if jump:
            self._jumped_us, self._answered = now, False

    def seen(self, pose_us: int) -> list[float]:
        """A picture for a pose: milliseconds since the jump, if it is the first after one."""
        if self._answered or pose_us < self._jumped_us:
            return []
        self._answered = True
        return [(now_us() - self._jumped_us) / 1e3]


async def _move(socket: Any, head: _Head) -> None:
    side, due = 1, time.monotonic()
    while True:
        now, at = time.monotonic(), now_us()
        jump = now >= due
        if jump:
            side, due = -side, now + STEP_S * (1 + 0.37 * math.sin(now))  # in no step with the pictures
        head.pose(at, jump)
        pose = struct.pack(">Q3f4ff", at, side * STEP_M / 2, 1.2, 0, 0, 0, 0, 1, IPD_M)
        await socket.send(protocol.frame(protocol.POSE, pose))
        await asyncio.sleep(POSE_S)


async def _motion(config: HeadsetConfig) -> Report:
    times, size = [], 0
    async with show(engine="prior") as sink, _connect(sink) as socket:
        await socket.send(_hello(sink, "motion"))
        end = time.monotonic() + min(5.0, config.seconds)
        async for message in socket:
            if message[4] == protocol.MOTION:
                times.append(time.monotonic())
                size = len(message)
            if time.monotonic() > end:
                break
    rate = (len(times) - 1) / (times[-1] - times[0])
    return {"per_s": round(rate, 1), "bytes": size, "mbit_per_s": round(8e-6 * size * rate, 2)}


def _median(values: list[float]) -> float:
    return round(float(np.median(values)), 2)


def _percentile(values: list[float], share: float) -> float | None:
    return round(float(np.percentile(values, share)), 1) if values else None


def write(report: Report, path: Path) -> None:
    """Keep the figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")
