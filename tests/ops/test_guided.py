"""The guided filter: against a least-squares fit in every window, and its promises."""

import pytest
import torch

from xferlib.ops.guided import box_mean, guided_filter


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def by_least_squares(values, guide, radius, epsilon):
    """Ridge regression in every window, then the mean of all fits that hold a pixel."""
    channels, height, width = guide.shape

    def window(y, x):
        return slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1)

    fits = {}
    for y in range(height):
        for x in range(width):
            g = guide[:, *window(y, x)].flatten(1)
            v = values[window(y, x)].flatten()
            centred = g - g.mean(1, keepdim=True)
            inner = centred @ centred.T / g.shape[1] + epsilon * torch.eye(channels, dtype=g.dtype)
            slope = torch.linalg.solve(inner, centred @ (v - v.mean()) / g.shape[1])
            fits[y, x] = slope, v.mean() - slope @ g.mean(1)
    out = torch.empty_like(values)
    for y in range(height):
        for x in range(width):
            rows, columns = window(y, x)
            near = [fits[r, c] for r in range(height)[rows] for c in range(width)[columns]]
            out[y, x] = sum(slope @ guide[:, y, x] + offset for slope, offset in near) / len(near)
    return out


@pytest.mark.parametrize(("channels", "radius"), [(1, 1), (3, 1), (3, 2)])
def test_it_is_a_fit_in_every_window(channels, radius):
    values, guide = noise(1, 1, 6, 7), noise(1, channels, 6, 7, seed=1)
    found = guided_filter(values, guide, radius, 1e-2)[0, 0]
    assert torch.allclose(found, by_least_squares(values[0, 0], guide[0], radius, 1e-2), atol=1e-10)


def test_channels_and_images_are_filtered_each_by_itself():
    values, guide = noise(2, 3, 9, 8), noise(2, 3, 9, 8, seed=1)
    together = guided_filter(values, guide, 2)
    for i in range(2):
        for c in range(3):
            alone = guided_filter(values[i : i + 1, c : c + 1], guide[i : i + 1], 2)
            assert torch.allclose(together[i, c], alone[0, 0], atol=1e-10)


def test_a_constant_stays_and_probabilities_sum_to_one():
    guide = noise(1, 3, 12, 15)
    assert torch.allclose(guided_filter(torch.full((1, 1, 12, 15), 0.3).double(), guide), torch.tensor(0.3).double())
    probabilities = noise(1, 4, 12, 15, seed=2).softmax(1)
    assert torch.allclose(guided_filter(probabilities, guide, 3).sum(1), torch.ones(1, 12, 15).double())


def test_an_edge_of_the_guide_stays_sharp():
    guide = torch.zeros(1, 1, 20, 20, dtype=torch.float64)
    guide[..., 10:] = 1
    noisy = guide + 0.2 * (noise(1, 1, 20, 20) - 0.5)
    calm = guided_filter(noisy, guide, 4, 1e-4)
    assert (calm - guide).abs().amax() < 0.06
    assert (guided_filter(noisy, torch.zeros_like(guide), 4) - guide).abs().amax() > 0.4


def test_gradients_pass_to_values_and_guide():
    values, guide = noise(1, 2, 4, 5).requires_grad_(), noise(1, 2, 4, 5, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda v, g: guided_filter(v, g, 1, 0.1), (values, guide))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(kind):
    values, guide = noise(1, 2, 9, 8, dtype=torch.float32).to(kind), noise(1, 3, 9, 8, seed=1).to(kind)
    expected = guided_filter(values.float(), guide.float(), 2)
    assert torch.equal(guided_filter(values, guide, 2), expected.to(kind))
    assert torch.equal(guided_filter(values.float(), guide, 2), expected)


def test_windows_larger_than_the_image_and_single_pixels():
    assert torch.allclose(guided_filter(noise(1, 1, 1, 1), noise(1, 3, 1, 1, seed=1), 8), noise(1, 1, 1, 1))
    assert guided_filter(noise(1, 2, 3, 40), noise(1, 3, 3, 40), 8).isfinite().all()


@pytest.mark.parametrize(
    ("values", "guide", "options", "says"),
    [
        ((1, 2, 4, 5), (1, 3, 4, 6), {}, "do not belong together"),
        ((2, 4, 5), (1, 3, 4, 5), {}, "do not belong together"),
        ((1, 2, 4, 5), (1, 3, 4, 5), {"radius": 0}, "radius 0"),
        ((1, 2, 4, 5), (1, 3, 4, 5), {"epsilon": 0.0}, "epsilon 0.0"),
    ],
)
def test_bad_input_is_named(values, guide, options, says):
    with pytest.raises(ValueError, match=says):
        guided_filter(noise(*values), noise(*guide), **options)


def test_values_and_guide_of_two_types_are_filtered_in_the_wider_one():
    x = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    wide = guided_filter(x.double(), x.double())
    for found in (guided_filter(x.double(), x), guided_filter(x, x.double())):
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, wide)


def test_a_box_mean_ends_at_the_border():
    found = box_mean(torch.arange(9.0).view(1, 1, 3, 3), 1)[0, 0]
    torch.testing.assert_close(found, torch.tensor([[2.0, 2.5, 3.0], [3.5, 4.0, 4.5], [5.0, 5.5, 6.0]]))


def test_bytes_are_refused_with_the_way_out():
    floats = noise(1, 1, 6, 7)
    whole = (255 * floats).byte()
    for values, guide in ((whole, whole), (whole, floats), (floats, whole)):
        with pytest.raises(ValueError, match=r"(values|guide) are torch.uint8; expected floats: \1 / 255"):
            guided_filter(values, guide)
