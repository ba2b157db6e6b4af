"""Each recipe of a shipped net, for two steps: its net, data, loss and measurement fit together."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from xferlib import zoo
from xferlib.data import augment, paintings, photos
from xferlib.data import streets as drawn_streets
from xferlib.data.benchmarks import CamVid, Nuclei
from xferlib.losses.segmentation import soft_iu_loss
from xferlib.ops.instances import Instances
from xferlib.train import fit, recipes
from xferlib.train import recipe as recipes_of
from xferlib.train.recipes import camvid, gatys, loss_network, loss_network_worth, streets, unet_cells, unet_isbi
from xferlib.zoo.manifest import data_folder

RECIPES = list(recipes.every())
RECORDED = {file.stem: file for file in (data_folder() / "results").glob("*.json")}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of real data in miniature, in the layouts that the recipes read."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in (split, f"{split}annot"):
            (root / "camvid" / kind).mkdir(parents=True)
        for i in range(3):
            labels = np.kron(rng.integers(12, size=(6, 8)), np.ones((10, 10))).astype(np.uint8)
            Image.fromarray(labels).save(root / "camvid" / f"{split}annot" / f"{i}.png")
            frame = np.stack([20 * labels, 255 - 20 * labels, labels], -1)
            Image.fromarray(frame).save(root / "camvid" / split / f"{i}.png")
    for kind in ("image", "label"):
        (root / "isbi2012" / kind).mkdir(parents=True)
    for i in range(24):
        labels = np.kron(rng.integers(2, size=(12, 12)), np.ones((8, 8))).astype(np.uint8)
        Image.fromarray(255 * labels).save(root / "isbi2012" / "label" / f"{i:02}.png")
        Image.fromarray(150 * labels + 40).save(root / "isbi2012" / "image" / f"{i:02}.png")
    for kind in ("image", "label"):
        (root / "nuclei" / kind).mkdir(parents=True)
    for i in range(8):
        numbers = np.kron(rng.permutation(64).reshape(8, 8) * rng.integers(2, size=(8, 8)), np.ones((25, 25)))
        Image.fromarray(numbers.astype(np.uint16)).save(root / "nuclei" / "label" / f"{i:02}.png")
        Image.fromarray((20 + 3 * numbers).astype(np.uint8)).save(root / "nuclei" / "image" / f"{i:02}.png")
    (root / "photos" / "set").mkdir(parents=True)
    for i in range(13):
        photo = rng.integers(256, size=(24, 30 + i, 3)).astype(np.uint8)
        Image.fromarray(photo).resize((300 + 10 * i, 240)).save(root / "photos" / "set" / f"{i}.png")
    (root / "low_light").mkdir()
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(root / "low_light" / "0.png")
    for kind in ("image", "label"):
        (root / kind).mkdir()
    for i in range(7):
        labels = np.kron(rng.integers(2, size=(5, 6)), np.ones((10, 10))).astype(np.uint8)
        Image.fromarray(labels).save(root / "label" / f"{i}.png")
        Image.fromarray(100 + 50 * labels).save(root / "image" / f"{i}.png")
    return root


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Tiles as small as the slices in miniature, and few."""
    for name, value in {"TILE": 148, "WHOLE": 148, "TILES": 3}.items():
        monkeypatch.setattr(unet_isbi, name, value)


@pytest.mark.parametrize("row", zoo.rows(), ids=lambda row: row.name)
def test_a_shipped_net_is_the_one_that_its_recipe_makes(row):
    recipe = recipes.find(row.recipe)
    for field in ("name", "task", "chapter", "arguments", "classes", "palette", "data", "terms", "views", "pixels"):
        assert json.dumps(getattr(row, field)) == json.dumps(getattr(recipe, field)), field


@pytest.mark.parametrize("recipe", [r for r in RECIPES if r.name in RECORDED], ids=lambda recipe: recipe.name)
def test_a_record_tells_of_the_recipe_as_it_is(recipe):
    kept = json.loads(RECORDED[recipe.name].read_text("utf-8"))
    assert (kept["steps"], kept["data"]) == (recipe.steps, recipe.data)


@pytest.mark.parametrize("study", [s for s in recipes.studies() if s.name in RECORDED], ids=lambda study: study.name)
def test_a_record_tells_of_the_study_as_it_is(study):
    assert json.loads(RECORDED[study.name].read_text("utf-8"))["data"] == study.data


