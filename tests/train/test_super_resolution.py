"""The recipes of super-resolution: small and large pieces belong together, the losses see what they should."""

import pytest
import torch
import torch.nn.functional as F

from xferlib.data import photos
from xferlib.losses.perceptual import mean_gram
from xferlib.losses.restoration import charbonnier
from xferlib.nets.edsr import EDSR
from xferlib.ops.degrade import downscale, upscale
from xferlib.train import recipes
from xferlib.train.recipes import super_resolution as sr
from xferlib.zoo.loss_network import loss_network


def scene(height: int = 96, width: int = 96, count: int = 1, seed: int = 0) -> torch.Tensor:
    coarse = torch.rand(count, 3, height // 4, width // 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, (height, width), mode="bilinear")


def as_bytes(images: torch.Tensor) -> torch.Tensor:
    return (255 * images).round().byte()


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_small_pictures_are_reduced_photographs_in_bytes(factor):
    photograph = as_bytes(scene(51, 62)[0])
    [(small, large)] = sr.pairs([photograph], factor, side=8)
    assert small.dtype == large.dtype == torch.uint8
    assert large.shape[1:] == (51 // factor * factor, 62 // factor * factor)
    assert torch.equal(large, photograph[:, : large.shape[1], : large.shape[2]])
    plain = downscale(large[None].float(), factor)[0]
    assert (small - plain).abs().max() < 0.51
    assert sr.pairs([photograph], factor, side=40) == []


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_both_pieces_show_the_same_place_turned_alike(factor):
    rows, columns = torch.meshgrid(torch.arange(40), torch.arange(50), indexing="ij")
    small = torch.stack([rows, columns, 0 * rows]).byte()
    large = small.repeat_interleave(factor, 1).repeat_interleave(factor, 2)
    generator, corners = torch.Generator().manual_seed(0), set()
    for _ in range(64):
        one, other = sr.piece((small, large), generator, side=12)
        assert one.shape == (3, 12, 12) and other.shape == (3, 12 * factor, 12 * factor)
        assert torch.equal(other[:, ::factor, ::factor], one) and torch.equal(
            other[:, factor - 1 :: factor], other[:, ::factor]
        )
        slopes = 255 * one[:2, 1, 1] - 255 * one[:2, 0, 0]
        ways = (255 * (one[0, 0, 1] - one[0, 0, 0])).round().item(), tuple(slopes.round().tolist())
        corners.add(ways)
    assert len(corners) == 8  # four turns, mirrored or not


def test_pieces_come_from_the_whole_picture():
    marks = torch.arange(256).view(1, 16, 16).expand(3, -1, -1).byte()
    generator = torch.Generator().manual_seed(0)
    seen = {int(255 * value.round(decimals=4)) for _ in range(150) for value in _corners(marks, generator)}
    assert {0, 15, 240, 255} <= seen


def _corners(marks, generator):
    one, _ = sr.piece((marks, marks.repeat_interleave(2, 1).repeat_interleave(2, 2)), generator, side=8)
    return one[0, [0, 0, -1, -1], [0, -1, 0, -1]]


def test_the_pixel_loss_is_charbonniers_up_to_half_precision():
    torch.manual_seed(0)
    net, small, true = EDSR(4, 8, 1, direct=True, bicubic=True), scene(16, 16, 2), scene(64, 64, 2, seed=1)
    torch.nn.init.normal_(net.tail.conv.weight, std=0.05)
    assert sr._pixels(net, (small, true)).item() == pytest.approx(charbonnier(net(small), true).item(), rel=0.01)
    bare = EDSR(4, 8, 1, direct=True, bicubic=True)
    torch.testing.assert_close(sr._pixels(bare, (small, true)), charbonnier(upscale(small, 4), true))


def test_the_loss_of_nets_for_luma_does_not_see_colour():
    true = scene(16, 16, 2)
    step = torch.tensor([0.1, 0.0, 0.0]).view(3, 1, 1)
    grey = torch.tensor([0.587, -0.299, 0.0]).view(3, 1, 1)  # changes colour, keeps luma
    assert sr._luma(lambda small: true + grey, (true, true)).item() < 1e-12
    assert sr._luma(lambda small: true + step, (true, true)).item() == pytest.approx(
        (0.1 * 65.481 / 255) ** 2, rel=1e-4
    )


def test_patches_are_cut_row_by_row():
    maps = torch.rand(2, 3, 8, 12)
    cut = sr.patches(maps, 4)
    assert cut.shape == (32, 3, 2, 3)
    assert torch.equal(cut[16 + 4 * 1 + 2], maps[1, :, 2:4, 6:9])


def test_a_perfect_net_loses_nothing_by_any_term():
    true = scene(64, 64, 2)
    terms = sr._perception(lambda small: true, (downscale(true, 4), true))
    assert list(terms) == ["features", "textures", "pixels", "checkerboard"]
    assert all(term.item() == 0 for term in terms.values())


def test_the_texture_term_compares_gram_matrices_patch_by_patch():
    made, true = scene(64, 64, 2), scene(64, 64, 2, seed=1)
    terms = sr._perception(lambda small: made, (downscale(true, 4), true))
    net, expected = loss_network(), 0.0
    found, wanted = (net(images, tuple(sr.TEXTURES)) for images in (made, true))
    for layer, weight in sr.TEXTURES.items():
        side = found[layer].shape[-1] // (64 // sr.PATCH)
        for row in range(0, found[layer].shape[-1], side):
            for column in range(0, found[layer].shape[-1], side):
                one, other = (
                    mean_gram(maps[layer][..., row : row + side, column : column + side]) for maps in (found, wanted)
                )
                expected += weight * (one - other).square().mean().item() / 4 / (64 // sr.PATCH) ** 2
    assert terms["textures"].item() == pytest.approx(expected, rel=0.03)  # features in half precision
    assert terms["pixels"].item() == pytest.approx((made - true).abs().mean().item())


def test_a_grain_that_all_blocks_share_costs_and_one_of_another_period_does_not():
    true = torch.full((2, 3, 64, 64), 0.5)
    wave = 0.02 * torch.cos(torch.pi / 2 * torch.arange(64))
    four, five = (true + wave[None, None, None], true + 0.02 * torch.cos(0.4 * torch.pi * torch.arange(64)))
    pattern, other = (
        sr._perception(lambda small, made=made: made, (downscale(true, 4), true))["checkerboard"].item()
        for made in (four, five)
    )
    assert pattern == pytest.approx(sr.CHECKERBOARD * 0.02**2 / 2, rel=0.05) and other < 0.05 * pattern


def test_the_study_of_patterns_differs_by_that_term_alone(monkeypatch):
    true = scene(64, 64, 2)
    batch = downscale(true, 4), true
    without, whole = (loss(lambda small: true.flip(3), batch) for loss in sr.LOSSES.values())
    assert whole.keys() - without.keys() == {"checkerboard"}
    assert all(torch.equal(without[name], whole[name]) for name in without)
    trained = []
    monkeypatch.setattr(sr, "photographs", lambda data, held_back=False: [as_bytes(scene(128, 128)[0])] * 3)
    figures = sr._weave(lambda name, *_, **options: trained.append((name, options)), 0)
    assert trained == [(name, settings(sr.WEAVE_STEPS)) for name in ("features", "features-and-no-pattern")]
    assert figures["features"] == figures["features and no pattern"]  # nobody trained them
    assert figures["features"]["PSNR"] > 20 and figures.keys() - sr.LOSSES.keys() == {"photographs"}


def settings(steps: int) -> dict:
    """What the recipe of the net that goes by features is trained with, for so many steps."""
    recipe = recipes.find("sr-x4-feature")
    return {"steps": steps, "batch_size": recipe.batch_size, "lr": recipe.lr, "seed": 0, **recipe.options}


def test_the_study_of_cameras_differs_by_its_pieces_alone(monkeypatch):
    photograph, trained, streams = as_bytes(scene(200, 240)[0]), [], []

    def train(name, net, loss, dataset, **options):
        trained.append((name, loss, options))
        streams.append(dataset)

    monkeypatch.setattr(sr, "photographs", lambda data, held_back=False: [photograph] * 3)
    figures = sr._one_or_many(train, 0)
    assert trained == [(name, sr._perception, settings(sr.CAMERA_STEPS)) for name in ("one-camera", "many-cameras")]
    papers, many = ([stream[i] for i in range(12)] for stream in streams)
    apart = [
        [(downscale(true[None], 4)[0] - small)[:, 4:-4, 4:-4].abs().max() for small, true in each]
        for each in (papers, many)
    ]
    assert max(apart[0]) < 0.6 / 255 < 5 / 255 < max(apart[1])
    assert figures["one camera"] == figures["many cameras"]  # nobody trained them
    assert all(figures[name].keys() == sr.CAMERAS.keys() for name in ("sr-x4", "bicubic", "one camera"))


@pytest.mark.parametrize("name", sr.CAMERAS)
def test_cameras_leave_the_picture_where_it_is(name):
    picture = photos.square(photos.load("china"), 128)[None]
    small, plain = sr.CAMERAS[name](picture), downscale(picture, 4)
    assert small.shape == plain.shape
    places = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    errors = {place: (small.roll(place, (2, 3)) - plain).square().mean().item() for place in places}
    assert min(errors, key=errors.get) == (0, 0)
    assert (errors[0, 0] < 1e-12) == (name == "as in papers")


def test_the_net_for_many_cameras_is_measured_on_each(monkeypatch):
    pictures = [as_bytes(scene(seed=i)[0]) for i in range(2)]
    monkeypatch.setattr(sr, "photographs", lambda data, held_back: pictures if held_back else [])
    figures = recipes.find("sr-x4-feature").evaluate(lambda small: upscale(small, 4), None)
    papers = figures["cameras"]["as in papers"]
    assert papers == {name: figures[name] for name in papers} == figures["bicubic"]
    assert figures["cameras"]["blurred before"]["PSNR"] < papers["PSNR"]


@pytest.mark.parametrize("papers", [0.0, 1.0])
def test_a_shot_shows_in_small_what_its_truth_shows(papers, monkeypatch):
    monkeypatch.setattr(sr, "PAPERS", papers)
    monkeypatch.setattr(sr, "snapshot", lambda large, factor, generator: downscale(large[None], factor)[0])
    photograph = as_bytes(scene(200, 260)[0])
    seen = set()
    for seed in range(20):
        small, true = sr.shot(photograph, torch.Generator().manual_seed(seed), side=24)
        assert small.shape == (3, 24, 24) and true.shape == (3, 96, 96)
        apart = (downscale(true[None], 4)[0] - small)[:, 2:-2, 2:-2].abs()
        assert apart.max() < (0.6 / 255 if papers else 1e-5)  # the border sees other pixels
        seen.add(true[0, 0, 0].item())
    assert len(seen) > 15


def test_half_of_the_shots_are_made_small_as_in_papers(monkeypatch):
    monkeypatch.setattr(sr, "snapshot", lambda large, factor, generator: torch.zeros(3, 48, 48))
    photograph, generator = as_bytes(scene(200, 260)[0]), torch.Generator().manual_seed(0)
    shots = [sr.shot(photograph, generator)[0] for _ in range(300)]
    assert 0.42 < sum(bool(small.any()) for small in shots) / 300 < 0.58


def test_the_blocks_of_jpeg_lie_anywhere_in_a_shot(monkeypatch):
    ramp = torch.arange(48) % 8
    monkeypatch.setattr(sr, "PAPERS", 0.0)
    blocks = (ramp == 0).float().expand(3, 48, 48).contiguous()
    monkeypatch.setattr(sr, "snapshot", lambda large, factor, generator: blocks)
    photograph = as_bytes(scene(192, 192)[0])
    generator = torch.Generator().manual_seed(0)
    starts = set()
    for _ in range(200):
        small, _ = sr.shot(photograph, generator)
        lines = small[0].mean(0) if small[0].std(0).max() < 1e-6 else small[0].mean(1)
        starts.add(int(lines[:8].argmax()))
    assert starts == set(range(8))


def test_photographs_too_small_for_a_shot_are_left_out(monkeypatch):
    shades = {50: (191, 300), 100: (192, 192), 150: (300, 191), 200: (260, 300)}
    flat = [torch.full((3, *size), shade).byte() for shade, size in shades.items()]
    monkeypatch.setattr(sr, "photographs", lambda data: flat)
    stream = sr._shots(None, 0)
    assert {round(255 * stream[i][1].mean().item()) for i in range(8)} == {100, 200}


def test_a_pattern_that_all_blocks_share_is_found_and_shown():
    block = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0)).mul(0.01)
    block -= block.mean((1, 2), keepdim=True)
    pictures = [shade + block.repeat(1, 18, size)[None] for shade, size in ((0.3, 18), (0.7, 20))]
    found = sr._pattern(pictures)
    torch.testing.assert_close(torch.tensor(found["block"]), block)
    assert found["pattern"] == pytest.approx(block.std((1, 2), correction=0).mean().item(), rel=1e-4)


def test_nets_are_measured_on_the_middles_of_photographs_held_back(monkeypatch):
    pictures = [as_bytes(scene(100 + 4 * i, 400, seed=i)[0]) for i in range(49)]
    monkeypatch.setattr(sr, "photographs", lambda data, held_back: pictures if held_back else [])
    found = sr.held_back(None, 4)
    assert [true.shape[2] for _, true in found] == [min(288, 100 + 4 * i) for i in range(49)]
    small, true = found[0]
    assert true.shape == (1, 3, 100, 288) and small.shape == (1, 3, 25, 72)
    assert torch.equal(true[0], pictures[0][:, :, 56:344] / 255)
    assert (255 * small).sub((255 * small).round()).abs().max() < 1e-4  # bytes


def test_the_truth_is_measured_as_perfect_and_bicubic_as_less():
    true = scene(96, 96)
    pictures = [(downscale(true, 4), true)]
    perfect, plain = sr.measure(lambda small: true, pictures), sr.measure(lambda small: upscale(small, 4), pictures)
    assert list(plain)[:2] == ["PSNR", "SSIM"]
    assert perfect["SSIM"] == pytest.approx(1) and perfect["features"] == 0 < plain["features"]
    assert perfect["detail"] == pytest.approx(1, abs=1e-5) and plain["detail"] < 0.9
    assert perfect["PSNR"] > plain["PSNR"]


def test_a_net_is_measured_beside_bicubic_enlargement(monkeypatch):
    pictures = [as_bytes(scene(seed=i)[0]) for i in range(2)]
    monkeypatch.setattr(sr, "photographs", lambda data, held_back: pictures if held_back else [])
    recipe = recipes.find("srcnn-x4")
    found = recipe.evaluate(recipe.net(**recipe.arguments).eval(), None)
    for name, value in found.pop("bicubic").items():
        assert found[name] == pytest.approx(value, rel=1e-3), name  # it starts as the bicubic picture


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_later_nets_start_from_the_one_that_enlarges_four_times(factor, monkeypatch):
    torch.manual_seed(0)
    taught = EDSR(4, **sr.SLIM)
    torch.nn.init.normal_(taught.tail.conv.weight)
    monkeypatch.setattr(sr.zoo, "load", lambda name, fast: taught)
    net, image = sr._grown(factor), scene(8, 8)
    assert net.factor == factor and torch.equal(net.gather.weight, taught.gather.weight)
    if factor == 4:
        assert torch.equal(net(image), taught(image))
    else:
        assert torch.equal(net(image), upscale(image, factor))


def test_the_net_that_goes_by_features_is_blended_with_the_one_that_goes_by_pixels(monkeypatch):
    taught, learner = EDSR(4, **sr.SLIM), EDSR(4, **sr.SLIM)
    with torch.no_grad():
        for net, value in ((taught, 1.0), (learner, 5.0)):
            for parameter in net.parameters():
                parameter.fill_(value)
    monkeypatch.setattr(sr.zoo, "load", lambda name, fast: taught)
    found = recipes.find("sr-x4-feature").finish(learner, None)
    assert {p.unique().item() for p in found.parameters()} == {4.0}  # three quarters of the way from 1 to 5


def test_the_recipes_are_alike_but_for_what_is_compared():
    found = {recipe.name: recipe for recipe in sr.RECIPES}
    assert {"sr-x2", "sr-x3", "sr-x4", "sr-x4-feature", "srcnn-x4", "espcn-x4"} == found.keys()
    assert all(recipe.arguments["factor"] == int(recipe.name.split("-x")[1][0]) for recipe in found.values())
    assert {recipe.task for recipe in found.values()} == {"super-resolution"}
    assert not set(photos.TEST) & set(photos.TRAIN)
