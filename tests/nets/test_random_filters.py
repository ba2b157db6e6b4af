import pytest
import torch

from xferlib.data import photos
from xferlib.losses.perceptual import mean_gram
from xferlib.nets.random_filters import RandomFilters


def test_shapes_and_names():
    net = RandomFilters((3, 5), channels=4, colours=2, levels=3)
    found = net(torch.rand(2, 3, 33, 20), ("scale1", "scale2", "scale3"))
    shapes = {name: tuple(features.shape) for name, features in found.items()}
    assert shapes == {"scale1": (2, 10, 33, 20), "scale2": (2, 10, 17, 10), "scale3": (2, 10, 9, 5)}
    assert all((features >= 0).all() and (features > 0).any() for features in found.values())


def test_a_seed_fixes_the_filters_and_nothing_is_trained():
    image = torch.rand(1, 3, 16, 16)
    one, same, other = (RandomFilters(seed=seed)(image)["scale1"] for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert not any(parameter.requires_grad for parameter in RandomFilters().parameters())


def test_filters_of_many_pixels_are_blind_to_flat_colour_and_those_of_one_are_not():
    net = RandomFilters((3, 5), channels=4, colours=8, levels=2)
    flat = torch.tensor([0.9, 0.2, 0.4])[None, :, None, None].expand(1, 3, 12, 12)
    found = net(flat, ("scale1", "scale2"))
    for features in found.values():
        assert features[:, :8].abs().max() < 1e-4 < 0.1 < features[:, 8:].max()


def test_a_shift_shifts_the_features():
    image = torch.zeros(1, 3, 40, 40)
    image[..., 12:20, 14:25] = torch.rand(8, 11)
    net = RandomFilters(levels=2)
    moved = net(image.roll((4, 2), (2, 3)), ("scale1", "scale2"))
    for step, (name, features) in enumerate(net(image, ("scale1", "scale2")).items(), start=1):
        expected = features.roll((4 // step, 2 // step), (2, 3))
        torch.testing.assert_close(moved[name], expected, atol=1e-5, rtol=1e-4)


def test_levels_come_out_alike():
    """Each channel has a mean of about one on every level, on pictures with the spectrum of photographs."""
    found = RandomFilters()(photos.load("coffee")[None, :, :256, :256], [f"scale{level}" for level in range(1, 6)])
    means = torch.stack([features.mean() for features in found.values()])
    assert (means > 0.1).all() and (means < 10).all()


def test_gram_matrices_tell_textures_apart_and_patches_of_one_texture_not():
    layers, net = ("scale1", "scale2", "scale3"), RandomFilters(channels=16)

    def described(name, corner):
        found = net(photos.load(name)[None, :, corner : corner + 128, corner : corner + 128], layers)
        return torch.cat([mean_gram(features).flatten() for features in found.values()])

    grass, again, brick = described("grass", 0), described("grass", 200), described("brick", 0)
    assert (grass - brick).norm() > 2 * (grass - again).norm()


def test_small_pictures_and_gradients():
    image = torch.rand(1, 3, 5, 3, requires_grad=True)
    found = RandomFilters(levels=4)(image, ("scale1", "scale4"))
    assert found["scale4"].shape[-2:] == (1, 1)
    sum(features.sum() for features in found.values()).backward()
    assert image.grad.isfinite().all() and image.grad.any()


def test_errors_name_the_value():
    with pytest.raises(ValueError, match=r"no layer \['scale9'\]; this net has scale1, scale2"):
        RandomFilters(levels=2)(torch.rand(1, 3, 8, 8), ("scale9",))
    with pytest.raises(ValueError, match=r"\[4\] are not odd"):
        RandomFilters((3, 4))
    with pytest.raises(ValueError, match="levels=0"):
        RandomFilters(levels=0)
