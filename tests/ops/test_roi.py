"""RoIAlign, RoIPool and RoIWarp against slow loops, torchvision's reference and what can be said without either."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xferlib.ops import _roi
from xferlib.ops.roi import roi_align, roi_pool, roi_warp

# isort: split
from torchvision.ops.roi_align import _roi_align as lazily_compiled

reference = getattr(lazily_compiled, "__wrapped__", lazily_compiled)


def maps(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def some(number, images, height, width, seed=0, beyond=0.0):
    """Boxes within the map, or up to a share of it beyond."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.tensor([width, height], dtype=torch.float64)
    corner = (torch.rand(number, 2, generator=generator, dtype=torch.float64) * (1 + beyond) - beyond) * size
    side = torch.rand(number, 2, generator=generator, dtype=torch.float64) * (size * (1 + beyond) - corner)
    image = torch.randint(images, (number, 1), generator=generator).double()
    return torch.cat([image, corner, corner + side], 1)


def sampled(plane, y, x):
    """One bilinear sample as the compiled kernel takes it."""
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = max(y, 0.0), max(x, 0.0)
    top, left = min(int(y), height - 1), min(int(x), width - 1)
    y, x = (min(y, float(height - 1)), min(x, float(width - 1)))
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    upper = (1 - dx) * plane[top, left] + dx * plane[top, right]
    lower = (1 - dx) * plane[bottom, left] + dx * plane[bottom, right]
    return (1 - dy) * upper + dy * lower


def aligned_by_loops(features, boxes, out, scale, ratio, aligned):
    shift = 0.5 if aligned else 0.0
    result = torch.zeros(len(boxes), features.shape[1], *out, dtype=features.dtype)
    for k, (image, *corners) in enumerate(boxes.tolist()):
        x1, y1, x2, y2 = (c * scale - shift for c in corners)
        width, height = x2 - x1, y2 - y1
        if not aligned:
            width, height = max(width, 1.0), max(height, 1.0)
        rows, columns = (ratio, ratio) if ratio > 0 else (math.ceil(height / out[0]), math.ceil(width / out[1]))
        for c, i, j in torch.cartesian_prod(*map(torch.arange, (features.shape[1], *out))).tolist():
            total = 0.0
            for a in range(rows):
                for b in range(columns):
                    y = y1 + (i + (a + 0.5) / rows) * height / out[0]
                    x = x1 + (j + (b + 0.5) / columns) * width / out[1]
                    total += sampled(features[int(image), c], y, x)
            result[k, c, i, j] = total / max(rows * columns, 1)
    return result


def rounded(value):
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def pooled_by_loops(features, boxes, out, scale):
    height, width = features.shape[2:]
    result = torch.zeros(len(boxes), features.shape[1], *out, dtype=features.dtype)
    for k, (image, *corners) in enumerate(boxes.tolist()):
        x1, y1, x2, y2 = (rounded(c * scale) for c in corners)
        steps = max(y2 - y1 + 1, 1) / out[0], max(x2 - x1 + 1, 1) / out[1]
        for i in range(out[0]):
            for j in range(out[1]):
                top, bottom = (min(max(n + y1, 0), height) for n in (int(i * steps[0]), math.ceil((i + 1) * steps[0])))
                left, right = (min(max(n + x1, 0), width) for n in (int(j * steps[1]), math.ceil((j + 1) * steps[1])))
                if bottom > top and right > left:
                    result[k, :, i, j] = features[int(image), :, top:bottom, left:right].amax((1, 2))
    return result


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [1, 2, 3, 0, -1])
@pytest.mark.parametrize("beyond", [0.0, 0.6])
def test_align_is_the_slow_loop(ratio, aligned, beyond):
    features, boxes = maps(2, 2, 9, 7), some(12, 2, 18, 14, beyond=beyond)
    found = roi_align(features, boxes, (3, 4), 0.5, ratio, aligned)
    assert torch.allclose(found, aligned_by_loops(features, boxes, (3, 4), 0.5, ratio, aligned), atol=1e-12)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [2, -1])
def test_align_is_torchvisions_reference(ratio, aligned):
    features, boxes = maps(2, 3, 25, 30, dtype=torch.float32), some(20, 2, 80, 100).float()
    boxes[:, 3:] = boxes[:, 1:3] + (boxes[:, 3:] - boxes[:, 1:3]).clamp(min=4)
    boxes = torch.cat([boxes[:, :1], boxes[:, 1:].clamp(4, 76)], 1)
    theirs = reference(features, boxes, 0.25, 7, 7, ratio, aligned)
    assert torch.allclose(roi_align(features, boxes, 7, 0.25, ratio, aligned), theirs, atol=1e-5)


