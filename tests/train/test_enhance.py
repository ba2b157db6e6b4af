"""The enhancer's recipe: its crops, its loss, its rivals, and the arms of its study."""

import numpy as np
import pytest
import torch
from skimage.exposure import equalize_hist

from xferlib.data import exposures, photos
from xferlib.metrics.restoration import psnr
from xferlib.nets.exposure import Parts, split
from xferlib.ops.colour import luminance
from xferlib.ops.fusion import fuse_exposures
from xferlib.train import recipes
from xferlib.train.recipes import enhance


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def photo():
    return (photos.square(photos.load("chelsea"), 160) * 255).round().byte()


def test_the_recipe_and_its_study_are_found_by_name():
    assert recipes.find("enhance") is enhance.RECIPE
    assert recipes.find("enhance-ablations").chapter == enhance.RECIPE.chapter == "enhancement"


def test_a_scene_is_the_fusion_of_its_exposures(photo):
    same, fused = enhance.scene(photo, 3)
    stack = exposures.stack(photo / 255, generator=torch.Generator().manual_seed(3))
    assert torch.equal(same, photo) and fused.dtype == torch.uint8
    assert (fused / 255 - fuse_exposures(stack).clamp(0, 1)).abs().max() <= 0.5 / 255 + 1e-6
    assert not torch.equal(fused, enhance.scene(photo, 4)[1])


def test_crops_are_dark_and_show_the_same_place(photo):
    crops = enhance.Crops([photo, photo.flip(2)], 0)
    for index in range(4):
        dark, fused = crops[index]
        assert dark.shape == fused.shape == (3, enhance.SIDE, enhance.SIDE)
        assert dark.mean() < 0.8 * fused.mean()
        both = torch.stack([luminance(x[None]).flatten() for x in (dark, fused)])
        mirrored = torch.stack([both[0], luminance(fused.flip(2)[None]).flatten()])
        assert both.corrcoef()[0, 1] > 0.85 > mirrored.corrcoef()[0, 1]


def test_from_the_rise_on_the_recipe_sees_pictures_that_are_not_dark_too(photo, monkeypatch):
    monkeypatch.setattr(enhance, "photographs", lambda data: [photo])
    crops, rise = enhance.RECIPE.dataset(None, 0), enhance.RISE * enhance.RECIPE.batch_size
    mean = (photo / 255).mean()
    before, after = (max(crops[first + k][0].mean() for k in range(30)) / mean for first in (rise - 30, rise))
    assert before < 0.8 and after > 0.9
    assert torch.equal(enhance.Crops([photo], 0)[rise - 1][0], crops[rise - 1][0])
    assert max(enhance.Crops([photo], 0)[rise + k][0].mean() for k in range(30)) / mean < 0.8


def test_large_photographs_are_seen_near_and_whole():
    crops = enhance.Crops([torch.zeros(3, 200, 300, dtype=torch.uint8)], 0)
    whole, near = (crops._scene(0, reduced)[0] for reduced in (True, False))
    assert whole.shape == (3, enhance.SMALL, 288) and near.shape == (3, 200, 300)
    assert crops._scene(0, True)[0] is whole


def test_the_truth_costs_nothing():
    target = noise(2, 3, 24, 32)
    base, detail = split(luminance(target))
    parts = Parts(base, detail, base, detail, target, target)
    terms = enhance._loss(lambda images: parts, (target / 4, target))
    assert terms.keys() == {"l1", "dssim", "base", "detail"}
    assert all(term.item() == pytest.approx(0, abs=1e-6) for term in terms.values())


