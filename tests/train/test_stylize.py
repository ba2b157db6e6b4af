import math

import pytest
import torch

from xferlib.losses.perceptual import Targets, Weights, perceptual_loss, style_targets
from xferlib.nets.random_filters import RandomFilters
from xferlib.nets.vgg import VGG
from xferlib.train.stylize import History, keep_colours, match_colours, resized, stylize

LAYERS = {"content_layers": ("relu2_1",), "style_layers": ("relu1_1", "relu2_1")}


@pytest.fixture
def net():
    torch.manual_seed(0)
    return VGG(widths=(6, 8), convs=(2, 1), normalise=True, pooling="average").requires_grad_(False)


@pytest.fixture
def paint(net):
    """`stylize` on a small net; any argument can be replaced."""

    def run(content=None, style=None, net=net, **changes):
        content = picture(1, 24, 20) if content is None else content
        style = picture(2, 16, 30) if style is None else style
        return stylize(content, style, net, **{"steps": 12, "margin": 0, "progress": False, **LAYERS, **changes})

    return run


def picture(seed, height, width, channels=3):
    return torch.rand(channels, height, width, generator=torch.Generator().manual_seed(seed))


def total(net, image, content, style, content_weight=0.1, variation=0.3):
    weights = Weights({"relu2_1": content_weight}, {"relu1_1": 0.5, "relu2_1": 0.5}, variation)
    targets = Targets(net(content[None], ("relu2_1",)), style_targets(net, [style[None]], weights.style))
    return sum(term.item() for term in perceptual_loss(net, image[None], targets, weights).values())


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("start", ["content", "noise"])
def test_it_lowers_the_loss_that_it_reports(net, paint, optimizer, start):
    content, style = picture(1, 24, 20), picture(2, 16, 30) ** 3
    result = paint(content, style, optimizer=optimizer, start=start, steps=40)
    before = content if start == "content" else result.image
    history = result.history
    assert result.image.shape == content.shape and result.image.min() >= 0 and result.image.max() <= 1
    assert history.loss[-1] < 0.3 * history.loss[0]
    if start == "content":
        assert history.loss[0] == pytest.approx(total(net, before, content, style), rel=1e-4)
    assert set(history.losses) == {"content", "style", "variation"}
    assert history.loss[3] == pytest.approx(sum(values[3] for values in history.losses.values()))
    assert history.seconds == sorted(history.seconds) and len(history.seconds) == len(history.loss)


def test_without_a_style_it_reconstructs(paint):
    content = picture(1, 24, 20)
    result = paint(content, (), content_layers=("relu1_1",), variation_weight=0.0, start="noise", steps=150)
    assert set(result.history.losses) == {"content"}
    assert (result.image - content).abs().mean() < 0.03


def test_without_content_it_synthesises(paint):
    content, style = picture(1, 24, 20), 0.6 + 0.2 * picture(2, 16, 30)
    result = paint(content, style, content_weight=0.0, variation_weight=0.0, start="noise", steps=40)
    assert set(result.history.losses) == {"style"}
    torch.testing.assert_close(result.image.mean((1, 2)), style.mean((1, 2)), atol=0.1, rtol=0)


def test_from_coarse_to_fine(paint):
    sizes = paint(picture(1, 64, 48), picture(2, 64, 64), steps=(5, 4, 3), optimizer="adam").history.size
    assert sizes == 5 * [(16, 12)] + 4 * [(32, 24)] + 3 * [(64, 48)]


