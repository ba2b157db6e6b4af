import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from xferlib.ops.resample import bilinear_kernel, checkerboard_energy, icnr, overlaps


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


def test_overlaps_by_hand():
    uneven = torch.tensor([1, 1, 2, 1, 2, 1, 1])  # 3 cells, kernel 3, stride 2
    assert torch.equal(overlaps(3, 3, 2), torch.outer(uneven, uneven))
    assert overlaps(6, 3, 2)[4:6, 4:6].tolist() == [[4, 2], [2, 1]]
    even = torch.tensor([1, 1, 2, 2, 2, 2, 1, 1])  # 3 cells, kernel 4, stride 2
    assert torch.equal(overlaps(3, 4, 2), torch.outer(even, even))
    assert overlaps(2, 1, 3)[0].tolist() == [1, 0, 0, 1]


@given(cells=st.integers(1, 6), kernel=st.integers(1, 7), stride=st.integers(1, 4))
def test_overlaps_counted_one_by_one(cells, kernel, stride):
    counts = torch.zeros((2 * ((cells - 1) * stride + kernel,)), dtype=torch.long)
    for row in range(0, cells * stride, stride):
        for column in range(0, cells * stride, stride):
            counts[row : row + kernel, column : column + kernel] += 1
    assert torch.equal(overlaps(cells, kernel, stride), counts)


@given(stride=st.integers(1, 5), times=st.integers(1, 4), more=st.integers(0, 4))
def test_overlaps_are_even_inside_where_the_stride_divides_the_kernel_and_only_there(stride, times, more):
    kernel = stride * times + more % stride
    inside = overlaps(12, kernel, stride)[kernel:-kernel, kernel:-kernel]
    assert (inside.unique().numel() == 1) == (kernel % stride == 0)


def test_a_deconvolution_of_ones_writes_the_overlaps():
    ones = F.conv_transpose2d(torch.ones(1, 1, 5, 5), torch.ones(1, 1, 3, 3), stride=2)
    assert torch.equal(overlaps(5, 3, 2), ones[0, 0].long())


@pytest.mark.parametrize("numbers", [(0, 3, 2), (3, 0, 2), (3, 3, 0)])
def test_overlaps_of_nothing_are_refused(numbers):
    with pytest.raises(ValueError, match="{} cells, kernel {}, stride {}".format(*numbers)):
        overlaps(*numbers)


def pattern(x, stride):
    """Sum the spectrum at the multiples of the stride's frequency, and over all frequencies but zero."""
    energy = torch.fft.fft2(x).abs().square()
    energy[..., 0, 0] = 0
    steps = [side // stride for side in x.shape[-2:]]
    return (energy[..., :: steps[0], :: steps[1]].sum() / energy.sum()).item()


@given(
    stride=st.integers(2, 5),
    rows=st.integers(1, 4),
    columns=st.integers(2, 4),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_checkerboard_energy_is_that_of_the_spectrum(stride, rows, columns, share, seed):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(2, 3, rows * stride, columns * stride, generator=generator, dtype=torch.double)
    tile = torch.randn(2, 3, stride, stride, generator=generator, dtype=torch.double).repeat(1, 1, rows, columns)
    x = share * tile + (1 - share) * noise + 5
    assert checkerboard_energy(x, stride) == pytest.approx(pattern(x, stride), abs=1e-9)


def test_checkerboard_energy_by_hand():
    chess = (torch.arange(8)[:, None] + torch.arange(6)) % 2
    assert checkerboard_energy(chess.float()) == pytest.approx(1)
    assert checkerboard_energy(chess[None, None].float() * 1e-3 + 7, 2) == pytest.approx(1, rel=1e-3)
    assert checkerboard_energy(chess.float(), 3) == 0  # an odd period meets both colours equally
    assert checkerboard_energy(torch.full((4, 4), 0.3)) == 0
    rows = torch.arange(4) // 2 % 2  # two on, two off: period 4, nothing of period 2
    stripes = rows[:, None].expand(4, 4).float()
    assert checkerboard_energy(stripes, 2) == 0 and checkerboard_energy(stripes, 4) == pytest.approx(1)


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e10])
def test_checkerboard_energy_sees_no_scale(scale):
    x = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0), dtype=torch.double) + 5
    assert checkerboard_energy(scale * x) == pytest.approx(checkerboard_energy(x))
    assert checkerboard_energy(torch.full((9, 9), 0.3 * scale, dtype=torch.double), 3) == 0
    assert checkerboard_energy(torch.zeros(4, 4)) == 0


@pytest.mark.parametrize("side", [8, 32, 128])
def test_a_ramp_has_little(side):
    # Means of odd and of even columns differ by 1, so theirs vary by 1/4; all columns vary by (side**2 - 1) / 12.
    assert checkerboard_energy(torch.arange(side).expand(4, side).float()) == pytest.approx(3 / (side**2 - 1))


def test_what_the_stride_leaves_over_is_cut_off():
    x = torch.randn(1, 2, 9, 11, generator=torch.Generator().manual_seed(0))
    assert checkerboard_energy(x, 4) == checkerboard_energy(x[..., :8, :8], 4)


def test_a_random_k3_s2_deconvolution_has_more_than_chance():
    x = torch.rand(1, 1, 17, 17, generator=torch.Generator().manual_seed(0))
    uneven = F.conv_transpose2d(x, torch.ones(1, 1, 3, 3), stride=2)[..., 2:-2, 2:-2]
    even = F.conv_transpose2d(x, torch.ones(1, 1, 4, 4), stride=2)[..., 2:-2, 2:-2]
    assert checkerboard_energy(uneven) > 0.5 > 0.05 > checkerboard_energy(even)


@pytest.mark.parametrize(("shape", "stride"), [((4, 4), 1), ((4, 4), 0), ((3, 8), 4)])
def test_strides_without_a_whole_period_are_refused(shape, stride):
    with pytest.raises(ValueError, match=f"{shape[0]}, {shape[1]}.*no whole period of stride {stride}"):
        checkerboard_energy(torch.rand(shape), stride)


def test_icnr_by_hand():
    assert icnr(torch.tensor([1.0, 2.0]), 2).tolist() == [1, 1, 1, 1, 2, 2, 2, 2]


@pytest.mark.parametrize("factor", [2, 3])
def test_with_icnr_a_pixel_shuffle_repeats_what_the_convolution_gives(factor):
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(2, 3, 5, 6, generator=generator), torch.randn(4, 3, 3, 3, generator=generator)
    shuffled = F.pixel_shuffle(F.conv2d(x, icnr(weight, factor)), factor)
    torch.testing.assert_close(shuffled, F.interpolate(F.conv2d(x, weight), scale_factor=factor, mode="nearest"))


def test_a_map_that_is_not_finite_has_no_energy_to_tell():
    assert torch.tensor(checkerboard_energy(torch.full((4, 4), float("nan")))).isnan()
