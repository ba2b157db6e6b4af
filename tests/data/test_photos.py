"""The photographs that our dependencies ship."""

import pytest
import torch

from xferlib.data import photos


@pytest.mark.parametrize("name", photos.NAMES)
def test_every_photograph_loads_without_a_download(name):
    image = photos.load(name)
    assert image.dtype == torch.float32
    assert image.ndim == 3 and image.shape[0] == 3 and min(image.shape[1:]) >= 100
    assert image.is_contiguous()
    assert image.min() >= 0 and image.max() <= 1
    assert image.max() > 0.5 and image.std() > 0.05


@pytest.mark.parametrize("name", photos.NAMES)
def test_every_photograph_says_where_it_comes_from(name):
    origin = photos.ORIGINS[name]
    assert origin.title and origin.author and origin.terms
    assert origin.source.startswith(("https://", "http://"))


def test_the_split_is_fixed():
    assert photos.TEST == ("astronaut", "chelsea", "china", "coins", "motorcycle")
    assert not set(photos.TRAIN) & set(photos.TEST)
    assert sorted(photos.TRAIN + photos.TEST) == sorted(photos.NAMES)
    assert {"brick", "grass", "gravel"} <= set(photos.TRAIN)


def test_pixels_are_those_of_the_package():
    import skimage.data

    astronaut = torch.from_numpy(skimage.data.astronaut().copy())
    assert torch.equal((photos.load("astronaut") * 255).round().byte().permute(1, 2, 0), astronaut)


def test_grey_photographs_have_three_equal_channels():
    coins = photos.load("coins")
    assert coins.shape == (3, 303, 384)
    assert torch.equal(coins[0], coins[1]) and torch.equal(coins[0], coins[2])


def test_the_callers_copy_is_the_callers():
    first = photos.load("coins")
    kept = first.clone()
    first[0].zero_()
    assert torch.equal(photos.load("coins"), kept)
    assert first[1].any(), "the channels of a grey photograph share memory"


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'astronut'; did you mean 'astronaut'\? there are: astronaut, brick"):
        photos.load("astronut")
    with pytest.raises(ValueError, match="no photograph is named 'zzzzz'; there are"):
        photos.load("zzzzz")


def test_origins_cannot_be_changed():
    with pytest.raises(TypeError):
        photos.ORIGINS["coins"] = None
    with pytest.raises(AttributeError):
        photos.ORIGINS["coins"].terms = "mine"


def test_a_square_is_the_middle():
    image = torch.arange(6.0).expand(3, 4, 6) / 6
    torch.testing.assert_close(photos.square(image, 4), image[:, :, 1:5])
    torch.testing.assert_close(photos.square(image, 2)[0, 0], torch.tensor([1.5, 3.5]) / 6, atol=0.06, rtol=0)
    both = photos.squares(("china", "coins"), 32)
    assert both.shape == (2, 3, 32, 32) and torch.equal(both[1], photos.square(photos.load("coins"), 32))
