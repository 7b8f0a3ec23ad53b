"""The graphs: what runtimes draw is what torch draws, and free slots of an avatar count for nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from telepresence.avatar.samples import sample_avatar
from telepresence.face.basis import default_basis
from telepresence.face.motion import to_square
from telepresence.generator.fewshot.engine import REFERENCES, FewShotEncode, FewShotRender, composed, merged, sizes
from telepresence.generator.fewshot.network import FewShot
from telepresence.render import render_files
from telepresence.runtime import golden
from telepresence.runtime.contract import Runtime
from telepresence.runtime.engine import open_engine
from telepresence.runtime.graphs import Graphs
from telepresence.runtime.info import read_info
from telepresence.runtime.onnxruntime import OnnxRuntime
from telepresence.runtime.openvino import OpenVino
from tests.clips import read_pictures
from tests.generator.fewshot.tiny import TINY, network

both_runtimes = pytest.mark.parametrize("runtime", [OpenVino(), OnnxRuntime()], ids=lambda runtime: runtime.name)


def points() -> torch.Tensor:
    return 0.45 * torch.from_numpy(default_basis().mean)[None]


def noise(size: int, channels: int) -> torch.Tensor:
    return torch.randint(256, (1, size, size, channels), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def test_free_slots_count_for_nothing() -> None:
    a, b, c = torch.randn(3, 1, 7, generator=torch.Generator().manual_seed(0)).unbind()
    filled = torch.cat([a, b, c, *[a] * (REFERENCES - 3)])
    assert torch.allclose(merged(filled), (a + b + c) / 3, atol=1e-6)
    assert torch.equal(merged(a.repeat(REFERENCES, 1)), a)  # what fine-tuning leaves comes through untouched


def test_the_mean_of_modulations_is_the_projection_of_the_mean_embedding() -> None:
    own = network()
    embeddings = torch.rand(3, TINY.embedding, generator=torch.Generator().manual_seed(0))
    one = own.generator.project(embeddings.mean(0, keepdim=True))
    assert torch.allclose(merged(own.generator.project(embeddings)), one, atol=1e-5)


def test_a_network_with_a_matte_sees_the_person_alone() -> None:
    encode = FewShotEncode(network(), TINY.size)
    picture, matte = noise(TINY.size, 3), torch.zeros(1, TINY.size, TINY.size, 1, dtype=torch.uint8)
    matte[:, 8:24, 8:24] = 255
    other = picture.clone()
    other[:, :8] = 255 - other[:, :8]
    assert torch.equal(encode(picture, matte, points())[0], encode(other, matte, points())[0])
    other[:, 10:20] = 255 - other[:, 10:20]
    assert not torch.allclose(encode(picture, matte, points())[0], encode(other, matte, points())[0])


def test_a_published_network_draws_the_whole_picture() -> None:
    config = replace(TINY, matte=False)
    own = network(config)
    modulation = torch.zeros(REFERENCES, own.generator.modulation)
    drawn = [FewShotRender(own, 32)(points(), modulation, noise(32, 3) // part) for part in (1, 2)]
    assert torch.equal(*drawn)
    assert (drawn[0][..., 3] == 255).all()


def test_composing_is_over_the_plate() -> None:
    colour, plate = torch.full((1, 3, 2, 2), 1.0), torch.full((1, 3, 2, 2), -1.0)
    out = composed(torch.cat([colour, torch.full((1, 1, 2, 2), 0.25)], 1), plate)
    assert torch.allclose(out, torch.full((1, 4, 2, 2), 0.25))


def test_larger_pictures_are_the_same_enlarged() -> None:
    own = network()
    modulation = own.generator.project(torch.rand(REFERENCES, TINY.embedding))
    small, large = (
        FewShotRender(own, size)(points(), modulation, torch.full((1, size, size, 3), 90, dtype=torch.uint8))
        for size in (32, 64)
    )
    halved = torch.nn.functional.avg_pool2d(large.float().permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
    inner = (halved - small.float())[:, 2:-2, 2:-2].abs()
    assert small.float().std() > 5
    assert inner.mean() < 0.25 * small.float().std()


def test_sizes() -> None:
    assert sizes(128) == (128, 256)
    assert sizes(256) == (256,)


@both_runtimes
@pytest.mark.parametrize("size", sizes(TINY.size))
def test_runtimes_draw_what_torch_draws(exported: Path, runtime: Runtime, size: int) -> None:
    graphs = Graphs(read_info(exported), size, runtime, 1)
    difference = golden.check(graphs, exported / f"golden-{size}.npz")
    graphs.close()
    assert difference.fits, difference
    assert np.load(exported / f"golden-{size}.npz")["pictures"].std() > 5


def test_the_graphs_are_small_and_hold_float16(exported: Path) -> None:
    own: FewShot = network()
    weights = sum(value.numel() for value in own.parameters())
    graphs = [exported / f"{kind}-32.onnx" for kind in ("encode", "render")]
    assert sum(path.stat().st_size for path in graphs) < 2 * weights + 250_000


def test_an_avatar_is_rendered_by_the_offline_path(exported: Path, tmp_path: Path) -> None:
    """As a call does: motion of the sample track, keypoints, this engine, a video."""
    out = tmp_path / "out.mp4"
    report = render_files(None, None, out, engine=str(exported), size=256, runtime="onnxruntime")
    pictures = read_pictures(out)
    assert pictures[0].shape == (256, 256, 3)
    assert len(pictures) == report.frames > 100
    assert np.abs(pictures[0].astype(int) - pictures[len(pictures) // 2]).mean() > 0.1


def test_references_move_the_picture(exported: Path) -> None:
    avatar = sample_avatar()
    first = avatar.references[0]
    dark = replace(first, picture=first.picture // 4)
    at = to_square(first.landmarks, first.side, first.side)
    with open_engine(exported, 256, runtime="onnxruntime", threads=1) as engine:
        one = engine.render(engine.prepare(replace(avatar, references=(first,))), at).astype(int)
        other = engine.render(engine.prepare(replace(avatar, references=(first, dark))), at)
        assert np.abs(one - other).mean() > 0.05