@pytest.mark.parametrize("ratio", [2, 0])
def test_boxes_are_worked_in_parts(ratio, monkeypatch):
    features, boxes = maps(2, 3, 9, 7).requires_grad_(), some(12, 2, 18, 14)

    def both():
        found = roi_align(features, boxes, (3, 4), 0.5, ratio)
        return found, torch.autograd.grad((found * maps(*found.shape)).sum(), features)[0]

    whole, seen = both(), []
    taps = _roi._taps
    monkeypatch.setattr(_roi, "_taps", lambda start, *rest: (seen.append(len(start)), taps(start, *rest))[1])
    monkeypatch.setattr(_roi, "WORK_SPACE", 2**14)
    parts = both()
    assert max(seen) < len(boxes) < len(seen)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(whole, parts, strict=True))


def test_the_whole_map_comes_back():
    features = maps(1, 3, 6, 8)
    whole = torch.tensor([[0.0, 0, 0, 8, 6]], dtype=torch.float64)
    assert torch.allclose(roi_align(features, whole, (6, 8), sampling_ratio=1), features)
    assert not torch.allclose(roi_align(features, whole, (6, 8), sampling_ratio=1, aligned=False), features)


def test_a_ramp_reads_its_place():
    ramp = torch.arange(40.0, dtype=torch.float64).repeat(40, 1)[None, None]
    boxes = some(10, 1, 60, 60, seed=3) + torch.tensor([0.0, 8, 8, 8, 8])
    x1, width = boxes[:, 1, None], boxes[:, 3, None] - boxes[:, 1, None]
    expected = 0.5 * x1 - 0.5 + (torch.arange(5) + 0.5) * 0.5 * width / 5
    assert torch.allclose(roi_align(ramp, boxes, 5, 0.5)[:, 0], expected[:, None].expand(-1, 5, -1), atol=1e-9)
    wide = boxes[width[:, 0] > 2]
    older = roi_align(ramp, wide, 5, 0.5, aligned=False) - roi_align(ramp, wide, 5, 0.5)
    assert torch.allclose(older[..., 0, :], torch.tensor(0.5, dtype=torch.float64), atol=1e-9)


@pytest.mark.parametrize("beyond", [0.0, 0.6])
def test_pool_is_the_slow_loop(beyond):
    features, boxes = maps(2, 3, 9, 7), some(20, 2, 36, 28, beyond=beyond)
    found = roi_pool(features, boxes, (3, 4), 0.25)
    assert torch.equal(found, pooled_by_loops(features, boxes, (3, 4), 0.25))


def test_pool_rounds_halves_away_from_zero():
    features = maps(1, 1, 6, 6)
    boxes = torch.tensor([[0, 0.5, 1.5, 2.5, 3.5], [0, -1.5, -0.5, 2.5, 2.5]], dtype=torch.float64)
    assert torch.equal(roi_pool(features, boxes, 2), pooled_by_loops(features, boxes, (2, 2), 1.0))


def test_the_maximum_takes_the_gradient():
    features = maps(1, 1, 4, 4).requires_grad_()
    boxes = torch.tensor([[0.0, 0, 0, 3, 3]], dtype=torch.float64)
    roi_pool(features, boxes, 1).sum().backward()
    assert features.grad.sum() == 1 and features.grad[features == features.max()] == 1
    tied = torch.zeros(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    roi_pool(tied, boxes, 1).sum().backward()
    assert tied.grad[0, 0, 0, 0] == 1 and tied.grad.sum() == 1


def test_warp_aligns_the_rounded_box():
    features, boxes = maps(2, 3, 12, 10), some(15, 2, 48, 40)
    cells = boxes.clone()
    for k, (_, *corners) in enumerate((boxes / 4).tolist()):
        x1, y1, x2, y2 = map(rounded, corners)
        cells[k, 1:] = torch.tensor([x1, y1, x2 + 1, y2 + 1])
    assert torch.allclose(roi_warp(features, boxes, 4, 0.25), roi_align(features, cells, 4))


@pytest.mark.parametrize("cut", [roi_align, roi_pool, roi_warp])
def test_a_list_of_boxes_is_the_numbered_ones(cut):
    features = maps(3, 2, 8, 8)
    boxes = some(7, 3, 8, 8)
    boxes = boxes[boxes[:, 0].argsort(stable=True)]
    boxes[:, 0] = torch.tensor([0, 0, 0, 2, 2, 2, 2])  # the second image has none
    listed = [boxes[boxes[:, 0] == i, 1:] for i in range(3)]
    assert torch.equal(cut(features, boxes, 3), cut(features, listed, 3))


@pytest.mark.parametrize("cut", [roi_align, roi_pool, roi_warp])
def test_no_boxes(cut):
    features = maps(2, 3, 8, 8).requires_grad_()
    found = cut(features, torch.zeros(0, 5), (2, 3))
    assert found.shape == (0, 3, 2, 3)
    found.sum().backward()
    assert torch.equal(features.grad, torch.zeros_like(features))


@pytest.mark.parametrize("aligned", [True, False])
def test_an_empty_box_reads_one_place(aligned):
    features = maps(1, 2, 8, 8)
    boxes = torch.tensor([[0, 3.2, 4.1, 3.2, 4.1]], dtype=torch.float64)
    found = roi_align(features, boxes, 2, aligned=aligned)
    assert torch.allclose(found, aligned_by_loops(features, boxes, (2, 2), 1.0, 2, aligned))
    assert aligned == torch.allclose(found, found[..., :1, :1].expand_as(found))
    if aligned:
        assert not roi_align(features, boxes, 2, sampling_ratio=0).any()  # no sample at all


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [2, 0])
def test_gradients(ratio, aligned):
    features, boxes = maps(2, 2, 5, 4).requires_grad_(), some(4, 2, 10, 8, beyond=0.3)
    cut = lambda f: roi_align(f, boxes, (2, 3), 0.5, ratio, aligned)  # noqa: E731
    assert torch.autograd.gradcheck(cut, features)
    assert torch.autograd.gradgradcheck(cut, features)
    assert torch.autograd.gradcheck(lambda f: roi_pool(f, boxes, 2, 0.5), features)


