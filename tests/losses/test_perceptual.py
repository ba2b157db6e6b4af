import math

import pytest
import torch
from torch import nn

from xferlib.losses.perceptual import (
    Targets,
    Weights,
    content_loss,
    gram,
    mean_gram,
    perceptual_loss,
    style_loss,
    style_targets,
    total_variation,
)
from xferlib.nets.vgg import VGG

# One picture, two channels, two places: F = [[1, 2], [3, 4]] and P = [[1, 0], [0, 1]].
F = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])
P = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])


@pytest.fixture
def net():
    torch.manual_seed(0)
    return VGG(widths=(4, 6), convs=(2, 2), normalise=True).requires_grad_(False)


def test_gram_by_hand():
    assert gram(F).tolist() == [[[5.0, 11.0], [11.0, 25.0]]]
    assert mean_gram(F).tolist() == [[[2.5, 5.5], [5.5, 12.5]]]


def test_gram_is_not_normalised_and_forgets_places():
    assert torch.equal(gram(F.repeat(1, 1, 3, 1)), 3 * gram(F))
    shuffled = torch.randn(2, 3, 4, 5)
    assert torch.allclose(gram(shuffled), gram(shuffled.flip(2).roll(2, 3)), atol=1e-5)
    assert torch.allclose(gram(shuffled)[1:], gram(shuffled[1:]))


@pytest.mark.parametrize("kind", [torch.float16, torch.float32])
@pytest.mark.parametrize("autocast", [False, True])
def test_sums_over_a_picture_do_not_outgrow_float16(kind, autocast):
    ones, steps = torch.ones(1, 4, 300, 300).to(kind), torch.arange(300).expand(1, 1, 300, 300).to(kind)
    with torch.autocast("cpu", torch.float16, enabled=autocast):
        assert torch.equal(gram(ones), torch.full((1, 4, 4), 9e4))
        assert torch.equal(mean_gram(ones), torch.ones(1, 4, 4))
        assert content_loss(ones, 2 * ones).item() == 18e4
        assert total_variation(steps).item() == 300 * 299


def test_under_autocast_to_bfloat16_the_products_are_in_it():
    with torch.autocast("cpu", torch.bfloat16):
        assert mean_gram(torch.ones(1, 4, 300, 300)).dtype == torch.bfloat16


def test_content_by_hand():
    assert content_loss(F, P).item() == 0.5 * (0 + 4 + 9 + 9)  # equation 1
    assert content_loss(F.repeat(4, 1, 1, 1), P).item() == 11.0  # a mean over the pictures


def test_style_by_hand():
    # G - A = [[4, 11], [11, 24]], N = M = 2 (equation 4), weights 1/2 and 1/4 (equation 5).
    layer = (16 + 121 + 121 + 576) / (4 * 2**2 * 2**2)
    grams = {"a": mean_gram(P), "b": mean_gram(P)}
    assert style_loss({"a": F, "b": F}, grams, {"a": 0.5}).item() == pytest.approx(layer / 2)
    assert style_loss({"a": F, "b": F}, grams, {"a": 0.5, "b": 0.25}).item() == pytest.approx(layer * 0.75)


def test_each_picture_has_its_own_style_or_all_have_one():
    pair = torch.cat([F, P])
    own = style_loss({"a": pair}, {"a": mean_gram(pair.flip(0))}, {"a": 1.0})
    one = style_loss({"a": pair}, {"a": mean_gram(P)}, {"a": 1.0})
    torch.testing.assert_close(own, 2 * one)
    for pictures, styles in ((F, pair), (pair, pair.repeat(2, 1, 1, 1)[:3])):
        numbers = f"a: {len(styles)} Gram matrices of styles for {len(pictures)} pictures; give one, or one a picture"
        with pytest.raises(ValueError, match=numbers):
            style_loss({"a": pictures}, {"a": mean_gram(styles)}, {"a": 1.0})


def test_style_of_any_size():
    # A style twice as large that repeats itself is the same style, as it is not with Gram matrices that are sums.
    large = F.repeat(1, 1, 2, 3)
    assert style_loss({"a": large}, {"a": mean_gram(F)}, {"a": 1.0}).item() == 0
    assert (gram(large) - gram(F)).square().sum() > 0


