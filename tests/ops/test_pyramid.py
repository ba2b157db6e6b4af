"""Pyramids: by hand, by a dense convolution, against OpenCV's, and that nothing is lost."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from xferlib.ops.pyramid import collapse, depth, expand, gaussian, laplacian, mirrored, reduce

KERNEL = torch.tensor([1, 4, 6, 4, 1], dtype=torch.float64) / 16


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


sizes = st.tuples(st.integers(1, 13), st.integers(1, 13))


def test_an_impulse_by_hand():
    x = torch.zeros(1, 9, 9)
    x[0, 4, 4] = 256
    assert reduce(x)[0, 1:4, 1:4].tolist() == [[1, 6, 1], [6, 36, 6], [1, 6, 1]]
    x = torch.zeros(1, 9, 9)
    x[0, 4, 3] = 256
    assert reduce(x)[0, 1:4, 1:3].tolist() == [[4, 4], [24, 24], [4, 4]]
    x = torch.zeros(1, 5, 5)
    x[0, 2, 2] = 64
    line = torch.tensor([1.0, 4, 6, 4, 1])
    assert torch.equal(expand(x, (9, 9))[0, 2:7, 2:7], torch.outer(line, line))


@given(size=st.tuples(st.integers(3, 13), st.integers(3, 13)))
def test_reducing_is_a_convolution_of_the_mirrored_picture(size):
    x = noise(2, 3, *size)
    padded = F.pad(x, (2, 2, 2, 2), mode="reflect").flatten(0, 1)[:, None]
    expected = F.conv2d(padded, torch.outer(KERNEL, KERNEL)[None, None], stride=2)
    assert torch.allclose(reduce(x).flatten(0, 1), expected[:, 0], atol=1e-12)


@given(size=sizes)
def test_expanding_inside_is_a_transposed_convolution(size):
    small = noise(1, 1, *size)
    expected = F.conv_transpose2d(small, 4 * torch.outer(KERNEL, KERNEL)[None, None], stride=2, padding=2)
    whole = expand(small, (2 * size[0] - 1, 2 * size[1] - 1))
    assert torch.allclose(whole[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-12)


@given(size=sizes, seed=st.integers(0, 99))
def test_collapsing_gives_the_picture_back(size, seed):
    x = noise(2, 3, *size, seed=seed)
    for levels in (None, 0, (max(size) - 1).bit_length()):
        assert torch.allclose(collapse(laplacian(x, levels)), x, atol=1e-12)


@given(size=sizes, value=st.floats(-3, 3))
def test_a_constant_stays_and_has_no_detail(size, value):
    x = torch.full((1, *size), value, dtype=torch.float64)
    for level in gaussian(x):
        assert torch.allclose(level, torch.tensor(value).double(), atol=1e-12)
    for level in laplacian(x)[:-1]:
        assert level.abs().max() < 1e-12


def test_a_ramp_stays_a_ramp_away_from_the_border():
    x = torch.arange(17.0, dtype=torch.float64).expand(1, 17, 17)
    small = reduce(x)
    assert torch.allclose(small[..., 1:-1], 2 * torch.arange(1.0, 8).double().expand(1, 9, 7))
    assert torch.allclose(expand(small, (17, 17))[..., 3:-4], x[..., 3:-4])


@pytest.mark.parametrize("size", [(7, 6), (5, 8), (16, 16), (1, 9), (2, 2), (3, 1)])
def test_it_agrees_with_opencv(size):
    # OpenCV 5.0.0, pyrDown and pyrUp with their default border.
    theirs = np.load(Path(__file__).parent / "opencv.npz")
    x = noise(1, *size, dtype=torch.float32)
    down, up = (torch.from_numpy(theirs[f"{name} {size[0]}x{size[1]}"])[None] for name in ("down", "up"))
    torch.testing.assert_close(reduce(x), down, atol=5e-7, rtol=0)
    torch.testing.assert_close(expand(down, size), up, atol=5e-7, rtol=0)


@given(size=sizes, margin=st.integers(0, 9))
def test_mirroring_is_that_of_numpy(size, margin):
    x = noise(1, *size)
    expected = np.pad(x[0].numpy(), margin, mode="reflect")
    assert np.array_equal(mirrored(x, margin)[0].numpy(), expected)


def test_levels_and_their_sizes():
    assert [depth(size) for size in ((1, 9), (2, 2), (3, 8), (4, 4), (512, 768))] == [0, 1, 1, 2, 9]
    assert [tuple(level.shape) for level in laplacian(noise(3, 13, 7))] == [(3, 13, 7), (3, 7, 4), (3, 4, 2)]
    x = noise(1, 1, 13, 7)
    assert gaussian(x, 0)[0] is x
    assert gaussian(x, 4)[-1].shape == (1, 1, 1, 1)


def test_pictures_of_a_batch_do_not_meet_and_are_not_changed():
    x = noise(2, 3, 11, 6)
    kept = x.clone()
    for together, alone in zip(laplacian(x), laplacian(x[1]), strict=True):
        assert torch.allclose(together[1], alone, atol=1e-14)
    collapse(laplacian(x))
    assert torch.equal(x, kept)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_comes_back_as_it_was_given(kind):
    x = noise(3, 13, 10).to(kind)
    assert torch.equal(reduce(x), reduce(x.float()).to(kind))
    assert torch.equal(expand(x, (25, 20)), expand(x.float(), (25, 20)).to(kind))
    assert torch.allclose(collapse(laplacian(x)).float(), x.float(), atol=2 * torch.finfo(kind).eps)


def test_gradients():
    x = noise(1, 2, 5, 4).requires_grad_()
    assert torch.autograd.gradcheck(reduce, x)
    assert torch.autograd.gradcheck(lambda x: expand(x, (9, 8)), x)
    assert torch.autograd.gradcheck(lambda x: laplacian(x, 2), x)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: reduce(torch.rand(4, 4)), r"shape \(4, 4\)"),
        (lambda: reduce(torch.zeros(1, 4, 4, dtype=torch.uint8)), "uint8"),
        (lambda: reduce(torch.rand(1, 0, 4)), r"\(1, 0, 4\)"),
        (lambda: expand(torch.rand(1, 3, 4), (7, 8)), "3x4 does not expand to 7x8; heights 5 and 6, widths 7 and 8"),
        (lambda: laplacian(torch.rand(1, 8, 5), 4), "4 levels of 8x5 pixels; from 0 to 3"),
        (lambda: gaussian(torch.rand(1, 8, 5), -1), "-1 levels"),
        (lambda: collapse([]), "without maps"),
    ],
)
def test_bad_input_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()
