"""Every shipped net applied by the command, as a user would, to photographs of odd sizes."""

import numpy as np
import pytest
from PIL import Image

from xferlib import cli, zoo
from xferlib.data import images, photos
from xferlib.zoo.inference import PICTURES, colours

NETS = [row for row in zoo.rows() if row.task != "features"]
SIZES = {"landscape": (97, 141), "portrait": (133, 75)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two photographs of odd sizes, one a JPEG and one a grey PNG, and a file that is no picture."""
    root = tmp_path_factory.mktemp("photographs")
    for (name, (height, width)), photo, suffix in zip(SIZES.items(), ("china", "coins"), ("jpg", "png"), strict=True):
        pixels = images.to_pil(photos.load(photo)).resize((width, height))
        (pixels.convert("L") if suffix == "png" else pixels).save(root / f"{name}.{suffix}")
    (root / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    return root


@pytest.mark.parametrize("row", NETS, ids=lambda row: row.name)
def test_each_shipped_net_is_applied_by_the_command(row, folder, tmp_path, capsys):
    paints, overlay = row.task in PICTURES, row.task not in PICTURES
    styles = ["--style", row.classes[0]] if row.task == "style" and len(row.classes) > 1 else []
    words = ["apply", row.name, str(folder), "-o", str(tmp_path), *styles, *(["--overlay"] if overlay else [])]
    assert cli.main(words) == 1  # the broken file
    out, err = capsys.readouterr()
    assert out == f"2 of 3 pictures done: {tmp_path}\n" and "broken.jpg" in err and "Traceback" not in err
    factor = row.arguments.get("factor", 1)
    for name, (height, width) in SIZES.items():
        with Image.open(tmp_path / f"{name}.png") as written:
            assert written.size == (factor * width, factor * height)
            pixels = np.asarray(written)
            if paints:
                assert written.mode == "RGB" and pixels.std() > 10
            elif row.task == "instances":
                assert written.mode.startswith("I") and pixels.min() == 0
            else:
                assert written.mode == "P" and pixels.max() < len(row.classes)
                assert written.getpalette()[: 3 * len(row.classes)] == colours(row).flatten().tolist()
        assert (tmp_path / f"{name}-overlay.jpg").exists() == overlay
