"""The reader of the nuclei, on a folder of the same layout in miniature."""

import numpy as np
import pytest
import torch
from PIL import Image

from xferlib.data.benchmarks import Nuclei, _part
from xferlib.data.images import ImageError


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("image", "label"):
        (tmp_path / "nuclei" / kind).mkdir(parents=True)
    for i in range(40):
        numbers = np.kron(rng.integers(0, 400, (4, 5)), np.ones((6, 6))).astype(np.uint16)
        Image.fromarray(numbers).save(tmp_path / "nuclei" / "label" / f"{i:03x}.png")
        Image.fromarray((20 + 200 * (numbers > 250)).astype(np.uint8)).save(
            tmp_path / "nuclei" / "image" / f"{i:03x}.{'jpg' if i % 2 else 'png'}", quality=98
        )
    return tmp_path / "nuclei"


def test_pictures_come_with_their_numbers(root, monkeypatch):
    monkeypatch.setenv("XFERLIB_DATA", str(root.parent))
    pictures = Nuclei()
    assert len(pictures) == 40
    image, numbers = pictures[7]
    assert image.shape == (3, 24, 30) and image.dtype == torch.float32
    assert numbers.dtype == torch.int64
    expected = np.asarray(Image.open(root / "label" / "007.png")).astype(np.int64)
    assert torch.equal(numbers, torch.from_numpy(expected)) and numbers.max() > 255


def test_the_split_is_fixed_by_the_names(root):
    parts = [{path.stem for path in Nuclei(root, split).paths} for split in ("train", "val")]
    assert not parts[0] & parts[1]
    assert len(parts[0] | parts[1]) == 40
    # From `sha256sum` of the names.
    assert sorted(parts[1]) == ["005", "006", "00b", "00c"]
    assert parts == [{path.stem for path in Nuclei(root, split).paths} for split in ("train", "val")]


def test_pictures_are_read_as_they_are(root):
    for image, numbers in Nuclei(root):
        expected = (20 + 200 * (numbers > 250)) / 255
        assert (image - expected).abs().mean() < 4 / 255, "JPEG has its own mind at the edges"
        assert torch.equal(image[0], image[2])


def test_without_a_split_all_pictures_come_in_the_order_of_their_names(root):
    assert [path.stem for path in Nuclei(root).paths] == [f"{i:03x}" for i in range(40)]
    assert [path.stem for path in Nuclei(root).label_paths] == [f"{i:03x}" for i in range(40)]


def test_more_pictures_do_not_move_the_others(root):
    before = {path.stem for path in Nuclei(root, "val").paths}
    for i in range(40, 80):
        for kind in ("image", "label"):
            Image.new("L", (4, 4)).save(root / kind / f"{i:03x}.png")
    after = {path.stem for path in Nuclei(root, "val").paths}
    assert {name for name in after if int(name, 16) < 40} == before


def test_about_one_in_six_is_held_back():
    parts = [_part(f"picture {i}") for i in range(3000)]
    assert set(parts) == {"train", "val"}
    assert abs(parts.count("val") / 3000 - 1 / 6) < 0.025  # 3.7 standard deviations


def test_kinds():
    assert Nuclei.kind(torch.full((3, 4, 4), 0.1)) == "fluorescence"
    assert Nuclei.kind(torch.full((3, 4, 4), 0.8)) == "stained"


def test_the_ground_decides_the_kind_not_the_nuclei():
    shining, dark = torch.full((3, 10, 10), 0.05), torch.full((3, 10, 10), 0.85)
    shining[:, :4] = 1
    dark[:, :4] = 0
    assert Nuclei.kind(shining) == "fluorescence" and Nuclei.kind(dark) == "stained"


def test_what_is_missing_is_named(root, tmp_path):
    with pytest.raises(ValueError, match="'test'"):
        Nuclei(root, "test")
    with pytest.raises(FileNotFoundError, match="XFERLIB_DATA"):
        Nuclei(tmp_path / "none")
    (root / "label" / "003.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"003\.png"):
        Nuclei(root)


def test_without_an_environment(monkeypatch):
    monkeypatch.delenv("XFERLIB_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="XFERLIB_DATA is not set; set it to the folder that holds nuclei/"):
        Nuclei()


def test_labels_of_another_size_are_named(root):
    Image.fromarray(np.zeros((5, 5), np.uint16)).save(root / "label" / "000.png")
    with pytest.raises(ImageError, match=r"000\.png: labels of \(5, 5\)"):
        Nuclei(root)[0]
