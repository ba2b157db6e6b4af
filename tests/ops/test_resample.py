import pytest
import torch
import torch.nn.functional as F

from xferlib.ops.resample import bilinear_kernel


def test_kernels_by_hand():
    assert torch.equal(bilinear_kernel(1), torch.ones(1, 1))
    tent = torch.tensor([0.5, 1.0, 0.5])
    assert torch.equal(bilinear_kernel(3), torch.outer(tent, tent))
    tent = torch.tensor([0.25, 0.75, 0.75, 0.25])
    assert torch.equal(bilinear_kernel(4), torch.outer(tent, tent))


@pytest.mark.parametrize("factor", [2, 4, 8, 16, 32])
def test_deconvolution_with_it_is_interpolation_inside_the_border(factor):
    x = torch.randn(1, 1, 5, 6, generator=torch.Generator().manual_seed(0))
    kernel = bilinear_kernel(2 * factor)[None, None]
    enlarged = F.conv_transpose2d(x, kernel, stride=factor, padding=factor // 2)
    expected = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    inside = (..., slice(factor, -factor), slice(factor, -factor))
    assert torch.allclose(enlarged[inside], expected[inside], atol=1e-5)
    assert not torch.allclose(enlarged, expected, atol=1e-2)


@pytest.mark.parametrize("size", [0, -4])
def test_refuses_sizes_below_one(size):
    with pytest.raises(ValueError, match=str(size)):
        bilinear_kernel(size)
