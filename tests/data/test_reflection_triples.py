"""The reader of CEILNet's triples, on a folder of the same layout in miniature."""

import numpy as np
import pytest
import torch
from PIL import Image

from xferlib.data.benchmarks import ReflectionTriples
from xferlib.data.images import ImageError

NAMES = ("smooth-10", "smooth-2", "other")
KINDS = ("input", "label1", "label2")


@pytest.fixture
def root(tmp_path):
    folder, rng = tmp_path / "reflection_synthetic", np.random.default_rng(0)
    folder.mkdir()
    for i, name in enumerate(NAMES):
        for kind in KINDS:
            pixels = rng.integers(256, size=(5 + i, 7, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}-{kind}.png")
    (folder / "readme.txt").write_text("not a picture")
    return folder


def test_each_picture_comes_with_its_background_and_reflection(root, monkeypatch):
    monkeypatch.setenv("XFERLIB_DATA", str(root.parent))
    triples = ReflectionTriples()
    assert len(triples) == 3
    for path, triple in zip(triples.paths, triples, strict=True):
        name = path.stem.removesuffix("-input")
        for kind, image in zip(KINDS, triple, strict=True):
            expected = np.asarray(Image.open(root / f"{name}-{kind}.png")).transpose(2, 0, 1) / 255
            assert image.dtype == torch.float32
            np.testing.assert_allclose(image.numpy(), expected, atol=1e-7)


def test_they_come_in_the_order_of_their_names(root):
    assert [path.name for path in ReflectionTriples(root).paths] == [
        "other-input.png",
        "smooth-10-input.png",
        "smooth-2-input.png",
    ]


def test_what_is_missing_is_named(root, tmp_path, monkeypatch):
    (root / "other-label2.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"other-label2\.png: no such file, a layer of .*other-input\.png"):
        ReflectionTriples(root)
    with pytest.raises(FileNotFoundError, match=r"no pictures named X-input in .*XFERLIB_DATA"):
        ReflectionTriples(tmp_path / "none")
    monkeypatch.delenv("XFERLIB_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="set it to the folder that holds reflection_synthetic/"):
        ReflectionTriples()


def test_a_layer_of_another_size_is_named(root):
    Image.new("RGB", (3, 3)).save(root / "other-label1.png")
    with pytest.raises(
        ImageError, match=r"other-label1\.png: a layer of \(3, 3\) does not fit its picture of \(7, 7\)"
    ):
        ReflectionTriples(root)[0]
