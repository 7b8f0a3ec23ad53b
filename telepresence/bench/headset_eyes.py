"""What both eyes' pictures of an avatar cost: drawn one by one and together, packed, and at 512x512 on paper."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from telepresence.avatar.samples import sample_avatar
from telepresence.bench.headset_disparity import geometry, in_pictures
from telepresence.bench.headset_scene import HeadsetConfig, Report, Scene, median
from telepresence.errors import EngineError
from telepresence.face.stereo import Stereo
from telepresence.sinks.headset.packing import pack
from telepresence.sinks.headset.renderer import pair, pairs

if TYPE_CHECKING:
    from telepresence.runtime.engine import Engine, Prepared

TARGET_HZ: Final = 72.0
PAIRS_PER_S: Final = 15.0  # of two eyes at 256x256 on two cores


def eyes(config: HeadsetConfig) -> Report:
    """Of the engine: pairs, batches, codecs, disparity, and a GPU's work."""
    from telepresence.runtime.engine import open_engine

    with open_engine(config.engine, config.size, runtime=config.runtime) as engine:
        engine.warm_up()
        prepared = engine.prepare(sample_avatar())
        scene = Scene.made()
        stereos = [scene.seen(float(x)) for x in 0.2 * np.sin(np.arange(200))]
        report: Report = {"runtime": engine.runtime_name, "batches": engine.batches}
        report["keypoints_ms"] = median(scene.keypoint_ms)
        report["pair"] = _pairs(engine, prepared, stereos, config.seconds)
        report["two_in_one_call"] = _batched(engine, prepared, stereos, config.seconds / 2)
        report["codecs"] = _codecs(pair(engine, prepared, stereos[0]))
        report["disparity"] = {**geometry(), "in_pictures": in_pictures(engine, prepared)}
    report["projection"] = _projection(config, float(report["pair"]["draw_ms"]))
    return report


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
        "draw_ms": median(draw), "pack_ms": median(packing), "pair_ms": median(whole.tolist()),
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
    return {"one_call_ms": median(together[2:]), "two_calls_ms": median(alone[2:])}


def _codecs(both: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> dict[str, list[float]]:
    """Milliseconds and kilobytes of the packed pair by codec."""
    import cv2

    rgba = np.concatenate([cv2.cvtColor(eye, cv2.COLOR_RGBA2BGRA) for eye in both], axis=1)
    ways: dict[str, Callable[[], bytes]] = {
        "jpeg": lambda: pack(*both),
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
        found[name] = [median(times), round(len(data) / 1e3, 1)]
    return found


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
