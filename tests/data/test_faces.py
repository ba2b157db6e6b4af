"""The small faces, and the bad light put on them."""

import pytest
import torch
from skimage.data import lfw_subset

from xferlib.data import faces


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_hundred_faces_are_those_of_scikit_image():
    found = faces.load()
    assert found.shape == (100, 1, 25, 25) and found.dtype == torch.float32
    assert torch.equal(found[:, 0], torch.from_numpy(lfw_subset()[:100]).float())
    assert found.min() >= 0 and found.max() <= 1 and found.std((1, 2, 3)).min() > 0.05
    assert "Labeled Faces in the Wild" in faces.ORIGIN


def test_the_halves_share_no_face_and_no_face_comes_twice():
    assert len(faces.TRAIN) == len(faces.TEST) == 50 and not set(faces.TRAIN) & set(faces.TEST)
    apart = torch.cdist(*2 * [faces.load().flatten(1)])
    assert apart.fill_diagonal_(9).min() > 1


def test_the_callers_copy_is_the_callers():
    faces.load(faces.TEST).zero_()
    assert faces.load(faces.TEST).any()
    assert torch.equal(faces.load(faces.TEST), faces.load()[50:])


def test_without_amounts_nothing_moves():
    some = faces.load(range(4))
    still = faces.jitter(some, seeded(), shift=0, turn=0, zoom=0)
    torch.testing.assert_close(still, some, atol=1e-5, rtol=0)


def test_a_shift_is_in_pixels():
    ramp = torch.arange(25.0).expand(200, 1, 25, 25) / 24
    moved = faces.jitter(ramp, seeded(), shift=2, turn=0, zoom=0)
    shift = (moved - ramp)[:, 0, 12, 12] * 24
    assert shift.abs().max() <= 2 and shift.abs().max() > 1.8 and shift.mean().abs() < 0.3


def test_a_turn_is_in_degrees_and_keeps_the_form():
    _, along = torch.meshgrid(*2 * [torch.linspace(-1, 1, 25)], indexing="ij")
    moved = faces.jitter(along.expand(100, 1, 25, 25), seeded(), shift=0, turn=30, zoom=0)[:, 0]
    inner = moved[:, 8:17, 8:17]
    slopes = torch.stack([inner.diff(dim=2).mean((1, 2)), inner.diff(dim=1).mean((1, 2))])
    torch.testing.assert_close(slopes.norm(dim=0), torch.full((100,), 1 / 12), atol=1e-4, rtol=0)
    angles = torch.atan2(slopes[1], slopes[0]).rad2deg()
    assert 25 < angles.abs().max() <= 30.01


def test_darkness():
    white = torch.ones(300, 1, 25, 25)
    dark = faces.darken(white, seeded(), noise=0)
    means = dark.mean((1, 2, 3))
    assert means.min() > 0.08 * 0.7 - 0.01 and means.max() < 0.25 * 0.7 + 0.01
    assert torch.equal((dark * 255).round() / 255, dark)
    assert (dark.amax((2, 3)) - dark.amin((2, 3))).mean() > 0.02  # light comes from one side
    crushed = faces.darken(0.5 * white, seeded(), noise=0).mean() / dark.mean()
    assert 0.5**1.6 < crushed < 0.5


def test_noise_has_the_size_asked_for():
    grey = torch.full((50, 1, 25, 25), 0.5)
    options = {"gain": (1.0, 1.0), "gamma": (1.0, 1.0)}
    clean, noisy = (faces.darken(grey, seeded(), noise=noise, **options) for noise in (0, 0.02))
    light = clean.mean()
    assert (noisy - clean).std().item() == pytest.approx(0.02 * (1 + light.item()) ** 0.5, rel=0.1)


def test_probes_are_moved_then_darkened_and_depend_on_the_generator_alone():
    some = faces.load(range(3))
    kept = some.clone()
    one, again, other = (faces.probes(some, seeded(s)) for s in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
    generator = seeded(1)
    assert torch.equal(one, faces.darken(faces.jitter(some, generator), generator))
    assert torch.equal(some, kept)


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match="face 100 does not exist; they are numbered 0 to 99"):
        faces.load(range(98, 102))
    with pytest.raises(ValueError, match="shift=-1"):
        faces.jitter(faces.load(range(1)), seeded(), shift=-1)
    with pytest.raises(ValueError, match=r"faces of shape \(1, 25, 25\)"):
        faces.jitter(faces.load(range(1))[0], seeded())
    with pytest.raises(ValueError, match=r"faces of shape \(1, 25, 25\)"):
        faces.darken(faces.load(range(1))[0], seeded())
    with pytest.raises(ValueError, match=r"gain from 0\.5 to 0\.1"):
        faces.darken(faces.load(range(1)), seeded(), gain=(0.5, 0.1))


def test_faces_of_any_floats_and_none_at_all_are_moved():
    found = faces.jitter(torch.rand(2, 1, 8, 8).double(), torch.Generator().manual_seed(0))
    assert found.dtype == torch.float64 and found.shape == (2, 1, 8, 8)
    assert faces.jitter(torch.empty(0, 1, 8, 8), torch.Generator()).shape == (0, 1, 8, 8)
