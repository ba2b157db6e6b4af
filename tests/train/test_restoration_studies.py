"""The studies of the losses: every arm from one start, and what they are made of."""

import pickle
from functools import partial

import pytest
import torch

from xferlib.data import faces, photos
from xferlib.metrics.restoration import smooth
from xferlib.metrics.verification import redrawn
from xferlib.train import recipes
from xferlib.train.recipes import faces_bad_light, pixel_losses


class Log:
    """A trainer that trains nothing, and notes with what it was asked to."""

    def __init__(self):
        self.calls, self.starts = [], {}

    def __call__(self, name, net, loss, dataset, *, steps, batch_size, seed, **options):
        self.calls.append((name, steps, batch_size, seed))
        self.starts[name] = {key: value.clone() for key, value in net.state_dict().items()}
        batch = tuple(map(torch.stack, zip(*(dataset[i] for i in range(batch_size)), strict=True)))
        found = loss(net.train(), batch)
        assert (sum(found.values()) if isinstance(found, dict) else found).isfinite()
        net.eval()


def test_the_studies_are_found_by_name():
    assert {recipes.find(name).chapter for name in ("pixel-losses", "faces-bad-light")} == {"pixel_losses"}


def test_every_loss_starts_from_the_same_net_and_has_the_same_budget(monkeypatch):
    monkeypatch.setattr(pixel_losses, "SEEDS", 1)
    log = Log()
    figures = pixel_losses._compare(log, 2)
    assert figures.keys() >= {"truth", "interpolated", *pixel_losses.losses()}
    assert len({call[1:] for call in log.calls}) == 1
    assert len({name for name, *_ in log.calls}) == len(log.calls) == len(figures) - 2
    starts = [start for name, start in log.starts.items() if "no-deconvolution" not in name]
    assert all(torch.equal(start[key], starts[0][key]) for start in starts for key in start)
    measured = {tuple(figures[name]["mean"].values()) for name in pixel_losses.losses()}
    assert len(measured) == 1  # untrained, they are one net


def test_pieces_depend_on_their_number_alone():
    one, two = (pixel_losses.Pieces(0) for _ in range(2))
    for i in (5, 0):
        assert all(torch.equal(a, b) for a, b in zip(one[i], two[i], strict=True))
    assert not torch.equal(one[0][0], pixel_losses.Pieces(1)[0][0])
    degraded, whole = one[3]
    assert degraded.shape == (3, 24, 24) and whole.shape == (3, 48, 48)


def test_only_photographs_kept_for_tests_are_measured_on(monkeypatch):
    seen, load = [], pixel_losses._reduced
    monkeypatch.setattr(pixel_losses, "_reduced", lambda name: (seen.append(name), load(name))[1])
    for i in range(2 * len(photos.TRAIN)):
        pixel_losses.Pieces(0)[i]
    assert set(seen) == set(photos.TRAIN)
    seen.clear()
    pixel_losses.held_out(96)
    assert seen == list(photos.TEST)


def test_degrading_halves_fades_and_adds_noise():
    red = torch.tensor([1.0, 0.2, 0.0])[None, :, None, None].expand(1, 3, 200, 200)
    small = pixel_losses.degrade(red, torch.Generator().manual_seed(0))
    assert small.shape == (1, 3, 100, 100)
    expected = 0.4 + 0.25 * (red[0, :, 0, 0] - 0.4)
    torch.testing.assert_close(small.mean((2, 3))[0], expected, atol=0.005, rtol=0)
    assert small.std((2, 3)).mean().item() == pytest.approx(pixel_losses.NOISE, rel=0.05)
    with pytest.raises(ValueError, match="5x4 cannot be halved"):
        pixel_losses.degrade(torch.rand(1, 3, 5, 4), torch.Generator())


def test_what_is_measured_sees_what_it_is_named_after():
    _, true = pixel_losses.held_out(96)
    best = pixel_losses.measure(true, true)
    assert best["colour"] == 0 and best["chroma"] == pytest.approx(1) and best["detail"] == pytest.approx(1)
    grey = pixel_losses.measure(true.mean(1, keepdim=True).expand_as(true), true)
    assert grey["colour"] > 5 and grey["chroma"] < 0.05
    soft = pixel_losses.measure(smooth(true, 1.5), true)
    assert soft["detail"] < 0.6 and soft["false detail"] < 0.1
    board = 0.05 * (-1.0) ** (torch.arange(96)[:, None] + torch.arange(96))
    chequered = pixel_losses.measure(true + board, true)
    assert chequered["grid 2"] > best["grid 2"] + 20 and chequered["colour"] < 1
    assert chequered["grid 4"] < best["grid 4"] + 3


def test_the_perceptual_loss_weighs_its_layers():
    net = pixel_losses.loss_network()
    one, other = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    a, b = net(one, tuple(pixel_losses.LAYERS)), net(other, tuple(pixel_losses.LAYERS))
    expected = sum(0.5 * (a[k] - b[k]).square().mean() for k in pixel_losses.LAYERS)
    torch.testing.assert_close(pixel_losses.perceptual(one, other, net), expected)


