import argparse
import errno
import re
import subprocess
import sys
import tempfile
from types import ModuleType, SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

from xferlib import cli, zoo
from xferlib.data import images
from xferlib.nets.transform_net import TransformNet
from xferlib.ops.instances import Instances, boxes_of
from xferlib.train import Recipe, recipes
from xferlib.train import recipe as running

PALETTE = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)


class Dark(nn.Module):
    """Class 1 where a pixel is dark, class 0 where it is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] < 2:
            raise ValueError(f"width {x.shape[-1]} is too small; use 2 or more")
        bright = self.slope * (x.mean(1, keepdim=True) - 0.5)
        return torch.cat([bright, -bright], 1)


class Halves(Dark):
    """Finds two objects: the left half, and less surely the right; and a third of which it is not sure."""

    detections, largest, overlap, sure = 100, 8, 0.5, 0.5

    def detect(self, image: torch.Tensor, views: int) -> Instances:
        masks = torch.zeros(3, *image.shape[1:], dtype=torch.bool)
        masks[0, :, :2] = masks[1, :, 2:] = masks[2] = True
        scores = torch.tensor([0.9, 0.8, 0.3])
        return Instances(boxes_of(masks), torch.ones(3, dtype=torch.int64), masks, scores)


@pytest.fixture
def shop(monkeypatch, tmp_path):
    """A zoo with one net, and a place for the results."""
    nets, palette = ModuleType("xferlib.nets.tiny"), ModuleType("xferlib.data.tiny")
    nets.Dark, nets.Halves, palette.PALETTE = Dark, Halves, PALETTE
    for kind in (Dark, Halves):
        monkeypatch.setattr(kind, "__module__", nets.__name__)
    monkeypatch.setitem(sys.modules, nets.__name__, nets)
    monkeypatch.setitem(sys.modules, palette.__name__, palette)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()

    def save(name="dark-net", task="segmentation", views=1, classes=("bright", "dark class"), pixels=()):
        kind = Halves if task == "instances" else Dark
        zoo.save(
            kind(), name=name, task=task, chapter="fcn", arguments={}, classes=classes, palette="tiny",
            recipe=name, seed=0, data="nothing", terms="our own", result={"mean_iu": 0.75, "other": 1},
            cost={"seconds": 0, "hardware": "none"}, views=views, pixels=pixels, folder="zoo",
        )  # fmt: skip

    def picture(name, height=5, width=7):
        generator = torch.Generator().manual_seed(len(name))
        image = torch.rand(3, height, width, generator=generator).mul(255).round() / 255
        images.write(tmp_path / name, image)
        return image

    save()
    return SimpleNamespace(path=tmp_path, save=save, picture=picture)


def _apply(*words) -> int:
    return cli.main(["apply", "dark-net", "--zoo", "zoo", *map(str, words)])


def _written(shop) -> list[str]:
    return sorted(path.name for path in (shop.path / "out").iterdir())


def test_list_shows_a_row_a_net(shop, capsys):
    shop.save("a-longer-name")
    assert cli.main(["list", "--zoo", "zoo"]) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "task", "chapter", "data", "size", "result"]
    assert first.split() == ["a-longer-name", "segmentation", "fcn", "nothing", "0.0", "MB", "mean_iu", "0.75"]
    assert second.startswith("dark-net       segmentation")


def test_an_empty_list_says_what_to_do(tmp_path, capsys):
    assert cli.main(["list", "--zoo", str(tmp_path)]) == 0
    assert "xferlib train NAME" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["list"], ["apply", "dark-net", "a.png", "-o", "out"], ["export", "dark-net"]])
def test_a_zoo_that_is_not_there_is_no_empty_one(shop, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([*words, "--zoo", "zooo"])
    assert stopped.value.code == 2 and "argument --zoo: zooo: no such folder" in capsys.readouterr().err


def test_apply_writes_an_indexed_png(shop, capsys):
    image = shop.picture("pictures/a.png")
    assert _apply("pictures/a.png", "-o", "out") == 0
    with Image.open(shop.path / "out" / "a.png") as written:
        assert written.mode == "P"
        assert written.getpalette()[:6] == PALETTE.flatten().tolist()
    assert torch.equal(images.read_labels("out/a.png"), (image.mean(0) < 0.5).long())
    assert _written(shop) == ["a.png"]
    assert capsys.readouterr().out == "1 of 1 pictures done: out\n"


def test_apply_takes_folders_and_files(shop):
    for name in ("pictures/a.png", "pictures/b.jpg", "c.png"):
        shop.picture(name)
    (shop.path / "pictures" / "notes.txt").write_text("no picture")
    assert _apply("pictures", "c.png", "c.png", "-o", "out/") == 0
    assert _written(shop) == ["a.png", "b.png", "c.png"]


def test_what_is_there_is_not_lost(shop, capsys):
    shop.picture("holiday.jpg")
    other = shop.picture("holiday.png")
    for words in (["holiday.jpg", "-o", "."], ["holiday.jpg", "-o", ".", "--overlay"]):
        assert _apply(*words) == 2
        assert "holiday.png is there already: name another folder with -o" in _fails(capsys)
    assert torch.equal(images.read("holiday.png"), other) and not (shop.path / "holiday-overlay.jpg").exists()
    for words in ([], ["--overlay"]):
        assert _apply("holiday.jpg", "-o", ".", "--resume", *words) == 0
        assert torch.equal(images.read("holiday.png"), other)
    assert (shop.path / "holiday-overlay.jpg").exists()
    assert _apply("holiday.jpg", "-o", ".", "--overwrite") == 0
    assert images.read_labels("holiday.png").max() <= 1


def test_overlay_lays_the_labels_over_the_picture(shop):
    image = torch.full((3, 32, 32), 0.2)
    image[:, :, 16:] = 0.8
    images.write(shop.path / "a.png", image)
    assert _apply("a.png", "-o", "out", "--overlay") == 0
    assert _written(shop) == ["a-overlay.jpg", "a.png"]
    overlay = images.read("out/a-overlay.jpg")
    colour = torch.from_numpy(PALETTE / 255.0).float()[images.read_labels("out/a.png")].permute(2, 0, 1)
    for side in (slice(0, 14), slice(18, 32)):  # a JPEG smears the colours between them
        torch.testing.assert_close(overlay[..., side], ((image + colour) / 2)[..., side], atol=0.03, rtol=0)


def test_how_probable_a_class_is_is_written_in_grey(shop, capsys):
    image = shop.picture("a.png")
    assert _apply("a.png", "-o", "out", "--probability", "dark class") == 0
    assert _written(shop) == ["a-dark-class.png", "a.png"]
    with Image.open("out/a-dark-class.png") as written:
        assert written.mode == "L"
        grey = torch.from_numpy(np.asarray(written) / 255)
    expected = torch.sigmoid(1 - 2 * image.mean(0))  # of two logits that differ by so much
    torch.testing.assert_close(grey.float(), expected, atol=0.51 / 255, rtol=0)
    assert torch.equal(images.read_labels("out/a.png"), (expected > 0.5).long())
    for name in ("a.png", "a-dark-class.png"):
        (shop.path / "out" / name).unlink()
        assert _apply("a.png", "-o", "out", "--probability", "dark class", "--resume") == 0
        assert _written(shop) == ["a-dark-class.png", "a.png"]
    assert _apply("a.png", "-o", "both", "--probability", "dark class", "--overlay") == 0
    assert sorted(path.name for path in (shop.path / "both").iterdir()) == [
        "a-dark-class.png", "a-overlay.jpg", "a.png",
    ]  # fmt: skip
    shop.picture("a-dark-class.png")
    assert _apply("a.png", "a-dark-class.png", "-o", "out", "--probability", "dark class") == 2
    assert "a-dark-class.png would both be written to out/a-dark-class.png: rename one" in capsys.readouterr().err
    assert _apply("a.png", "-o", "out", "--probability", "blue") == 2
    assert "--probability blue: not a class that 'dark-net' gives a pixel; it knows bright, dark class" in (
        capsys.readouterr().err
    )
    shop.save("halves", task="instances")
    assert cli.main(["apply", "halves", "a.png", "-o", "out", "--probability", "bright", "--zoo", "zoo"]) == 2
    assert "gives a pixel; it knows none" in capsys.readouterr().err


def test_the_name_of_a_class_stays_in_the_folder(shop):
    shop.picture("a.png")
    shop.save(classes=("bright", "../dark/x"))
    assert _apply("a.png", "-o", "out", "--probability", "../dark/x") == 0
    assert _written(shop) == ["a-..-dark-x.png", "a.png"]


def test_objects_are_written_with_their_numbers(shop):
    shop.save("halves", task="instances")
    image = shop.picture("a.png")
    assert cli.main(["apply", "halves", "a.png", "-o", "out", "--overlay", "--zoo", "zoo"]) == 0
    with Image.open("out/a.png") as written:
        assert written.mode.startswith("I")
        numbers = np.asarray(written)
    assert (numbers[:, :2] == 1).all() and (numbers[:, 2:] == 2).all()
    overlay = images.read("out/a-overlay.jpg")
    assert overlay.shape == image.shape and not torch.equal(overlay, image)


def test_white_says_what_is_bright_in_a_picture_of_many_bits(shop):
    Image.fromarray(np.array([[0, 1000, 3000, 4095]] * 4, np.uint16)).save("deep.png")
    with pytest.warns(UserWarning, match=r"brightest pixel of .*\.png is 4095 of 65535: .* --white 4095"):
        assert cli.main(["apply", "dark-net", "deep.png", "-o", "dim", "--zoo", "zoo"]) == 0
    assert cli.main(["apply", "dark-net", "deep.png", "-o", "lit", "--zoo", "zoo", "--white", "4095"]) == 0
    dim, lit = (images.read_labels(f"{folder}/deep.png")[0].tolist() for folder in ("dim", "lit"))
    assert dim == [1, 1, 1, 1] and lit == [1, 1, 0, 0]
    assert cli.main(["apply", "dark-net", "deep.png", "-o", "none", "--zoo", "zoo", "--white", "0"]) == 1


@pytest.fixture
def painter(shop):
    """The zoo with a net that paints in three styles."""
    arguments = {"widths": [2, 3, 4], "blocks": 1, "kernel": 3, "styles": 3}
    torch.manual_seed(0)
    net = TransformNet(**arguments)
    for key, p in net.named_parameters():
        nn.init.normal_(p, float(key.endswith("scale")), 0.5)
    zoo.save(
        net, name="painter", task="style", chapter="none", arguments=arguments, classes=("waves", "dots", "glass"),
        recipe="none", seed=0, data="nothing", terms="our own", result={}, cost={}, folder="zoo",
    )  # fmt: skip
    return shop


def _paint(*words) -> int:
    return cli.main(["apply", "painter", "--zoo", "zoo", "-o", "out", *words])


def test_pictures_are_painted_in_a_style_or_a_blend(painter):
    image = painter.picture("a.png", 12, 17)
    for words, styles in (
        (["--style", "dots"], {"dots": 1.0}),
        (["--style", "dots:0.5"], {"dots": 0.5}),
        (["--style", "dots:1", "--style=waves:3"], {"dots": 1.0, "waves": 3.0}),
    ):
        assert _paint("a.png", "--overwrite", *words) == 0
        assert _written(painter) == ["a.png"]
        expected = zoo.apply("painter", image, "zoo", styles=styles)
        torch.testing.assert_close(images.read("out/a.png"), expected, atol=0.003, rtol=0)


def test_a_picture_too_small_to_paint_is_reported(painter, capsys):
    painter.picture("a.png", 5, 17)
    assert _paint("a.png", "--style", "dots") == 1
    assert "a.png: pictures of 5x17 are too small for this net; it needs 9 pixels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "'painter' paints in several styles; name one or more of: waves, dots, glass"),
        (("--style", "dot"), "'painter' has no style 'dot'; did you mean 'dots'?"),
        (("--style", "dots:-1"), "share -1.0 of style 'dots'"),
        (("--style", "dots", "--overlay"), "--overlay: 'painter' makes pictures"),
        (("--style", "dots", "--style", "dots:0.5"), "--style: a style is named twice; there are dots, dots"),
    ],
)
def test_styles_that_make_no_sense_are_refused(painter, capsys, words, message):
    painter.picture("a.png", 12, 17)
    assert _paint("a.png", *words) == 2
    assert message in _fails(capsys)
    assert not (painter.path / "out").exists()


def test_results_in_a_folder_within_the_pictures_are_no_pictures(shop):
    for name in ("pictures/a.png", "pictures/out/old.png"):
        (shop.path / name).parent.mkdir(exist_ok=True)
        shop.picture(name)
    for again in ((), ("--resume",), ("--overwrite",)):
        assert _apply("pictures", "-o", "pictures/out", *again) == 0
        assert sorted(path.name for path in (shop.path / "pictures/out").iterdir()) == ["a.png", "old.png"]
    assert _apply("pictures/out/old.png", "-o", "elsewhere") == 0


def test_no_picture_of_a_folder_is_passed_over_in_silence(shop, capsys):
    shop.picture("pictures/a.png")
    Image.new("RGB", (6, 5)).save(shop.path / "pictures/b.jfif", "JPEG")
    (shop.path / "pictures/c.heic").write_bytes(b"of a telephone")
    assert _apply("pictures", "-o", "out") == 1
    assert _written(shop) == ["a.png", "b.png"]
    assert "c.heic: not a picture that Pillow can read; convert it" in capsys.readouterr().err


def test_who_has_read_enough_gets_no_error():
    words = [sys.executable, "-m", "xferlib", "data", "list"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        program.stdout.close()
        assert (program.stderr.read(), program.wait()) == ("", 0)


def test_a_share_that_is_no_number_is_refused(painter, capsys):
    with pytest.raises(SystemExit):
        _paint("a.png", "--style", "dots:much")
    assert "'dots:much' is not a style, or a style and its share: mosaic:0.5" in _fails(capsys)


def test_a_bad_picture_is_reported_and_the_others_are_done(shop, capsys):
    for name in ("pictures/a.png", "pictures/z.png"):
        shop.picture(name)
    (shop.path / "pictures" / "broken.png").write_bytes(b"no picture")
    shop.picture("pictures/thin.png", width=1)
    assert _apply("pictures", "-o", "out") == 1
    assert _written(shop) == ["a.png", "z.png"]
    out, err = capsys.readouterr()
    assert out == "2 of 4 pictures done: out\n"
    broken, thin = err.splitlines()[-2:]
    assert broken.startswith("xferlib apply: not done: pictures/broken.png")
    assert thin == "xferlib apply: not done: pictures/thin.png: width 1 is too small; use 2 or more"


def _fails(capsys) -> str:
    out, err = capsys.readouterr()
    assert out == "" and "Traceback" not in err
    return err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("pictures/a.png", "b/a.png", "-o", "out"), "pictures/a.png and b/a.png would both be written to out/a.png"),
        (("pictures/a.png", "b/A.jpg", "-o", "out"), "pictures/a.png and b/A.jpg would both be written"),
        (("pictures/a.png", "b/x_a.png", "b/x.png", "-o", "pictures"), "written over the picture pictures/a.png"),
        (("pictures/a.png", "missing.png", "-o", "out"), "missing.png: no such file or folder"),
        (("pictures/a.png", "-o", "b/a.png"), "b/a.png is a file: give -o a folder"),
        (("empty", "-o", "out"), "empty: no folder with pictures"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(shop, capsys, words, message):
    (shop.path / "b").mkdir()
    (shop.path / "empty").mkdir()
    for name in ("pictures/a.png", "b/a.png", "b/A.jpg", "b/x.png", "b/x_a.png"):
        shop.picture(name)
    before = sorted(shop.path.rglob("*"))
    assert _apply(*words) == 2
    assert message in _fails(capsys)
    assert sorted(shop.path.rglob("*")) == before


def test_overlays_count_among_the_names(shop, capsys):
    shop.picture("a.jpg")
    shop.picture("a-overlay.jpg")
    assert _apply("a.jpg", "a-overlay.jpg", "-o", ".", "--overlay") == 2
    assert "a.jpg would be written over the picture a-overlay.jpg" in _fails(capsys)
    assert _apply("a.jpg", "a-overlay.jpg", "-o", ".") == 0


def test_resume_leaves_out_what_is_whole(shop, capsys):
    for name in ("pictures/a.png", "pictures/b.png", "pictures/c.png"):
        shop.picture(name)
    assert _apply("pictures/a.png", "-o", "out", "--overlay") == 0
    assert _apply("pictures/b.png", "-o", "out") == 0
    before = {name: (shop.path / "out" / name).stat().st_mtime_ns for name in _written(shop)}
    capsys.readouterr()
    assert _apply("pictures", "-o", "out", "--overlay", "--resume") == 0
    assert capsys.readouterr().out == "3 of 3 pictures done, 1 of them before: out\n"
    changed = {name for name, when in before.items() if (shop.path / "out" / name).stat().st_mtime_ns != when}
    assert not changed  # b lacked its overlay, and got no more
    assert _written(shop) == [f"{stem}{end}" for stem in "abc" for end in ("-overlay.jpg", ".png")]


def test_an_interrupted_run_is_resumed(shop, monkeypatch, capsys):
    for name in "abcd":
        shop.picture(f"pictures/{name}.png")
    write, written = images.write_labels, []

    def interrupted(path, *rest):
        if path.name == "c.png" and "c.png" not in written:
            written.append("c.png")
            raise KeyboardInterrupt
        written.append(path.name)
        write(path, *rest)

    monkeypatch.setattr(images, "write_labels", interrupted)
    assert _apply("pictures", "-o", "out") == 130
    assert _written(shop) == ["a.png", "b.png"]
    capsys.readouterr()
    assert _apply("pictures", "-o", "out", "--resume") == 0
    assert capsys.readouterr().out == "4 of 4 pictures done, 2 of them before: out\n"
    assert written == ["a.png", "b.png", "c.png", "c.png", "d.png"]
    assert _written(shop) == ["a.png", "b.png", "c.png", "d.png"]


def test_a_full_disk_ends_the_run_and_says_how_to_go_on(shop, monkeypatch, capsys):
    for name in "abc":
        shop.picture(f"pictures/{name}.png")
    save = Image.Image.save

    def full(picture, file, *rest, **options):
        if len(_written(shop)) > 1:  # one result, and the part of another
            raise OSError(errno.ENOSPC, "No space left on device")
        save(picture, file, *rest, **options)

    monkeypatch.setattr(Image.Image, "save", full)
    assert _apply("pictures", "-o", "out") == 1
    out, err = capsys.readouterr()
    assert out == "1 of 3 pictures done: out\n"
    assert "out/b.png: PNG of 7 x 5 not written" in err and "go on with --resume" in err
    assert "c.png" not in err
    assert _written(shop) == ["a.png"]
    monkeypatch.setattr(Image.Image, "save", save)
    assert _apply("pictures", "-o", "out", "--resume") == 0
    assert capsys.readouterr().out == "3 of 3 pictures done, 1 of them before: out\n"


def test_a_folder_that_cannot_be_written_to_is_refused(shop, monkeypatch, capsys):
    shop.picture("a.png")

    def refused(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    assert _apply("a.png", "-o", "out") == 2
    assert "out: cannot be written to (Permission denied); give another folder to -o" in _fails(capsys)
    assert _written(shop) == []


def test_memory_is_given_in_common_units():
    parse = cli._bytes
    assert [parse(text) for text in ("1.5m", "2GB", "300")] == [1572864, 2**31, 300]
    with pytest.raises(
        argparse.ArgumentTypeError, match="'much' is no size of memory; give bytes, or write 500M or 2G"
    ):
        parse("much")


def test_a_gpu_that_is_not_there_is_refused(shop, monkeypatch, capsys):
    shop.picture("a.png")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert _apply("a.png", "-o", "out", "--device", "gpu") == 2
    assert "--device gpu: this PyTorch finds no GPU; use --device cpu" in _fails(capsys)
    assert _apply("a.png", "-o", "out", "--device", "auto") == 0


def test_a_picture_beyond_the_memory_is_reported(shop, capsys):
    shop.picture("pictures/a.png")
    shop.picture("pictures/large.png", 50, 70)
    assert _apply("pictures", "-o", "out", "--max-memory", "20K") == 1
    assert _written(shop) == ["a.png"]
    assert "pictures/large.png: a picture of 50x70 takes about 1 MB of memory" in capsys.readouterr().err


def test_views_are_averaged_over(shop, monkeypatch, capsys):
    # On each view Dark sees only its left half, so that the two views together see both.
    shop.picture("a.png")
    forward = Dark.forward
    monkeypatch.setattr(Dark, "forward", lambda net, x: forward(net, x) * (torch.arange(x.shape[-1]) < 4))
    for views in (1, 2):
        assert _apply("a.png", "-o", f"out{views}", "--views", views) == 0
    halves, whole = (images.read_labels(f"out{views}/a.png") for views in (1, 2))
    dark = (images.read("a.png").mean(0) < 0.5).long()
    assert torch.equal(whole, dark) and torch.equal(halves[:, :4], dark[:, :4]) and not halves[:, 4:].any()
    shop.save(views=2)
    assert _apply("a.png", "-o", "own") == 0  # as many as the manifest says
    assert torch.equal(images.read_labels("own/a.png"), whole)
    with pytest.raises(SystemExit):
        _apply("a.png", "-o", "out", "--views", 3)
    assert "invalid choice: 3" in capsys.readouterr().err


def test_a_large_picture_is_seen_at_the_scale_of_the_net_or_as_it_is(shop):
    image = shop.picture("a.png", 20, 28)
    dark = (image.mean(0) < 0.5).long()
    shop.save(pixels=(140,))
    for words in (["--overwrite"], ["--overwrite", "--full-size"]):
        assert _apply("a.png", "-o", "out", "--probability", "bright", *words) == 0
        labels, bright = images.read_labels("out/a.png"), images.read("out/a-bright.png")[0]
        assert _apply("a.png", "-o", "alone", *words) == 0
        assert torch.equal(images.read_labels("alone/a.png"), labels) and bright.shape == labels.shape == (20, 28)
        assert torch.equal(labels, dark) == ("--full-size" in words)  # half the size does not show single pixels
        assert (labels == dark).float().mean() > 0.6


def test_one_may_say_at_which_scale_a_large_picture_is_seen(shop, capsys):
    image = shop.picture("a.png", 20, 28)
    shop.save()
    assert _apply("a.png", "-o", "out", "--pixels", 140) == 0
    own = zoo.apply("dark-net", image, "zoo", pixels=140)
    assert torch.equal(images.read_labels("out/a.png"), own)
    assert not torch.equal(own, zoo.apply("dark-net", image, "zoo"))
    capsys.readouterr()
    for words, message in (
        (("--pixels", 0), "'0' is not a whole number"),
        (("--pixels", 9, "--full-size"), "not allowed"),
    ):
        with pytest.raises(SystemExit):
            _apply("a.png", "-o", "none", *words)
        assert message in capsys.readouterr().err
    assert cli.main(["apply", "enhance", "a.png", "-o", "none", "--pixels", "140"]) == 2
    assert "pixels (140,); only nets for segmentation" in _fails(capsys) and "none" not in _written(shop)


def test_an_unknown_net_is_refused(shop, capsys):
    shop.picture("a.png")
    assert cli.main(["apply", "darknet", "a.png", "-o", "out", "--zoo", "zoo"]) == 2
    assert "no net is named 'darknet'; did you mean 'dark-net'?" in _fails(capsys)
    assert not (shop.path / "out").exists()


def test_a_net_without_use_on_a_picture_is_refused(shop, capsys):
    shop.save(task="features")
    shop.picture("a.png")
    assert _apply("a.png", "-o", "out") == 2
    assert "'dark-net' is a net for features" in _fails(capsys)


def test_export_writes_a_graph_of_bytes(tmp_path, capsys):
    file = tmp_path / "small.onnx"
    assert cli.main(["export", "espcn-x4", "-o", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: {file.stat().st_size / 1e6:.1f} MB\n"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 53, 3), np.uint8)
    (made,) = onnxruntime.InferenceSession(str(file)).run(None, {"pixels": pixels})
    wanted = zoo.apply("espcn-x4", pixels).permute(1, 2, 0).numpy() * 255
    assert np.abs(made - wanted).max() <= 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["loss-network", "-o", "a.onnx"], "'loss-network' is a net for features"),
        (["espcn-x5", "-o", "a.onnx"], "did you mean 'espcn-x4'"),
        (["espcn-x4", "-o", "."], "name a file"),
        (["espcn-x4", "-o", "no/such/a.onnx"], "no such folder"),
    ],
)
def test_export_refuses_what_cannot_be_done(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", *words]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_export_without_onnx_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert cli.main(["export", "espcn-x4", "-o", str(tmp_path / "a.onnx")]) == 2
    assert ".[web]" in capsys.readouterr().err


def test_an_interrupt_leaves_whole_files_only(shop, capsys, monkeypatch):
    for name in ("pictures/a.png", "pictures/b.png"):
        shop.picture(name)
    save, saved = Image.Image.save, []

    def interrupted(picture, file, *arguments, **options):
        saved.append(file)
        if len(saved) == 2:
            file.write(b"half")
            raise KeyboardInterrupt
        save(picture, file, *arguments, **options)

    monkeypatch.setattr(Image.Image, "save", interrupted)
    assert _apply("pictures", "-o", "out") == 130
    assert _written(shop) == ["a.png"]
    assert "stopped; every file in the output folder is whole" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "required"),
        (["paint"], "invalid choice: 'paint'"),
        (["apply", "dark-net", "a.png"], "-o/--out"),
        (["train", "x", "--steps", "0"], "'0' is not a whole number from 1"),
        (["train", "x", "--steps", "many"], "'many' is not a whole number from 1"),
        (["train", "x", "--seed", "-1"], "'-1' is not a whole number from 0"),
        (["train", "x", "--seed", "1.5"], "'1.5' is not a whole number from 0"),
        (["train", "x", "--device", "abacus"], "invalid choice: 'abacus'"),
    ],
)
def test_words_that_make_no_command_are_named(capsys, words, message):
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def _recipe(**changes) -> Recipe:
    fields = {
        "name": "dark-net", "task": "segmentation", "chapter": "fcn", "net": Dark, "arguments": {}, "loss": None,
        "dataset": None, "evaluate": None, "steps": 10, "batch_size": 4, "data": "drawn numbers", "terms": "our own",
    }  # fmt: skip
    return Recipe(**{**fields, **changes})


@pytest.fixture
def trained(shop, monkeypatch):
    """What `xferlib train` asks for, nothing being trained."""
    asked = []

    def run(recipe, **options):
        asked.append((recipe.name, options))
        return zoo.row("dark-net", "zoo")

    monkeypatch.setattr(recipes, "find", lambda name: _recipe(name=name))
    monkeypatch.setattr(running, "run", run)
    return asked


def test_train_runs_the_recipe(trained, tmp_path, capsys):
    words = [
        "--steps",
        "3",
        "--seed",
        "2",
        "--data",
        str(tmp_path),
        "--out",
        "mine",
        "--device",
        "cpu",
        "--devices",
        "2",
        "--precision",
        "bf16-mixed",
    ]
    assert cli.main(["train", "dark-net", *words]) == 0
    assert cli.main(["train", "dark-net"]) == 0
    (name, asked), (_, plain) = trained
    assert name == "dark-net"
    assert (asked["steps"], asked["seed"], asked["data"], str(asked["out"])) == (3, 2, tmp_path, "mine")
    assert (asked["accelerator"], asked["devices"], asked["precision"]) == ("cpu", 2, "bf16-mixed")
    assert "precision" not in plain
    assert [plain[key] for key in ("steps", "seed", "data", "out")] == [None] * 4
    assert (plain["smoke"], plain["resume"]) == (False, False)
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "dark-net: 3 steps on drawn numbers"
    assert out[1] == "dark-net: mean_iu 0.75, other 1; 0 s on none"
    assert out[2] == "dark-net: 10 steps on drawn numbers"


def test_train_draws_the_curves_of_its_log(trained, tmp_path, capsys):
    for folder, words in (("runs/dark-net", []), ("runs/dark-net/smoke", ["--smoke"])):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "log.csv").write_text("step,seconds,lr,loss,a,b\n1,0.1,1,3,1,2\n2,0.2,1,2,1,1\n")
        assert cli.main(["train", "dark-net", *words]) == 0
        assert f"each step is in {folder}/log.csv, its curves are in {folder}/curves.png" in capsys.readouterr().out
        with Image.open(tmp_path / folder / "curves.png") as drawn:
            assert min(drawn.size) > 300
    assert [options["smoke"] for _, options in trained] == [False, True]


def test_train_refuses_what_cannot_work(trained, capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "dark-net", "--data", "missing"])
    assert "argument --data: missing: no such folder" in _fails(capsys)
    assert cli.main(["train", "dark-net", "--devices", "3"]) == 2
    assert "--devices 3: they cannot share a batch of 4 equally" in _fails(capsys)
    if not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        assert cli.main(["train", "dark-net", "--device", "gpu"]) == 2
        assert "use --device cpu" in _fails(capsys)
    for words in (["--steps", "9"], ["--out", "mine"], ["--resume"]):
        assert cli.main(["train", "dark-net", "--smoke", *words]) == 2
        assert "--smoke takes two steps, in a folder of its own" in _fails(capsys)
    assert trained == []


def test_a_trial_says_how_short_it_is(trained, capsys):
    assert cli.main(["train", "dark-net", "--smoke"]) == 0
    assert capsys.readouterr().out.startswith("dark-net: 2 steps on drawn numbers\n")


@pytest.mark.parametrize(
    "error", [FloatingPointError("the loss is nan at step 3: try a lower lr"), images.ImageError("a.png: damaged")]
)
def test_train_says_what_went_wrong_in_a_line(trained, monkeypatch, capsys, error):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr(running, "run", broken)
    assert cli.main(["train", "dark-net"]) == 2
    assert str(error) in capsys.readouterr().err


def test_train_stopped_says_how_to_go_on(trained, monkeypatch, capsys):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "run", stopped)
    assert cli.main(["train", "dark-net"]) == 130
    assert "stopped; the same command goes on from the last checkpoint, of which" in capsys.readouterr().err


def test_an_unknown_recipe_is_refused(capsys):
    assert cli.main(["train", "no-such-recipe"]) == 2
    assert "no recipe is named 'no-such-recipe'" in _fails(capsys)


@pytest.fixture
def camvid(monkeypatch, tmp_path):
    """CamVid with one frame for training, in the folder of public sets."""
    pixels = torch.zeros(3, 4, 5)
    for folder in ("train", "trainannot"):
        (tmp_path / "camvid" / folder).mkdir(parents=True)
    images.write(tmp_path / "camvid/train/f.png", pixels)
    images.write_labels(tmp_path / "camvid/trainannot/f.png", pixels[0].long(), PALETTE)
    monkeypatch.setenv("XFERLIB_DATA", str(tmp_path))
    return tmp_path / "camvid"


@pytest.mark.parametrize("words", [["data"], ["data", "list"]])
def test_data_lists_what_there_is(camvid, capsys, words):
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines() if line.split()}
    assert "streets" in lines
    assert "Stefan van der Walt" in lines["chelsea"] and "CC0" in lines["chelsea"] and " test " in lines["chelsea"]
    assert "1 train" in lines["camvid"] and "https://" in lines["camvid"] and "Brostow" in lines["camvid"]
    assert "not found" in lines["nuclei"]


def test_data_without_a_folder_says_so(monkeypatch, capsys):
    monkeypatch.delenv("XFERLIB_DATA", raising=False)
    assert cli.main(["data"]) == 0
    out = capsys.readouterr().out
    assert "XFERLIB_DATA names (not set)" in out and re.search("camvid +not found", out)
    assert cli.main(["data", "where"]) == 1
    assert "XFERLIB_DATA is not set. Set it to a folder" in capsys.readouterr().out
    assert cli.main(["data", "check", "camvid"]) == 2
    assert "XFERLIB_DATA is not set; set it to the folder that holds camvid/" in _fails(capsys)


def test_data_where_names_the_folders(camvid, capsys):
    assert cli.main(["data", "where"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(camvid.parent)
    assert re.fullmatch(f"{camvid} +1 train", lines[1])


def test_data_check_says_file_by_file_what_is_missing(camvid, capsys):
    assert cli.main(["data", "check", "camvid"]) == 0
    out = capsys.readouterr().out
    assert "train: 1 found, 0 missing\nval: not there\n" in out and "terms: academic use" in out
    (camvid / "trainannot/f.png").unlink()
    assert cli.main(["data", "check", "camvid", str(camvid)]) == 1
    out = capsys.readouterr().out
    assert f"train: 1 found, 1 missing\n  {camvid}/trainannot/f.png: no such file, wanted by" in out
    (camvid / "train/f.png").unlink()
    assert cli.main(["data", "check", "camvid"]) == 1
    assert f"train: not there\n  {camvid}/train/*: no such files" in capsys.readouterr().out
    assert cli.main(["data", "check", "camvit"]) == 2
    assert "did you mean 'camvid'?" in _fails(capsys)


def test_the_package_can_be_run_and_lists_without_importing_the_training():
    script = """
import runpy, sys
sys.argv = ["xferlib", "list"]
try:
    runpy.run_module("xferlib", run_name="__main__")
except SystemExit as stop:
    assert stop.code == 0
print(*(name for name in sys.modules if name.startswith(("xferlib.train", "lightning_fabric"))), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("name") and done.stderr.strip() == ""