def test_dissimilarity_of_blocks_by_hand():
    one, other = torch.full((1, 1, 16, 8), 0.2), torch.full((1, 1, 16, 8), 0.8)
    expected = 1 - (2 * 0.2 * 0.8 + 1e-4) / (0.2**2 + 0.8**2 + 1e-4)
    assert enhance._dissimilarity(one, other).item() == pytest.approx(expected, abs=5e-4)
    x, y = noise(1, 1, 8, 8), noise(1, 1, 8, 8, seed=1)
    (vx, cov), (_, vy) = np.cov(x.flatten(), y.flatten(), ddof=0)
    mx, my = x.mean().item(), y.mean().item()
    expected = (2 * mx * my + 1e-4) / (mx**2 + my**2 + 1e-4) * (2 * cov + 1e-3) / (vx + vy + 1e-3)
    assert enhance._dissimilarity(x, y).item() == pytest.approx(1 - expected, abs=5e-4)


def test_a_few_steps_lower_the_loss(photo):
    crops = enhance.Crops([photo], 0)
    batch = tuple(x[None, :, :64, :64] for x in crops[0])
    torch.manual_seed(0)
    learner = enhance.Learner()
    solver, losses = torch.optim.Adam(learner.parameters(), 3e-3), []
    for _ in range(12):
        total = sum(enhance._loss(learner, batch).values())
        solver.zero_grad()
        total.backward()
        solver.step()
        losses.append(total.item())
    assert losses[-1] < 0.6 * losses[0]
    assert enhance.RECIPE.finish(learner, None) is learner.net


def test_gamma_brings_the_mean_to_what_is_shown():
    dark = 0.3 * noise(3, 20, 24) ** 2
    found = enhance.brightened(dark)
    assert luminance(found[None]).mean().item() == pytest.approx(enhance.SHOWN, abs=1e-3)
    gammas = found.log() / dark.log()
    assert gammas.std() < 1e-3 and 0 < gammas.mean() < 1


def test_equalised_luminance_is_scikit_images_and_hues_stay():
    dark = 0.1 + 0.1 * noise(3, 20, 24)
    found, grey = enhance.equalised(dark), luminance(dark[None])[0, 0]
    expected = equalize_hist(grey.numpy())
    kept = (found < 1).all(0)
    assert kept.float().mean() > 0.5
    np.testing.assert_allclose(luminance(found[None])[0, 0][kept], expected[kept.numpy()], atol=1e-4)
    torch.testing.assert_close((found / dark)[:, kept], (found / dark)[:1, kept].expand(3, -1))


@pytest.mark.parametrize("name", list(enhance.RIVALS))
@pytest.mark.parametrize("value", [0.0, 0.2])
def test_rivals_bear_a_flat_picture(name, value):
    found = enhance.RIVALS[name](torch.full((3, 24, 20), value))
    assert found.shape == (3, 24, 20) and found.isfinite().all() and found.min() >= 0 and found.max() <= 1


def test_what_is_measured(photo):
    true = torch.full_like(photo, 128)
    found = enhance.measure(lambda dark: torch.full_like(dark, 128 / 255 + 0.1), [(photo, true)], -2.0)
    assert found.keys() == {"PSNR", "SSIM", "colour"}
    assert found["PSNR"] == pytest.approx(20, abs=1e-3) and 5 < found["colour"] < 15
    seen = []
    enhance.measure(lambda dark: seen.append(dark) or dark, [(photo, true)] * 2, -2.0)
    clean = exposures.expose(photo / 255, -2.0)
    assert all(psnr(dark[None], clean[None], data_range=1) > 30 for dark in seen) and not torch.equal(*seen)


def only_held_back(picture):
    """Stand for the photographs; those that are trained on may not be asked for."""

    def photographs(data, held_back=False):
        assert held_back
        return [picture]

    return photographs