@pytest.mark.parametrize("name", sorted(RECORDED.keys() & {each.name for each in (*RECIPES, *recipes.studies())}))
def test_a_record_says_what_it_cost(name):
    cost = json.loads(RECORDED[name].read_text("utf-8"))["cost"]
    assert cost["seconds"] > 0 and cost["hardware"]


@pytest.mark.parametrize("row", [row for row in zoo.rows() if row.name in RECORDED], ids=lambda row: row.name)
def test_a_net_and_its_record_say_the_same(row):
    kept = json.loads(RECORDED[row.name].read_text("utf-8"))
    assert (row.result, row.cost, row.commit) == (kept["figures"], kept["cost"], kept["commit"])


def test_the_nets_are_those_of_the_recipes_that_ship_them():
    assert {r.name for r in RECIPES if r.shipped and not r.adapt} == {row.recipe for row in zoo.rows()}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_samples_depend_on_their_number_alone(recipe, data):
    one, two = recipe.dataset(data, 0), recipe.dataset(data, 0)
    first = [one[i] for i in (5, 0)]
    second = [two[i] for i in (0, 5)][::-1]
    assert all(torch.equal(a, b) for x, y in zip(first, second, strict=True) for a, b in zip(x, y, strict=True))
    assert not torch.equal(first[0][0], recipe.dataset(data, 1)[5][0])


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_the_loss_trains_every_parameter_that_learns(recipe, data):
    torch.manual_seed(0)
    net = recipe.learner() if recipe.learner else recipe.net(**recipe.arguments)
    stream = recipe.dataset(data, 0)
    batch = tuple(map(torch.stack, zip(*(stream[i] for i in range(2)), strict=True)))
    scores = getattr(net, "score", None)
    for name, layer in scores.items() if isinstance(scores, torch.nn.ModuleDict) else ():
        torch.nn.init.normal_(layer.weight)  # scores start at zero, and so would the gradients behind them
        assert layer.out_channels == len(recipe.classes), name
    terms = recipe.loss(net, batch)
    (sum(terms.values()) if isinstance(terms, dict) else terms).backward()
    learning = {name: p for name, p in net.named_parameters() if p.requires_grad}
    assert [name for name, p in learning.items() if p.grad is None or not p.grad.isfinite().all()] == []
    assert any(p.grad.any() for p in learning.values())


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_each_recipe_smokes(recipe, data, tmp_path):
    own = None if recipe.drawn else data
    row = recipes_of.run(recipe, smoke=True, data=own, runs=tmp_path, progress=False, accelerator="cpu")
    net = zoo.load(recipe.name, tmp_path / recipe.name / "smoke", fast=False)
    assert row.parameters == sum(p.numel() for p in net.parameters())


def test_two_steps_on_real_frames_are_measured_and_saved(data, tmp_path):
    recipe = recipes.find("fcn8s-camvid")
    row = recipes_of.run(
        recipe, steps=2, data=data, out=tmp_path / "out", runs=tmp_path / "runs", progress=False, accelerator="cpu"
    )
    assert row.result.keys() >= {"mean IU", "boundary F1", "mean IU, as applied"} and row.views == 2
    assert 0 <= row.result["mean IU"] <= 1
    net = zoo.load("fcn8s-camvid", tmp_path / "out")
    image = torch.rand(3, 50, 70)
    assert zoo.apply("fcn8s-camvid", image, tmp_path / "out").shape == (50, 70)
    assert not net.training


