"""Objects piece by piece: none lost, none twice, none cut, within the memory."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from xferlib import zoo
from xferlib.data import shapes
from xferlib.metrics.instances import components
from xferlib.ops.instances import Instances
from xferlib.zoo import objects
from xferlib.zoo.memory import bytes_per_pixel
from xferlib.zoo.objects import find_objects


class Spots(nn.Module):
    """Finds spots of one brightness, up to 16 pixels wide; the brighter the surer."""

    def __init__(self, detections: int = 100) -> None:
        super().__init__()
        self.detections, self.largest, self.overlap, self.sure = detections, 8, 0.3, 0.5
        self.seen: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        return images * 2

    def detect(self, image: Tensor, views: int) -> Instances:
        self.seen.append((*image.shape[1:], views))
        found = Instances.from_map(components(image[0] > 0))
        scores = torch.stack([image[0][mask].max() for mask in found.masks] or [torch.zeros(())])[: len(found.masks)]
        best = scores.argsort(descending=True)[: self.detections]
        return Instances(found.boxes[best], found.classes[best], found.masks[best], scores[best])


def scattered(count: int, height: int, width: int, least: float = 0.6) -> Tensor:
    """Draw discs that do not touch, each of its own brightness."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    picture, taken = torch.zeros(height, width), torch.zeros(height, width, dtype=torch.bool)
    number = 0
    while number < count:
        y, x, radius = (torch.rand(3, generator=generator) * torch.tensor([height, width, 5.0])).tolist()
        radius = 2 + radius
        distance = ((rows - y) ** 2 + (columns - x) ** 2).sqrt()
        if not taken[distance <= radius + 2].any():
            picture[distance <= radius] = least + (1 - least) * number / count
            taken |= distance <= radius
            number += 1
    return picture.expand(3, -1, -1)


def same(found: Tensor, picture: Tensor) -> bool:
    """Say whether a map has the picture's spots, numbered from the brightest."""
    levels = picture[0].unique(sorted=True).flip(0)
    return torch.equal(found, (picture[0][..., None] == levels[:-1]).long() @ torch.arange(1, len(levels)))


def test_a_small_picture_is_seen_at_once():
    net, picture = Spots(), scattered(30, 100, 150)
    assert same(find_objects(net, picture, 8), picture)
    assert net.seen == [(100, 150, 8)]


@pytest.mark.parametrize("pieces", [10_000, 3_000])
def test_pieces_of_a_large_picture_have_the_same_objects_as_the_whole(monkeypatch, pieces):
    monkeypatch.setattr(objects, "PIECE", pieces)
    net, picture = Spots(10**6), scattered(150, 200, 310)
    assert same(find_objects(net, picture), picture)
    windows = 62_000 / pieces
    assert windows < len(net.seen) < 4 * windows and max(h * w for h, w, _ in net.seen) < 3 * pieces


def test_a_bar_tells_how_much_of_the_picture_is_searched(monkeypatch):
    done = []

    @contextmanager
    def bar(total, unit):
        assert (total, unit) == (100 * 150, "pixel")
        yield SimpleNamespace(update=done.append)

    monkeypatch.setattr(objects, "bar", bar)
    monkeypatch.setattr(objects, "PIECE", 40 * 40)
    find_objects(Spots(), scattered(30, 100, 150))
    assert sum(done) == 100 * 150 and len(done) > 4


def test_what_pieces_hold_does_not_depend_on_where_they_are_cut(monkeypatch):
    monkeypatch.setattr(objects, "PIECE", 3_000)
    picture = scattered(150, 200, 310)
    for shift in range(1, 12):
        shifted = picture[:, shift:, 2 * shift :].contiguous()
        whole = components(shifted[0] > 0)
        found = find_objects(Spots(10**6), shifted)
        assert torch.equal(found > 0, whole > 0)
        assert len(found.unique()) == len(whole.unique())


def test_where_objects_may_overlap_at_will_one_on_a_seam_is_still_found_once(monkeypatch):
    monkeypatch.setattr(objects, "PIECE", 3_000)
    net, picture = Spots(10**6), scattered(150, 200, 310)
    net.overlap = 1.0
    assert same(find_objects(net, picture), picture)


