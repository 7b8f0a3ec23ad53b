"""The engines that are shipped: whole, the same in every runtime, and true to their golden vectors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from telepresence.avatar.samples import sample_avatar, sample_motion
from telepresence.face.motion import keypoints
from telepresence.runtime import golden
from telepresence.runtime.contract import Runtime
from telepresence.runtime.engine import open_engine
from telepresence.runtime.graphs import Graphs
from telepresence.runtime.info import DEFAULT_ENGINE, EngineInfo, list_engines
from telepresence.runtime.onnxruntime import OnnxRuntime
from telepresence.runtime.openvino import OpenVino

ENGINES = list_engines()
each_engine = pytest.mark.parametrize("info", ENGINES, ids=lambda info: info.name)
both_runtimes = pytest.mark.parametrize("runtime", [OpenVino(), OnnxRuntime()], ids=lambda runtime: runtime.name)


def cases() -> Iterator[tuple[EngineInfo, int]]:
    for info in ENGINES:
        for size in info.sizes:
            yield info, size


each_size = pytest.mark.parametrize(
    ("info", "size"), list(cases()), ids=lambda value: getattr(value, "name", str(value))
)


def test_the_default_engine_is_shipped() -> None:
    names = [info.name for info in ENGINES]
    assert DEFAULT_ENGINE == "live"
    assert {DEFAULT_ENGINE, "prior"} <= set(names)  # the prior is what others are compared with


@each_engine
def test_is_whole(info: EngineInfo) -> None:
    assert info.folder.name == info.name
    assert 256 in info.sizes
    for size in info.sizes:
        for kind in ("encode", "render"):
            info.graph(kind, size)
        assert (info.folder / f"golden-{size}.npz").is_file()
    assert (info.folder / "MODEL_CARD.md").is_file()


@each_size
@both_runtimes
def test_golden_vectors(info: EngineInfo, size: int, runtime: Runtime) -> None:
    graphs = Graphs(info, size, runtime, 1)
    difference = golden.check(graphs, info.folder / f"golden-{size}.npz")
    graphs.close()
    assert difference.fits, difference


@each_engine
def test_runtimes_agree_on_the_sample(info: EngineInfo) -> None:
    avatar = sample_avatar()
    motions = [packet.motion for packet in sample_motion()[::60]][:6]
    pictures = []
    for name in ("openvino", "onnxruntime"):
        with open_engine(info.name, runtime=name, threads=1) as engine:
            prepared = engine.prepare(avatar)
            drawn = [engine.render(prepared, keypoints(motion, avatar.neutral)).copy() for motion in motions]
            pictures.append(np.stack(drawn))
    difference = golden.compare(pictures[0], pictures[1])
    assert difference.fits, difference
    assert np.abs(np.diff(pictures[0].astype(int), axis=0)).mean() > 0.1  # they show a person who moves


@each_size
def test_8_bits_show_the_same_person(info: EngineInfo, size: int) -> None:
    runtime = OpenVino(int8=True)
    why_not = runtime.available() or (None if info.has_int8(size) else "this engine has none")
    if why_not is not None:
        pytest.skip(why_not)
    avatar = sample_avatar()
    moved = [keypoints(packet.motion, avatar.neutral) for packet in sample_motion()[::80]][:5]
    pictures = []
    for name in ("openvino", "openvino-int8"):
        with open_engine(info.name, size, runtime=name, threads=1) as engine:
            assert engine.runtime_name == name, engine.warnings
            prepared = engine.prepare(avatar)
            pictures.append(np.stack([engine.render(prepared, points).copy() for points in moved]))
    difference = golden.compare(pictures[1], pictures[0])
    assert difference.psnr >= 45
    assert difference.mean <= 0.6


def test_the_default_engine_has_8_bits_in_all_sizes() -> None:
    (info,) = [info for info in ENGINES if info.name == DEFAULT_ENGINE]
    assert all(info.has_int8(size) for size in info.sizes)