def test_faces_are_judged_alike(monkeypatch):
    monkeypatch.setattr(faces_bad_light, "SEEDS", 1)
    monkeypatch.setattr(faces_bad_light, "DRAWS", 1)
    monkeypatch.setattr(faces_bad_light, "redrawn", partial(redrawn, draws=20))
    log = Log()
    figures = faces_bad_light._compare(log, 0)
    arms = {"good light", "as it is", "brighter", "equalised", "pixel", "feature", "both", "retrained"}
    assert figures.keys() == {*arms, "differences"}
    assert [name for name, *_ in log.calls] == [
        f"{name}-run0" for name in ("A", "B", "retrained", "pixel", "feature", "both")
    ]
    starts = [log.starts[f"{kind}-run0"] for kind in ("pixel", "feature", "both")]
    assert all(torch.equal(start[key], starts[0][key]) for start in starts for key in start)
    for name in arms - {"retrained"}:
        assert figures[name]["mean"].keys() - {"PSNR"} == {"A", "B", "HOG"}
        low, high = figures[name]["interval"]["HOG"]
        assert 0 <= low <= figures[name]["mean"]["HOG"] + 0.1 and high <= 1
    assert figures["good light"]["mean"]["HOG"] > figures["as it is"]["mean"]["HOG"]
    gap = figures["differences"]["feature - pixel|HOG"]
    assert gap["mean"] == 0  # untrained, they are one net


@pytest.mark.parametrize("kind", ["good light", "any light", "enhance"])
def test_lessons_pair_the_same_faces(kind):
    lessons = faces_bad_light.Lessons(kind, 0, 6)
    one, other = lessons[4]
    again = faces_bad_light.Lessons(kind, 0, 6)[4]
    assert torch.equal(one, again[0]) and torch.equal(other, again[1])
    assert one.shape == other.shape == (6, 1, 25, 25)
    dark = {"good light": (), "any light": (1,), "enhance": (0,)}[kind]
    assert all(((one, other)[i].mean() < 0.2) == (i in dark) for i in (0, 1))
    centred = [each.flatten(1) - each.flatten(1).mean(1, keepdim=True) for each in (one, other)]
    likeness = torch.nn.functional.normalize(centred[0]) @ torch.nn.functional.normalize(centred[1]).T
    assert likeness.diagonal().mean() > likeness.mean() + 0.2


def test_lessons_never_show_a_face_of_the_test():
    assert torch.equal(faces_bad_light.Lessons("enhance", 0).faces, faces.load(faces.TRAIN))
    gallery, (_, good) = faces.load(faces.TEST), faces_bad_light.probes(draws=1)
    assert torch.cdist(good.flatten(1), gallery.flatten(1)).argmin(1).eq(torch.arange(50)).float().mean() > 0.9


def test_features_of_the_same_face_are_no_loss_and_the_recogniser_learns_nothing():
    eye = faces_bad_light.recogniser("A", 0).requires_grad_(False)
    some = faces.load(range(3)).requires_grad_()
    assert faces_bad_light.features(some, some.detach(), eye).item() == pytest.approx(0, abs=1e-6)
    faces_bad_light.features(some, some.detach().flip(0), eye).backward()
    assert some.grad.any() and all(p.grad is None for p in eye.parameters())


def test_what_stands_in_for_an_enhancer():
    dark, good = faces_bad_light.probes(draws=1)
    assert faces_bad_light.stretched(dark).mean() > 0.35 > 0.2 > dark.mean()
    even = faces_bad_light.equalised(good)
    assert even.shape == good.shape and even.mean().item() == pytest.approx(0.5, abs=0.02)
    assert faces_bad_light.stretched(torch.zeros(1, 1, 4, 4)).isfinite().all()


def test_unknown_names_are_answered():
    with pytest.raises(ValueError, match="no recogniser is named 'C'; there are A, B, retrained"):
        faces_bad_light.recogniser("C", 0)
    with pytest.raises(ValueError, match="no loss is named 'all'; there are pixel, feature and both"):
        faces_bad_light.enhance_loss("all", faces_bad_light.recogniser("A", 0))


def test_losses_can_be_sent_to_other_processes():
    losses = pixel_losses.losses(net=pixel_losses.restoration.l1)
    for loss in losses.values():
        sent = pickle.loads(pickle.dumps(pixel_losses.as_loss(loss)))
        assert callable(sent)
    image, true = torch.rand(2, 1, 3, 16, 16)
    terms = pickle.loads(pickle.dumps(pixel_losses.as_loss(losses["L1 + gradient"])))(
        torch.nn.Identity(), (image, true)
    )
    assert terms == losses["L1 + gradient"](image, true) and terms.keys() == {"l1", "gradient"}
