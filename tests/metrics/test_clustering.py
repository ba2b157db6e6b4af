"""Matching clusters with classes: by hand and against all permutations."""

from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xferlib.metrics.clustering import matched


def test_renamed_classes_are_found_again():
    perfect = torch.diag(torch.tensor([5, 3, 2]))
    assert torch.equal(matched(perfect[:, [2, 0, 1]]), perfect)


def test_the_greedy_choice_can_be_wrong():
    # Class 0 has most pixels in cluster 0, but class 1 has no other place.
    assert torch.equal(matched(torch.tensor([[10, 9], [9, 0]])), torch.tensor([[9, 10], [0, 9]]))


@given(st.integers(1, 5).flatmap(lambda n: st.lists(st.integers(0, 50), min_size=n * n, max_size=n * n)))
def test_no_permutation_is_better(values):
    side = int(len(values) ** 0.5)
    confusion = torch.tensor(values).view(side, side)
    best = max(confusion[:, list(order)].trace().item() for order in permutations(range(side)))
    found = matched(confusion)
    assert found.trace().item() == best
    assert sorted(found.T.tolist()) == sorted(confusion.T.tolist())


def test_as_many_clusters_as_classes():
    with pytest.raises(ValueError, match=r"\(2, 3\) is not square"):
        matched(torch.zeros(2, 3))
