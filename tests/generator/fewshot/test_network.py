from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from telepresence.generator.fewshot.config import PAPER, SMALL, FewShotConfig
from telepresence.generator.fewshot.network import Attention, Discriminator, FewShot, adaptive, of_person

TINY = FewShotConfig(
    size=64, width=0.125, embedder_width=0.125, judge_width=0.125, embedding=16, matte=True, normalised=False
)


def millions(module: torch.nn.Module) -> float:
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


def pictures(count: int, config: FewShotConfig, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, config.size, config.size, generator=generator) * 2 - 1


def test_full_width_has_the_published_sizes() -> None:
    """Section 4: 15 million in the embedder, 38 in the generator, 20 in the discriminator's convolutional part."""
    with torch.device("meta"):
        network, judge = FewShot(PAPER.network, spectral=False), Discriminator(PAPER.network, 1, spectral=False)
    assert millions(network.embedder) == pytest.approx(14.9, abs=0.1)
    assert millions(network.generator) == pytest.approx(38.1, abs=0.1)
    assert millions(judge.pyramid) == pytest.approx(19.6, abs=0.1)
    assert network.generator.modulation == 13_056
    assert network.generator.projection.in_features == 512


def test_the_small_one_fits_an_engine() -> None:
    with torch.device("meta"):
        network = FewShot(SMALL.network, spectral=False)
    assert millions(network) * 2 < 16  # float16, MB


@pytest.mark.parametrize("config", [TINY, replace(TINY, matte=False, fold=2), replace(TINY, normalised=True)])
def test_shapes_and_ranges(config: FewShotConfig) -> None:
    network, judge = FewShot(config), Discriminator(config, 3)
    embedding = network.embedder(pictures(2, config), pictures(2, config, 1))
    assert embedding.shape == (2, config.embedding)
    assert embedding.min() >= 0
    modulation = network.generator.project(embedding)
    assert modulation.shape == (2, network.generator.modulation)
    drawn = network.generator(pictures(2, config, 1), modulation)
    assert drawn.shape == (2, 4 if config.matte else 3, config.size, config.size)
    assert drawn[:, :3].abs().max() <= 1
    if config.matte:
        assert drawn[:, 3].min() >= 0
    scores, features = judge(drawn[:, :3], pictures(2, config, 1), torch.tensor([0, 2]))
    assert scores.shape == (2,)
    assert [feature.shape[-1] for feature in features] == [
        side for side in (32, 16, 8, 4) if side < config.size // config.fold
    ] + [4]


def test_every_size_can_be_built() -> None:
    for size in (32, 64, 128, 256, 512):
        for fold in (1, 2):
            config = replace(TINY, size=size, fold=fold)
            network = FewShot(config)
            with torch.no_grad():
                embedding = network.embedder(pictures(1, config), pictures(1, config))
                drawn = network.generator(pictures(1, config), network.generator.project(embedding))
            assert drawn.shape[-1] == size


def test_the_mean_over_references_may_be_taken_after_the_projection() -> None:
    network = FewShot(TINY).eval()
    embedding = network.embedder(pictures(3, TINY), pictures(3, TINY, 1))
    after = network.generator.project(embedding).mean(0)
    assert torch.allclose(after, network.generator.project(embedding.mean(0, keepdim=True))[0], atol=1e-5)


def test_whose_picture_it_is_comes_with_the_modulation_alone() -> None:
    network = FewShot(TINY).eval()
    raster = pictures(1, TINY, 1)
    one, other = torch.ones(1, network.generator.modulation), torch.full((1, network.generator.modulation), 0.5)
    assert not torch.allclose(network.generator(raster, one), network.generator(raster, other), atol=1e-3)
    both = network.generator(raster.repeat(2, 1, 1, 1), torch.cat([one, other]))
    assert torch.allclose(both[:1], network.generator(raster, one), atol=1e-5)


