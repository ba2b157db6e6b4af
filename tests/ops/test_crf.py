"""The fully connected CRF: by hand, against loops, against all pairs, and against the paper's program."""

import math
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data, transform

from xferlib.ops import _lattice, crf
from xferlib.ops._lattice import Lattice


def scene(height, width, labels=3, seed=0, dtype=torch.float32):
    """A smooth picture, and energies that follow it loosely."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 3, 3, generator=generator)
    image = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear").to(dtype)
    logits = torch.randn(1, labels, height, width, generator=generator).to(dtype)
    return crf.unary(logits.softmax(1)), image


def photo(height=48, width=64):
    picture = transform.resize(data.chelsea(), (height, width), anti_aliasing=True).astype(np.float32)
    return torch.from_numpy(np.round(picture * 255) / 255).float().permute(2, 0, 1)[None]


def doubtful(image, labels=5):
    """Energies of blurred and noisy labels of a picture's colours."""
    grey = (image.mean(1) * labels * 0.999).long()
    one_hot = torch.nn.functional.one_hot(grey, labels).permute(0, 3, 1, 2).float()
    noise = torch.randn(one_hot.shape, generator=torch.Generator().manual_seed(1))
    return crf.unary((3 * torch.nn.functional.avg_pool2d(one_hot, 5, 1, 2) + noise).softmax(1))