def test_style_against_other_normalisations():
    """Gatys' later code takes the mean of squares of G / M; Johnson's the sum of squares of G / (N M)."""
    found, target = torch.rand(1, 7, 4, 4), torch.rand(1, 7, 4, 4)
    ours = style_loss({"a": found}, {"a": mean_gram(target)}, {"a": 1.0})
    difference = mean_gram(found) - mean_gram(target)
    torch.testing.assert_close(ours, nn.functional.mse_loss(difference, torch.zeros(1, 7, 7)) / 4)
    johnson = (difference / 7).square().sum()
    torch.testing.assert_close(ours, johnson / 4)


def test_variation_by_hand():
    image = torch.tensor([[[[0.0, 1.0], [2.0, 4.0]]]])
    assert total_variation(image).item() == (1 + 4) + (4 + 9)
    assert total_variation(torch.full((2, 3, 4, 5), 0.3)).item() == 0
    assert total_variation(image.repeat(3, 1, 1, 1)).item() == 18


def test_variation_of_bytes_which_would_wrap_is_refused():
    with pytest.raises(ValueError, match=r"torch.uint8; expected floats: images / 255"):
        total_variation(torch.tensor([[[[0, 200], [0, 200]]]], dtype=torch.uint8))


def test_gradients():
    features = torch.randn(2, 3, 3, 2, dtype=torch.double, requires_grad=True)
    target = torch.randn(1, 3, 3, 2, dtype=torch.double)
    grams = {"a": mean_gram(target)}
    assert torch.autograd.gradcheck(gram, features)
    assert torch.autograd.gradcheck(lambda f: content_loss(f, target), features)
    assert torch.autograd.gradcheck(lambda f: style_loss({"a": f}, grams, {"a": 0.3}), features)
    assert torch.autograd.gradcheck(total_variation, features)


def test_gradient_of_the_style_is_the_papers():
    # Equation 6, for features above zero: F (G - A) / (N^2 M^2), written for F of (N, M).
    features, target = torch.rand(1, 3, 4, 5, requires_grad=True), torch.rand(1, 3, 4, 5)
    style_loss({"a": features}, {"a": mean_gram(target)}, {"a": 1.0}).backward()
    f = features.detach()[0].flatten(1)
    expected = (gram(features) - gram(target))[0] @ f / (3**2 * 20**2)
    torch.testing.assert_close(features.grad[0].flatten(1), expected.detach())


def test_sum_of_terms(net):
    image, content, style = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8), torch.rand(1, 3, 12, 10)
    weights = Weights({"relu2_1": 2.0}, {"relu1_1": 0.3, "relu2_1": 0.7}, 0.5)
    targets = Targets(net(content, weights.content), style_targets(net, [style], weights.style))
    terms = perceptual_loss(net, image, targets, weights)
    features = net(image, ("relu1_1", "relu2_1"))
    assert terms["content"].item() == pytest.approx(
        2 * content_loss(features["relu2_1"], targets.content["relu2_1"]).item() / (6 * 4 * 4), rel=1e-5
    )
    torch.testing.assert_close(terms["style"], style_loss(features, targets.style, weights.style))
    torch.testing.assert_close(terms["variation"], 0.5 * total_variation(image) / 64)


def test_the_picture_itself_has_no_loss(net):
    picture = torch.rand(1, 3, 8, 8)
    weights = Weights({"relu2_2": 1.0}, {"relu1_1": 1.0})
    targets = Targets(net(picture, weights.content), style_targets(net, [picture], weights.style))
    assert all(term.item() < 1e-10 for term in perceptual_loss(net, picture, targets, weights).values())