def test_at_first_scales_are_about_one_and_shifts_about_nothing() -> None:
    torch.manual_seed(0)
    network = FewShot(TINY)
    modulation = network.generator.project(network.embedder(pictures(2, TINY), pictures(2, TINY, 1)))[0]
    start = 0
    for scales, shifts in network.generator._pairs():
        assert (modulation[start : start + scales] - 1).abs().max() < 0.5
        assert modulation[start + scales : start + scales + shifts].abs().max() < 0.5
        start += scales + shifts
    assert start == len(modulation)


def test_attention_is_where_the_paper_has_it() -> None:
    """32x32 on the way down, 64x64 on the way up."""
    sides: dict[str, list[int]] = {}
    config = replace(PAPER.network, width=1 / 16, embedder_width=1 / 16, judge_width=1 / 16)
    network, judge = FewShot(config), Discriminator(config, 1)
    for name, module in (("embedder", network.embedder), ("generator", network.generator), ("judge", judge)):
        found = sides.setdefault(name, [])
        for part in module.modules():
            if isinstance(part, Attention):
                part.register_forward_hook(lambda _, given, __, found=found: found.append(given[0].shape[-1]))
    with torch.no_grad():
        embedding = network.embedder(pictures(1, config), pictures(1, config))
        drawn = network.generator(pictures(1, config), network.generator.project(embedding))
        judge(drawn, pictures(1, config), torch.tensor([0]))
    assert sides == {"embedder": [32], "generator": [32, 64], "judge": [32]}


def test_attention_says_nothing_until_it_has_learned_to() -> None:
    layer = Attention(16, lambda made, gain=1.0: made)  # type: ignore[arg-type]
    x = torch.rand(1, 16, 8, 8)
    assert torch.equal(layer(x), x)
    torch.nn.init.ones_(layer.share)
    assert not torch.allclose(layer(x), x)


def test_adaptive_norm_sets_mean_and_spread() -> None:
    x = torch.rand(2, 3, 8, 8) * 5 + 2
    modulation = torch.tensor([[2.0, 3, 4, 10, 20, 30]]).repeat(2, 1)
    found = adaptive(x, modulation)
    assert torch.allclose(found.mean((2, 3)), modulation[:, 3:], atol=1e-3)
    assert torch.allclose(found.std((2, 3), correction=0), modulation[:, :3], atol=1e-2)


def test_a_score_has_a_common_part_and_the_clips_own() -> None:
    """V^T (W_i + w0) + b."""
    judge = Discriminator(TINY, 2).eval()
    one, two = (judge(pictures(1, TINY), pictures(1, TINY, 1), torch.tensor([i]))[0] for i in (0, 1))
    vector, _ = judge.pyramid(pictures(1, TINY), pictures(1, TINY, 1))
    columns = judge.columns.weight.detach().clone()
    assert torch.allclose(one - two, vector @ (columns[0] - columns[1]), atol=1e-5)
    with torch.no_grad():
        judge.columns.weight.zero_()
        common, _ = judge(pictures(1, TINY), pictures(1, TINY, 1), torch.tensor([1]))
    assert torch.allclose(one, vector @ columns[0] + common, atol=1e-5)
    assert torch.allclose(common, judge.common(vector)[:, 0], atol=1e-5)


def test_spectral_norm_bounds_every_layer() -> None:
    network = FewShot(replace(TINY, normalised=True)).train()
    for _ in range(30):  # power iterations
        _ = [m.weight for m in network.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    for module in network.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            norm = torch.linalg.matrix_norm(module.weight.flatten(1).detach(), 2)
            assert float(norm) == pytest.approx(1, abs=0.05)


def test_a_person_is_seen_over_grey() -> None:
    picture, matte = pictures(1, TINY), torch.zeros(1, 1, TINY.size, TINY.size)
    matte[..., :8] = 1
    seen = of_person(picture, matte)
    assert torch.equal(seen[..., :8], picture[..., :8])
    assert seen[..., 8:].abs().max() == 0