def test_a_frame_and_its_mirror_image_are_averaged(data):
    """The net reads the class from the colours, but is sure of it in the left half alone."""
    frames = CamVid(data / "camvid", "val")
    labels = [labels for _, labels in (frames[i] for i in range(len(frames)))]

    def net(images):
        classes = (images[:, 2] * 255).round().long().clamp(0, 10)
        known = F.one_hot(classes, 11).permute(0, 3, 1, 2).float()
        return 9 * known * (torch.arange(images.shape[3]) < images.shape[3] // 2)

    figures = recipes.find("enet-camvid").evaluate(net, data)
    assert len(labels) == 3 and figures["mean IU, as applied"] == pytest.approx(1) and figures["mean IU"] < 0.6


def test_one_who_says_what_the_teacher_says_learns_from_labels_alone():
    torch.manual_seed(0)
    scores, labels = torch.randn(2, 11, 6, 8), torch.randint(11, (2, 6, 8))
    images = torch.zeros(2, 3, 6, 8)
    alone = camvid._loss(lambda _: scores, (images, labels))
    assert alone.keys() == {"labels", "intersection over union"}
    assert alone["intersection over union"].item() == pytest.approx(soft_iu_loss(scores, labels).item())
    terms = camvid._loss(lambda _: scores, (images, labels, scores.softmax(1)))
    assert terms["soft targets"].item() == pytest.approx(0, abs=1e-4)
    assert terms["labels"].item() == pytest.approx((1 - camvid.SHARE) * alone["labels"].item())


def test_pixels_without_an_opinion_do_not_count():
    torch.manual_seed(0)
    scores, labels, opinion = torch.randn(1, 11, 6, 8), torch.randint(11, (1, 6, 8)), torch.rand(1, 11, 6, 8).softmax(1)
    images = torch.zeros(1, 3, 6, 8)
    left = camvid._loss(lambda _: scores[..., :4], (images, labels[..., :4], opinion[..., :4]))["soft targets"]
    opinion[..., 4:] = 0
    assert camvid._loss(lambda _: scores, (images, labels, opinion))["soft targets"].item() == pytest.approx(
        left.item()
    )


def test_opinions_move_with_the_pieces_of_frames(data, monkeypatch):
    monkeypatch.setattr(camvid, "_opinion", lambda teacher, frames: frames)
    monkeypatch.setattr(camvid.augment, "relight", lambda image, generator: image)
    camvid._opinions.cache_clear()
    plain, taught = camvid._frames(data, 3), camvid._taught(data, 3)
    for i in range(6):
        image, labels, opinion = taught[i]
        assert torch.equal(image, plain[i][0]) and torch.equal(labels, plain[i][1])
        assert torch.allclose(opinion, image, atol=1e-3)  # kept in float16
    camvid._opinions.cache_clear()


def test_the_opinion_on_a_mirror_image_is_mirrored():
    torch.manual_seed(0)
    teacher, frame = zoo.load(camvid.TEACHER), torch.rand(1, 3, 48, 64)
    with torch.inference_mode():
        opinion, mirrored = camvid._opinion(teacher, frame), camvid._opinion(teacher, frame.flip(-1))
    assert opinion.shape == (1, 11, 24, 32)
    assert torch.allclose(opinion.sum(1), torch.ones(1, 24, 32), atol=1e-4)
    assert torch.allclose(mirrored, opinion.flip(-1), atol=1e-4)


def test_one_who_looks_where_the_teacher_looks_learns_from_labels_alone():
    torch.manual_seed(0)
    scores, labels, images = torch.randn(2, 11, 32, 48), torch.randint(11, (2, 32, 48)), torch.rand(2, 3, 32, 48)
    with torch.no_grad():
        looks = list(camvid._backbone(images.device)(images, ("pool2", "pool3")).values())
    terms = camvid._attentive(lambda _: (scores, [2 * look for look in looks]), (images, labels))
    assert terms.pop("attention").item() == pytest.approx(0, abs=1e-6)
    assert terms == camvid._loss(lambda _: scores, (images, labels))
    elsewhere = [look.flip(-1) for look in looks]
    assert camvid._attentive(lambda _: (scores, elsewhere), (images, labels))["attention"].item() > 0.1


@pytest.mark.parametrize("name", ["enet-camvid", "segnet-camvid"])
def test_teacher_and_learner_are_compared_where_their_layers_have_one_size(name):
    recipe = recipes.find(name)
    learner, images = recipe.learner(), torch.rand(2, 3, 64, 96)
    assert isinstance(learner.net, recipe.net) and recipe.loss is camvid._attentive
    scores, layers = learner(images)
    theirs = camvid._backbone(images.device)(images, camvid.LOOKS).values()
    assert scores.shape == (2, 11, 64, 96)
    for looks in (layers, theirs):
        assert [look.shape[2:] for look in looks] == [(16, 24), (8, 12)]


def test_the_nets_that_segnet_is_compared_with_differ_by_the_teacher_alone():
    shipped, *others = (recipes.find(f"segnet-camvid{end}") for end in ("", "-labels", "-soft"))
    for other in others:
        assert other.learner is None and other.loss is camvid._loss
        kept = {"name": "", "chapter": "", "data": "", "shipped": True}
        kept |= {"loss": None, "dataset": None, "learner": None, "finish": None}
        assert replace(other, **kept) == replace(shipped, **kept)
    assert others[0].dataset is camvid._frames and others[1].dataset is camvid._taught


@pytest.mark.parametrize("study", camvid.STUDIES, ids=lambda study: study.name)
def test_the_two_ways_of_a_study_differ_by_the_teacher_alone(study, data, monkeypatch):
    monkeypatch.setenv("XFERLIB_DATA", str(data))
    monkeypatch.setattr(camvid, "STEPS", 2)
    asked, begun = [], []

    def trainer(name, net, loss, dataset, **options):
        asked.append(name)
        begun.append(torch.cat([value.detach().flatten() for value in net.parameters()]))
        terms = loss(net, [part[None] for part in dataset[0]])
        assert ("attention" in terms) == ("attention" in name)
        return fit(net, loss, dataset, progress=False, **{**options, "workers": 0, "batch_size": 2})

    figures = study.measure(trainer, 4)
    assert all(torch.equal(*pair) for pair in zip(begun[::2], begun[1::2], strict=True))
    assert torch.equal(begun[0], begun[2]) == (study.name == "camvid-distilled")
    assert asked[:3] == ["labels-run4", "labels-and-attention-run4", "labels-run5"]
    runs = figures["runs"]
    assert {name: len(runs[name]) for name in runs} == {"labels": 3, "labels and attention": 3}
    assert all(0 <= run["mean IU"] <= 1 for each in runs.values() for run in each)


def test_rare_classes_weigh_more():
    scores, labels = torch.zeros(1, 11, 1, 2), torch.tensor([[[0, 2]]])
    scores[:, 2] = 1.0  # right for a pole, wrong for the sky
    found = camvid._loss(lambda _: scores, (torch.zeros(1, 3, 1, 2), labels))["labels"].item()
    sky = math.log(10 + math.e)
    a, b = camvid.WEIGHTS[0], camvid.WEIGHTS[2]
    assert found == pytest.approx((a * sky + b * (sky - 1)) / (a + b), abs=1e-5)


def test_two_processes_end_where_one_does(data, tmp_path):
    """A recipe without batch normalisation, for the same batch; what differs is the order of sums."""
    recipe, found = replace(recipes.find("espcn-x4"), options={}), []  # without warming up
    for processes, hardware in ((1, {}), (2, {"devices": 2, "strategy": "ddp_fork"})):
        folder = tmp_path / f"{processes}"
        options = {"data": data, "out": folder, "runs": folder, "progress": False, "accelerator": "cpu"}
        row = recipes_of.run(recipe, steps=5, **options, **hardware)
        assert row.cost["hardware"].startswith(f"{processes * torch.get_num_threads()} thread")
        found.append(zoo.load("espcn-x4", folder, fast=False).state_dict())
    first = recipes_of._first_net(recipe, recipe.seed).state_dict()
    for name, one in found[0].items():
        torch.testing.assert_close(found[1][name], one, atol=1e-4, rtol=1e-3)  # kept in half precision
        assert (one - first[name]).abs().max() > 1e-3, name


def test_the_loss_network_is_shipped_without_heads_and_equalised(data, tmp_path):
    recipe = recipes.find("loss-network")
    row = recipes_of.run(
        recipe, steps=2, data=data, out=tmp_path / "out", runs=tmp_path / "runs", progress=False, accelerator="cpu"
    )
    assert list(row.result)[:2] == ["texture", "random weights"]
    net = zoo.load("loss-network", tmp_path / "out", fast=False)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in net.modules())
    trained_on = loss_network.squares(loss_network.photographs(data)[::4])
    for name, values in net(trained_on, loss_network.TEXTURES).items():
        means = values.mean((0, 2, 3))
        assert means.max().item() == pytest.approx(1, abs=0.02), name
        assert (means > 0.95).float().mean() > (0.2 if name == "relu1_1" else 0.4), name
    cosines = net.conv1_1.weight.flatten(1)
    angles = F.normalize(cosines[:27], dim=1)
    torch.testing.assert_close(angles @ angles.T, torch.eye(27), atol=2e-3, rtol=0)  # kept in half precision