def test_scales_too_small_for_the_net_are_left_out(paint):
    # relu2_1 has one cell every two pixels and needs four: content and style must keep 8 pixels a side.
    plan = {"steps": (9, 9, 9, 2, 1), "optimizer": "adam"}
    assert paint(picture(1, 24, 20), picture(2, 40, 40), **plan).history.size == [(12, 10)] * 2 + [(24, 20)]
    assert paint(picture(1, 24, 20), picture(2, 10, 40), **plan).history.size == [(24, 20)]


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_same_seed_same_picture(paint, optimizer):
    options = {"start": "noise", "optimizer": optimizer, "steps": (6, 6)}
    one, same, other = (paint(seed=seed, **options).image for seed in (3, 3, 4))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_nothing_is_changed_but_the_result(net, paint):
    content, style = picture(1, 24, 20), picture(2, 16, 30)
    before = content.clone(), style.clone(), {k: v.clone() for k, v in net.state_dict().items()}
    state = torch.random.get_rng_state()
    paint(content, style, start="noise")
    assert torch.equal(content, before[0]) and torch.equal(style, before[1])
    assert all(torch.equal(value, before[2][name]) for name, value in net.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(p.grad is None for p in net.parameters())


def test_weights_of_a_net_that_is_still_to_train_get_no_gradient(net, paint):
    paint(net=net.requires_grad_(True))
    assert all(p.grad is None for p in net.parameters())


def test_progress_is_told_at_each_evaluation(paint):
    told = []
    result = paint(steps=(5, 5), optimizer="adam", on_step=told.append)
    assert [(p.step, p.steps) for p in told] == [(i, 10) for i in range(1, 11)]
    assert [p.loss for p in told] == result.history.loss and told[-1].size == (24, 20)
    assert all(p.image.shape[1:] == p.size and p.image.min() >= 0 and p.image.max() <= 1 for p in told)
    told[0].image.zero_()
    assert told[1].image.any()


def test_what_is_told_is_not_what_is_worked_on(paint):
    plain = paint(optimizer="adam").image
    assert torch.equal(paint(optimizer="adam", on_step=lambda p: p.image.zero_()).image, plain)


def test_pixels_are_clamped_only_at_the_end(net, paint):
    """What L-BFGS moves through is not cut off: the net sees values beyond [0, 1]."""
    seen = []

    def watched(images, layers):
        seen.append((images.amin().item(), images.amax().item()))
        return net(images, layers)

    bright = torch.ones(3, 16, 16)
    result = paint(net=watched, style=bright, variation_weight=0.0, steps=20)
    assert max(high for _, high in seen) > 1
    assert result.image.max() <= 1


def test_styles_are_mixed_by_their_shares(paint):
    dark, bright = torch.full((3, 16, 16), 0.1), torch.full((3, 20, 20), 0.9)
    options = {"content_weight": 0.0, "steps": 30, "start": "noise"}
    means = [paint(style=[dark, bright], shares=shares, **options).image.mean() for shares in ((3, 1), (1, 1), (1, 3))]
    assert means[0] < means[1] < means[2]
    alone = paint(style=dark, **options).image
    torch.testing.assert_close(paint(style=[dark, bright], shares=(1, 0), **options).image, alone)


def test_layers_weigh_by_their_ratios(net, paint):
    one = paint(style_layers={"relu1_1": 1.0, "relu2_1": 3.0}).image
    assert torch.equal(one, paint(style_layers={"relu1_1": 0.25, "relu2_1": 0.75}).image)
    assert not torch.equal(one, paint(style_layers=("relu1_1", "relu2_1")).image)


def test_the_loss_network_may_be_any_net(paint):
    layers = {"content_layers": ("scale1",), "style_layers": ("scale1", "scale2")}
    result = paint(picture(1, 24, 20), picture(2, 16, 30), RandomFilters(channels=4, levels=2), **layers)
    assert result.history.loss[-1] < result.history.loss[0]


def test_the_size_that_counts_is_the_contents_own(paint):
    with pytest.raises(ValueError, match="content of 6x40 pixels leaves 3 cells"):
        paint(picture(1, 6, 40), margin=5)


@pytest.mark.parametrize("shape", [(8, 200), (200, 8)])
def test_extreme_aspect_ratios(paint, shape):
    assert paint(picture(1, *shape), steps=(2, 2), optimizer="adam").image.shape == (3, *shape)


def test_grey_pictures_and_batches_of_one(paint):
    grey, style = picture(1, 24, 20, channels=1), picture(2, 16, 30, channels=1)
    image = paint(grey, style, optimizer="adam").image
    assert torch.equal(image, paint(grey.repeat(3, 1, 1)[None], style.repeat(3, 1, 1), optimizer="adam").image)


def test_the_frame_is_mirrored_and_cut_off_again(net, paint):
    seen, told = [], []

    def watched(images, layers):
        seen.append(images.detach().clone())
        return net(images, layers)

    content = picture(1, 24, 20)
    image = paint(content, net=watched, margin=4, optimizer="adam", on_step=told.append).image
    canvas = next(images[0] for images in seen if images.shape[-2] == 32)
    assert canvas.shape == (3, 32, 28) and torch.equal(canvas[:, 4:-4, 4:-4], content)
    assert torch.equal(canvas[:, 3], canvas[:, 5])
    assert image.shape == told[0].image.shape == (3, 24, 20) and told[0].size == (32, 28)
    assert paint(picture(1, 9, 9), margin=30, optimizer="adam").image.shape == (3, 9, 9)


def test_another_start(paint):
    history = paint(start=picture(1, 24, 20), optimizer="adam").history
    assert history.loss == paint(start="content", optimizer="adam").history.loss  # the content itself


def test_by_default_it_starts_in_the_colours_of_the_styles(net):
    seen, content, styles = [], picture(1, 24, 20), [picture(2, 16, 30) ** 3, picture(3, 12, 12) ** 2]
    options = {"style_layers": ("relu1_1",), "content_layers": ("relu2_1",), "steps": 1, "progress": False, "margin": 0}
    stylize(content, styles, net, on_step=lambda progress: seen.append(progress.image), **options)
    pixels = torch.cat([style.flatten(1) for style in styles], 1)
    torch.testing.assert_close(seen[0], match_colours(content, pixels[..., None]))
    torch.testing.assert_close(seen[0].mean((1, 2)), pixels.mean(1), atol=0.05, rtol=0)  # cut at 0 and 1
    seen.clear()
    stylize(content, styles, net, style_weight=0, on_step=lambda progress: seen.append(progress.image), **options)
    torch.testing.assert_close(seen[0], content)


def test_a_finer_scale_starts_with_the_detail_of_the_first_picture(net):
    seen, content = {}, picture(1, 48, 40)
    noise = (content + 0.1 * torch.randn(content.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)

    def first_seen(progress):
        seen.setdefault(progress.size, progress.image)

    options = {"style_weight": 0.0, "content_layers": ("relu1_1",), "variation_weight": 0.0, "progress": False}
    stylize(noise, (), net, steps=(1, 1), margin=0, start="content", on_step=first_seen, **options)
    assert list(seen) == [(24, 20), (48, 40)]
    torch.testing.assert_close(seen[48, 40], noise, atol=0.02, rtol=0)  # enlarged alone it would be off by 0.07


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_loss_that_is_not_finite_stops_with_the_reason(net, paint, optimizer):
    calls = 0

    def broken(images, layers):
        nonlocal calls
        calls += 1
        return {name: f * (math.nan if calls > 6 else 1.0) for name, f in net(images, layers).items()}

    with pytest.raises(FloatingPointError, match=r"loss \{'content': nan.* of 12: try a lower lr, optimizer='adam'"):
        paint(net=broken, optimizer=optimizer)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"content": picture(1, 4, 40)},
            r"content of 4x40 pixels leaves 2 cells across in relu2_1; give at least 8 a side",
        ),
        ({"style": picture(1, 4, 4)}, r"style of 4x4 pixels leaves 2 cells across in relu2_1; give at least 8 a"),
        ({"content": torch.rand(2, 3, 24, 20)}, r"\(2, 3, 24, 20\); paint one picture at a time: batch\[i\]"),
        ({"content": torch.rand(24, 20)}, r"\(24, 20\); give \(3, H, W\), or \(1, H, W\) if grey"),
        ({"content": torch.rand(4, 24, 20)}, r"\(4, 24, 20\)"),
        ({"content": torch.rand(3, 0, 20)}, r"\(3, 0, 20\)"),
        ({"content": picture(1, 24, 20) * 255}, r"content has values from .* to 25.*divide by 255"),
        ({"style": (picture(1, 24, 20) * 255).byte()}, r"style is torch.uint8; .*divide by 255"),
        ({"style": picture(1, 24, 20) - 0.5}, r"style has values from -0\."),
        ({"content": torch.full((3, 24, 20), math.nan)}, r"nan or infinite; see torch.nan_to_num"),
        ({"max_pixels": 400}, r"content of 24x20 is over 400 pixels; resize it, or raise max_pixels"),
        ({"max_pixels": 500, "style": picture(1, 24, 21)}, r"style of 24x21 is over 500 pixels"),
        ({"steps": ()}, r"steps are \(\)"),
        ({"steps": (10, 0)}, r"steps are \(10, 0\)"),
        ({"optimizer": "sgd"}, r"'sgd' is none of 'lbfgs' or 'adam'"),
        ({"margin": -1}, r"margin -1 is below 0"),
        ({"lr": 0.0}, r"lr 0\.0 is not above 0"),
        ({"start": "grey"}, r"'grey' is none of 'matched', 'content', 'noise' or a picture"),
        ({"start": picture(1, 8, 8)}, r"start of \(8, 8\) for a content of \(24, 20\)"),
        ({"style_layers": "relu1_1"}, r"the str 'relu1_1'; give a list"),
        ({"style_layers": ("relu7_1",)}, r"relu7_1"),
        ({"style_layers": {"relu1_1": -1.0}}, r"at least 0"),
        ({"content_weight": -1.0}, r"weight -1\.0"),
        ({"variation_weight": -1.0}, r"weight -1\.0 of total variation"),
        ({"shares": (1, 2)}, r"1 styles with shares \[1, 2\]"),
        ({"style": (), "content_weight": 0.0, "variation_weight": 0.0}, r"no term has a weight"),
    ],
)
def test_errors_name_the_value_and_the_way_out(paint, changes, message):
    with pytest.raises(ValueError, match=message):
        paint(**changes)


