from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from telepresence.errors import InputError
from telepresence.generator import losses


def picture(seed: int = 0, batch: int = 1, side: int = 64) -> Tensor:
    """Smooth, with some detail, 0 to 1."""
    made = torch.rand(batch, 3, side // 4, side // 4, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(made, size=(side, side), mode="bicubic").clamp(0, 1)


EVEN = torch.ones(1, 1, 64, 64)
COMPARING = [losses.pyramid_l1, losses.gradient_l1, losses.dissimilarity, losses.energy]


@pytest.mark.parametrize("loss", COMPARING)
def test_a_loss_is_nothing_for_the_same_and_grows_with_the_fault(loss: object) -> None:
    assert callable(loss)
    real = picture()
    other = picture(1)
    found = [float(loss(real + share * (other - real), real, EVEN)) for share in (0.0, 0.2, 0.6)]
    assert found[0] == pytest.approx(0, abs=1e-6)
    assert 0 < found[1] < found[2]


@pytest.mark.parametrize("loss", COMPARING)
def test_an_error_counts_where_the_weight_is(loss: object) -> None:
    assert callable(loss)
    real = picture()
    left, right = EVEN.clone(), EVEN.clone()
    left[..., 32:], right[..., :32] = 0, 0
    shown = real.clone()
    shown[..., :16] = picture(3)[..., :16]
    assert float(loss(shown, real, left)) > 0.01
    assert float(loss(shown, real, right)) == pytest.approx(0, abs=1e-5)


def test_weighted_is_a_mean() -> None:
    error = torch.tensor([[[[1.0, 3.0]], [[5.0, 7.0]]]])  # two channels, two pixels
    assert float(losses.weighted(error, torch.tensor([[[[1.0, 3.0]]]]))) == pytest.approx((1 + 9 + 5 + 21) / 8)


def test_energy_forgives_a_shift_that_pixels_do_not_and_no_blur() -> None:
    real = picture(side=64)
    shifted, blurred = real.roll(2, -1), nn.functional.avg_pool2d(real, 5, 1, 2)
    assert losses.pyramid_l1(blurred, real, EVEN) < losses.pyramid_l1(shifted, real, EVEN)
    assert losses.energy(shifted, real, EVEN) < 0.5 * losses.energy(blurred, real, EVEN)


def test_ssim_is_that_of_wang_et_al() -> None:
    one, other = (torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(i)).double() for i in (1, 2))
    found = losses.ssim_map(one, other)
    assert found.shape == (1, 1, 14, 14)
    x, y = (np.asarray(t[0, 0, 3:10, 5:12]) for t in (one, other))
    cross = ((x - x.mean()) * (y - y.mean())).mean()
    wanted = ((2 * x.mean() * y.mean() + 1e-4) * (2 * cross + 9e-4)) / (
        (x.mean() ** 2 + y.mean() ** 2 + 1e-4) * (x.var() + y.var() + 9e-4)
    )
    assert float(found[0, 0, 3, 5]) == pytest.approx(wanted, rel=1e-9)
    assert torch.equal(losses.ssim_map(one, other, 2), found[..., ::2, ::2])


def test_roughness_is_of_neighbours_alone() -> None:
    flow = torch.zeros(1, 2, 8, 8) + 0.5
    assert float(losses.roughness(flow)) == 0
    flow[0, 0, 4, 4] += 0.1
    assert float(losses.roughness(flow)) > 0


def test_flicker_is_a_change_that_the_real_frames_do_not_make() -> None:
    weight = torch.ones(2, 1, 64, 64)
    real = torch.cat([picture(1), picture(2)])
    offset = real + 0.1 * picture(3)  # the same fault in both frames
    assert float(losses.flicker(offset, real, weight)) == pytest.approx(0, abs=1e-6)
    trembling = real + torch.tensor([0.05, -0.05])[:, None, None, None]
    assert float(losses.flicker(trembling, real, weight)) == pytest.approx(0.1, rel=1e-5)
    weight[:, :, 32:] = 0
    lower = real.clone()
    lower[1, :, 40:] += 0.3
    assert float(losses.flicker(lower, real, weight)) == pytest.approx(0, abs=1e-6)


def test_judges_losses_have_the_right_signs() -> None:
    sure, unsure = torch.full((1, 1, 4, 4), 2.0), torch.zeros(1, 1, 4, 4)
    assert float(losses.judge_loss(sure, -sure)) == 0
    assert float(losses.judge_loss(unsure, unsure)) == 2
    assert float(losses.judge_loss(-sure, sure)) == 6
    one, other = [torch.ones(1, 2, 4, 4)], [torch.zeros(1, 2, 4, 4, requires_grad=True)]
    losses.matching(one, other).backward()  # type: ignore[no-untyped-call]
    assert other[0].grad is not None
    assert (other[0].grad < 0).all()  # towards the real one


def test_the_discriminator_is_told_what_part_it_sees() -> None:
    torch.manual_seed(0)
    judge = losses.Discriminator(7).eval()
    shown, told = picture(side=256), torch.zeros(1, 7, 64, 64)
    with torch.no_grad():
        scores, features = judge(shown, told)
        elsewhere, _ = judge(shown, told + 1)
    assert scores.shape == (1, 1, 16, 16)
    assert [f.shape[1:] for f in features] == [(32, 64, 64), (64, 32, 32), (128, 16, 16), (128, 16, 16)]
    assert not torch.allclose(scores, elsewhere)


class Maps(nn.Module):
    def forward(self, picture: Tensor) -> list[Tensor]:
        return [picture * 2, nn.functional.avg_pool2d(picture, 4)]


class Number(nn.Module):
    def forward(self, picture: Tensor) -> Tensor:
        return picture.mean()


def scripted(module: nn.Module, path: Path) -> Path:
    torch.jit.save(torch.jit.trace(module, torch.zeros(1, 3, 64, 64), check_trace=False), str(path))  # type: ignore[no-untyped-call]
    return path


@pytest.mark.filterwarnings("ignore")
def test_perceptual_compares_by_feature_maps_of_any_scale(tmp_path: Path) -> None:
    compare = losses.Perceptual(scripted(Maps(), tmp_path / "maps.pt"), torch.device("cpu"))
    real = picture()
    shown = picture(1).requires_grad_()
    assert float(compare(real, real)) == 0
    found = compare(shown, real)
    plain = (picture(1) - real).abs().mean() / real.abs().mean()
    small = nn.functional.avg_pool2d(picture(1) - real, 4).abs().mean() / real.mean()
    assert float(found) == pytest.approx(float(plain + small) / 2, rel=1e-3)
    found.backward()
    assert shown.grad is not None
    assert shown.grad.abs().sum() > 0


@pytest.mark.filterwarnings("ignore")
def test_what_is_no_perceptual_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("no")
    scripted(Number(), tmp_path / "number.pt")
    for name, why in (("none.pt", "no such file"), ("text.pt", "TorchScript"), ("number.pt", "returns something else")):
        with pytest.raises(InputError, match=why):
            losses.Perceptual(tmp_path / name, torch.device("cpu"))