def test_the_loss_network_is_measured_on_photographs_held_back(data):
    trained_on, held_back = (loss_network.photographs(data, held_back=part) for part in (False, True))
    assert len(held_back) == 2 and len(trained_on) == 11 + len(photos.TRAIN)
    assert not any(torch.equal(held_back[0], other) for other in trained_on)
    with pytest.raises(FileNotFoundError, match="XFERLIB_DATA is not set"):
        loss_network.photographs(None)


def test_points_of_two_views_show_the_same_place(monkeypatch):
    monkeypatch.setattr(augment, "relight", lambda image, generator: image)
    monkeypatch.setattr(loss_network, "damaged", lambda image, damage, generator: image)
    rows, columns = torch.meshgrid(torch.arange(200), torch.arange(240), indexing="ij")
    frames = [(torch.rand(3, 120, 120), torch.zeros(120, 120, dtype=torch.long))]
    pieces = loss_network.Pieces([torch.stack((rows, columns, 0 * rows)).byte()], frames, 0)
    for index in range(8):
        *views, points, others = pieces[index][:4]
        assert [view.shape for view in views] == [(3, 96, 96)] * 2 and points.shape == (32, 2)
        one, other = (
            255 * F.grid_sample(view[None], at[None, :, None], padding_mode="border", align_corners=False)[0, :2, :, 0]
            for view, at in zip(views, (points, others), strict=True)
        )
        assert (one - other).abs().max() < 3 < (points - others).abs().max() * 96 / 2


