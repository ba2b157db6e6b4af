import json
import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from xferlib import zoo
from xferlib.data import images
from xferlib.zoo import manifest
from xferlib.zoo.inference import as_image, colours
from xferlib.zoo.manifest import data_folder, manifest_text


class Colour(nn.Module):
    """Scores a pixel's classes by its colour; the second class wins where the image is dark."""

    def __init__(self, num_classes: int = 11, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, num_classes, 1, stride=stride)
        self.norm = nn.BatchNorm2d(num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x))


@pytest.fixture(autouse=True)
def tiny_nets(monkeypatch):
    """Let `xferlib.nets.tiny.Colour` be a net of ours."""
    module = ModuleType("xferlib.nets.tiny")
    module.Colour = Colour
    monkeypatch.setattr(Colour, "__module__", module.__name__)
    monkeypatch.setitem(sys.modules, module.__name__, module)


def _net(**arguments) -> nn.Module:
    torch.manual_seed(2)
    net = Colour(**arguments)
    net(torch.rand(4, 3, 8, 8))  # moves the running statistics
    return net


def _save(folder, name="tiny-net", net=None, **changes):
    row = {
        "task": "segmentation",
        "chapter": "fcn",
        "arguments": {"num_classes": 11},
        "palette": "streets",
        "recipe": name,
        "seed": 3,
        "data": "drawn streets",
        "terms": "our own",
        "result": {"mean_iu": 0.5},
        "cost": {"seconds": 60, "hardware": "2 threads of a CPU"},
    }
    return zoo.save(_net() if net is None else net, name=name, folder=folder, **{**row, **changes})


def test_a_net_comes_back_with_its_weights_in_half_precision(tmp_path):
    net = _net()
    _save(tmp_path, net=net)
    loaded = zoo.load("tiny-net", tmp_path, fast=False)
    assert type(loaded) is Colour and not loaded.training
    for key, tensor in net.state_dict().items():
        back = loaded.state_dict()[key]
        assert back.dtype == tensor.dtype
        assert torch.equal(back, tensor.half().float() if tensor.is_floating_point() else tensor)
    assert loaded.norm.num_batches_tracked == 1


def test_each_load_gives_a_net_of_its_own(tmp_path):
    _save(tmp_path)
    first = zoo.load("tiny-net", tmp_path)
    nn.init.zeros_(first.conv.weight)
    assert zoo.load("tiny-net", tmp_path).conv.weight.any()


