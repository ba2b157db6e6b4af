"""Nets that lose a margin or read one channel, applied to pictures of any size."""

import pytest
import torch
import torch.nn.functional as F

from xferlib import zoo
from xferlib.nets.unet import UNet


@pytest.fixture
def shipped(tmp_path):
    """A valid U-Net of one channel in a zoo of its own."""
    torch.manual_seed(0)
    net = UNet(width=4, depth=2, norm=True).half().float().eval()
    zoo.save(
        net,
        name="tiny-unet",
        task="segmentation",
        chapter="none",
        arguments={"width": 4, "depth": 2, "norm": True},
        classes=("membrane", "cell"),
        palette="cells",
        recipe="tiny-unet",
        seed=0,
        data="none",
        terms="ours",
        result={"pixel error": 0.5},
        cost={"seconds": 1, "hardware": "a CPU"},
        folder=tmp_path,
    )
    return net, tmp_path


@pytest.mark.parametrize("size", [(1, 1), (37, 90), (600, 520)])
def test_a_picture_of_any_size_gets_the_labels_of_one_whole_pass(shipped, size):
    net, folder = shipped
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(1))
    labels = zoo.apply("tiny-unet", image, folder)
    assert labels.shape == size and labels.dtype == torch.int64
    if min(size) > 20:
        far = [net.legal_size(n + 2 * net.margin) - n - net.margin for n in size]
        padded = F.pad(image.mean(0)[None, None], (net.margin, far[1], net.margin, far[0]), mode="reflect")
        with torch.no_grad():
            whole = net(padded)[0, :, : size[0], : size[1]]
        sure = (whole[0] - whole[1]).abs() > 1e-4
        assert torch.equal(labels[sure], whole.argmax(0)[sure])


def test_a_grey_picture_and_its_grey_in_colour_get_the_same_labels(shipped):
    _, folder = shipped
    grey = torch.rand(50, 60, generator=torch.Generator().manual_seed(1))
    from_array = zoo.apply("tiny-unet", grey.numpy(), folder)
    assert torch.equal(from_array, zoo.apply("tiny-unet", grey.expand(3, -1, -1), folder))
