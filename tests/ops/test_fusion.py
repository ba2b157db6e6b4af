"""Exposure fusion: by hand, against the paper's formulas, against OpenCV, and its promises."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from xferlib.ops import fusion
from xferlib.ops.fusion import LUMA, blend, fuse_exposures, quality, weigh
from xferlib.ops.pyramid import collapse, depth, gaussian, laplacian


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def by_the_paper(image, contrast, saturation, exposedness):
    grey = np.tensordot(LUMA, image, 1)
    edges = np.abs(ndimage.laplace(grey, mode="mirror"))
    middle = np.exp(-((image - 0.5) ** 2) / (2 * 0.2**2)).prod(0)
    return edges**contrast * image.std(0) ** saturation * middle**exposedness


@pytest.mark.parametrize("exponents", [(1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 2, 1.5), (0, 0, 0)])
def test_quality_is_the_papers(exponents):
    image = noise(3, 7, 9)
    expected = by_the_paper(image.numpy(), *exponents)
    np.testing.assert_allclose(quality(image, *exponents)[0].numpy(), expected, rtol=1e-10, atol=1e-15)


def test_quality_by_hand():
    image = torch.full((3, 3, 3), 0.5, dtype=torch.float64)
    image[:, 1, 1] = torch.tensor([0.7, 0.5, 0.3])
    contrast = 4 * abs(0.2 * (LUMA[0] - LUMA[2]))
    assert quality(image)[0, 1, 1].item() == pytest.approx(contrast * math.sqrt(0.08 / 3) * math.exp(-1))
    assert quality(image, 0, 0, 1)[0, 0, 0].item() == 1
    assert quality(image, 0, 1, 0)[0, 0, 0].item() == 0


def test_flat_and_grey_pixels_have_exactly_no_quality():
    values = torch.linspace(0, 1, 256)
    flat = values.view(-1, 1, 1, 1).expand(-1, 3, 4, 4) * torch.tensor([0.9, 0.7, 0.8]).view(3, 1, 1)
    assert not quality(flat, 1, 0, 0).any()
    assert not quality(values.view(1, 16, 16).expand(3, -1, -1), 0, 1, 0).any()
    for width in (7, 9, 21, 33):  # where a row does not fill the processor's vectors
        assert not quality(flat[77, :, :1, :1].expand(-1, 5, width), 1, 0, 0).any()
    assert quality(values.view(1, 16, 16)).any(), "one channel goes without saturation"


def test_shares_sum_to_one_and_are_even_without_quality():
    shares = weigh(noise(4, 2, 3, 6, 5))
    assert shares.shape == (4, 2, 1, 6, 5)
    assert torch.allclose(shares.sum(0), torch.ones(2, 1, 6, 5).double())
    assert torch.allclose(weigh(torch.full((4, 3, 5, 5), 0.3)), torch.tensor(0.25))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 7), (16, 16), (33, 20)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_same_exposure_comes_back(size, channels):
    image = noise(channels, *size)
    assert torch.allclose(fuse_exposures([image] * 5), image, atol=1e-12)
    assert torch.allclose(fuse_exposures(image[None]), image, atol=1e-12)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("small", [0, 10**6])
def test_half_precision_is_computed_in_float32(kind, small, monkeypatch):
    monkeypatch.setattr(fusion, "_SMALL", small)
    stack = noise(3, 3, 20, 17).to(kind)
    assert torch.equal(fuse_exposures(stack), fuse_exposures(stack.float()).to(kind))
    assert torch.equal(fuse_exposures(stack[:1]), stack[0])
    assert blend(stack, weigh(stack).to(kind)).dtype == kind
    assert torch.allclose(weigh(torch.full((4, 3, 5, 5), 0.3, dtype=kind)), torch.tensor(0.25))


def test_flat_exposures_give_their_mean():
    stack = torch.tensor([0.1, 0.4, 0.7]).view(3, 1, 1, 1).expand(3, 3, 9, 6)
    assert torch.allclose(fuse_exposures(stack), torch.tensor(0.4))


def test_the_order_and_the_batch_do_not_matter():
    stack = noise(4, 2, 3, 12, 9)
    together = fuse_exposures(stack)
    assert torch.allclose(fuse_exposures(stack.flip(0)), together, atol=1e-12)
    assert torch.allclose(fuse_exposures([image[1] for image in stack]), together[1], atol=1e-12)


def test_turning_the_pictures_turns_the_result():
    stack = noise(3, 3, 17, 9)  # 2^n + 1: the grids of all levels are symmetric
    assert torch.allclose(fuse_exposures(stack.mT), fuse_exposures(stack).mT, atol=1e-12)


def test_blending_without_levels_averages_pixels():
    stack, weights = noise(3, 3, 8, 7), weigh(noise(3, 3, 8, 7, seed=1))
    assert torch.allclose(blend(stack, weights, 0), (stack * weights).sum(0))


def test_blending_is_linear_in_the_exposures():
    weights = weigh(noise(3, 3, 11, 14))
    one, two = noise(3, 3, 11, 14, seed=1), noise(3, 3, 11, 14, seed=2)
    assert torch.allclose(blend(one + 2 * two, weights), blend(one, weights) + 2 * blend(two, weights), atol=1e-12)


def test_a_hard_seam_is_spread_at_the_coarse_scales():
    stack = torch.stack([torch.zeros(1, 32, 32), torch.ones(1, 32, 32)]).double()
    left = torch.zeros(1, 32, 32).double()
    left[..., :16] = 1
    weights = torch.stack([left, 1 - left])
    steps = {
        levels: blend(stack, weights, levels)[0, 16].diff().abs().max().item() for levels in (0, 2, depth((32, 32)))
    }
    assert steps[0] == 1 and steps[2] < 0.3 and steps[5] < steps[2]


@pytest.mark.parametrize("small", [0, 100, 10**6])
def test_blending_is_the_papers_sum_over_pyramids(small, monkeypatch):
    monkeypatch.setattr(fusion, "_SMALL", small)  # exposures one by one, first one by one, all at once
    stack, weights = noise(3, 2, 3, 21, 18), weigh(noise(3, 2, 3, 21, 18, seed=1))
    for levels in (1, 2, 3, 5):
        pyramids = [
            [detail * share for detail, share in zip(laplacian(image, levels), gaussian(weight, levels), strict=True)]
            for image, weight in zip(stack, weights, strict=True)
        ]
        expected = collapse([sum(maps) for maps in zip(*pyramids, strict=True)])
        assert torch.allclose(blend(stack, weights, levels), expected, atol=1e-12)
        assert torch.allclose(blend(list(stack[:, 1]), list(weights[:, 1]), levels), expected[1], atol=1e-12)


@pytest.mark.parametrize("small", [0, 10**6])
def test_gradients_pass_and_nothing_is_changed(small, monkeypatch):
    monkeypatch.setattr(fusion, "_SMALL", small)
    stack = noise(2, 3, 4, 5)
    kept = stack.clone()
    assert torch.autograd.gradcheck(fuse_exposures, stack.clone().requires_grad_())
    fuse_exposures(stack)
    assert torch.equal(stack, kept)


@pytest.mark.parametrize("exponents", [(1, 1, 1), (1, 1, 0), (0, 0, 1)])
def test_it_agrees_with_opencv(exponents):
    # OpenCV 5.0.0, createMergeMertens(*exponents) on the same bytes in the order RGB: five exposures of a photograph.
    # `benchmarks/bench_fusion.py` calls it live where it is installed.
    theirs = np.load(Path(__file__).parent / "opencv.npz")
    stack = torch.from_numpy(theirs["stack"]).float() / 255
    fused = fuse_exposures(stack, *exponents)
    expected = torch.from_numpy(theirs["fused " + " ".join(map(str, exponents))])
    torch.testing.assert_close(fused, expected, atol=1e-5, rtol=0)
    assert (stack.mean(0) - expected).abs().max() > 0.05


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: fuse_exposures([]), "no exposures"),
        (lambda: fuse_exposures([noise(3, 4, 4), noise(3, 4, 5)]), r"exposure 1 has shape \(3, 4, 5\), exposure 0"),
        (lambda: fuse_exposures(noise(2, 4, 6, 6)), "4 channels; expected 1 or 3; is the last one alpha"),
        (lambda: fuse_exposures(noise(2, 5, 6, 6)), "5 channels; expected 1 or 3$"),
        (lambda: fuse_exposures(noise(3, 6, 6)), r"shape \(6, 6\)"),
        (lambda: fuse_exposures(torch.zeros(2, 3, 6, 6, dtype=torch.uint8)), "uint8"),
        (lambda: fuse_exposures(noise(2, 3, 6, 6), saturation=-1.0), "-1.0 of saturation"),
        (lambda: quality(noise(3, 6, 6), exposedness=math.nan), "nan of exposedness"),
        (lambda: blend(noise(2, 3, 6, 6), noise(3, 1, 6, 6)), "3 weights .* for 2 exposures"),
        (lambda: blend(noise(2, 3, 6, 6), noise(2, 1, 6, 5)), r"\(1, 6, 5\)"),
        (lambda: fuse_exposures(noise(2, 3, 6, 6), levels=4), "4 levels of 6x6"),
    ],
)
def test_bad_input_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()
