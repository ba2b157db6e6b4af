"""The context module: what it sees, and that it starts as the identity."""

from itertools import accumulate, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from xferlib.metrics.cost import parameters
from xferlib.nets.context import DILATIONS, Context
from xferlib.ops.receptive import extent, receptive_field

FIELDS = [3, 5, 9, 17, 33, 65, 67, 67]


def test_receptive_fields_by_arithmetic():
    assert list(accumulate((2 * d for d in DILATIONS), initial=1))[1:] == FIELDS[:7]


@pytest.mark.parametrize("large", [False, True])
def test_receptive_fields_by_gradient(large):
    module = Context(1, large)
    for parameter in module.parameters():
        nn.init.uniform_(parameter, 0.05, 0.1, generator=torch.Generator().manual_seed(0))
    ends = [*range(2, 15, 2), 15]  # behind each ReLU, and behind the 1x1 convolution
    for end, side in zip(ends, FIELDS, strict=True):
        field = receptive_field(module.layers[:end].double(), (1, 71, 71), images=1)
        assert extent(field) == (side, side)
        assert (field > 0).sum() == side**2  # no hole in it: the dilations grow no faster than the field


@pytest.mark.parametrize("large", [False, True])
@given(channels=st.integers(1, 4), height=st.integers(1, 40), width=st.integers(1, 40))
@settings(max_examples=10, deadline=None)
def test_it_starts_as_the_identity_cut_at_zero(large, channels, height, width):
    generator = torch.Generator().manual_seed(height)
    x = torch.randn(2, channels, height, width, generator=generator)
    torch.testing.assert_close(Context(channels, large)(x), x.relu(), rtol=1e-5, atol=1e-6)


def test_in_the_basic_form_to_the_last_bit():
    x = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Context(3)(x), x)


def test_the_best_class_stays_where_its_score_is_positive():
    scores = torch.randn(1, 5, 30, 30, generator=torch.Generator().manual_seed(0))
    kept = scores.amax(1) > 0
    with torch.no_grad():
        assert torch.equal(Context(5)(scores).argmax(1)[kept], scores.argmax(1)[kept])
    assert kept.any() and not kept.all()


def test_channels_and_parameters():
    basic, large = Context(3), Context(3, True)
    assert parameters(basic) == 7 * (9 * 3 * 3 + 3) + 3 * 3 + 3
    widths = [3, *(3 * factor for factor in (2, 2, 4, 8, 16, 32, 32))]
    expected = sum(9 * a * b + b for a, b in pairwise(widths)) + widths[-1] * 3 + 3
    assert parameters(large) == expected


def test_channels_that_start_as_copies_part():
    torch.manual_seed(0)
    module = Context(2, True)
    # The first layer has two copies of each channel: 0 and 1, 2 and 3.
    first = module.layers[0].weight
    (module(torch.rand(2, 2, 24, 24)) * torch.randn(2, 2, 24, 24)).sum().backward()
    assert (
        torch.equal(first[0], first[1]) and (first.grad[0] - first.grad[1]).abs().max() > 0.01 * first.grad.abs().max()
    )


def test_training_reaches_the_surroundings():
    torch.manual_seed(0)
    module = Context(2)
    (module(torch.rand(1, 2, 40, 40)) * torch.randn(1, 2, 40, 40)).sum().backward()
    for conv in (layer for layer in module.layers if isinstance(layer, nn.Conv2d)):
        assert (conv.weight.grad != 0).all()
