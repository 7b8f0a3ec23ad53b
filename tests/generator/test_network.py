from __future__ import annotations

import pytest
import torch
from torch import Tensor

from telepresence.generator.network import (
    COMMON,
    DETAILS,
    FEATURES,
    FLOW_LIMIT,
    MODULATION,
    PER_REFERENCE,
    TOLD_SIGNATURE,
    WIDTHS,
    Encoder,
    Finish,
    Residual,
    SmallFinish,
    Trunk,
)

MOST_WEIGHTS = 3_000_000  # half of 12 MB in float16


def random(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(len(shape)))


def trunk_inputs(pictures: int = 2, used: int = 2) -> tuple[Tensor, ...]:
    prior = torch.softmax(random(pictures, used, 64, 64) * 3, 1)
    looked = torch.rand(pictures, used, PER_REFERENCE, 64, 64, generator=torch.Generator().manual_seed(7))
    common = random(pictures, COMMON, 64, 64)
    return looked, common, prior, random(pictures, MODULATION), random(pictures, 2 * TOLD_SIGNATURE)


@torch.no_grad()
def test_an_encoder_gives_two_maps_and_a_vector() -> None:
    torch.manual_seed(0)
    features, details, modulation = Encoder()(random(2, 4, 256, 256), random(2, COMMON, 64, 64))
    assert features.shape == (2, FEATURES, 64, 64)
    assert details.shape == (2, DETAILS, 128, 128)
    assert modulation.shape == (2, MODULATION)
    assert features.std() > 0.1
    assert modulation.abs().max() == 0  # nobody is special before training


@torch.no_grad()
@pytest.mark.parametrize("used", [2, 4])
def test_an_untrained_trunk_leaves_everything_to_the_prior(used: int) -> None:
    torch.manual_seed(0)
    inputs = trunk_inputs(2, used)
    said = Trunk()(*inputs)
    assert said.hidden.shape == (2, WIDTHS[0], 64, 64)
    assert said.flow.shape == (2, 2, 64, 64)
    assert said.flow.abs().max() == 0
    assert torch.allclose(said.shares, inputs[2], atol=1e-3)
    assert torch.allclose(said.shares.sum(1), torch.ones(2, 64, 64), atol=1e-6)


@torch.no_grad()
def test_a_correction_of_the_flow_is_limited() -> None:
    torch.manual_seed(0)
    trunk = Trunk()
    trunk.flow.weight.normal_(std=100)  # type: ignore[operator, union-attr]
    flow = trunk(*trunk_inputs()).flow
    assert 0.9 * FLOW_LIMIT < flow.abs().max() <= FLOW_LIMIT


@torch.no_grad()
def test_a_picture_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(0)
    trunk, inputs = Trunk(), trunk_inputs(3)
    together, alone = trunk(*inputs), trunk(*(part[1:2] for part in inputs))
    assert torch.allclose(together.hidden[1:2], alone.hidden, atol=1e-4)


@torch.no_grad()
def test_order_of_the_references_does_not_matter() -> None:
    torch.manual_seed(0)
    trunk = Trunk()
    torch.nn.init.normal_(trunk.believe[2].weight)  # type: ignore[arg-type]
    looked, common, prior, modulation, signatures = trunk_inputs()
    said = trunk(looked, common, prior, modulation, signatures)
    turned = trunk(looked.flip(1), common, prior.flip(1), modulation, signatures)
    assert torch.allclose(said.hidden, turned.hidden, atol=1e-4)
    assert torch.allclose(said.shares, turned.shares.flip(1), atol=1e-5)
    assert (said.shares - prior).abs().max() > 0.05


@torch.no_grad()
def test_a_residual_is_scaled_and_shifted_per_channel() -> None:
    torch.manual_seed(0)
    block, x = Residual(4), random(1, 4, 8, 8)
    plain = block(x)
    assert torch.allclose(block(x, torch.zeros(1, 8)), plain)
    none = torch.cat([-torch.ones(1, 4), torch.tensor([[0.0, 1.0, 2.0, 3.0]])], 1)  # scale 1 - 1, then shift
    assert torch.allclose(block(x, none), x + torch.arange(4.0)[None, :, None, None], atol=1e-6)
    assert not torch.allclose(plain, x)


@torch.no_grad()
def test_an_untrained_finish_adds_nothing() -> None:
    added = Finish()(random(1, WIDTHS[0], 64, 64), random(1, 4, 256, 256), random(1, DETAILS, 128, 128))
    assert added.shape == (1, 4, 256, 256)
    assert added.abs().max() == 0


def test_weights_fit_the_budget() -> None:
    assert sum(w.numel() for part in (Encoder(), Trunk(), Finish()) for w in part.parameters()) < MOST_WEIGHTS


def test_the_finish_for_small_pictures_is_that_of_doubled_ones_shrunk() -> None:
    torch.manual_seed(0)
    whole = Finish()
    torch.nn.init.normal_(whole.out.weight)
    torch.nn.init.normal_(whole.enter.bias)  # type: ignore[arg-type]
    torch.nn.init.normal_(whole.out.bias)  # type: ignore[arg-type]
    hidden, blend = torch.randn(1, WIDTHS[0], 64, 64), torch.rand(1, 4, 128, 128)
    details = torch.randn(1, DETAILS, 128, 128)
    doubled = blend.repeat_interleave(2, 2).repeat_interleave(2, 3)
    with torch.no_grad():
        small = SmallFinish(whole)(hidden, blend, details)
        wanted = torch.nn.functional.avg_pool2d(whole(hidden, doubled, details), 2)
    torch.testing.assert_close(small, wanted, rtol=1e-4, atol=1e-4)