def test_an_object_whose_place_is_not_quite_sure_is_found_once(monkeypatch):
    class Trembling(Spots):
        def detect(self, image: Tensor, views: int) -> Instances:
            found = super().detect(image, views)
            moved = found.boxes + (0.75 if len(self.seen) % 2 else -0.75)
            height, width = image.shape[1:]
            return found._replace(boxes=moved.clamp_min(0).minimum(torch.tensor([width, height] * 2)))

    monkeypatch.setattr(objects, "PIECE", 3_000)
    picture = scattered(150, 200, 310)
    found = find_objects(Trembling(10**6), picture)
    places = components(picture[0] > 0)
    numbers = [found[places == k].unique() for k in range(1, 151)]
    assert all((each > 0).sum() == 1 for each in numbers)
    assert len(torch.cat(numbers).unique()) == 150


def test_a_crowded_picture_is_cut_until_the_net_can_name_all():
    picture = scattered(150, 200, 310)
    net = Spots(40)
    assert same(find_objects(net, picture), picture)
    assert net.seen[0] == (200, 310, 1) and len(net.seen) > 8
    assert len(net.detect(picture, 1).scores) == 40


def test_doubtful_objects_do_not_count():
    net, picture = Spots(120), scattered(60, 200, 310, 0.1)
    assert len(net.detect(picture, 1).scores) == 60 > 120 / 3
    found = find_objects(net, picture)
    assert torch.equal(found > 0, picture[0] >= 0.5) and 20 < found.max() < 40
    assert len(net.seen) == 2


def test_more_objects_than_a_smallest_piece_can_name_are_not_passed_over():
    picture = torch.zeros(3, 16, 16)
    picture[:, ::4, ::4] = torch.linspace(0.6, 1, 16).view(4, 4)
    with pytest.warns(UserWarning, match="3 objects are all that this net gives of a piece"):
        assert find_objects(Spots(3), picture).max() == 3


def test_pieces_keep_to_the_memory():
    net, picture = Spots(20), scattered(20, 200, 310)
    allowed = int((bytes_per_pixel(net) + 20) * 60 * 70)
    assert same(find_objects(net, picture, max_memory=allowed), picture)
    assert max(height * width for height, width, _ in net.seen) <= 60 * 70
    with pytest.raises(ValueError, match="1 MB of memory hold no piece of the picture; this net takes at least 1 MB"):
        find_objects(net, picture, max_memory=1000)


def test_a_picture_without_objects_has_an_empty_map(monkeypatch):
    monkeypatch.setattr(objects, "PIECE", 3_000)
    found = find_objects(Spots(), torch.zeros(3, 90, 80))
    assert found.shape == (90, 80) and found.dtype == torch.int64 and not found.any()


def test_a_shipped_net_finds_in_pieces_what_it_finds_in_each_picture(monkeypatch):
    net = zoo.load("mask-rcnn-shapes")
    pictures = [shapes.Shapes(6, seed=1, split="test")[i][0] for i in range(6)]
    alone = [net.detect(picture).sure(net.sure) for picture in pictures]
    wall = torch.cat([torch.cat(pictures[:3], 2), torch.cat(pictures[3:], 2)], 1)
    monkeypatch.setattr(objects, "PIECE", 1)  # a piece of a picture then has the size that its largest anchors ask for
    found = zoo.apply("mask-rcnn-shapes", wall)
    height, width = pictures[0].shape[1:]
    kept = 0
    for place, truth in enumerate(alone):
        top, left = place // 3 * height, place % 3 * width
        here = found[top : top + height, left : left + width]
        for mask in truth.masks:
            numbers, counts = here[mask].unique(return_counts=True)
            best = numbers[counts.argmax()]
            kept += bool(best > 0) and (mask & (here == best)).sum() / (mask | (here == best)).sum() > 0.7
    total = sum(len(each.scores) for each in alone)
    assert total > 15 and kept >= 0.8 * total
    with pytest.raises(ValueError, match="hold no piece of the picture"):
        zoo.apply("mask-rcnn-shapes", wall, max_memory=10_000)
