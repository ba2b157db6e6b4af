"""The small net that restores pictures, with deconvolutions and without."""

import pytest
import torch

from xferlib.metrics.restoration import checkerboard
from xferlib.nets.restorer import Restorer


@pytest.mark.parametrize("even", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (5, 8), (25, 25), (12, 7)])
def test_any_size_is_kept_or_doubled(size, even):
    image = torch.rand(2, 1, *size)
    assert Restorer(1, 4, enlarge=False, even=even)(image).shape == (2, 1, *size)
    assert Restorer(1, 4, even=even)(image).shape == (2, 1, 2 * size[0], 2 * size[1])


def test_it_starts_near_the_interpolated_picture():
    torch.manual_seed(0)
    image = torch.rand(2, 3, 9, 10)
    plain = torch.nn.functional.interpolate(image, scale_factor=2, mode="bilinear")
    assert 0 < (Restorer()(image) - plain).abs().mean() < 0.12  # a flat grey: 0.16
    assert 0 < (Restorer(enlarge=False)(image) - image).abs().mean() < 0.15  # a flat grey: 0.25


def test_only_deconvolutions_leave_a_checkerboard_on_a_flat_picture():
    flat, middle = torch.full((1, 3, 24, 24), 0.5), slice(16, -16)
    energy = []
    for even in (False, True):
        torch.manual_seed(0)
        found = Restorer(even=even)(flat).detach()
        energy.append(max(checkerboard(found, p)[..., middle, middle].mean().item() for p in (2, 4)))
    assert energy[0] > 1e-7 and energy[1] < 1e-3 * energy[0]


def test_every_weight_learns():
    for even in (False, True):
        net = Restorer(2, 3, even=even)
        net(torch.rand(1, 2, 8, 8)).square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match=r"\(1, 1, 4, 4\); this net takes \(B, 3, H, W\)"):
        Restorer()(torch.rand(1, 1, 4, 4))
    with pytest.raises(ValueError, match="0 channels"):
        Restorer(0)