def test_damage_is_what_it_is_called():
    image = paintings.draw("mosaic", 96, 96)
    rng = torch.Generator().manual_seed(0)
    kinds = {kind: loss_network.damaged(image, number, rng) for number, kind in enumerate(loss_network.DAMAGES)}
    changes = {kind: found - image for kind, found in kinds.items()}
    assert torch.equal(kinds["none"], image)
    assert 0.02 < changes["noise"].std() < 0.11
    assert changes["coloured noise"].mean(0).abs().mean() < 0.3 * changes["coloured noise"].abs().mean()
    fine = loss_network_worth.finest_detail
    assert fine(kinds["blur"]) < 0.9 * fine(image) < fine(kinds["noise"])
    assert torch.equal(kinds["shifted colours"][1], image[1]) and not torch.equal(kinds["shifted colours"][0], image[0])


def test_the_judge_of_styles_knows_a_painter_and_noise():
    one, other = (paintings.draw("mosaic", 64, 64, seed=seed) for seed in (0, 1))
    noise = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert loss_network_worth.gram_distance(one, one) == 0
    assert loss_network_worth.gram_distance(other, one) < loss_network_worth.gram_distance(noise, one)
    flat = torch.linspace(0, 1, 64).expand(3, 64, 64)
    assert loss_network_worth.finest_detail(flat) < 0.01 < 0.2 < loss_network_worth.finest_detail(noise)


def test_a_probe_tells_textures_by_features_and_not_by_chance():
    rows = torch.arange(200)[:, None].expand(200, 200)
    stripes = [(127 + 120 * torch.sin(rows / width)).byte().expand(3, -1, -1) for width in (1, 3, 9)]
    turned = [picture.mT for picture in stripes]
    figures = loss_network.probe(loss_network.random_weights(torch.rand(4, 3, 32, 32)), stripes + turned)
    assert figures.keys() == set(loss_network.TEXTURES)
    assert figures["relu2_1"] > 0.8 > 1 / 6


def test_scenes_to_measure_on_are_not_trained_on():
    for seed in range(3):
        assert streets._scenes(None, seed).seed != streets.TEST_SEED
        for name in ("unet-cells", "unet-tissue"):
            assert recipes.find(name).dataset(None, seed).dataset.seed != unet_cells.TEST_SEED
    assert drawn_streets.Streets(1, seed=streets.TEST_SEED)[0][0].shape == (3, 128, 256)