@pytest.mark.parametrize("form", ["channels last", "slice"])
def test_any_layout_in_memory(form):
    features, boxes = maps(2, 6, 9, 8), some(6, 2, 9, 8)
    other = features.contiguous(memory_format=torch.channels_last) if form == "channels last" else features[:, ::2]
    plain = features if form == "channels last" else features[:, ::2].contiguous()
    for cut in (roi_align, roi_pool, roi_warp):
        assert torch.allclose(cut(other, boxes, 3), cut(plain, boxes, 3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    features, boxes = maps(1, 4, 10, 10).to(dtype), some(8, 1, 10, 10).float()
    for cut in (roi_align, roi_pool, roi_warp):
        found = cut(features, boxes, 3)
        assert found.dtype == dtype
        assert torch.equal(found, cut(features.float(), boxes, 3).to(dtype))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), by=st.integers(1, 4))
def test_what_moves_by_whole_cells_is_read_the_same(seed, by):
    features, boxes = maps(1, 2, 8, 9, seed=seed), some(5, 1, 8, 9, seed=seed)
    moved = torch.nn.functional.pad(features, (by, 0, by, 0), mode="replicate")
    further = boxes + torch.tensor([0.0, by, by, by, by])
    inner = (boxes[:, 1:3] > 0.5).all(1)
    assert torch.allclose(roi_align(features, boxes, 3)[inner], roi_align(moved, further, 3)[inner])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), a=st.floats(-3, 3), b=st.floats(-3, 3))
def test_align_is_linear(seed, a, b):
    one, two, boxes = maps(1, 2, 6, 6, seed=seed), maps(1, 2, 6, 6, seed=seed + 1), some(4, 1, 6, 6, beyond=0.2)
    together = roi_align(a * one + b * two, boxes, 3)
    assert torch.allclose(together, a * roi_align(one, boxes, 3) + b * roi_align(two, boxes, 3), atol=1e-9)


GOOD, BOX = torch.zeros(2, 1, 5, 5), [0.0, 1, 1, 3, 3]


@pytest.mark.parametrize("cut", [roi_align, roi_pool, roi_warp])
@pytest.mark.parametrize(
    ("features", "boxes", "size", "scale", "words"),
    [
        (GOOD, torch.tensor([[0.0, 3, 1, 1, 3]]), 2, 1.0, "inverted or not finite"),
        (GOOD, torch.tensor([[0.0, math.nan, 1, 3, 3]]), 2, 1.0, "nan"),
        (GOOD, torch.tensor([[0.0, 1, 1, math.inf, 3]]), 2, 1.0, "inf"),
        (GOOD, torch.tensor([[2.0, 1, 1, 3, 3]]), 2, 1.0, r"image index 2.0 is not one of 0\.\.1"),
        (GOOD, torch.tensor([[0.5, 1, 1, 3, 3]]), 2, 1.0, "image index 0.5"),
        (GOOD, torch.tensor(BOX[1:])[None], 2, 1.0, r"\(1, 4\)"),
        (GOOD, [torch.tensor(BOX[1:])[None]], 2, 1.0, "1 lists of boxes for 2 images"),
        (GOOD, torch.tensor([BOX]), 0, 1.0, "output_size 0"),
        (GOOD, torch.tensor([BOX]), 2, 0.0, "spatial_scale 0.0"),
        (GOOD.long(), torch.tensor([BOX]), 2, 1.0, "int64"),
        (GOOD[0], torch.tensor([BOX]), 2, 1.0, r"\(1, 5, 5\)"),
    ],
)
def test_bad_input_is_named(cut, features, boxes, size, scale, words):
    with pytest.raises(ValueError, match=words):
        cut(features, boxes, size, scale)