def by_loops(unary, image, iterations, bilateral, position, colour, spatial, spread, normalised, compatibility=None):
    """The formula as the paper writes it, pixel by pixel."""
    labels, height, width = unary.shape
    pixels = list(product(range(height), range(width)))
    table = 1 - torch.eye(labels, dtype=unary.dtype) if compatibility is None else compatibility

    def bilateral_kernel(p, q):
        away = (p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2
        look = 255**2 * (image[:, *p] - image[:, *q]).square().sum().item()
        return math.exp(-away / (2 * position**2) - look / (2 * colour**2))

    def spatial_kernel(p, q):
        return math.exp(-((p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2) / (2 * spread**2))

    kernels = ((bilateral, bilateral_kernel), (spatial, spatial_kernel))
    sums = [{p: sum(k(p, q) for q in pixels) for p in pixels} for _, k in kernels]
    beliefs = (-unary).softmax(0)
    for _ in range(iterations):
        after = beliefs.clone()
        for p in pixels:
            heard = torch.zeros(labels, dtype=unary.dtype)
            for (weight, kernel), total in zip(kernels, sums, strict=True):
                for q in pixels:
                    scale = 1 / math.sqrt(total[p] * total[q]) if normalised else 1.0
                    heard += (p != q) * weight * scale * kernel(p, q) * beliefs[:, *q]
            penalties = [sum(table[i, j] * heard[j] for j in range(labels)) for i in range(labels)]
            after[:, *p] = (-unary[:, *p] - torch.stack(penalties)).softmax(0)
        beliefs = after
    return beliefs


def test_two_pixels_by_hand():
    # The same colour, one pixel apart: both kernels are exp(-1 / 2w^2) with w = 1 here.
    probabilities = torch.tensor([[[[0.8, 0.5]], [[0.2, 0.5]]]])
    q = crf.mean_field(
        crf.unary(probabilities),
        torch.full((1, 3, 1, 2), 0.5),
        iterations=1,
        bilateral=2.0,
        position=1.0,
        spatial=3.0,
        spread=1.0,
        normalised=False,
    )
    heard = 5 * math.exp(-0.5) * 0.8, 5 * math.exp(-0.5) * 0.2
    odds = math.exp(heard[0] - heard[1])  # the second pixel had no opinion of its own
    assert q[0, 0, 0, 1].item() == pytest.approx(odds / (1 + odds), rel=1e-5)
    assert q[0, 0, 0, 0].item() == pytest.approx(0.8, rel=1e-5)  # it heard a half for both


@pytest.mark.parametrize("normalised", [True, False])
def test_all_pairs_are_the_formula(normalised):
    unary, image = scene(5, 4, dtype=torch.float64)
    numbers = {"bilateral": 1.5, "position": 3.0, "colour": 40.0, "spatial": 0.7, "spread": 1.5}
    q = crf.mean_field(unary, image, iterations=3, normalised=normalised, method="exact", **numbers)
    expected = by_loops(unary[0], image[0], 3, normalised=normalised, **numbers)
    assert torch.allclose(q[0], expected, atol=1e-9)


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("each", [(0.2, 1.5, 3.0), 0.7])
@pytest.mark.parametrize("asked", [False, True])
def test_all_pairs_are_the_formula_with_a_weight_a_label_and_a_table(asked, each, normalised):
    unary, image = scene(5, 4, dtype=torch.float64)
    table = torch.rand(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) if asked else None
    numbers = {"position": 3.0, "colour": 40.0, "spread": 1.5, "compatibility": table}
    for name, other in (("bilateral", "spatial"), ("spatial", "bilateral")):
        weights = {name: torch.tensor(each, dtype=torch.float64), other: 0.9}
        q = crf.mean_field(unary, image, iterations=2, normalised=normalised, method="exact", **weights, **numbers)
        expected = by_loops(unary[0], image[0], 2, normalised=normalised, **weights, **numbers)
        assert torch.allclose(q[0], expected, atol=1e-9)


def test_parts_of_the_pairs_add_up(monkeypatch):
    unary, image = scene(9, 7)
    whole = crf.mean_field(unary, image, method="exact")
    monkeypatch.setattr(crf, "_PART", 100)
    assert torch.allclose(crf.mean_field(unary, image, method="exact"), whole, atol=1e-6)


@pytest.mark.parametrize(("size", "dense"), [((48, 64), 8192), ((40, 33), 8192), ((48, 64), 0)])
def test_the_lattice_follows_all_pairs_on_a_photograph(size, dense, monkeypatch):
    monkeypatch.setattr(_lattice, "DENSE", dense)
    image = photo(*size)
    unary = doubtful(image)
    exact, fast = (crf.mean_field(unary, image, method=method) for method in ("exact", "fast"))
    assert (exact.argmax(1) == fast.argmax(1)).float().mean() > (0.985 if dense else 0.97)
    assert (exact - fast).abs().mean() < 0.02
    assert (exact.argmax(1) != unary.argmin(1)).float().mean() > 0.1, "the field must have something to do"


@pytest.mark.parametrize("spread", [0.8, 1.5, 3.0])
def test_the_spatial_kernel_alone_is_exact(spread):
    unary, image = scene(30, 41)
    only = partial(crf.mean_field, unary, image, bilateral=0.0, spread=spread)
    assert torch.allclose(only(method="exact"), only(method="fast"), atol=1e-5)


@pytest.mark.parametrize(("dimension", "side", "error"), [(1, 30, 0.01), (2, 10, 0.02), (3, 4, 0.03), (5, 2, 0.06)])
@pytest.mark.parametrize("dense", [True, False])
def test_the_lattice_is_a_gaussian(dimension, side, error, dense, monkeypatch):
    monkeypatch.setattr(_lattice, "DENSE", 8192 * dense)
    error = error if dense else 3 * error
    generator = torch.Generator().manual_seed(0)
    points = side * torch.rand(2000, dimension, generator=generator, dtype=torch.float64)
    values = torch.rand(2000, 2, generator=generator, dtype=torch.float64)
    expected = torch.exp(-(torch.cdist(points, points) ** 2) / 2) @ values
    assert ((Lattice(points)(values) - expected).norm() / expected.norm()) < error


def test_the_reversed_lattice_is_the_transpose(monkeypatch):
    monkeypatch.setattr(_lattice, "DENSE", 0)
    points = 6 * torch.rand(300, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    lattice = Lattice(points)
    matrix = lattice(torch.eye(300, dtype=torch.float64))
    assert torch.allclose(lattice(torch.eye(300, dtype=torch.float64), reverse=True), matrix.T)
    assert not torch.allclose(matrix, matrix.T)


def test_what_a_point_gets_back_of_itself_is_known(monkeypatch):
    points = 6 * torch.rand(400, 5, generator=torch.Generator().manual_seed(0))
    lattice = Lattice(points)
    assert torch.allclose(lattice(torch.eye(400)).diagonal(), lattice.own[:, 0], atol=1e-4)
    assert (lattice.own - 1).abs().mean() < 0.2
    monkeypatch.setattr(_lattice, "DENSE", 0)
    lattice = Lattice(points)
    assert (lattice(torch.eye(400)).diagonal() - lattice.own[:, 0]).abs().mean() < 0.2


@pytest.mark.parametrize("method", ["exact", "fast"])
def test_gradients(method):
    generator = torch.Generator().manual_seed(2)
    image = torch.rand(1, 3, 3, 3, generator=generator, dtype=torch.float64)
    unary = torch.rand(1, 3, 3, 3, generator=generator, dtype=torch.float64).requires_grad_()
    weight = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    each = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    table = torch.rand(3, 3, generator=generator, dtype=torch.float64).requires_grad_()

    def run(unary, weight, each, table):
        options = {"iterations": 2, "position": 3.0, "colour": 60.0, "method": method}
        return crf.mean_field(unary, image, bilateral=weight, spatial=each, compatibility=table, **options)

    assert torch.autograd.gradcheck(run, (unary, weight, each, table))


def test_weights_can_be_learned():
    image = photo(20, 26)
    unary = doubtful(image)
    target = crf.mean_field(unary, image, bilateral=4.0, spatial=1.0, iterations=3)
    weights = torch.tensor([1.0, 3.0], requires_grad=True)
    solver = torch.optim.Adam([weights], lr=0.3)
    for _ in range(40):
        q = crf.mean_field(unary, image, bilateral=weights[0].abs(), spatial=weights[1].abs(), iterations=3)
        loss = -(target * q.clamp_min(1e-9).log()).sum(1).mean()
        solver.zero_grad()
        loss.backward()
        solver.step()
    assert (weights.detach() - torch.tensor([4.0, 1.0])).abs().max() < 0.5


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    labels=st.integers(1, 4),
    seed=st.integers(0, 99),
    method=st.sampled_from(["exact", "fast"]),
)
def test_beliefs_are_probabilities_at_any_size(height, width, labels, seed, method):
    unary, image = scene(height, width, labels, seed)
    q = crf.mean_field(unary, image, method=method, iterations=3)
    assert q.shape == unary.shape and q.min() >= 0
    assert torch.allclose(q.sum(1), torch.ones(1, height, width), atol=1e-5)


def test_one_pixel_hears_nobody_and_one_label_is_certain():
    unary, image = scene(1, 1)
    for method in ("exact", "fast"):
        assert torch.allclose(crf.mean_field(unary, image, method=method), (-unary).softmax(1), atol=1e-3)
    unary, image = scene(6, 5, labels=1)
    assert torch.equal(crf.mean_field(unary, image), torch.ones_like(unary))


@pytest.mark.parametrize("method", ["exact", "fast"])
def test_invariances(method):
    unary, image = scene(12, 10)
    run = partial(crf.mean_field, iterations=4, method=method)
    q = run(unary, image)
    tolerance = 1e-5 if method == "exact" else 0.2  # the mirrored picture lies otherwise in the lattice
    assert torch.allclose(run(unary + torch.rand(1, 1, 12, 10), image), q, atol=1e-4)
    assert torch.allclose(run(unary[:, [2, 0, 1]], image), q[:, [2, 0, 1]], atol=1e-5)
    assert torch.allclose(run(unary.flip(-1), image.flip(-1)).flip(-1), q, atol=tolerance)
    assert torch.allclose(run(torch.cat([unary, unary.flip(1)]), torch.cat([image, image])), torch.cat([q, q.flip(1)]))
    assert torch.allclose(run(unary, image, compatibility=1 - torch.eye(3)), q, atol=1e-5)
    assert torch.allclose(run(unary, image, bilateral=0.0, spatial=0.0), (-unary).softmax(1), atol=1e-6)
    assert torch.allclose(crf.mean_field(unary, image, iterations=0, method=method), (-unary).softmax(1), atol=1e-6)


def test_the_energy_of_every_labelling_of_three_pixels():
    unary, image = scene(1, 3, labels=2, dtype=torch.float64)
    numbers = {"bilateral": 1.5, "position": 3.0, "colour": 40.0, "spatial": 0.7, "spread": 1.5}
    for labels in product(range(2), repeat=3):
        expected = sum(unary[0, label, 0, i].item() for i, label in enumerate(labels))
        for i, j in ((0, 1), (0, 2), (1, 2)):
            look = (255 * (image[0, :, 0, i] - image[0, :, 0, j])).square().sum().item()
            kernel = 1.5 * math.exp(-((i - j) ** 2) / 18 - look / 3200) + 0.7 * math.exp(-((i - j) ** 2) / 4.5)
            expected += (labels[i] != labels[j]) * kernel
        got = crf.energy(torch.tensor([[labels]]), unary, image, **numbers)
        assert got.item() == pytest.approx(expected, rel=1e-9)


def test_it_agrees_with_the_papers_program():
    # pydensecrf2 1.1 (the authors' lattice in C++, which has to be compiled) on the same energies: sxy=3, compat=3;
    # sxy=80, srgb=13, compat=10; five iterations. `benchmarks/bench_crf.py` calls it live where it is installed.
    image = photo(60, 80)
    unary = doubtful(image, labels=3)
    theirs = torch.from_numpy(np.load(Path(__file__).parent / "pydensecrf2.npy")).float()
    q = crf.mean_field(unary, image, iterations=5, method="fast")[0]
    assert (q.argmax(0) == theirs.argmax(0)).float().mean() > 0.98
    assert (q - theirs).abs().mean() < 0.02
    assert (theirs.argmax(0) != unary[0].argmin(0)).float().mean() > 0.1


def test_the_edge_of_an_object_is_pulled_to_the_edge_in_the_picture():
    image = torch.zeros(1, 3, 30, 40)
    image[..., 17:] = 0.8
    probability = torch.sigmoid((torch.arange(40.0) - 12.5) / 3).expand(1, 1, 30, 40)  # five pixels beside it
    unary = crf.unary(torch.cat([1 - probability, probability], 1))
    before, after = unary.argmin(1), crf.mean_field(unary, image).argmax(1)
    truth = (torch.arange(40) >= 17).long().expand(1, 30, 40)
    assert (before != truth).float().mean() > 0.08
    assert (after != truth).float().mean() < 0.01


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("method", ["exact", "fast"])
def test_half_precision_is_computed_in_float32(kind, method):
    unary, image = (x.to(kind) for x in scene(9, 7))
    for options in ({}, {"compatibility": (1 - torch.eye(3)).to(kind)}):
        beliefs = crf.mean_field(unary, image, method=method, **options)
        wide = {name: x.float() for name, x in options.items()}
        expected = crf.mean_field(unary.float(), image.float(), method=method, **wide)
        assert torch.equal(beliefs, expected.to(kind))
    labels = unary.argmin(1)
    assert torch.equal(crf.energy(labels, unary, image), crf.energy(labels, unary.float(), image.float()))


@pytest.mark.parametrize("method", ["exact", "fast"])
def test_autocast_rounds_no_sum(method):
    unary, image = scene(16, 20)
    labels = unary.argmin(1)
    expected = crf.mean_field(unary, image, method=method), crf.energy(labels, unary, image)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(crf.mean_field(unary, image, method=method), expected[0])
        assert torch.equal(crf.energy(labels, unary, image), expected[1])


def test_probabilities_rounded_to_bfloat16_are_brought_to_one():
    probabilities = torch.randn(2, 21, 30, 30, generator=torch.Generator().manual_seed(0)).softmax(1)
    rounded = probabilities.bfloat16().float()
    off = (rounded.sum(1) - 1).abs() > 1e-3
    assert off.any() and not off.all()
    sums = crf.unary(rounded).neg().exp().sum(1)
    torch.testing.assert_close(sums, rounded.sum(1).masked_fill(off, 1))
    assert torch.equal(crf.unary(probabilities), -probabilities.clamp_min(1e-6).log())


def bad(message, call):
    return pytest.param(message, call, id=message[:30])


UNARY, IMAGE = scene(4, 5)


@pytest.mark.parametrize(
    ("message", "call"),
    [
        bad("sum to 0.9 to 0.9", lambda: crf.unary(torch.full((1, 3, 4, 4), 0.3))),
        bad("sum to 0.98 to 0.98", lambda: crf.unary(torch.full((1, 2, 4, 4), 0.49))),
        bad("lie from -0.5", lambda: crf.unary(torch.tensor([-0.5, 1.5]).view(1, 2, 1, 1))),
        bad("expected (B, L, H, W)", lambda: crf.unary(torch.ones(4, 4))),
        bad("sum to nan", lambda: crf.unary(torch.full((1, 2, 1, 1), torch.nan))),
        bad("differ in number or size", lambda: crf.mean_field(UNARY, IMAGE[..., 1:])),
        bad("differ in number or size", lambda: crf.mean_field(UNARY, torch.cat([IMAGE, IMAGE]))),
        bad("(B, 3, H, W)", lambda: crf.mean_field(UNARY, IMAGE[:, :1])),
        bad("divide by 255", lambda: crf.mean_field(UNARY, IMAGE * 255)),
        bad("torch.uint8", lambda: crf.mean_field(UNARY, IMAGE.byte())),
        bad("-1 iterations", lambda: crf.mean_field(UNARY, IMAGE, iterations=-1)),
        bad("spatial weight -1 is below 0", lambda: crf.mean_field(UNARY, IMAGE, spatial=-1.0)),
        bad("bilateral weights of shape (2,)", lambda: crf.mean_field(UNARY, IMAGE, bilateral=torch.ones(2))),
        bad("colour width 0", lambda: crf.mean_field(UNARY, IMAGE, colour=0)),
        bad("position width inf", lambda: crf.mean_field(UNARY, IMAGE, position=math.inf)),
        bad("(2, 2) for 3 labels", lambda: crf.mean_field(UNARY, IMAGE, compatibility=torch.eye(2))),
        bad("'quick' is not one of", lambda: crf.mean_field(UNARY, IMAGE, method="quick")),
        bad("NaN", lambda: crf.mean_field(UNARY * torch.nan, IMAGE)),
        bad("larger widths", lambda: crf.mean_field(UNARY, IMAGE, colour=1e-5, method="fast")),
    ],
)
def test_bad_input_is_named(message, call):
    with pytest.raises(ValueError) as error:
        call()
    assert message in str(error.value)


@pytest.mark.parametrize("dense", [True, False])
def test_the_lattice_makes_its_numbers_where_its_points_are(monkeypatch, dense):
    monkeypatch.setattr(_lattice, "DENSE", 10**6 if dense else 0)
    points, values = torch.rand(40, 3, generator=torch.Generator().manual_seed(0)), torch.ones(40, 1)
    expected = Lattice(points)(values)
    with torch.device("meta"):  # whatever is made without a place is now of another device than the points
        torch.testing.assert_close(Lattice(points)(values), expected)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(1, 5, 6, dtype=torch.int64), r"labels of shape \(1, 5, 6\), torch.int64, for a unary of .*6, 7"),
        (torch.zeros(1, 6, 7), r"torch.float32"),
        (torch.full((1, 6, 7), 255), "labels from 255 to 255 are not all in 0 to 2; a void label"),
        (torch.full((1, 6, 7), -1), "labels from -1 to -1"),
    ],
)
def test_labels_without_an_energy_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        crf.energy(labels, *scene(6, 7))