def test_the_slices_held_back_are_measured(data, tmp_path, monkeypatch):
    recipe = recipes.find("unet-isbi")
    assert not set(unet_isbi.TRAINING) & set(unet_isbi.HELD_BACK)
    monkeypatch.setattr(unet_isbi, "HELD_BACK", [23])
    row = recipes_of.run(
        recipe, steps=1, data=data, out=tmp_path / "out", runs=tmp_path / "runs", progress=False, accelerator="cpu"
    )
    errors = ("pixel error", "best pixel error", "Rand F", "Rand F, thinned", "challenge's pixel error")
    enlarged = ("pixel error, enlarged twofold", "pixel error, enlarged and reduced")
    assert tuple(row.result) == errors + enlarged
    assert row.result[enlarged[1]] == pytest.approx(row.result["pixel error"], abs=0.03)
    assert 0 <= row.result["best pixel error"] <= row.result["pixel error"] <= 1


def test_nuclei_are_scored_by_all_views_and_by_one(data):
    pictures = Nuclei(data / "nuclei", "val")
    truths = [pictures[i] for i in range(len(pictures))]

    class Oracle(torch.nn.Module):
        """Finds all with eight views, and the first half with one; is sure from .9 on, and doubts a wrong object."""

        detections, largest, overlap, sure = 1000, 500, 1, 0.9

        def forward(self, images):
            return images

        def detect(self, image, views=1):
            numbers = next((numbers for known, numbers in truths if _alike(known, image)), None)
            if numbers is None:
                return Instances(*Instances.from_map(torch.zeros(image.shape[1:]).long())[:3], torch.zeros(0))
            true = Instances.from_map(numbers)
            count = len(true.boxes) if views == 8 else len(true.boxes) // 2
            kept = [part[[*range(count), 0]] for part in true[:3]]
            kept[2][-1] = True  # all of the picture, below the others
            return Instances(*kept, torch.tensor([*[1.0] * count, 0.8]))

    figures = recipes.find("mask-rcnn-nuclei").evaluate(Oracle(), data)
    assert len(truths) > 0 and next(iter(figures)) == "bowl score"
    assert all(figures[name] == pytest.approx(1) for name in ("bowl score", "bowl at .5", "AP", "box AP75"))
    assert figures["bowl score, 1 view"] == pytest.approx(0.5, abs=0.05)
    assert figures["bowl score, enlarged threefold"] == 0  # it knows no such picture
    assert figures["bowl score, enlarged and reduced"] == figures["bowl score, 1 view"]


def _alike(known, image):
    return known.shape == image.shape and (known - image).abs().mean() < 0.02


def test_the_challenges_pixel_error_is_that_of_the_f_score():
    probability = torch.tensor([[0.9, 0.6, 0.2, 0.1]])
    labels = torch.tensor([[1, 1, 1, 0]])
    assert unet_isbi._f_error(probability, labels, 0.5) == pytest.approx(1 - 2 * 2 / (2 + 3))
    assert unet_isbi._f_error(probability, labels, 0.2) == 0


def test_the_norms_of_the_slices_net_remember_all_tiles(data):
    recipe = recipes.find("unet-isbi")
    net = recipe.net(**recipe.arguments).eval()
    assert net.margin == unet_isbi.MARGIN
    before = {name: value.clone() for name, value in net.named_parameters()}
    net = recipe.finish(net, data)
    assert not net.training and all(torch.equal(value, before[name]) for name, value in net.named_parameters())
    conv, norm = net.contract[0][:2]
    stream = recipe.dataset(data, 1)
    maps = [conv(stream[i][0][None]) for i in range(unet_isbi.TILES)]
    assert torch.allclose(norm.running_mean, torch.stack([x.mean((0, 2, 3)) for x in maps]).mean(0), atol=1e-5)


def test_the_mean_over_eight_views_is_that_of_a_net_without_a_sense_of_direction():
    def net(tile):
        inner = tile[..., 2:-2, 2:-2]
        return torch.cat([1 - inner, 3 * inner], 1)

    image = torch.rand(1, 30, 50, generator=torch.Generator().manual_seed(0))
    net.margin, net.stride = 2, 1
    expected = torch.cat([1 - image, 3 * image]).softmax(0)[1]
    assert torch.allclose(unet_isbi._probability(net, image), expected, atol=1e-6)


