"""SRCNN: the paper's weights, layer by layer by hand, and what it is before training."""

import pytest
import torch
import torch.nn.functional as F

from xferlib.nets.srcnn import SRCNN
from xferlib.ops.degrade import upscale


def weights(net) -> int:
    return sum(p.numel() for p in net.parameters() if p.ndim > 1)


def test_the_papers_nets_by_their_weights():
    assert weights(SRCNN()) == 8032  # 9-1-5
    assert weights(SRCNN(kernels=(9, 3, 5))) == 24416
    assert weights(SRCNN(kernels=(9, 5, 5))) == 57184
    assert SRCNN().factor == 3


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_it_starts_as_the_bicubic_picture(factor):
    images = torch.rand(2, 3, 7, 10)
    torch.testing.assert_close(SRCNN(factor)(images), upscale(images, factor), atol=2e-6, rtol=0)


def test_luma_passes_three_convolutions_and_two_relus_at_full_size():
    torch.manual_seed(0)
    net, luma = SRCNN(2), torch.rand(1, 1, 6, 5)
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.1)
    x = F.interpolate(luma, (12, 10), mode="bicubic", antialias=True)
    for i, layer in enumerate((net.patches, net.mapping, net.reconstruction)):
        reach = layer.weight.shape[-1] // 2
        x = F.conv2d(F.pad(x, [reach] * 4, mode="replicate"), layer.weight, layer.bias)
        x = x.clamp_min(0) if i < 2 else x
    torch.testing.assert_close(net.enlarge_luma(luma), x)


def test_senseless_kernels_are_refused():
    for kernels in ((9, 1), (9, 2, 5), (9, 1, -1)):
        with pytest.raises(ValueError, match=r"three odd kernels"):
            SRCNN(3, kernels=kernels)
    with pytest.raises(ValueError, match=r"widths=\(64,\)"):
        SRCNN(3, widths=(64,))
