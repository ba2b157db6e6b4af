"""Pictures behind glass: what is added to what, by hand and by independent means, and what the papers correct."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d, gaussian_filter
from skimage.data import chelsea, coffee

from xferlib.data.reflections import Blend, ceilnet_blend, naive_blend, zhang_blend

BLENDS = (naive_blend, ceilnet_blend, zhang_blend)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pair(*size, seed=0, low=0.0, high=1.0, dtype=torch.float64):
    return low + (high - low) * torch.rand(2, *(size or (3, 20, 24)), generator=seeded(seed), dtype=dtype)


def photographs():
    cut = np.stack([chelsea()[:160, :200], coffee()[100:260, 200:400]])
    return torch.from_numpy(cut).permute(0, 3, 1, 2).double() / 255


# What all have in common


@pytest.mark.parametrize("blend", BLENDS)
def test_a_blend_is_seen_in_zero_to_one_and_keeps_what_it_was_given(blend):
    background, reflection = photographs()
    before = background.clone(), reflection.clone()
    found = blend(background, reflection, seeded())
    assert isinstance(found, Blend) and torch.equal(found.background, background)
    assert all(layer.shape == background.shape and layer.min() >= 0 and layer.max() <= 1 for layer in found)
    assert torch.equal(background, before[0]) and torch.equal(reflection, before[1])


@pytest.mark.parametrize("blend", BLENDS)
def test_a_seed_repeats_a_blend(blend):
    one, two, other = (blend(*pair(), seeded(seed)) for seed in (3, 3, 4))
    assert all(map(torch.equal, one, two))
    assert not torch.equal(one.image, other.image)


@pytest.mark.parametrize("blend", BLENDS)
def test_a_black_picture_or_no_strength_reflects_nothing(blend):
    background, reflection = pair()
    for given, strength in ((torch.zeros_like(reflection), 1.0), (reflection, 0.0)):
        found = blend(background, given, seeded(), strength=strength)
        assert not found.reflection.any()
        if blend is not zhang_blend:  # there the glass takes light away all the same
            assert torch.equal(found.image, background)


@pytest.mark.parametrize("blend", (naive_blend, ceilnet_blend))
def test_the_image_is_the_sum_up_to_white(blend):
    for background, reflection in (photographs(), pair(low=0.4), pair(high=0.3)):
        found = blend(background, reflection, seeded())
        assert torch.equal(found.image, (found.background + found.reflection).clamp(0, 1))


@pytest.mark.parametrize("blend", BLENDS)
def test_pictures_of_a_batch_do_not_know_of_each_other(blend):
    backgrounds, mirrored = pair(3, 3, 9, 13)
    mirrored = mirrored * torch.tensor([0.1, 0.5, 1.0]).view(3, 1, 1, 1)  # they overflow by different amounts
    together = blend(backgrounds, mirrored, seeded())
    for i in range(3):
        alone = blend(backgrounds[i], mirrored[i], seeded())
        for one, other in zip(alone, together, strict=True):
            torch.testing.assert_close(one, other[i])


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("size", [(1, 1), (1, 30), (7, 2)])
def test_small_pictures(blend, size):
    found = blend(*pair(3, *size), seeded())
    assert found.image.shape == (3, *size) and found.image.isfinite().all()


@pytest.mark.parametrize("blend", BLENDS)
def test_flat_pictures(blend):
    for values in ((0.0, 0.0), (1.0, 1.0), (0.3, 0.2)):
        background, reflection = (torch.full((3, 9, 9), value) for value in values)
        found = blend(background, reflection, seeded())
        assert all(layer.isfinite().all() for layer in found)


@pytest.mark.parametrize("blend", BLENDS)
def test_a_gradient_reaches_the_background(blend):
    background, reflection = pair(3, 5, 6, low=0.1, high=0.4)
    background = background.clone().requires_grad_()
    blend(background, reflection, seeded()).image.sum().backward()
    assert background.grad.isfinite().all() and background.grad.any()


# The blur


def test_the_blur_is_scipys_cut_off_at_eleven_pixels_with_black_around():
    _, reflection = pair(high=0.3)
    background = torch.zeros_like(reflection)
    for sigma in (0.8, 2.0, 5.0):
        line = np.exp(-0.5 * (np.arange(-5, 6) / sigma) ** 2)
        expected = reflection.numpy()
        for axis in (1, 2):
            expected = correlate1d(expected, line / line.sum(), axis=axis, mode="constant")
        found = naive_blend(background, reflection, sigma=sigma).reflection
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
        if sigma < 1:
            full = gaussian_filter(reflection.numpy(), (0, sigma, sigma), mode="constant")
            np.testing.assert_allclose(found.numpy(), full, atol=1e-4)


@pytest.mark.parametrize(("blend", "low"), [(naive_blend, 2), (ceilnet_blend, 2), (zhang_blend, 1)])
def test_the_blur_is_drawn_from_the_papers_range_before_all_else(blend, low):
    for seed in range(3):
        generator = seeded(seed)
        sigma = low + (5 - low) * torch.rand((), generator=generator).item()
        drawn, told = blend(*photographs(), seeded(seed)), blend(*photographs(), generator, sigma=sigma)
        assert all(map(torch.equal, drawn, told))


# Fan et al.


def test_ceilnets_correction_by_hand():
    background = torch.tensor([0.9, 0.5, 0.1]).expand(3, 11, 3).double().repeat_interleave(40, 2)
    reflection = torch.tensor([0.6, 0.2, 0.8]).view(3, 1, 1).double().expand_as(background)
    found = ceilnet_blend(background, reflection, sigma=2.0)
    blurred = naive_blend(background, reflection, sigma=2.0).reflection
    overflow = [float(v) for v in (background + blurred).flatten() if v > 1]  # of all channels together
    shift = 1.3 * (sum(overflow) / len(overflow) - 1)
    assert 0.1 < shift < 0.6
    torch.testing.assert_close(found.reflection, (blurred - shift).clamp(0, 1))
    assert found.image.max() == 1, "what is left over is cut off"


def test_what_does_not_overflow_is_not_corrected():
    background, reflection = pair(high=0.5)
    careful, naive = (blend(background, reflection, sigma=3.0) for blend in (ceilnet_blend, naive_blend))
    assert all(map(torch.equal, careful, naive))


def test_naive_data_is_white_where_the_papers_data_is_not():
    background, reflection = photographs()
    white = [(blend(background, reflection, sigma=3.0).image == 1).double().mean() for blend in BLENDS[:2]]
    assert white[0] > 2 * white[1]


def test_more_strength_never_makes_a_reflection_of_naive_data_darker():
    steps = [naive_blend(*photographs(), sigma=3.0, strength=s).reflection for s in (0.1, 0.5, 1.0)]
    assert (steps[1] > steps[0]).all() and (steps[2] > steps[1]).all()


# Zhang et al.


def zhang_by_hand(background, reflection, seed, sigma):
    """Follow the paper with NumPy and SciPy, with the same numbers drawn in the same order."""
    rng = seeded(seed)

    def draw(low, high):
        return low + (high - low) * torch.rand((), generator=rng).item()

    t, r = background.numpy() ** 2.2, reflection.numpy() ** 2.2
    reach = int(np.ceil(2 * sigma))
    r = gaussian_filter(r, (0, sigma, sigma), mode="constant", radius=reach)
    factor = draw(1.08, 1.18)
    for c in range(3):
        over = (t + r)[c][(t + r)[c] > 1]
        r[c] -= factor * (over.mean() - 1 if len(over) else 0)
    r = r.clip(0, 1)
    height, width = r.shape[1:]
    side = max(height, width) * 560 / 480
    top, left = draw(0, side - height), draw(0, side - width)
    y = 7 * ((top + np.arange(height) + 0.5) / side - 0.5)
    x = 7 * ((left + np.arange(width) + 0.5) / side - 0.5)
    r = r * np.exp(-(y[:, None] ** 2 + x**2) / 4)
    return (draw(0.8, 1.0) * t + r) ** (1 / 2.2), r ** (1 / 2.2)


@pytest.mark.parametrize("sigma", [1.2, 3.0])
def test_zhangs_blend_step_by_step(sigma):
    background, reflection = photographs()
    for seed in range(3):
        found = zhang_blend(background, reflection, seeded(seed), sigma=sigma)
        image, mirrored = zhang_by_hand(background, reflection, seed, sigma)
        np.testing.assert_allclose(found.reflection.numpy(), mirrored, atol=1e-4)
        np.testing.assert_allclose(found.image.numpy(), image.clip(0, 1), atol=1e-4)


def test_glass_takes_at_most_a_fifth_of_the_light():
    background, _ = pair(low=0.1)
    for seed in range(20):
        found = zhang_blend(background, torch.zeros_like(background), seeded(seed))
        share = (found.image / background) ** 2.2
        assert share.min() >= 0.8 and share.max() <= 1 and share.std() < 1e-9


# Bad input


@pytest.mark.parametrize("blend", BLENDS)
def test_errors_say_what_is_wrong(blend):
    image = torch.rand(3, 8, 8)
    for one, other, message in (
        (image, torch.rand(3, 8, 9), r"\(3, 8, 8\) and \(3, 8, 9\); crop or resize"),
        (torch.rand(4, 8, 8), torch.rand(4, 8, 8), "leave an alpha channel out"),
        (torch.rand(8, 8), torch.rand(8, 8), r"expected RGB of \(3, H, W\)"),
        (torch.rand(3, 0, 8), torch.rand(3, 0, 8), r"shape \(3, 0, 8\)"),
        (image, 255 * image, "reflection of torch.float32 has values outside"),
        (image.byte(), image, "background of torch.uint8"),
        (image * torch.nan, image, "background"),
    ):
        with pytest.raises(ValueError, match=message):
            blend(one, other, seeded())
    for wrong in ({"sigma": 0.0}, {"sigma": float("nan")}, {"strength": 1.1}, {"strength": -0.1}):
        with pytest.raises(ValueError, match="expected above 0, and from 0 to 1"):
            blend(image, image, seeded(), **wrong)


@pytest.mark.parametrize("blend", (naive_blend, ceilnet_blend))
def test_a_blur_must_come_from_somewhere(blend):
    with pytest.raises(ValueError, match="neither a generator nor sigma"):
        blend(*pair())
