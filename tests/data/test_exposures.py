"""The camera: its curve, its noise against the formulas, what it loses, and that a seed repeats it."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage import color

from xferlib.data import photos
from xferlib.data.exposures import COUNT, expose, from_light, stack, to_light


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=seeded(seed), dtype=dtype)


def test_the_curve_by_hand():
    assert to_light(torch.tensor([0.0, 0.04045, 1.0])).tolist() == pytest.approx([0, 0.04045 / 12.92, 1])
    assert to_light(torch.tensor(0.5)).item() == pytest.approx((0.555 / 1.055) ** 2.4)
    assert from_light(torch.tensor(0.18)).item() == pytest.approx(1.055 * 0.18 ** (1 / 2.4) - 0.055)


def test_the_curve_is_scikit_images():
    image = noise(3, 9, 8)
    white = torch.tensor(color.rgb2xyz(image.permute(1, 2, 0).numpy())[..., 1])  # luminance, from linear RGB
    shares = torch.tensor([0.212671, 0.715160, 0.072169], dtype=torch.float64)
    assert torch.allclose(torch.einsum("c,chw->hw", shares, to_light(image)), white, atol=1e-6)


@given(value=st.floats(0, 1))
def test_the_curves_are_inverse(value):
    x = torch.tensor(value, dtype=torch.float64)
    assert from_light(to_light(x)).item() == pytest.approx(value, abs=1e-6)  # the standard rounds where pieces meet
    assert to_light(from_light(x)).item() == pytest.approx(value, abs=1e-6)


@given(stops=st.integers(-20, 20))
def test_the_curve_rises(stops):
    light = torch.linspace(0, 1, 2001, dtype=torch.float64)
    assert (from_light(light).diff() > 0).all()
    assert (expose(light.view(1, 1, -1), stops, bits=None).diff() >= 0).all()


def test_no_stops_without_noise_is_the_photograph():
    for name in ("china", "coins"):
        image = photos.load(name)
        assert torch.equal(expose(image, 0), image)


def test_a_stop_is_twice_the_light():
    image = from_light(noise(3, 6, 5) / 4)
    for stops in (-2, -0.5, 1, 2):
        light = to_light(expose(image, stops, bits=None))
        assert torch.allclose(light, to_light(image) * 2**stops, atol=1e-6)


def test_highlights_are_lost_and_shadows_share_a_byte():
    image = from_light(torch.tensor([0.3, 0.5, 0.9])).view(1, 1, 3)
    assert expose(image, 1, bits=None).flatten().tolist() == pytest.approx([from_light(torch.tensor(0.6)).item(), 1, 1])
    ramp = torch.linspace(0, 1, 256).view(1, 1, 256)
    dark, bright = expose(ramp, -3), expose(ramp, 3)
    assert dark.unique().numel() < 110 and (bright == 1).sum() > 150
    assert torch.equal((dark * 255).round() / 255, dark)


@pytest.mark.parametrize(
    ("light", "stops", "well", "read"), [(0.2, 0, 5000, 4), (0.01, 2, 5000, 10), (0.3, -3, 400, 3)]
)
def test_noise_is_that_of_the_formula(light, stops, well, read):
    image = from_light(torch.full((1, 300, 300), light, dtype=torch.float64))
    found = well * to_light(expose(image, stops, seeded(), well, read, bits=None))
    electrons = well * light * 2**stops
    assert found.mean().item() == pytest.approx(electrons, abs=5 * math.sqrt(electrons + read**2) / 300)
    assert found.var().item() == pytest.approx(electrons + read**2, rel=0.03)


def test_longer_exposures_are_cleaner():
    image = from_light(torch.full((1, 100, 100), 0.02))
    shots = stack(image, generator=seeded(), bits=None)
    ratios = [(to_light(shot).mean() / to_light(shot).std()).item() for shot in shots]
    assert ratios == sorted(ratios) and ratios[-1] > 5 * ratios[0]


def test_a_stack_goes_from_dark_to_bright_around_the_photograph():
    image = photos.load("chelsea")[:, :40, :50]
    shots = stack(image)
    assert shots.shape == (COUNT, 3, 40, 50)
    assert torch.equal(shots[3], image)
    means = [shot.mean().item() for shot in shots]
    assert means == sorted(means)
    assert torch.equal(stack(image, 3, 1.5)[0], expose(image, -1.5))
    assert torch.equal(stack(image, 1)[0], image)
    assert torch.equal(stack(image, 2)[1], expose(image, 0.5))
    assert stack(image[None], 2).shape == (2, 1, 3, 40, 50)


def test_a_seed_repeats_the_noise_and_each_exposure_has_its_own():
    image = torch.full((3, 8, 8), 0.5)
    kept = image.clone()
    first, again, other = (stack(image, 3, 1e-3, seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])
    assert torch.equal(image, kept)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: expose(torch.rand(4, 6, 6), 0), r"\(4, 6, 6\).* drop an alpha channel"),
        (lambda: expose(torch.rand(6, 6), 0), r"shape \(6, 6\)"),
        (lambda: expose(torch.zeros(3, 6, 6, dtype=torch.uint8), 0), "uint8"),
        (lambda: expose(torch.full((3, 6, 6), 255.0), 0), "divided by 255"),
        (lambda: expose(torch.full((3, 6, 6), math.nan), 0), "leaves"),
        (lambda: expose(torch.rand(3, 0, 6), 0), "empty"),
        (lambda: expose(torch.rand(3, 6, 6), math.inf), "inf stops"),
        (lambda: expose(torch.rand(3, 6, 6), 0, full_well=0), "full well 0"),
        (lambda: expose(torch.rand(3, 6, 6), 0, read_noise=-1), "read noise -1"),
        (lambda: expose(torch.rand(3, 6, 6), 0, bits=0), "0 bits"),
        (lambda: stack(torch.rand(3, 6, 6), 0), "0 exposures"),
        (lambda: stack(torch.rand(3, 6, 6), step=0.0), "0.0 stops apart"),
    ],
)
def test_bad_input_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_what_is_wrong_with_a_picture_is_named():
    with pytest.raises(ValueError, match=r"values from 0 to 2 leaves \[0, 1\]"):
        expose(torch.tensor([0.0, 2.0]).expand(3, 2, 2), 0.0, None)
    with pytest.raises(ValueError, match="uint8") as refused:
        expose(torch.zeros(3, 4, 4, dtype=torch.uint8), 0.0, None)
    assert "alpha" not in str(refused.value)
