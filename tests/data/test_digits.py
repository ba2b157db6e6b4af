"""Real digits: what is loaded, and what a shift does."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from xferlib.data import digits


def test_digits_are_those_of_scikit_learn():
    images, labels = digits.load()
    theirs = load_digits()
    assert images.shape == (1797, 1, 8, 8) and images.dtype == torch.float32 and labels.dtype == torch.int64
    assert np.array_equal(images[:, 0].numpy() * 16, theirs.images) and np.array_equal(labels.numpy(), theirs.target)
    assert images.min() == 0 and images.max() == 1


def test_train_and_test_share_nothing_and_hold_all_classes():
    assert not set(digits.TRAIN) & set(digits.TEST) and len(digits.TRAIN) + len(digits.TEST) == digits.COUNT
    for part in (digits.TRAIN, digits.TEST):
        counts = torch.bincount(digits.load(part)[1], minlength=10)
        assert counts.min() > 0.09 * len(part)
    assert torch.equal(digits.load(range(3, 5))[0], digits.load()[0][3:5])


def test_the_end_of_the_file_is_harder_than_digits_at_random():
    images, labels = digits.load()
    flat, labels = images.flatten(1).numpy(), labels.numpy()

    def wrong(order):
        one, other = order[: len(digits.TRAIN)], order[len(digits.TRAIN) :]
        return 1 - KNeighborsClassifier(1).fit(flat[one], labels[one]).score(flat[other], labels[other])

    generator = np.random.default_rng(0)
    at_random = np.mean([wrong(generator.permutation(digits.COUNT)) for _ in range(3)])
    assert wrong(np.arange(digits.COUNT)) > 1.8 * at_random


def test_the_caller_owns_what_is_loaded():
    digits.load(range(1))[0].fill_(7)
    assert digits.load(range(1))[0].max() <= 1


def test_shifts_move_each_picture_by_whole_pixels():
    image = torch.zeros(1, 2, 5, 6)
    image[0, 0, 2, 3], image[0, 1, 1, 2] = 1.0, 2.0
    moved = digits.shift(image.expand(200, -1, -1, -1), torch.Generator().manual_seed(0))
    first, second = (moved[:, channel].flatten(1).argmax(1) for channel in (0, 1))
    by = torch.stack([first // 6 - 2, first % 6 - 3], 1)
    assert torch.equal(torch.stack([second // 6 - 1, second % 6 - 2], 1), by)  # channels go together
    assert {tuple(each) for each in by.tolist()} == {(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)}
    assert torch.equal(moved.sum((2, 3)), torch.tensor([[1.0, 2.0]]).expand(200, 2))


def test_what_a_shift_pushes_out_is_lost():
    moved = digits.shift(torch.ones(50, 1, 4, 4), torch.Generator().manual_seed(0), 2)
    assert set(moved.sum((1, 2, 3)).tolist()) == {4.0, 6.0, 8.0, 9.0, 12.0, 16.0}
    assert torch.equal(digits.shift(torch.ones(2, 1, 4, 4), torch.Generator(), 0), torch.ones(2, 1, 4, 4))


@pytest.mark.parametrize(
    ("words", "call"),
    [
        ("digit 1797 does not exist", lambda: digits.load(range(1790, 1800))),
        (r"shape \(1, 8, 8\)", lambda: digits.shift(torch.rand(1, 8, 8), torch.Generator())),
        ("shifts up to -1", lambda: digits.shift(torch.rand(1, 1, 8, 8), torch.Generator(), -1)),
    ],
)
def test_bad_input_is_named(words, call):
    with pytest.raises(ValueError, match=words):
        call()
