from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from telepresence.generator.batches import JITTER, Preparer, draw_batch
from telepresence.generator.data.samples import Sampler
from telepresence.generator.drawing import Drawing
from telepresence.generator.export import export_graphs
from telepresence.generator.live import USED, LiveEncode, LiveRender, Network, compose
from telepresence.generator.placing import RASTER
from telepresence.generator.sampling import bilinear
from tests.generator.data.made import face_points, made_clip

SIZE = 256
REFERENCES = 4


@pytest.fixture(scope="module")
def network() -> Network:
    """Weights that say something everywhere."""
    torch.manual_seed(3)
    made = Network().eval()
    with torch.no_grad():
        for weights in made.parameters():
            if weights.abs().max() == 0:
                weights.normal_(std=0.02)
    return made


def inputs() -> list[tuple[Tensor, Tensor, Tensor]]:
    """Pictures, mattes and keypoints of a few references."""
    rng = np.random.default_rng(0)
    out = []
    for i in range(REFERENCES):
        rough = torch.from_numpy(rng.random((1, 3, 16, 16), np.float32))
        picture = torch.nn.functional.interpolate(rough, size=(SIZE, SIZE), mode="bicubic").clamp(0, 1) * 255
        matte = torch.zeros(1, SIZE, SIZE, 1, dtype=torch.uint8)
        matte[:, 40:, 30:-30] = 255
        points = turned(0.4 + 0.01 * i, 0.02 * i, angle=0.2 * i)
        out.append((picture.permute(0, 2, 3, 1).to(torch.uint8).contiguous(), matte, points))
    return out


def turned(scale: float, x: float, y: float = 0.0, *, angle: float) -> Tensor:
    """The mean face's keypoints [1, 478, 3], turned so that no two references are equally near."""
    cos, sin = np.cos(angle), np.sin(angle)
    across = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]], np.float32)
    return torch.from_numpy(face_points(scale) @ across.T + np.array([x, y, 0], np.float32))[None]


def plate() -> Tensor:
    return torch.full((1, SIZE, SIZE, 3), 90, dtype=torch.uint8)


def drawn(network: Network, keypoints: Tensor, used: int = 4) -> np.ndarray:
    encode, render = LiveEncode(network, SIZE), LiveRender(network, SIZE, used)
    with torch.no_grad():
        features = [torch.cat(part) for part in zip(*[encode(*one) for one in inputs()], strict=True)]
        picture: np.ndarray = render(keypoints, *features, plate())[0].numpy()
    return picture


MOVED = turned(0.41, 0.03, 0.02, angle=0.25)


def test_the_graphs_draw_what_torch_draws(network: Network, tmp_path: Path) -> None:
    encode, render = LiveEncode(network, SIZE).eval(), LiveRender(network, SIZE).eval()
    export_graphs(tmp_path, SIZE, REFERENCES, encode, render)
    first = onnxruntime.InferenceSession(str(tmp_path / "encode-256.onnx"), providers=["CPUExecutionProvider"])
    names = [i.name for i in first.get_inputs()]
    encoded = [first.run(None, dict(zip(names, map(np.asarray, one), strict=True))) for one in inputs()]
    feeds = dict(zip(LiveEncode.outputs, map(np.concatenate, zip(*encoded, strict=True)), strict=True))
    then = onnxruntime.InferenceSession(str(tmp_path / "render-256.onnx"), providers=["CPUExecutionProvider"])
    wanted = {i.name for i in then.get_inputs()}
    feeds |= {"keypoints": MOVED.numpy(), "background": plate().numpy()}
    shown = then.run(None, {name: value for name, value in feeds.items() if name in wanted})[0][0]
    by_torch = drawn(network, MOVED, USED)
    gap = np.abs(shown.astype(int) - by_torch)
    assert by_torch.std() > 20  # there is something to see
    assert gap.mean() < 0.2  # the graphs keep weights in float16
    assert (gap > 4).mean() < 2e-3


def test_an_untrained_network_shows_a_reference_as_it_is() -> None:
    picture, matte, points = inputs()[0]
    shown = drawn(Network().eval(), points)
    alpha = matte[0].numpy() / 255
    real = picture[0].numpy() * alpha + plate()[0].numpy() * (1 - alpha)
    inside = np.abs(shown[..., :3] - real)[8:-8, 8:-8]
    assert np.median(inside) < 3
    assert np.abs(shown[..., 3] - matte[0, ..., 0].numpy().astype(int)).mean() < 3


def test_two_references_or_four_are_nearly_the_same_picture_when_one_is_it(network: Network) -> None:
    points = inputs()[0][2]
    two, four = (drawn(network, points, used).astype(int) for used in (2, 4))
    far = drawn(network, torch.from_numpy(face_points(0.3, -0.2, 0.1))[None]).astype(int)
    assert np.abs(two - four).mean() < 0.3 * np.abs(two - far).mean()


def test_training_draws_what_the_render_graph_draws(network: Network) -> None:
    clip = made_clip(12, side=SIZE)
    sample = Sampler([clip], references=1, seed=3).draw(lambda references, target: [0, 0])
    batch = draw_batch(Sampler([clip], references=1, seed=3), Preparer(3), 1)
    assert np.array_equal(batch.target[0].permute(1, 2, 0), sample.target)
    noise = np.random.default_rng(3).normal(0, JITTER, sample.target_points.shape).astype(np.float32)
    encode, render = LiveEncode(network, SIZE), LiveRender(network, SIZE, used=2)
    reference = (sample.references[:1], sample.reference_mattes[:1, ..., None], sample.reference_points[:1])
    with torch.no_grad():
        by_batch = Drawing(network)(batch).picture[0].clamp(0, 1) * 255
        features = encode(*(torch.from_numpy(np.ascontiguousarray(part)) for part in reference))
        now = torch.from_numpy(sample.target_points + noise)[None]
        by_graph = render(now, *features, torch.from_numpy(sample.plate)[None])[0].permute(2, 0, 1).float()
    assert by_graph.std() > 20
    assert (by_batch - by_graph).abs().mean() < 0.6  # rounded to whole levels, pixels kept as bytes


@torch.no_grad()
def test_a_matrix_enlarges_as_interpolation_does() -> None:
    small = torch.rand(1, 2, 64, 64)
    matrix = bilinear(SIZE, RASTER)
    wanted = torch.nn.functional.interpolate(small, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    assert torch.allclose(matrix @ small @ matrix.T, wanted, atol=1e-5)


def test_composing_keeps_the_plate_where_nobody_is() -> None:
    layer = torch.zeros(1, 4, 2, 2)
    layer[..., 0, :] = torch.tensor([0.2, 0.3, 0.4, 1.0])[None, :, None]
    scene = torch.full((1, 3, 2, 2), 0.7)
    shown = compose(layer, scene)
    assert torch.allclose(shown[0, :, 0, 0], torch.tensor([0.2, 0.3, 0.4, 1.0]))
    assert torch.allclose(shown[0, :, 1, 0], torch.tensor([0.7, 0.7, 0.7, 0.0]))