def test_resizing_keeps_the_mean_and_does_not_alias():
    stripes = torch.tensor([0.0, 1.0]).repeat(32).expand(1, 3, 64, 64)
    assert resized(stripes, (64, 64)) is stripes
    assert (resized(stripes, (20, 20)) - 0.5).abs().max() < 0.2
    assert resized(stripes, (20, 90)).shape == (1, 3, 20, 90)


def test_matched_colours_have_the_mean_and_covariance_of_the_content():
    style, content = picture(1, 40, 30) * 0.2 + 0.4, 0.4 + 0.1 * picture(2, 20, 20)
    content[0] += 0.3 * content[1]
    matched = match_colours(style, content)
    torch.testing.assert_close(matched.mean((1, 2)), content.mean((1, 2)), atol=1e-3, rtol=0)
    torch.testing.assert_close(torch.cov(matched.flatten(1)), torch.cov(content.flatten(1)), atol=1e-4, rtol=0)
    assert match_colours(torch.full((3, 4, 4), 0.5), content).isfinite().all()


def test_kept_colours_change_light_alone():
    image, content = 0.3 + 0.1 * picture(1, 8, 8), 0.4 + 0.1 * picture(2, 8, 8)
    kept, luma = keep_colours(image, content), torch.tensor([0.299, 0.587, 0.114])
    torch.testing.assert_close(torch.tensordot(luma, kept, 1), torch.tensordot(luma, image, 1))
    torch.testing.assert_close(kept[0] - kept[1], content[0] - content[1])
    with pytest.raises(ValueError, match=r"\(3, 8, 8\) and content \(3, 8, 9\) differ"):
        keep_colours(image, picture(2, 8, 9))