class Normed(nn.Module):
    """A net with a normalisation to fold."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def test_a_net_comes_in_the_fast_form_or_as_it_was_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(Normed, "__module__", "xferlib.nets.tiny")
    sys.modules["xferlib.nets.tiny"].Normed = Normed
    net = Normed()
    net.layers[1].running_mean.fill_(3)
    _save(tmp_path, net=net, arguments={}, palette=None)
    fast, plain = zoo.load("tiny-net", tmp_path), zoo.load("tiny-net", tmp_path, fast=False)
    assert type(fast) is type(plain) is Normed
    assert isinstance(fast.layers[1], nn.Identity) and isinstance(plain.layers[1], nn.BatchNorm2d)
    assert plain.state_dict().keys() == net.state_dict().keys()
    image = torch.rand(1, 3, 9, 9)
    torch.testing.assert_close(fast(image), plain(image))
    assert (plain(image) < -2).any()


def test_loading_leaves_the_random_state_alone(tmp_path):
    _save(tmp_path)
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    zoo.load("tiny-net", tmp_path)
    assert torch.equal(torch.rand(2), expected)


def test_the_row_says_what_was_saved(tmp_path):
    row = _save(tmp_path, classes=("a", "b"))
    assert zoo.rows(tmp_path) == [row] and zoo.row("tiny-net", tmp_path) == row
    assert row.net == "tiny.Colour" and row.file == "tiny-net.safetensors" and row.classes == ("a", "b")
    assert row.bytes == (tmp_path / row.file).stat().st_size
    assert row.parameters == 3 * 11 + 11 + 2 * 11


def test_rows_are_sorted_and_others_are_kept(tmp_path):
    rows = {name: _save(tmp_path, name, seed=seed) for seed, name in enumerate(["b", "c", "a"])}
    before = (tmp_path / "manifest.json").read_text()
    again = _save(tmp_path, "b", seed=7)
    assert zoo.rows(tmp_path) == [rows["a"], again, rows["c"]]
    changed = [
        (old, new)
        for old, new in zip(before.splitlines(), (tmp_path / "manifest.json").read_text().splitlines(), strict=True)
        if old != new
    ]
    assert [new.strip() for _, new in changed] == ['"seed": 7,']
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.safetensors", "b.safetensors", "c.safetensors", "manifest.json",
    ]  # fmt: skip


def test_saving_the_same_again_changes_no_byte(tmp_path):
    _save(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    _save(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_shipped_manifest_is_as_it_would_be_written():
    text = (data_folder() / "weights" / "manifest.json").read_text("utf-8") if zoo.rows() else manifest_text([])
    assert manifest_text(zoo.rows()) == text


@pytest.mark.parametrize("row", zoo.rows(), ids=lambda row: row.name)
def test_each_shipped_net_loads_and_its_row_is_true(row):
    net = zoo.load(row.name, fast=False)
    assert sum(p.numel() for p in net.parameters()) == row.parameters
    assert (data_folder() / "weights" / row.file).stat().st_size == row.bytes <= 4e6
    assert all(p.isfinite().all() for p in net.parameters())
    assert row.palette is None or len(colours(row)) == len(row.classes)


def test_the_shipped_nets_lie_in_the_checkout_or_in_the_wheel(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "_PACKAGE", tmp_path / "xferlib")
    _save(tmp_path / "data" / "weights", "from-checkout")
    assert [row.name for row in zoo.rows()] == ["from-checkout"]
    _save(tmp_path / "xferlib" / "_data" / "weights", "from-wheel")
    assert [row.name for row in zoo.rows()] == ["from-wheel"]
    assert type(zoo.load("from-wheel")) is Colour


def test_a_zoo_without_manifest_is_empty(tmp_path):
    assert zoo.rows(tmp_path) == []
    with pytest.raises(zoo.ZooError, match="no net is named 'x'; there are: none yet"):
        zoo.load("x", tmp_path)


def test_an_unknown_name_gets_the_closest(tmp_path):
    _save(tmp_path, "fcn8s-streets")
    _save(tmp_path, "segnet-streets")
    with pytest.raises(zoo.ZooError, match=r"'fcn-streets'; did you mean 'fcn8s-streets'\? .*segnet-streets"):
        zoo.load("fcn-streets", tmp_path)


def test_missing_weights_say_how_to_get_them(tmp_path):
    row = _save(tmp_path)
    (tmp_path / row.file).unlink()
    with pytest.raises(zoo.ZooError, match=r"tiny-net\.safetensors: .* missing.*xferlib train tiny-net"):
        zoo.load("tiny-net", tmp_path)


def test_a_changed_byte_is_refused_before_it_is_parsed(tmp_path, monkeypatch):
    row = _save(tmp_path)
    content = bytearray((tmp_path / row.file).read_bytes())
    content[-1] ^= 1
    (tmp_path / row.file).write_bytes(content)
    monkeypatch.setattr("safetensors.torch.load", lambda _: pytest.fail("parsed"))
    with pytest.raises(zoo.ZooError, match="damaged or another version: their sha256"):
        zoo.load("tiny-net", tmp_path)


def _edit(folder, **changes):
    file = folder / "manifest.json"
    content = json.loads(file.read_text())
    content["nets"][0].update(changes)
    file.write_text(json.dumps(content))


def test_weights_that_do_not_fit_are_refused(tmp_path):
    _save(tmp_path)
    _edit(tmp_path, arguments={"num_classes": 5})
    with pytest.raises(zoo.ZooError, match=r"'tiny-net' do not fit tiny\.Colour\(num_classes=5\): .*conv\.weight"):
        zoo.load("tiny-net", tmp_path)
    _edit(tmp_path, arguments={"depth": 5})
    with pytest.raises(zoo.ZooError, match=r"do not fit tiny\.Colour\(depth=5\): .*unexpected keyword"):
        zoo.load("tiny-net", tmp_path)


@pytest.mark.parametrize(
    "specification",
    ["os.system", "tiny.nn", "tiny.Missing", "missing.Net", "Colour", "..cli.Path", "tiny.torch.nn.Linear", ""],
)
def test_a_class_outside_the_nets_is_refused(tmp_path, specification):
    sys.modules["xferlib.nets.tiny"].nn = nn
    sys.modules["xferlib.nets.tiny"].torch = torch
    _save(tmp_path)
    _edit(tmp_path, net=specification)
    with pytest.raises(zoo.ZooError, match=r"is not a net of xferlib\.nets"):
        zoo.load("tiny-net", tmp_path)


def test_a_class_that_a_net_module_merely_imports_is_refused(tmp_path):
    sys.modules["xferlib.nets.tiny"].Linear = nn.Linear
    _save(tmp_path)
    _edit(tmp_path, net="tiny.Linear")
    with pytest.raises(zoo.ZooError, match=r"is not a net of xferlib\.nets"):
        zoo.load("tiny-net", tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"nets": [1]}', '{"nets": [{"name": "x"}]}', '{"nets": null}'])
def test_an_unreadable_manifest_is_named(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(zoo.ZooError, match=r"manifest\.json: not a readable manifest"):
        zoo.rows(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"file": "../tiny-net.safetensors"}, "not beside the manifest"),
        ({"bytes": "many"}, r"wrong type of \['bytes'\]"),
        ({"arguments": []}, r"wrong type of \['arguments'\]"),
        ({"palette": 3}, r"wrong type of \['palette'\]"),
        ({"classes": "road"}, r"wrong type of \['classes'\]"),
        ({"classes": ["road", 1]}, r"wrong type of \['classes'\]"),
        ({"classes": 11}, r"wrong type of \['classes'\]"),
        ({"classes": None}, r"wrong type of \['classes'\]"),
        ({"views": 3}, "views 3 are not 1, 2 or 8"),
        ({"views": 2.0}, r"views 2\.0 are not 1, 2 or 8"),
        ({"pixels": 400}, r"wrong type of \['pixels'\]"),
        ({"pixels": [400, 0]}, r"pixels \(400, 0\) are not whole numbers from 1"),
        ({"pixels": [2.5]}, r"pixels \(2\.5,\) are not whole numbers from 1"),
        ({"pixels": [400], "task": "enhancement"}, r"pixels \(400,\); only nets for segmentation, instances, style"),
        ({"pixels": [400, 900], "task": "instances"}, r"pixels \(400, 900\); objects found at several sizes have no"),
        ({"colour": "red"}, r"unknown \['colour'\]"),
    ],
)
def test_a_row_that_makes_no_sense_is_named(tmp_path, changes, message):
    _save(tmp_path)
    _edit(tmp_path, **changes)
    with pytest.raises(zoo.ZooError, match=f"row 'tiny-net': .*{message}"):
        zoo.rows(tmp_path)


@pytest.mark.parametrize("name", ["", "Big", "a b", "../a", "a.b", "-a", "manifest/x"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path, name):
    with pytest.raises(zoo.ZooError, match="is no name for a net"):
        _save(tmp_path, name)


def test_a_net_that_could_not_be_loaded_is_not_saved(tmp_path):
    large = _net()
    nn.init.constant_(large.conv.bias, 1e5)
    with pytest.raises(zoo.ZooError, match=r"conv\.bias of 'tiny-net' does not fit float16.*100000"):
        _save(tmp_path, net=large)
    with pytest.raises(zoo.ZooError, match=r"do not fit tiny\.Colour\(num_classes=4\)"):
        _save(tmp_path, arguments={"num_classes": 4})
    with pytest.raises(zoo.ZooError, match="row 'tiny-net': views 3 are not 1, 2 or 8"):
        _save(tmp_path, views=3)
    with pytest.raises(zoo.ZooError, match=r"row 'tiny-net': pixels \(-1,\) are not"):
        _save(tmp_path, pixels=[-1])
    with pytest.raises(zoo.ZooError, match=r"Linear is not in xferlib\.nets"):
        _save(tmp_path, net=nn.Linear(1, 1))
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_breaks_off_leaves_the_zoo_as_it_was(tmp_path, monkeypatch):
    _save(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    def full(path, _):
        path.touch()
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="disk full"):
        _save(tmp_path, seed=9)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def _darkness_net(**arguments) -> nn.Module:
    """Give class 1 where the mean is below one half and class 0 elsewhere."""
    net = Colour(num_classes=2, **arguments)
    nn.init.zeros_(net.conv.weight)
    nn.init.constant_(net.conv.weight[1], -1 / 3)
    net.conv.bias.data = torch.tensor([0.0, 0.5])
    return net


def _picture(height=6, width=9) -> torch.Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(0)).mul(255).round() / 255


def _expected(image: torch.Tensor) -> torch.Tensor:
    return (image.mean(0) < 0.5).long()


def test_apply_takes_every_kind_of_picture(tmp_path):
    _save(tmp_path, net=_darkness_net(), arguments={"num_classes": 2}, palette=None)
    image = _picture()
    images.write(tmp_path / "picture.png", image)
    pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    for given_as in (tmp_path / "picture.png", str(tmp_path / "picture.png"), Image.fromarray(pixels), pixels, image):
        labels = zoo.apply("tiny-net", given_as, tmp_path)
        assert labels.dtype == torch.int64 and torch.equal(labels, _expected(image))


def test_labels_have_the_pictures_own_size(tmp_path):
    # The net answers at a third of the resolution; a picture dark on the left stays dark on the left.
    _save(tmp_path, net=_darkness_net(stride=3), arguments={"num_classes": 2, "stride": 3}, palette=None)
    image = torch.ones(3, 7, 20)
    image[:, :, :9] = 0
    labels = zoo.apply("tiny-net", image, tmp_path)
    assert labels.shape == (7, 20) and labels[:, :8].all() and not labels[:, 12:].any()


def test_apply_does_not_change_the_picture(tmp_path):
    _save(tmp_path)
    image = _picture()
    before = image.clone()
    zoo.apply("tiny-net", image, tmp_path)
    assert torch.equal(image, before)


def test_apply_uses_the_net_that_is_there_now(tmp_path):
    image = torch.zeros(3, 4, 4)
    _save(tmp_path, net=_darkness_net(), arguments={"num_classes": 2}, palette=None)
    assert zoo.apply("tiny-net", image, tmp_path).all()
    other = _darkness_net()
    other.conv.bias.data = torch.tensor([0.0, -1.0])
    _save(tmp_path, net=other, arguments={"num_classes": 2}, palette=None)
    assert not zoo.apply("tiny-net", image, tmp_path).any()


def test_a_task_without_use_on_a_picture_is_refused(tmp_path):
    _save(tmp_path, task="features")
    with pytest.raises(zoo.ZooError, match="'tiny-net' is a net for features"):
        zoo.apply("tiny-net", _picture(), tmp_path)


def test_colours_come_from_the_data(tmp_path):
    from xferlib.data import streets

    row = _save(tmp_path)
    assert np.array_equal(colours(row), streets.PALETTE)
    for wrong in ("../x", "os.path", "nowhere", "images"):
        with pytest.raises(zoo.ZooError, match="no palette"):
            colours(replace(row, palette=wrong))
    with pytest.raises(zoo.ZooError, match="no palette"):
        colours(replace(row, palette=None, classes=()))


def test_classes_of_a_readers_own_have_the_colours_of_voc(tmp_path):
    row = replace(_save(tmp_path), palette=None, classes=tuple(map(str, range(256))))
    found = colours(row)
    assert found[[0, 1, 2, 15, 20]].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [0, 64, 128]]
    assert found[255].tolist() == [224, 224, 192] and len(np.unique(found, axis=0)) == 256


@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from([(), (1,), (3,)]))
def test_arrays_of_bytes_and_floats_are_the_same_picture(height, width, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, *channels), np.uint8)
    from_bytes, from_floats = as_image(pixels), as_image(pixels / 255)
    assert from_bytes.shape == (3, height, width) and from_bytes.dtype == torch.float32
    torch.testing.assert_close(from_bytes, from_floats)
    if channels != (3,):
        assert torch.equal(from_bytes[0], from_bytes[2])


@pytest.mark.parametrize("kind", [np.uint8, np.float64])
def test_arrays_seen_backwards_are_pictures(kind):
    pixels = np.random.default_rng(0).integers(0, 2, (3, 4, 3)).astype(kind)
    for view in (np.fliplr(pixels), pixels[::-1], pixels[..., ::-1]):
        torch.testing.assert_close(as_image(view), as_image(view.copy()))


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (torch.zeros(1, 3, 4, 4), r"not a picture: \(1, 3, 4, 4\)"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), "torch.uint8"),
        (torch.full((3, 2, 2), 255.0), r"from 255 to 255 are outside \[0, 1\]; divide"),
        (torch.full((3, 2, 2), torch.nan), "from nan to nan"),
        (torch.zeros(3, 0, 2), "has no pixel"),
        (np.zeros((4, 4, 2)), r"array of shape \(4, 4, 2\)"),
        (np.zeros(4), r"array of shape \(4,\)"),
        (np.zeros((4, 4), np.int64), "array of int64"),
        (np.zeros((4, 4, 4)), "RGB floats"),
        (np.zeros((0, 4), np.uint8), r"an array of shape \(0, 4\) has no pixel"),
        (7, "not a picture: 7"),
    ],
)
def test_what_is_no_picture_is_named(picture, message):
    with pytest.raises(ValueError, match=message):
        as_image(picture)