def _trainer(log):
    def train(name, net, loss, dataset, *, steps, batch_size, seed, **options):
        log.append((name, steps, seed))
        batch = tuple(map(torch.stack, zip(*(dataset[i] for i in range(2)), strict=True)))
        assert loss(net, batch).isfinite()

    return train


def test_the_study_of_cells_trains_each_arm_alike(monkeypatch):
    monkeypatch.setattr(unet_cells, "SEEDS", 2)
    monkeypatch.setattr(unet_cells, "_objects", lambda net: {"F1": float(net.skips)})
    log = []
    figures = unet_cells._ablate(_trainer(log), 5)
    assert len(log) == 10 and {seed for _, _, seed in log} == {5, 6} and len({name for name, _, _ in log}) == 10
    assert len({steps for _, steps, _ in log}) == 1
    assert figures["without the long skips"] == [{"F1": 0.0}] * 2
    assert figures["as the paper"] == [{"F1": 1.0}] * 2


def test_the_arms_of_the_study_of_cells_differ_by_what_they_are_named_after(monkeypatch):
    monkeypatch.setattr(unet_cells, "SEEDS", 1)
    monkeypatch.setattr(unet_cells, "_objects", lambda net: {"F1": 0.0})
    arms = []

    def keep(name, net, loss, dataset, **_):
        arms.append((net.state_dict(), dataset))

    assert list(unet_cells._ablate(keep, 5)) == [
        "as the paper",
        "without the border weights",
        "without the long skips",
        "4 images, deformed",
        "4 images, not deformed",
    ]
    starts, datasets = zip(*arms, strict=True)
    assert [dataset.w0 for dataset in datasets] == [10.0, 0.0, 10.0, 10.0, 10.0]
    assert starts[2]["expand.0.0.weight"].shape[1] < starts[0]["expand.0.0.weight"].shape[1]  # nothing is appended
    for i in (1, 3, 4):
        assert all(torch.equal(starts[i][key], starts[0][key]) for key in starts[0])
    assert [dataset.dataset.augment for dataset in datasets[3:]] == [unet_cells._bent, unet_cells._turned]
    assert [len(dataset.dataset.dataset) for dataset in datasets[3:]] == [unet_cells.IMAGES] * 2


def test_patches_are_compared_wherever_they_lie():
    mosaic, woodcut = (paintings.draw(style, 96, 96) for style in ("mosaic", "woodcut"))
    apart = gatys.patch_distance(mosaic, woodcut)
    assert gatys.patch_distance(mosaic, mosaic) == 0 < apart
    assert gatys.patch_distance(woodcut, mosaic) == pytest.approx(apart)
    assert gatys.patch_distance(mosaic, mosaic.roll((40, 28), (1, 2))) < 0.2 * apart
    grey = [torch.full((3, 40, 48), value) for value in (0.2, 0.4, 0.8)]
    near, far = (gatys.patch_distance(grey[0], other) for other in grey[1:])
    assert far == pytest.approx(3 * near, rel=1e-4)


def test_objects_are_counted_at_the_best_threshold_too(monkeypatch):
    class Truth(torch.nn.Module):
        def forward(self, image):
            return torch.cat([torch.zeros_like(image), torch.logit(image)], 1)

    class Blocks:
        def __init__(self, *args, **options):
            pass

        def __getitem__(self, index):
            truth = torch.zeros(30, 30, dtype=torch.long)
            truth[2:12, 2:12], truth[2:12, 13:23] = 1, 2
            image = torch.where(truth > 0, 0.9, 0.1)
            image[2:12, 12] = 0.6  # the gap looks like a cell, but less so
            return image[None], truth

    monkeypatch.setattr(unet_cells.cells, "Cells", Blocks)
    found = unet_cells._objects(Truth())
    assert found["count error"] == 0.5 and found["F1"] == 0
    assert found["best threshold"] in (0.6, 0.7, 0.8) and found["F1 there"] == 1


def test_the_study_of_equal_time_names_recipes():
    names = {recipe.name for recipe in streets.RECIPES}
    assert set(streets.EQUAL_TIME) <= names
    found = streets._seconds_a_step({r.name: r for r in streets.RECIPES if r.name == "fcn32s-streets"}, rounds=1)
    assert found["fcn32s-streets"] > 0