def test_the_recipe_measures_photographs_held_back_at_each_exposure(photo, monkeypatch):
    small = photo[:, :48, :64]
    monkeypatch.setattr(enhance, "photographs", only_held_back(small))
    found = enhance.RECIPE.evaluate(lambda images: images, None)
    assert found.keys() == {"PSNR", "SSIM", "colour", *enhance.RIVALS, "by stops", "at 0 stops"}
    assert found["dark"] == {key: found[key] for key in ("PSNR", "SSIM", "colour")}  # this net changes nothing
    scenes = [enhance.scene(small, 0)]
    by_hand = {stops: enhance.measure(enhance.RIVALS["gamma"], scenes, stops) for stops in (-1.0, -2.0, -3.0)}
    assert found["by stops"]["gamma"] == {str(stops): figures for stops, figures in by_hand.items()}
    mean = sum(figures["SSIM"] for figures in by_hand.values()) / 3
    assert found["gamma"]["SSIM"] == pytest.approx(mean)
    assert found["at 0 stops"]["ours"] == enhance.measure(lambda dark: dark, scenes, 0.0)


def test_channels_apart_come_together():
    images = noise(2, 3, 5, 4)
    grey = enhance.apart(images)
    assert grey.shape == (6, 3, 5, 4) and torch.equal(grey[4], images[1, 1].expand(3, -1, -1))
    torch.testing.assert_close(enhance.together(grey), images)


def test_arms_start_alike_and_lack_what_they_are_named_after():
    image = noise(1, 3, 16, 16) / 4
    nets = {name: enhance.arm(name, 0).net for name in enhance.ARMS}
    weights = [[p for p in net.parameters() if p.ndim > 1] for net in nets.values()]
    assert all(torch.equal(a, b) for other in weights[1:] for a, b in zip(weights[0], other, strict=True))
    for net in nets.values():
        torch.nn.init.constant_(net.lift.weight, 0.1)
        torch.nn.init.constant_(net.curves.bias if hasattr(net.curves, "bias") else net.curves[0].bias, 1.0)
    parts = {name: net.parts(image) for name, net in nets.items()}
    torch.testing.assert_close(parts["whole"].enhanced_base, 2 * parts["whole"].base)
    torch.testing.assert_close(parts["detail only"].enhanced_base, parts["detail only"].base)
    torch.testing.assert_close(parts["base only"].enhanced_detail, 2 * parts["base only"].detail)
    assert not torch.allclose(parts["whole"].enhanced_detail, 2 * parts["whole"].detail)
    with pytest.raises(ValueError, match="no arm is named 'neither'; there are whole, base only"):
        enhance.arm("neither", 0)


def test_the_study_trains_every_arm_alike(photo, monkeypatch, tmp_path):
    calls, measure = [], enhance.measure

    def train(name, learner, loss, dataset, *, steps, batch_size, **options):
        batch = tuple(x[None, :, :32, :32] for x in dataset[0])
        assert all(term.isfinite() for term in loss(learner, batch).values())
        assert all(torch.equal(shown, photo) for shown in dataset.photographs)
        calls.append((name, steps, batch_size, options["seed"]))

    other, asked = photo.flip(2), []
    monkeypatch.setattr(enhance, "photographs", lambda data, held_back=False: [other if held_back else photo])
    monkeypatch.setattr(enhance, "measure", lambda *args: asked.append(args) or measure(*args))
    figures = enhance._ablate(train, 5)
    assert tuple(figures) == enhance.ARMS
    assert [call[0] for call in calls] == ["whole", "base-only", "detail-only", "channel-by-channel"]
    assert {call[1] for call in calls} == {enhance.TRIAL["steps"]} and {call[3] for call in calls} == {5}
    assert calls[0][2] == calls[1][2] == calls[2][2] == 3 * calls[3][2]
    assert figures["whole"] == figures["base only"] == figures["detail only"]  # untrained, all are the identity
    assert all(torch.equal(scenes[0][0], other) for _, scenes, _ in asked) and len(asked) == len(enhance.ARMS)


def test_photographs_without_room_for_a_crop_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 100, 200\).* no crop of 144"):
        enhance.Crops([torch.zeros(3, 100, 200, dtype=torch.uint8)], 0)
