"""A net for a reader's own folder, from pictures and masks to labels on a picture."""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from xferlib import cli, zoo
from xferlib.data.folders import masks
from xferlib.metrics.segmentation import evaluate
from xferlib.train import RecipeError, recipes
from xferlib.train import recipe as running
from xferlib.train.recipes import folder
from xferlib.zoo.memory import apply_within, bytes_per_pixel, halo_of


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Seven pictures: a red half of class 1, a blue of class 2, a stripe of void between."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XFERLIB_DATA", str(tmp_path / "public"))
    for kind in ("image", "label"):
        (tmp_path / "mine" / kind).mkdir(parents=True)
    for i in range(7):
        labels = np.full((40, 60), 1, np.uint8)
        labels[:, 20 + 2 * i :] = 2
        labels[:, 20 + 2 * i] = 255
        colours = np.zeros((40, 60, 3), np.uint8)
        colours[labels == 1], colours[labels == 2] = (200, 30, 30), (30, 30, 200)
        Image.fromarray(colours).save(tmp_path / "mine/image" / f"{i}.png")
        Image.fromarray(labels).save(tmp_path / "mine/label" / f"{i}.png")
    return tmp_path / "mine"


def _run(name, **options):
    return running.run(recipes.find(name), progress=False, accelerator="cpu", **options)


@pytest.mark.parametrize("name", [recipe.name for recipe in folder.RECIPES])
def test_each_net_fits_itself_to_the_folder(mine, name):
    row = _run(name, data=mine, smoke=True)
    assert row.classes == ("class 0", "class 1", "class 2") and row.arguments["num_classes"] == 3
    assert row.data == "6 pictures of mine, 3 classes"
    assert zoo.apply(name, torch.rand(3, 33, 50), mine.parent / "runs" / name / "smoke").shape == (33, 50)


def test_a_net_learns_the_folder_and_is_applied_by_the_command(mine, monkeypatch, capsys):
    monkeypatch.setattr(folder, "CROP", (32, 32))
    assert cli.main(["train", "fcn8s", "--data", "mine", "--steps", "80", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "mean IU" in out and "xferlib apply fcn8s --zoo runs/fcn8s" in out
    assert zoo.row("fcn8s", "runs/fcn8s").result["pixel accuracy"] > 0.9
    assert cli.main(["apply", "fcn8s", "mine/image/6.png", "-o", "out", "--overlay", "--zoo", "runs/fcn8s"]) == 0
    with Image.open("out/6.png") as written:
        assert written.getpalette()[3:9] == [128, 0, 0, 0, 128, 0]
        assert (np.asarray(written)[:, :20] == 1).mean() > 0.9


def test_rare_classes_count_more_and_void_not_at_all(mine):
    recipe = recipes.find("fcn8s")
    adapted = recipe.adapt(recipe, mine)
    absent, less, more = adapted.loss.keywords["weights"]
    shares = np.array([20 + 2 * i for i in range(7) if i != 5]).sum() / (6 * 59)
    assert absent > less > more
    assert less * shares + more * (1 - shares) == pytest.approx(1, abs=1e-4)


def test_a_net_sees_no_larger_picture_than_those_of_the_folder(mine):
    assert recipes.find("enet").adapt(recipes.find("enet"), mine).pixels == (40 * 60,)


@pytest.mark.parametrize("number", [2, 5])  # trained on, and held back
def test_a_faulty_mask_is_named_before_the_training(mine, number, capsys):
    Image.new("L", (60, 41)).save(mine / "label" / f"{number}.png")
    assert cli.main(["train", "fcn8s", "--data", "mine", "--steps", "1", "--device", "cpu"]) == 2
    assert f"{number}.png: a mask of (41, 60) does not fit its picture" in capsys.readouterr().err
    assert not (mine.parent / "runs").exists()


@pytest.mark.parametrize("named", [True, False])
def test_masks_of_one_class_are_refused(mine, named):
    for path in (mine / "label").iterdir():
        mask = np.asarray(Image.open(path))
        Image.fromarray(np.where(mask == 1, 0, 255).astype(np.uint8)).save(path)
    if named:
        (mine / "classes.txt").write_text("ground\nroad\n")
    with pytest.raises(RecipeError, match=r"hold (ground|class 0) alone.* where a mask has 0 and 255, write 1 for 255"):
        _run("fcn8s", data=mine, steps=1)


def test_numbers_of_objects_are_no_classes(mine):
    Image.fromarray(np.full((40, 60), 300, np.uint16)).save(mine / "label" / "3.png")
    with pytest.raises(RecipeError, match=r"3\.png: value 300; .* numbers of objects"):
        _run("fcn8s", data=mine, steps=1)


@pytest.mark.parametrize(("numbers", "which"), [([5], "held back"), ([0, 1, 2, 3, 4, 6], "to train on")])
def test_masks_without_a_label_are_refused_before_the_training(mine, numbers, which):
    for number in numbers:
        Image.new("L", (60, 40), 255).save(mine / "label" / f"{number}.png")
    with pytest.raises(RecipeError, match=f"the masks {which}.* are void everywhere"):
        _run("fcn8s", data=mine, steps=1)


def test_a_picture_too_small_to_be_measured_is_told_before_the_training(mine, capsys):
    for kind in ("image", "label"):
        path = mine / kind / "5.png"
        Image.open(path).crop((0, 0, 28, 28)).save(path)
    assert cli.main(["train", "segnet", "--data", "mine", "--steps", "1", "--device", "cpu"]) == 2
    assert "28" in capsys.readouterr().err
    assert not (mine.parent / "runs").exists()


def test_large_pictures_are_measured_tile_by_tile(mine, monkeypatch):
    torch.manual_seed(0)
    net, sizes = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1)).eval(), []
    net.stride, held_back = 1, masks(mine, "val")
    whole, allowed = evaluate(net, held_back, 3), int(1000 * bytes_per_pixel(net))
    assert halo_of(net) == 1
    net.register_forward_hook(lambda net, images, _: sizes.append(images[0].shape[2] * images[0].shape[3]))
    monkeypatch.setattr(folder, "apply_within", partial(apply_within, max_memory=allowed))
    assert recipes.find("fcn8s").evaluate(net, mine) == whole
    assert len(sizes) > 2 and max(sizes) <= 1000


def test_the_first_line_tells_what_the_folder_holds(mine, capsys):
    assert cli.main(["train", "enet", "--data", "mine", "--smoke", "--device", "cpu"]) == 0
    assert "enet: 2 steps on 6 pictures of mine, 3 classes" in capsys.readouterr().out


def test_a_folder_that_cannot_be_split_is_refused(mine):
    for path in [*mine.glob("*/*.png")]:
        if path.stem != "0":
            path.unlink()
    with pytest.raises(RecipeError, match="one picture cannot be split; give at least two"):
        _run("fcn8s", data=mine, steps=1)


def test_without_a_folder_it_says_what_to_name(mine, capsys):
    with pytest.raises(RecipeError, match="'unet' trains on your own data: name its folder, --data DIR"):
        _run("unet")
    assert cli.main(["train", "unet"]) == 2
    assert "--data DIR" in capsys.readouterr().err
    assert not (mine.parent / "runs").exists()


def test_what_it_makes_stays_with_the_user(mine):
    shipped = zoo.rows()
    _run("segnet", data=mine, steps=1)
    assert zoo.rows() == shipped
    assert [row.name for row in zoo.rows("runs/segnet")] == ["segnet"]
