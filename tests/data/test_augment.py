import pytest
import torch
from torch import Generator

from xferlib.data import augment


def rng(seed=0):
    return Generator().manual_seed(seed)


def coordinates(height, width):
    """An image whose red is its row and whose green is its column, and labels that tell both."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows / height, columns / width, 0 * rows]), width * rows + columns


@pytest.mark.parametrize("seed", range(8))
def test_image_and_labels_move_together(seed):
    image, labels = augment.scaled_crop(*coordinates(60, 80), (40, 50), (1.0, 1.0), rng(seed))
    assert image.shape == (3, 40, 50)
    assert labels.shape == (40, 50)
    assert torch.allclose(image[0], (labels // 80) / 60, atol=1e-5)
    assert torch.allclose(image[1], (labels % 80) / 80, atol=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_scaling_moves_both_alike(seed):
    image, labels = augment.scaled_crop(*coordinates(120, 140), (50, 50), (0.5, 2.0), rng(seed))
    inner = slice(2, -2)  # at the picture's border the image's rows and columns are drawn inwards
    for places, found, side in ((image[0], labels // 140, 120), (image[1], labels % 140, 140)):
        assert (side * places - found)[inner, inner].abs().max() <= 0.51


@pytest.mark.parametrize("seed", range(12))
def test_of_a_large_picture_only_the_part_is_resized(seed, monkeypatch):
    picture, sizes = coordinates(700, 900), []
    resize = augment.TF.resize
    monkeypatch.setattr(augment.TF, "resize", lambda x, *rest, **how: sizes.append(x.shape) or resize(x, *rest, **how))
    image, labels = augment.scaled_crop(*picture, (50, 60), (0.6, 1.4), rng(seed))
    assert max(shape[-2] * shape[-1] for shape in sizes) < 0.1 * 700 * 900
    for places, found, side in ((image[0], labels // 900, 700), (image[1], labels % 900, 900)):
        assert (side * places - found)[2:-2, 2:-2].abs().max() <= 0.51
    monkeypatch.setattr(augment, "_MUCH", 10**9)
    whole, _ = augment.scaled_crop(*picture, (50, 60), (0.6, 1.4), rng(seed))
    scale = 1 / augment.uniform(0.6, 1.4, rng(seed))
    for channel, side in ((0, 700), (1, 900)):
        apart = side * (image[channel] - whole[channel]).abs()
        assert apart.max() <= 1.5 * scale + 0.1  # pixels of the picture, at either end of the window


def test_a_large_picture_is_drawn_to_its_ends():
    drawn = [augment.scaled_crop(*coordinates(64, 300), (3, 4), (0.5, 2), rng(seed))[1] for seed in range(400)]
    columns = torch.stack([labels % 300 for labels in drawn])
    assert columns.min() <= 1 and columns.max() >= 298 and not (torch.stack(drawn) == augment.VOID).all(2).any()


def test_what_is_missing_is_black_and_void():
    image, labels = augment.scaled_crop(torch.ones(3, 10, 10), torch.zeros(10, 10).long(), (15, 20), (1, 1), rng())
    assert torch.equal(labels[:10, :10], torch.zeros(10, 10).long())
    assert (labels[10:] == 255).all() and (labels[:, 10:] == 255).all()
    assert not image[:, 10:].any() and not image[..., 10:].any()


def test_every_window_can_be_drawn():
    starts = {int(augment.scaled_crop(*coordinates(8, 4), (6, 4), (1, 1), rng(s))[1][0, 0]) // 4 for s in range(40)}
    assert starts == {0, 1, 2}


def test_flip_mirrors_both_or_none_about_every_other_time():
    image, labels = torch.rand(3, 4, 5, generator=rng()), torch.arange(20).view(4, 5)
    flips = 0
    for seed in range(200):
        a, b = augment.flip(image, labels, rng(seed))
        mirrored = not torch.equal(b, labels)
        assert torch.equal(a, image.flip(-1) if mirrored else image)
        assert torch.equal(b, labels.flip(-1) if mirrored else labels)
        flips += mirrored
    assert 70 < flips < 130


def test_relight_stays_in_range_and_strength_zero_changes_nothing():
    image = torch.rand(3, 16, 16, generator=rng())
    before = image.clone()
    bright = torch.stack([augment.relight(image, rng(s), 0.5) for s in range(20)])
    assert torch.equal(image, before)
    assert torch.equal(bright, bright.clamp(0, 1))
    assert bright.mean((1, 2, 3)).std() > 0.02
    assert torch.allclose(augment.relight(image, rng(), 0), image, atol=1e-6)


def test_relight_changes_contrast_and_tints_each_channel():
    strength = 0.3
    image = torch.cat([torch.full((3, 8, 4), 0.4), torch.full((3, 8, 4), 0.6)], 2)
    relit = torch.stack([augment.relight(image, rng(seed), strength) for seed in range(60)])
    dark, bright = relit[..., 0, 0], relit[..., 0, -1]
    means = (dark + bright) / 2
    contrasts = (bright - dark) / means / (0.2 / 0.5)  # neither brightness nor a tint changes it
    torch.testing.assert_close(contrasts, contrasts[:, :1].expand(-1, 3), rtol=1e-3, atol=0)
    assert 1 - strength - 1e-3 < contrasts.min() < 0.75 and 1.25 < contrasts.max() < 1 + strength + 1e-3
    tints = means / means[:, :1]  # of grey
    low, high = ((1 - s * strength / 3) / (1 + s * strength / 3) for s in (1, -1))
    for channel in (1, 2):
        assert low - 1e-3 < tints[:, channel].min() < 0.9 and 1.1 < tints[:, channel].max() < high + 1e-3
    assert (tints[:, 1] - tints[:, 2]).abs().max() > 0.05


def test_same_generator_same_sample():
    sample = torch.rand(3, 40, 40), torch.randint(5, (40, 40))
    one, two = (augment.scaled_crop(*sample, (20, 20), (0.5, 2), rng(3)) for _ in range(2))
    assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])


@pytest.mark.parametrize("scales", [(0, 1), (2, 1), (-1, 1)])
def test_refuses_scales_that_make_no_sense(scales):
    with pytest.raises(ValueError, match="scales"):
        augment.scaled_crop(*coordinates(4, 4), (2, 2), scales, rng())


@pytest.mark.parametrize("size", [(128, 256), (33, 40), (1, 1), (2, 90)])
@pytest.mark.parametrize("share", [0.5, 0.2, 1.0])
def test_rectangles_cover_their_share(size, share):
    generator = torch.Generator().manual_seed(0)
    tops = set()
    for _ in range(30):
        mask = augment.rectangle(size, generator, share)
        rows, columns = mask.any(1), mask.any(0)
        assert mask.shape == size and torch.equal(mask, rows[:, None] & columns)
        if min(size) > 30:
            assert mask.float().mean().item() == pytest.approx(share, abs=0.03)
        assert rows.sum() >= share * size[0] - 1 and columns.sum() >= share * size[1] - 1
        tops.add((rows.nonzero()[0].item(), rows.sum().item()))
    assert len(tops) > 5 or share == 1.0 or min(size) < 30


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_rectangle_has_a_share(share):
    with pytest.raises(ValueError, match=f"share {share}"):
        augment.rectangle((8, 8), torch.Generator(), share)


def test_points_lie_in_every_window():
    windows = [torch.tensor(w) for w in ([10.0, 20, 30, 40], [25.0, 0, 100, 50], [0.0, 30, 36, 5])]
    points = augment.common_points(windows, 500, rng())
    assert points.shape == (500, 2)
    low, high = points.amin(0), points.amax(0)
    torch.testing.assert_close(low, torch.tensor([25.0, 30]), atol=0.3, rtol=0)
    torch.testing.assert_close(high, torch.tensor([36.0, 35]), atol=0.3, rtol=0)
    with pytest.raises(ValueError, match="do not overlap"):
        augment.common_points([windows[0], torch.tensor([50.0, 20, 5, 5])], 3, rng())


def test_a_view_is_a_window_perhaps_mirrored_and_knows_its_points():
    image, window = torch.rand(3, 20, 30, generator=rng()), torch.tensor([4.0, 10, 8, 12])
    corner_and_middle = torch.tensor([[4.0, 10], [8.0, 16]])
    mirrored = 0
    for seed in range(12):
        found, places = augment.view(image, window, (8, 12), corner_and_middle, rng(seed))
        plain = image[:, 4:12, 10:22]
        turned = not torch.equal(found, plain)
        assert torch.equal(found, plain.flip(-1) if turned else plain)
        assert torch.equal(places, torch.tensor([[1.0 if turned else -1.0, -1.0], [0.0, 0.0]]))
        mirrored += turned
    assert 2 < mirrored < 10