def test_mixing_is_the_weighted_sum_of_losses_up_to_a_constant(net):
    styles, layers = [torch.rand(1, 3, 8, 8), torch.rand(1, 3, 12, 9).square()], {"relu1_1": 0.5, "relu2_1": 0.5}
    shares = (0.25, 0.75)

    def gradient(image, losses):
        return torch.autograd.grad(losses(net(image, layers)), image)[0]

    def apart(features):
        each = [style_loss(features, style_targets(net, [style], layers), layers) for style in styles]
        return sum(share * loss for share, loss in zip(shares, each, strict=True))

    mixed = style_targets(net, styles, layers, (1.0, 3.0))
    image = torch.rand(1, 3, 8, 8, requires_grad=True)
    together = gradient(image, lambda features: style_loss(features, mixed, layers))
    torch.testing.assert_close(together, gradient(image, apart))


def test_features_before_a_relu_are_not_overwritten_by_it(net):
    """The trap of ReLUs that work in place: what was taken for conv1_1 is relu1_1."""
    image = torch.rand(1, 3, 8, 8)
    found = net(image, ("conv1_1", "relu1_1"))
    assert (found["conv1_1"] < 0).any() and not torch.equal(found["conv1_1"], found["relu1_1"])
    alone = net(image, ("conv1_1",))["conv1_1"]
    assert content_loss(found["conv1_1"], alone) == 0


def test_a_term_without_weight_is_left_out(net):
    weights = Weights({"relu1_1": 0.0}, {"relu1_1": 1.0, "relu2_1": 0.0})
    targets = Targets({}, style_targets(net, [torch.rand(1, 3, 8, 8)], ("relu1_1",)))
    assert perceptual_loss(net, torch.rand(1, 3, 8, 8), targets, weights).keys() == {"style"}


def test_errors_name_the_value_and_the_way_out(net):
    image, features = torch.rand(1, 3, 8, 8), {"a": F}
    with pytest.raises(ValueError, match=r"\(2, 1, 2\); expected \(B, N, H, W\), so one picture is \[None\]"):
        gram(F[0])
    with pytest.raises(ValueError, match="a picture of the same size"):
        content_loss(F, torch.zeros(1, 2, 2, 2))
    with pytest.raises(ValueError, match=r"features of shape \(3, 2, 1, 2\) and content of \(2, 2, 1, 2\)"):
        content_loss(F.repeat(3, 1, 1, 1), F.repeat(2, 1, 1, 1))
    with pytest.raises(ValueError, match="layer 'b' has a weight but not both"):
        style_loss(features, {"a": mean_gram(F)}, {"b": 1.0})
    with pytest.raises(ValueError, match="2 and 3 channels; use one net"):
        style_loss(features, {"a": torch.zeros(1, 3, 3)}, {"a": 1.0})
    with pytest.raises(ValueError, match="weight -1 of relu1_1"):
        Weights({"relu1_1": -1})
    with pytest.raises(ValueError, match="content layer 'relu1_1' has a weight but no target; these have: none"):
        perceptual_loss(net, image, Targets(), Weights({"relu1_1": 1.0}))
    with pytest.raises(ValueError, match="no term has a weight"):
        perceptual_loss(net, image, Targets(), Weights())
    with pytest.raises(ValueError, match=r"2 styles with shares \[1\.0\]"):
        style_targets(net, [image, image], ("relu1_1",), [1.0])
    with pytest.raises(ValueError, match="0 styles"):
        style_targets(net, [], ("relu1_1",))
    for shares in ([1.0, -1.0], [3.0, -1.0], [0.0, 0.0]):
        with pytest.raises(ValueError, match=rf"2 styles with shares \[{shares[0]}, {shares[1]}\]; give one a style"):
            style_targets(net, [image, image], ("relu1_1",), shares)


@pytest.mark.parametrize("weight", [-1e-9, math.nan])
@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("relu1_1", lambda weight: Weights({"relu2_1": 1.0, "relu1_1": weight})),
        ("relu1_1", lambda weight: Weights({}, {"relu2_1": 1.0, "relu1_1": weight})),
        ("total variation", lambda weight: Weights({"relu1_1": 1.0}, {}, weight)),
    ],
)
def test_no_weight_is_negative(weight, name, made):
    made(0.0)
    with pytest.raises(ValueError, match=f"weight {weight} of {name}; it must be at least 0"):
        made(weight)