def test_a_history_starts_empty():
    assert History() == History(loss=[], losses={}, size=[], seconds=[])


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_net_that_lays_out_its_pictures_otherwise(net, paint, optimizer):
    def turned(images, layers):
        return net(images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2), layers)

    options = {"optimizer": optimizer, "variation_weight": 0.0, "steps": 6}
    plain = paint(**options).image
    torch.testing.assert_close(paint(net=turned, **options).image, plain, atol=0.02, rtol=0)


def test_a_flat_picture_without_anything_to_do_stays(paint):
    flat = torch.full((3, 16, 16), 0.5)
    result = paint(flat, flat, net=_pixels, content_layers=("a",), style_layers=("a",))
    torch.testing.assert_close(result.image, flat)


def _pixels(images, layers):
    return {name: images for name in layers}


def test_noise_in_a_grey_picture_is_not_blown_up_to_colours():
    colourful = picture(2, 40, 40)
    grey = picture(1, 40, 40)[:1].expand(3, -1, -1)
    noise = 0.003 * torch.randn(grey.shape, generator=torch.Generator().manual_seed(0))
    matched = match_colours((grey + noise).clamp(0, 1), colourful)
    assert (matched - matched.mean(0)).std() < 0.2 * (colourful - colourful.mean(0)).std()


def test_the_colours_of_one_pixel_cannot_be_matched():
    with pytest.raises(ValueError, match=r"pictures of shape \(3, 4, 5\) and \(3, 1, 1\); colours vary from two"):
        match_colours(torch.rand(3, 4, 5), torch.rand(3, 1, 1))
